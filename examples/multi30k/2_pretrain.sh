#!/usr/bin/env bash
# Maximum likelihood in both directions with stock fairseq; skipped where CHECKPOINTS gives the networks.
. "$(dirname "$0")/common.sh"
EPOCHS=${EPOCHS:-25}
if [ -n "$CHECKPOINTS" ]; then echo "taking the networks in $CHECKPOINTS"; exit 0; fi
for pair in "en de" "de en"; do
  read -r src tgt <<< "$pair"
  # called again, it goes on where it stopped
  fairseq-train "$BIN" --user-dir "$USER_DIR" --task translation -s "$src" -t "$tgt" --arch transformer \
    --encoder-layers 4 --decoder-layers 4 --encoder-embed-dim 128 --decoder-embed-dim 128 \
    --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256 --encoder-attention-heads 4 --decoder-attention-heads 4 \
    --encoder-normalize-before --decoder-normalize-before --share-all-embeddings --dropout 0.3 \
    --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam --adam-betas '(0.9, 0.98)' \
    --lr 0.005 --lr-scheduler inverse_sqrt --warmup-updates 1000 --max-tokens 4096 --seed "$SEED" \
    --max-epoch "$EPOCHS" --save-dir "$WORK/mle.$src-$tgt" --no-epoch-checkpoints --num-workers 1 --log-format simple
done
