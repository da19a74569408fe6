#!/usr/bin/env bash
# WMT14 English-German: Europarl v7, Common Crawl, News Commentary v9; newstest2013 and the whole of newstest2014.
. "$(dirname "$0")/common.sh"
if [ -n "$DATA" ]; then echo "taking the text in $DATA"; exit 0; fi
ARCHIVES=$WORK/archives
mkdir -p "$RAW" "$ARCHIVES"
STATMT=${STATMT:-https://www.statmt.org}

corpus() {  # archive's address -> its files *.de-en.en and *.de-en.de, by the names that WMT gave them
  local name=${1##*/}
  [ -s "$ARCHIVES/$name" ] || whole "$ARCHIVES/$name" curl -fsSL --retry 3 "$STATMT/$1" ||
    stop "cannot download $STATMT/$1: set STATMT to a mirror, or DATA to a folder with {train,valid,test}.{en,de}"
  gzip -t "$ARCHIVES/$name" || stop "$ARCHIVES/$name is damaged: remove it and run this again"
}
corpus wmt13/training-parallel-europarl-v7.tgz
corpus wmt13/training-parallel-commoncrawl.tgz
corpus wmt14/training-parallel-nc-v9.tgz  # of WMT14; the later News Commentaries are those of later years

joined() {  # all corpora in language $1; a stray carriage return would be taken for an end of line later
  { tar -xzOf "$ARCHIVES/training-parallel-europarl-v7.tgz" "training/europarl-v7.de-en.$1" &&
    tar -xzOf "$ARCHIVES/training-parallel-commoncrawl.tgz" "commoncrawl.de-en.$1" &&
    tar -xzOf "$ARCHIVES/training-parallel-nc-v9.tgz" "training/news-commentary-v9.de-en.$1"; } | tr -d '\r'
}
for lang in en de; do
  [ -s "$RAW/train.$lang" ] || whole "$RAW/train.$lang" joined "$lang"
done
echo_set() { sacrebleu -t "$1" -l en-de --echo "$2"; }
for side in "src en" "ref de"; do
  read -r field lang <<< "$side"
  [ -s "$RAW/valid.$lang" ] || whole "$RAW/valid.$lang" echo_set wmt13 "$field"
  [ -s "$RAW/test.$lang" ] || whole "$RAW/test.$lang" echo_set wmt14/full "$field"
done
for split in train valid test; do
  en=$(lines "$RAW/$split.en") de=$(lines "$RAW/$split.de")
  [ "$en" -eq "$de" ] || stop "$RAW/$split.en has $en lines and $split.de has $de: remove both and run this again"
  echo "$split: $en pairs"
done
[ "$(lines "$RAW/valid.en")" -eq 3000 ] || stop "newstest2013 has 3000 lines, $RAW/valid.en has not"
[ "$(lines "$RAW/test.en")" -eq 3003 ] || stop "the whole of newstest2014 has 3003 lines, $RAW/test.en has not"
