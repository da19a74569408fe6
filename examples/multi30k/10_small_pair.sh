#!/usr/bin/env bash
# A pair that fits into 6 MB: the converged networks of 2_pretrain.sh without two of their encoder layers, then AMI, which mends
# the little that this costs, then an archive in bfloat16. Comes after 2_pretrain.sh. Called again, it goes on.
. "$(dirname "$0")/common.sh"
GAME_UPDATES=${GAME_UPDATES:-234}     # 10 of the noise network alone, then turns of 1, 10 and 2
NOTES=${NOTES:-$HERE/cards/en-de.md}  # what the card ends with
small=$WORK/small
mkdir -p "$small"
for pair in en-de de-en; do
  [ -s "$small/$pair.pt" ] ||
    python "$HERE/smaller.py" "$(pretrained "${pair%-*}" "${pair#*-}")" "$small/$pair.pt" --encoder-layers 0,2
done
# shellcheck disable=SC2086
fairseq-train "$BIN" --user-dir "$USER_DIR" --task ami_translation -s en -t de --arch ami_transformer \
  --criterion ami_minimax --optimizer ami_phased --objective ami --label-smoothing 0.1 --max-tokens 700 --seed "$SEED" \
  --forward-checkpoint "$small/en-de.pt" --backward-checkpoint "$small/de-en.pt" --noise-updates 10 \
  --phase-cycle noise=1,forward=10,backward=2 --reward-scale running-std --policy-weight 10 --sample-temperature 0.6 \
  --num-samples 4 --max-update "$GAME_UPDATES" --save-dir "$small/pair" --log-interval 13 --log-format simple \
  --disable-validation --save-interval-updates 39 --keep-interval-updates 1 --no-epoch-checkpoints \
  --required-batch-size-multiple 1 --num-workers 0 $EXTRA
fairseq-ami export "$small/pair/checkpoint_last.pt" "$small/multi30k.en-de.tar.gz" --pair --data "$BIN" \
  --bpe-codes "$TEXT/bpe.codes" --tokenizer moses --quantization bfloat16 --notes "$NOTES" --overwrite
