#!/usr/bin/env bash
# Decode test2016 with the network before, the run's best (by validation BLEU: it may be the first) and its last one, and
# score the detokenised text with sacreBLEU.
. "$(dirname "$0")/common.sh"
BEAM=${BEAM:-5}
raw=${DATA:-$WORK/raw}/test_2016_flickr.$TGT.gz
whole "$TEXT/test.raw.$TGT" gzip -dc "$raw"
detokenised() { grep '^D-' "$1" | sort -V | cut -f3 | sacremoses -l "$TGT" -q detokenize; }

# WHICH="after last" takes some of them
LENPENS=${LENPENS:-}  # such as "0 0.5 1 1.5": then the last network also under the penalty that is best for it on validation

decode() {  # results folder, checkpoint, split, length penalty
  mkdir -p "$RUN"
  fairseq-generate "$BIN" --user-dir "$USER_DIR" -s "$SRC" -t "$TGT" --path "$2" --gen-subset "$3" --lenpen "$4" \
    --beam "$BEAM" --max-tokens 4000 --remove-bpe --required-batch-size-multiple 1 --results-path "$1" > "$1.log" 2>&1
}

score() {  # name, checkpoint, length penalty
  local out=$RUN/$1
  decode "$out.results" "$2" test "${3:-1}"
  whole "$out.$TGT" detokenised "$out.results/generate-test.txt"
  printf '%s\t' "$1"
  sacrebleu "$TEXT/test.raw.$TGT" -i "$out.$TGT" -m bleu --format text
}

tune() {  # name, checkpoint: validation BLEU (tokenised) under each penalty, then the test set under the best
  local out=$RUN/$1 penalty
  for penalty in $LENPENS; do
    decode "$out.results" "$2" valid "$penalty"
    printf '%s\t%s\n' "$(grep -o 'BLEU4 = [0-9.]*' "$out.results/generate-valid.txt" | cut -d' ' -f3)" "$penalty"
  done > "$out.lenpen"
  penalty=$(sort -rg "$out.lenpen" | head -1 | cut -f2)
  echo "$1: length penalty $penalty; validation BLEU and penalties: $(tr '\t\n' ': ' < "$out.lenpen")"
  score "$1" "$2" "$penalty"
}

for which in ${WHICH-before after last}; do
  case $which in
    before) score before "$(pretrained "$SRC" "$TGT")" ;;
    after) score after "$RUN/checkpoint_best.pt" ;;
    last) score last "$RUN/checkpoint_last.pt" ;;
    *) stop "WHICH: $which is not one of before, after, last" ;;
  esac
done
[ -z "$LENPENS" ] || tune tuned "$RUN/checkpoint_last.pt"
