#!/usr/bin/env bash
# Cross-fitting: the training text is cut at random into two halves, a and b. HALF=a ./2_pretrain.sh then trains networks on
# half a, and HALF=a ./4_minimax.sh plays on half b, whose sentences those networks have never seen. Validation and test sets,
# subwords and dictionary are those of 1_prepare.sh, which comes first.
. "$(dirname "$0")/common.sh"
SPLIT_SEED=${SPLIT_SEED:-1}
[ -s "$WHOLE/dict.$SRC.txt" ] || stop "there is no $WHOLE: run 1_prepare.sh first"
mkdir -p "$WORK/halves"

lines() {  # half, language: its lines of the training text, in their order
  python3 - "$1" "$SPLIT_SEED" "$TEXT/train.$2" <<'PY'
import random
import sys

half, seed, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(path, encoding="utf-8") as file:
    text = file.read().splitlines()
first = set(random.Random(seed).sample(range(len(text)), len(text) // 2))
sys.stdout.writelines(line + "\n" for i, line in enumerate(text) if (i in first) == (half == "a"))
PY
}

for half in a b; do
  for lang in en de; do whole "$WORK/halves/$half.$lang" lines "$half" "$lang"; done
  [ ! -s "$WORK/halves/$half/dict.en.txt" ] || continue
  rm -rf "$WORK/halves/$half.tmp"
  fairseq-preprocess -s en -t de --trainpref "$WORK/halves/$half" --srcdict "$WHOLE/dict.en.txt" \
    --tgtdict "$WHOLE/dict.de.txt" --destdir "$WORK/halves/$half.tmp" --workers 1
  cp "$WHOLE"/valid.en-de.* "$WHOLE"/test.en-de.* "$WORK/halves/$half.tmp"
  mv "$WORK/halves/$half.tmp" "$WORK/halves/$half"
done
echo "halves: $WORK/halves/a, $WORK/halves/b ($(wc -l < "$WORK/halves/a.en") and $(wc -l < "$WORK/halves/b.en") pairs)"
