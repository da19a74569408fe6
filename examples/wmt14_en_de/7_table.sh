#!/usr/bin/env bash
# Finished runs that 6_score.sh has scored, side by side: ./7_table.sh NAME=FOLDER ... (WHICH=after; before: the networks that
# they started from). BLEU and chrF with signatures, lengths; differences from the first one, tested by paired approximate
# randomisation, adjusted by Holm's method.
# Seeds of one system are one column, as mean and standard deviation: mle:1=FOLDER mle:2=FOLDER ami:1=FOLDER ami:2=FOLDER
. "$(dirname "$0")/common.sh"
WHICH=${WHICH:-after}
METRICS=${METRICS:-bleu,chrf}        # of sacreBLEU: ter as well, which takes longer
[ $# -gt 0 ] || stop "name finished runs, as in: $0 mle=$WORK/$ARCH.$SRC-$TGT.mle.$SEED ami=$WORK/$ARCH.$SRC-$TGT.ami.$SEED"
texts=()
for entry in "$@"; do
  [[ $entry == *=* ]] || stop "$entry: write NAME=FOLDER, or NAME:SEED=FOLDER"
  folder=${entry#*=}
  [ -s "$folder/$WHICH.$TGT" ] || stop "there is no $folder/$WHICH.$TGT: run 6_score.sh with RUN=$folder first"
  texts+=("${entry%%=*}=$folder/$WHICH.$TGT")
done
table=$WORK/$ARCH.$SRC-$TGT.$WHICH
fairseq-ami metrics --references "$folder/reference.$TGT" --hypotheses "${texts[@]}" --corpus-metrics "$METRICS" \
  --seed "$SEED" --json "$table.json" --markdown "$table.md"
echo "table: $table.md"
