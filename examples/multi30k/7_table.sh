#!/usr/bin/env bash
# Finished runs that 5_score.sh has scored, side by side: ./7_table.sh NAME=FOLDER ... (WHICH=after: their best checkpoints,
# last: their last ones). BLEU and chrF with signatures, Dist-n, lengths; differences from the first one (best: maximum
# likelihood continued), tested by paired approximate randomisation, adjusted by Holm's method.
# Seeds of one system are one column, as mean and standard deviation: mle:1=FOLDER mle:2=FOLDER ami:1=FOLDER ami:2=FOLDER
. "$(dirname "$0")/common.sh"
WHICH=${WHICH:-after}
METRICS=${METRICS:-bleu,chrf}        # of sacreBLEU: ter as well, which takes longer
[ $# -gt 0 ] || stop "name finished runs, as in: $0 mle=$WORK/$KIND$SRC-$TGT.mle.1 ami=$WORK/$KIND$SRC-$TGT.ami.1"
texts=()
for entry in "$@"; do
  [[ $entry == *=* ]] || stop "$entry: write NAME=FOLDER, or NAME:SEED=FOLDER"
  text=${entry#*=}/$WHICH.$TGT
  [ -s "$text" ] || stop "there is no $text: run 5_score.sh with RUN=${entry#*=} first"
  texts+=("${entry%%=*}=$text")
done
fairseq-ami metrics --references "$TEXT/test.raw.$TGT" --hypotheses "${texts[@]}" --corpus-metrics "$METRICS" --seed "$SEED" \
  --json "$WORK/$KIND$SRC-$TGT.$WHICH.json" --markdown "$WORK/$KIND$SRC-$TGT.$WHICH.md"
echo "table: $WORK/$KIND$SRC-$TGT.$WHICH.md"
