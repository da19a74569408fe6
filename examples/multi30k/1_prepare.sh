#!/usr/bin/env bash
# Raw captions -> tokens -> subwords -> binary. Takes the folder DATA, or downloads Multi30k task 1.
. "$(dirname "$0")/common.sh"
URL=https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw
if [ -z "$DATA" ]; then
  DATA=$WORK/raw
  mkdir -p "$DATA"
  for split in train val test_2016_flickr; do for lang in en de; do
    [ -s "$DATA/$split.$lang.gz" ] || whole "$DATA/$split.$lang.gz" curl -fsSL "$URL/$split.$lang.gz"
  done; done
fi
mkdir -p "$TEXT"
tokens() { gzip -dc "$1" | sacremoses -l "$2" -q tokenize -a; }
for split in train val test_2016_flickr; do for lang in en de; do
  file=$DATA/$split.$lang.gz
  [ -s "$file" ] || stop "there is no $file; set DATA to the folder of the raw files"
  [ -s "$TEXT/$split.tok.$lang" ] || whole "$TEXT/$split.tok.$lang" tokens "$file" "$lang"
done; done

codes=$TEXT/bpe.codes
learn() { cat "$TEXT"/train.tok.{en,de} | subword-nmt learn-bpe -s "$MERGES"; }
segment() { subword-nmt apply-bpe -c "$codes" < "$1"; }
if [ -n "$CHECKPOINTS" ]; then
  cp "$CHECKPOINTS/bpe.codes" "$codes"  # the subwords that the checkpoints were trained with
elif [ ! -s "$codes" ]; then
  whole "$codes" learn
fi
for split in train val test_2016_flickr; do for lang in en de; do
  [ -s "$TEXT/$split.$lang" ] || whole "$TEXT/$split.$lang" segment "$TEXT/$split.tok.$lang"
done; done

if [ ! -s "$WHOLE/dict.en.txt" ] || [ ! -s "$WHOLE/test.en-de.de.idx" ]; then
  dictionaries=(--joined-dictionary)
  [ -z "$CHECKPOINTS" ] || dictionaries=(--srcdict "$CHECKPOINTS/dict.txt" --tgtdict "$CHECKPOINTS/dict.txt")
  rm -rf "$WHOLE"
  fairseq-preprocess -s en -t de --trainpref "$TEXT/train" --validpref "$TEXT/val" --testpref "$TEXT/test_2016_flickr" \
    "${dictionaries[@]}" --destdir "$WHOLE.tmp" --workers 1
  mv "$WHOLE.tmp" "$WHOLE"
fi
echo "binary data: $WHOLE"
