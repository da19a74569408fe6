#!/usr/bin/env bash
# Finished runs that 5_score.sh has scored, side by side: ./7_table.sh NAME=FOLDER ... (WHICH=after: their best checkpoints,
# last: their last ones): sacreBLEU with paired bootstrap against
# the first one (best: maximum likelihood continued), its signature, Dist-n and lengths of the translations; then chrF,
# which varies less than BLEU on a thousand sentences.
. "$(dirname "$0")/common.sh"
WHICH=${WHICH:-after}
[ $# -gt 0 ] || stop "name finished runs, as in: $0 mle=$WORK/$KIND$SRC-$TGT.mle.1 ami=$WORK/$KIND$SRC-$TGT.ami.1"
texts=() files=()
for entry in "$@"; do
  [[ $entry == *=* ]] || stop "$entry: write NAME=FOLDER"
  text=${entry#*=}/$WHICH.$TGT
  [ -s "$text" ] || stop "there is no $text: run 5_score.sh with RUN=${entry#*=} first"
  texts+=("${entry%%=*}=$text") files+=("$text")
done
fairseq-ami metrics --references "$TEXT/test.raw.$TGT" --hypotheses "${texts[@]}" --seed "$SEED" \
  --json "$WORK/$KIND$SRC-$TGT.$WHICH.json" --markdown "$WORK/$KIND$SRC-$TGT.$WHICH.md"
if [ $# -gt 1 ]; then sacrebleu "$TEXT/test.raw.$TGT" -i "${files[@]}" -m chrf --paired-bs --format text; fi
echo "table: $WORK/$KIND$SRC-$TGT.$WHICH.md"
