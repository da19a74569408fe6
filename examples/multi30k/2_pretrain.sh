#!/usr/bin/env bash
# Maximum likelihood in both directions with stock fairseq (skipped where CHECKPOINTS gives the networks), then CONVERGE updates
# with a rate that falls to 0: whatever still improves by itself would be counted for the objective that comes next.
# Called again, it goes on where it stopped. PAIRS="en de" takes one direction only.
. "$(dirname "$0")/common.sh"
EPOCHS=${EPOCHS:-25}
PAIRS=${PAIRS:-en de,de en}
case $ARCH in  # of the first stage: the peak of the rate, updates until then
  transformer) LR=${LR:-0.005} WARMUP=${WARMUP:-1000} ;;
  lstm) LR=${LR:-0.002} WARMUP=${WARMUP:-400} ;;
esac

network() {  # options of the networks of ARCH
  if [ "$ARCH" = lstm ]; then
    echo "--arch lstm --encoder-bidirectional --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 256 --decoder-embed-dim 256"
    echo "--encoder-hidden-size 256 --decoder-hidden-size 256 --decoder-out-embed-dim 256 --clip-norm 1"
  else
    echo "--arch transformer --encoder-layers $LAYERS --decoder-layers $LAYERS --encoder-embed-dim 128 --decoder-embed-dim 128"
    echo "--encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256 --encoder-attention-heads 4 --decoder-attention-heads 4"
    echo "--encoder-normalize-before --decoder-normalize-before"
  fi
}

maximum_likelihood() {  # source, target, folder, further options
  local src=$1 tgt=$2 folder=$3; shift 3
  # shellcheck disable=SC2046
  fairseq-train "$PRETRAIN_BIN" --user-dir "$USER_DIR" --task translation -s "$src" -t "$tgt" $(network) \
    --share-all-embeddings --dropout 0.3 \
    --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam --adam-betas '(0.9, 0.98)' \
    --max-tokens 4096 --seed "$SEED" --save-dir "$folder" --no-epoch-checkpoints --num-workers 1 --log-format simple "$@" < /dev/null
}

tr ',' '\n' <<< "$PAIRS" | while read -r src tgt; do
  if [ -n "$CHECKPOINTS" ]; then
    echo "taking the network $CHECKPOINTS/$src-$tgt.pt"
  else
    maximum_likelihood "$src" "$tgt" "$WORK/mle.$KIND$src-$tgt" \
      --lr "$LR" --lr-scheduler inverse_sqrt --warmup-updates "$WARMUP" --max-epoch "$EPOCHS"
  fi
  [ "$CONVERGE" -gt 0 ] || continue
  maximum_likelihood "$src" "$tgt" "$WORK/converged.$KIND$src-$tgt" --finetune-from-model "$(given "$src" "$tgt")" \
    --lr 0.001 --lr-scheduler polynomial_decay --warmup-updates 50 --total-num-update "$CONVERGE" --max-update "$CONVERGE"
done
