#!/usr/bin/env bash
# Decode test2016 with the network before, the run's best (by validation BLEU: it may be the first) and its last one, and
# score the detokenised text with sacreBLEU.
. "$(dirname "$0")/common.sh"
BEAM=${BEAM:-5}
raw=${DATA:-$WORK/raw}/test_2016_flickr.$TGT.gz
whole "$TEXT/test.raw.$TGT" gzip -dc "$raw"
detokenised() { grep '^D-' "$1" | sort -V | cut -f3 | sacremoses -l "$TGT" -q detokenize; }

score() {  # name, checkpoint
  local out=$RUN/$1
  mkdir -p "$RUN"
  fairseq-generate "$BIN" --user-dir "$USER_DIR" -s "$SRC" -t "$TGT" --path "$2" \
    --beam "$BEAM" --max-tokens 4000 --remove-bpe --required-batch-size-multiple 1 \
    --results-path "$out.results" > "$out.log" 2>&1
  whole "$out.$TGT" detokenised "$out.results/generate-test.txt"
  printf '%s\t' "$1"
  sacrebleu "$TEXT/test.raw.$TGT" -i "$out.$TGT" -m bleu --format text
}

score before "$(pretrained "$SRC" "$TGT")"
score after "$RUN/checkpoint_best.pt"
score last "$RUN/checkpoint_last.pt"
