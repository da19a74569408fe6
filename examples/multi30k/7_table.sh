#!/usr/bin/env bash
# Finished runs that 5_score.sh has scored, side by side: ./7_table.sh NAME=FOLDER ... sacreBLEU with paired bootstrap against
# the first one (best: maximum likelihood continued), its signature, Dist-n and lengths of the translations.
. "$(dirname "$0")/common.sh"
[ $# -gt 0 ] || stop "name finished runs, as in: $0 mle=$WORK/$SRC-$TGT.mle.1 ami=$WORK/$SRC-$TGT.ami.1"
texts=()
for entry in "$@"; do
  [[ $entry == *=* ]] || stop "$entry: write NAME=FOLDER"
  [ -s "${entry#*=}/after.$TGT" ] || stop "there is no ${entry#*=}/after.$TGT: run 5_score.sh with RUN=${entry#*=} first"
  texts+=("$entry/after.$TGT")
done
fairseq-ami metrics --references "$TEXT/test.raw.$TGT" --hypotheses "${texts[@]}" --seed "$SEED" \
  --json "$WORK/$SRC-$TGT.table.json" --markdown "$WORK/$SRC-$TGT.table.md"
echo "table: $WORK/$SRC-$TGT.table.md"
