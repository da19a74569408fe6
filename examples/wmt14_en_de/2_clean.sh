#!/usr/bin/env bash
# Raw text -> normalised punctuation, Moses tokens; training pairs by length and ratio. Validation and test stay whole.
. "$(dirname "$0")/common.sh"
mkdir -p "$TOK"
tokens() {  # raw file, language
  local cat=cat; case "$1" in *.gz) cat="gzip -dc" ;; esac
  $cat "$1" | tr -d '\r' | sacremoses -l "$2" -j "$JOBS" -q normalize -c tokenize -a
}
for split in train valid test; do
  for lang in en de; do
    file=$(raw "$split" "$lang")
    [ -s "$TOK/$split.$lang" ] || whole "$TOK/$split.$lang" tokens "$file" "$lang"
  done
  en=$(lines "$TOK/$split.en") de=$(lines "$TOK/$split.de")
  [ "$en" -eq "$de" ] || stop "$split: $en English and $de German lines are no parallel text (remove $TOK after mending it)"
done
if [ ! -d "$CLEAN" ]; then
  rm -rf "$CLEAN.tmp" && mkdir "$CLEAN.tmp"
  duplicates=(); [ "$DEDUP" = 0 ] || duplicates=(--dedup)
  python "$HERE/filter_pairs.py" "$TOK/train" "$CLEAN.tmp/train" --languages en de \
    --max-length "$MAX_LENGTH" --max-ratio "$MAX_RATIO" "${duplicates[@]}"
  mv "$CLEAN.tmp" "$CLEAN"
fi
echo "training pairs: $(lines "$CLEAN/train.en")"
