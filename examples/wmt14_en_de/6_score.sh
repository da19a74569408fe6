#!/usr/bin/env bash
# newstest2014 with the networks before and after (averaged): sacreBLEU of the detokenised text, and the compound-split
# BLEU on tokens that older papers report.
. "$(dirname "$0")/common.sh"
references=$(raw test "$TGT")
average "$RUN"
# wmt14/full where the text was downloaded; else the test set of DATA
TESTSET=${TESTSET-$([ -n "$DATA" ] || echo wmt14/full)}
cpu=(); [ "$GPUS" -gt 0 ] || cpu=(--cpu)
half=(); [ "$GPUS" -eq 0 ] || [ "$PRECISION" = fp32 ] || half=(--fp16)
reference() { case "$references" in *.gz) gzip -dc "$references" ;; *) cat "$references" ;; esac; }
whole "$RUN/reference.$TGT" reference

generate() {  # checkpoint
  fairseq-generate "$BIN" --user-dir "$USER_DIR" --task translation -s "$SRC" -t "$TGT" --path "$1" --beam "$BEAM" \
    --lenpen "$LENPEN" --max-tokens 8000 --remove-bpe --required-batch-size-multiple 1 --seed "$SEED" "${cpu[@]}" "${half[@]}"
}
# fairseq-generate goes by length: back into the order of the text
detokenised() { grep '^H-' "$1" | sed 's/^H-//' | sort -n | cut -f3 | sacremoses -l "$TGT" -q detokenize; }

score() {  # name, checkpoint
  [ -s "$2" ] || stop "there is no $2: run the scripts before this one first"
  local out=$RUN/$1
  if [ ! -s "$out.$TGT" ] || [ "$2" -nt "$out.$TGT" ]; then
    whole "$out.log" generate "$2"
    whole "$out.$TGT" detokenised "$out.log"
  fi
  [ "$(lines "$out.$TGT")" -eq "$(lines "$RUN/reference.$TGT")" ] || stop "$out.$TGT has not as many lines as the reference"
  printf '%s\t' "$1"
  if [ -n "$TESTSET" ]; then sacrebleu -t "$TESTSET" -l "$SRC-$TGT" -i "$out.$TGT" -m bleu --format text
  else sacrebleu "$RUN/reference.$TGT" -i "$out.$TGT" -m bleu --format text; fi
  printf '%s, compounds split\t' "$1"
  python "$HERE/compound_split_bleu.py" "$RUN/reference.$TGT" "$out.$TGT" --language "$TGT"
}
score before "$(pretraining "$SRC" "$TGT")/average.pt"
score after "$RUN/average.pt"
