#!/usr/bin/env bash
# Maximum likelihood in both directions with stock fairseq, then the mean of the last checkpoints.
# Called again, it goes on where it stopped. DIRECTIONS="en-de" trains one of them (two nodes: one each).
. "$(dirname "$0")/common.sh"
[ -d "$BIN" ] || stop "there is no $BIN: run 3_binarise.sh first"
if [ "$ARCH" = transformer ]; then
  # OpenNMT's base Transformer: the peak of its "noam" rate 2 at 512 units and 8000 steps of warm-up is 0.00099
  updates=${PRETRAIN_UPDATES:-200000}
  options=(--arch transformer_wmt_en_de --share-all-embeddings --dropout 0.1 --attention-dropout 0.1
    --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam --adam-betas '(0.9, 0.998)'
    --lr 0.00099 --lr-scheduler inverse_sqrt --warmup-updates 8000 --warmup-init-lr 1e-7
    --max-tokens 4096 --update-freq "$(update_freq 4096)")
else
  # appendix B.2: SGD from 1, halved at 170,000 updates and every 17,000 after; 128 sentences an update
  updates=${PRETRAIN_UPDATES:-340000}
  rates=$(python -c 'print({"1": 1.0, **{str(170000 + 17000 * i): 0.5 ** (i + 1) for i in range(10)}})')
  options=(--arch lstm --encoder-bidirectional --encoder-layers 4 --decoder-layers 4 --dropout 0.2
    --encoder-embed-dim 1024 --encoder-hidden-size 1024
    --decoder-embed-dim 1024 --decoder-hidden-size 1024 --decoder-out-embed-dim 1024
    --criterion cross_entropy --sentence-avg --optimizer sgd --lr 1 --lr-scheduler manual --update2lr "$rates"
    --clip-norm 5 --batch-size $((128 / (GPUS > 0 ? GPUS : 1))))
fi
for direction in ${DIRECTIONS:-en-de de-en}; do
  folder=$(pretraining "${direction%-*}" "${direction#*-}")
  if finished "$folder" "$updates"; then echo "$folder has reached update $updates"; else
    mend "$folder"
    # shellcheck disable=SC2046,SC2086  # options are words
    fairseq-train "$BIN" --task translation -s "${direction%-*}" -t "${direction#*-}" "${options[@]}" \
      --max-update "$updates" $(train_options "$folder") $PRETRAIN_EXTRA
    whole "$folder/finished" echo "$updates"
  fi
  average "$folder"
done
