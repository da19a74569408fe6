#!/usr/bin/env bash
# What to do with sources that nobody has translated: LABELS=5000 ./9_few_labels.sh ROW, after labels.sh and 2_pretrain.sh.
# All rows start from the same networks, which know the labelled pairs only, and run as the rows of 8_rewards.sh do.
#   labels          maximum likelihood goes on with the labelled pairs: the sources are not used
#   self-training   maximum likelihood on the labelled pairs and, in equal number, on P's own beam translations of the other
#                   sources, which are disturbed: noisy self-training (He et al. 2020)
#   mmi             log Q as the reward, on the labelled and the other sources, with a pull to where P began
#   ami             K log Q on the labelled pairs, log Q on the other sources, with that pull; Q learns nothing of the latter
#   ami-cooperative the same, and Q learns from P's translations of the other sources as in back-translation
#   all             maximum likelihood on all pairs: what the translations that are missing would be worth
. "$(dirname "$0")/common.sh"
ROW=${1:-}
[ -n "$LABELS" ] || stop "set LABELS to the number of labels.sh"
[ -s "$WORK/labels/$LABELS/dict.en.txt" ] || stop "there is no $WORK/labels/$LABELS: run LABELS=$LABELS ./labels.sh first"
export LABELS
PSEUDO=$WORK/labels/$LABELS.$SRC-$TGT.$SEED  # pairs of self-training

# The translations that P gives to the sources, beside those sources with one piece in ten left out and the others moved by
# up to three places, and as many labelled pairs: what fairseq-generate wrote, folder of the labelled text, output's prefix.
pairs() {
  python3 - "$1" "$2" "$3" "$SRC" "$TGT" "$SEED" <<'PY'
import itertools
import random
import sys

generated, text, output, src, tgt, seed = sys.argv[1:]
draw = random.Random(int(seed))


def disturbed(line):
    kept = [piece for piece in line.split() if draw.random() >= 0.1] or line.split()
    order = sorted(range(len(kept)), key=lambda i: i + draw.uniform(0, 3))
    return " ".join(kept[i] for i in order)


sources, outputs = {}, {}
with open(generated, encoding="utf-8") as file:
    for line in file:
        name, _, rest = line.rstrip("\n").partition("\t")
        if name.startswith("S-"):
            sources[name[2:]] = rest
        elif name.startswith("H-"):
            outputs[name[2:]] = rest.partition("\t")[2]
pseudo = [(disturbed(sources[key]), outputs[key]) for key in sorted(outputs, key=int) if outputs[key]]
with open(f"{text}/train.{src}", encoding="utf-8") as left, open(f"{text}/train.{tgt}", encoding="utf-8") as right:
    labelled = list(zip(left.read().splitlines(), right.read().splitlines()))
rows = pseudo + list(itertools.islice(itertools.cycle(labelled), len(pseudo)))
for side, lang in enumerate((src, tgt)):
    with open(f"{output}.{lang}", "w", encoding="utf-8") as file:
        file.writelines(row[side] + "\n" for row in rows)
PY
}

write_pairs() {  # of self-training, into $PSEUDO, unless they are there
  [ ! -s "$PSEUDO/dict.$SRC.txt" ] || return 0
  local work=$PSEUDO.tmp
  rm -rf "$work"
  mkdir -p "$work"
  fairseq-generate "$BIN" --user-dir "$USER_DIR" -s "$SRC" -t "$TGT" --path "$(pretrained "$SRC" "$TGT")" --gen-subset mono \
    --beam 5 --max-tokens 4000 --required-batch-size-multiple 1 --results-path "$work/generated"
  pairs "$work/generated/generate-mono.txt" "$BIN/text" "$work/pairs"
  fairseq-preprocess -s "$SRC" -t "$TGT" --trainpref "$work/pairs" --srcdict "$WHOLE/dict.$SRC.txt" \
    --tgtdict "$WHOLE/dict.$TGT.txt" --destdir "$work" --workers 1
  cp "$BIN"/valid.en-de.* "$BIN"/test.en-de.* "$work"
  mv "$work" "$PSEUDO"
}

row() { NAME=$ROW RUN='' bash "$HERE/8_rewards.sh" "$1"; }
others="--unlabelled mono"
case $ROW in
  labels) row mle ;;
  self-training) write_pairs && PLAY=$PSEUDO row mle ;;
  mmi) EXTRA="$others $EXTRA" row mmi-anchor ;;
  ami) EXTRA="$others --unlabelled-backward off $EXTRA" row ami-anchor ;;
  ami-cooperative) EXTRA="$others --unlabelled-backward cooperative $EXTRA" row ami-anchor ;;
  all) PLAY=$WHOLE row mle ;;
  *) stop "name a row: labels, self-training, mmi, ami, ami-cooperative, all" ;;
esac
