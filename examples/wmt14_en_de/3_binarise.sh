#!/usr/bin/env bash
# Joined byte-pair encoding and one dictionary for both languages; the binary data serves both directions.
. "$(dirname "$0")/common.sh"
[ -s "$CLEAN/train.en" ] || stop "there is no $CLEAN/train.en: run 2_clean.sh first"
mkdir -p "$TEXT"
codes=$TEXT/bpe.codes
learn() { cat "$CLEAN"/train.{en,de} | subword-nmt learn-bpe -s "$MERGES"; }
segment() { subword-nmt apply-bpe -c "$codes" --num-workers "$JOBS" < "$1"; }
[ -s "$codes" ] || whole "$codes" learn
for split in train valid test; do for lang in en de; do
  from=$TOK; [ "$split" != train ] || from=$CLEAN
  [ -s "$TEXT/$split.$lang" ] || whole "$TEXT/$split.$lang" segment "$from/$split.$lang"
done; done
if [ ! -d "$BIN" ]; then
  rm -rf "$BIN.tmp"
  fairseq-preprocess -s en -t de --joined-dictionary --trainpref "$TEXT/train" --validpref "$TEXT/valid" \
    --testpref "$TEXT/test" --destdir "$BIN.tmp" --workers "$JOBS"
  mv "$BIN.tmp" "$BIN"
fi
echo "binary data: $BIN, $(lines "$BIN/dict.en.txt") symbols"
