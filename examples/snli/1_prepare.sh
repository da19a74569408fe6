#!/usr/bin/env bash
# SNLI's sentences, lower-cased Moses tokens -> binary data. Takes from DATA SNLI's own files, Flickr30k captions (SNLI's
# premises are such captions) or plain {train,valid,test}.txt[.gz], or downloads SNLI.
CORPUS=snli
. "$(dirname "$0")/../_vae/common.sh"
URL=https://nlp.stanford.edu/projects/snli/snli_1.0.zip
if [ -z "$DATA" ]; then
  DATA=$WORK/raw/snli_1.0
  download "$WORK/raw/snli_1.0.zip" "$URL"
  [ -s "$DATA/snli_1.0_test.jsonl" ] || python -m zipfile -e "$WORK/raw/snli_1.0.zip" "$WORK/raw"
fi
options=(--lower --tokenize en --max-words "${MAX_WORDS:-199}")
test=$(raw test "$TEST" snli_1.0_test.jsonl test_2016_flickr.en test.txt)
valid=$(raw valid "$VALID" snli_1.0_dev.jsonl val.en valid.txt)
train=$(raw train "$TRAIN" snli_1.0_train.jsonl train.en train.txt)
clean test "$test" "${options[@]}"
clean valid "$valid" "${options[@]}" --leave-out "$test"
clean train "$train" "${options[@]}" --leave-out "$valid" "$test"
binarise --nwordssrc "${VOCABULARY:-20000}"
