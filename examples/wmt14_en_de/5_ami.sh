#!/usr/bin/env bash
# The noise stage and the minimax (or MMI, or continued maximum likelihood: OBJECTIVE), from the averaged networks.
# Called again, it goes on where it stopped.
. "$(dirname "$0")/common.sh"
forward=$(pretraining "$SRC" "$TGT")/average.pt backward=$(pretraining "$TGT" "$SRC")/average.pt
if [ ! -e "$RUN/checkpoint_last.pt" ]; then
  for file in "$forward" "$backward"; do [ -s "$file" ] || stop "there is no $file: run 4_pretrain.sh first"; done
fi
if finished "$RUN" "$MAX_UPDATE"; then echo "$RUN has reached update $MAX_UPDATE"; exit 0; fi
mkdir -p "$RUN"
[ "$OBJECTIVE" = ami ] || NOISE_UPDATES=0
# shellcheck disable=SC2046,SC2086  # options are words
fairseq-train "$BIN" --task ami_translation -s "$SRC" -t "$TGT" --arch "ami_${ARCH}_wmt_en_de" \
  --forward-checkpoint "$forward" --backward-checkpoint "$backward" \
  --criterion ami_minimax --objective "$OBJECTIVE" --optimizer ami_phased --label-smoothing 0.1 --noise-lambda 0.1 \
  --noise-updates "$NOISE_UPDATES" --phase-cycle "$PHASE_CYCLE" --max-update "$MAX_UPDATE" \
  --max-tokens "$MAX_TOKENS" --update-freq "$(update_freq "$MAX_TOKENS")" --required-batch-size-multiple 1 \
  --eval-bleu --eval-bleu-args "{\"beam\": $BEAM, \"lenpen\": $LENPEN}" --eval-bleu-remove-bpe '@@ ' \
  --eval-bleu-detok moses --best-checkpoint-metric bleu --maximize-best-checkpoint-metric \
  --log-file "$RUN.log" $(train_options "$RUN") $EXTRA
whole "$RUN/finished" echo "$MAX_UPDATE"
