#!/usr/bin/env bash
# Few labels: LABELS pairs, drawn at random, keep their translation; of all others the source alone is kept, as `mono`, in
# either language. LABELS=5000 ./2_pretrain.sh then trains on those pairs, and 9_few_labels.sh compares what to do with the rest.
# Validation and test sets, subwords and dictionary are those of 1_prepare.sh, which comes first.
. "$(dirname "$0")/common.sh"
SPLIT_SEED=${SPLIT_SEED:-1}
[ -n "$LABELS" ] || stop "set LABELS to the number of pairs that keep their translation, such as 5000"
[ -s "$WHOLE/dict.$SRC.txt" ] || stop "there is no $WHOLE: run 1_prepare.sh first"
[ "$LABELS" -lt "$(wc -l < "$TEXT/train.en")" ] || stop "LABELS=$LABELS: the training text has no more pairs than that"

lines() {  # train or mono, language: its lines of the training text, in their order
  python3 - "$1" "$SPLIT_SEED" "$LABELS" "$TEXT/train.$2" <<'PY'
import random
import sys

part, seed, labels, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with open(path, encoding="utf-8") as file:
    text = file.read().splitlines()
labelled = set(random.Random(seed).sample(range(len(text)), labels))
sys.stdout.writelines(line + "\n" for i, line in enumerate(text) if (i in labelled) == (part == "train"))
PY
}

if [ ! -s "$BIN/dict.en.txt" ]; then
  rm -rf "$BIN.tmp"
  mkdir -p "$BIN.tmp/text"
  for part in train mono; do for lang in en de; do lines "$part" "$lang" > "$BIN.tmp/text/$part.$lang"; done; done
  for pair in "en de" "de en"; do
    read -r src tgt <<< "$pair"
    fairseq-preprocess --only-source -s "$src" -t "$tgt" --srcdict "$WHOLE/dict.$src.txt" --trainpref "$BIN.tmp/text/mono" \
      --destdir "$BIN.tmp/mono" --workers 1
    for ending in bin idx; do
      mv "$BIN.tmp/mono/train.$src-$tgt.$src.$ending" "$BIN.tmp/mono.$src-$tgt.$src.$ending"
    done
    rm -r "$BIN.tmp/mono"
  done
  fairseq-preprocess -s en -t de --trainpref "$BIN.tmp/text/train" --srcdict "$WHOLE/dict.en.txt" \
    --tgtdict "$WHOLE/dict.de.txt" --destdir "$BIN.tmp" --workers 1
  cp "$WHOLE"/valid.en-de.* "$WHOLE"/test.en-de.* "$BIN.tmp"
  mv "$BIN.tmp" "$BIN"
fi
echo "labels: $BIN ($(wc -l < "$BIN/text/train.en") pairs, $(wc -l < "$BIN/text/mono.en") sources)"
