#!/usr/bin/env bash
# Yahoo Answers (the 100k split of Yang et al. 2017) -> binary data. There is no download that can be relied on: DATA is a
# folder with {train,valid,test}.txt[.gz], one document a line, tokenised; TOKENIZE=1 lower-cases and tokenises raw text.
CORPUS=yahoo
. "$(dirname "$0")/../_vae/common.sh"
[ -n "$DATA$TRAIN" ] || stop "set DATA to a folder with train.txt, valid.txt and test.txt: Yahoo's text cannot be downloaded"
options=(--max-words "${MAX_WORDS:-199}")
[ -z "${TOKENIZE:-}" ] || options+=(--lower --tokenize en)
for split in train valid test; do
  given=${split^^}
  file=$(raw "$split" "${!given}" "yahoo.$split.txt" "$split.txt")
  clean "$split" "$file" "${options[@]}"
done
binarise --nwordssrc "${VOCABULARY:-20000}"
