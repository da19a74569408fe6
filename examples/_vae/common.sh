# shellcheck shell=bash
# What the recipes of the text VAEs share. A recipe's script says `CORPUS=name`, sources this file, and calls a function.
# Every setting can be set in the environment.
set -euo pipefail
VAE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORK=${WORK:-$CORPUS-work}           # everything is written below this folder
DATA=${DATA:-}                       # folder with the raw text; empty: download, where that is possible
TRAIN=${TRAIN:-} VALID=${VALID:-} TEST=${TEST:-}  # or single files instead of those in DATA
LIMIT=${LIMIT:-0}                     # take only the first so many sentences of each split; 0: all
SEED=${SEED:-1}
MAX_EPOCH=${MAX_EPOCH:-40}
ALPHA=${ALPHA:-2}                    # weight of the mutual information in vae-mine
EXTRA=${EXTRA:-}                     # further overrides, such as "++common.bf16=true ++common.fp16_no_flatten_grads=true"
EVAL=${EVAL:-}                       # further options of fairseq-ami vae-eval, such as "--iw-samples 50 --samples 10000"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
ROWS="lstm-lm vae vae-bow infovae cyclical lagging vae-mine"

. "$VAE/../whole.sh"
for tool in fairseq-ami fairseq-preprocess fairseq-hydra-train python; do
  command -v "$tool" > /dev/null || stop "no $tool on the PATH: activate the environment first (source .venv/bin/activate)"
done
mkdir -p "$WORK"
WORK=$(cd "$WORK" && pwd)            # hydra changes the folder
TEXT=$WORK/text
BIN=$WORK/bin

# the raw file of split $1: the file $2 if it is set, else the first of the names $3... in DATA, gzipped or not
raw() {
  local split=$1 given=$2 name ending; shift 2
  if [ -n "$given" ]; then
    [ -s "$given" ] || stop "there is no file $given for the split $split"
    echo "$given"; return
  fi
  for name in "$@"; do for ending in "" .gz; do
    if [ -s "$DATA/$name$ending" ]; then echo "$DATA/$name$ending"; return; fi
  done; done
  stop "DATA=$DATA has no $split text: none of $*, gzipped or not"
}

# raw file $2 -> $TEXT/$1, unless it is there; further options of prepare.py
clean() {
  local split=$1 file=$2; shift 2
  mkdir -p "$TEXT"
  [ -s "$TEXT/$split" ] || python "$VAE/prepare.py" "$file" "$TEXT/$split" --limit "$LIMIT" "$@"
}

binarise() {  # $TEXT/{train,valid,test} -> $BIN; further options of fairseq-preprocess
  if [ ! -s "$BIN/test.idx" ]; then
    rm -rf "$BIN" "$BIN.tmp"
    fairseq-preprocess --only-source --trainpref "$TEXT/train" --validpref "$TEXT/valid" --testpref "$TEXT/test" \
      --destdir "$BIN.tmp" --workers 1 "$@"
    mv "$BIN.tmp" "$BIN"
  fi
  echo "binary data: $BIN"
}

have_data() { [ -s "$BIN/dict.txt" ] || stop "there is no data in $BIN: run 1_prepare.sh first, with the same WORK"; }

check_row() { [[ " $ROWS " == *" $1 "* ]] || stop "there is no row '$1': choose from $ROWS"; }

# rows that were named, or else all that have been trained
trained() {
  local row rows=${*:-$ROWS}
  for row in "${@:-}"; do
    [ -n "$row" ] || continue
    check_row "$row"
    [ -s "$WORK/$row/checkpoint_best.pt" ] || stop "$row is not trained: there is no $WORK/$row/checkpoint_best.pt"
  done
  for row in $rows; do [ ! -s "$WORK/$row/checkpoint_best.pt" ] || echo "$row"; done
}

train() {  # one row, up to MAX_EPOCH; called again it goes on where it stopped
  [ $# = 1 ] || stop "name one row: $ROWS"
  check_row "$1"
  have_data
  local run=$WORK/$1 own=()
  [ "$1" != vae-mine ] || own=("criterion.mi_weight=$ALPHA")
  mkdir -p "$run"
  # shellcheck disable=SC2086
  fairseq-hydra-train --config-dir "$VAE/config" --config-name base "+row=$1" "common.user_dir='$(fairseq-ami user-dir)'" \
    "task.data='$BIN'" "checkpoint.save_dir='$run'" "hydra.run.dir='$run/hydra'" "common.seed=$SEED" \
    "optimization.max_epoch=$MAX_EPOCH" "${own[@]}" $EXTRA 2>&1 | tee -a "$WORK/$1.log"
}

evaluate() {  # the test set's figures of rows into $WORK/eval; what is newer than its checkpoint is left as it is
  have_data
  mkdir -p "$WORK/eval"
  local row rows
  rows=$(trained "$@")
  [ -n "$rows" ] || stop "nothing is trained below $WORK: run 2_train.sh ROW first"
  for row in $rows; do
    local checkpoint=$WORK/$row/checkpoint_best.pt figures=$WORK/eval/$row.json
    if [ "$figures" -nt "$checkpoint" ]; then echo "$row: $figures is there"; continue; fi
    # shellcheck disable=SC2086
    fairseq-ami vae-eval "$checkpoint" --data "$BIN" --name "$row" --seed "$SEED" --json "$figures.tmp" $EVAL
    mv "$figures.tmp" "$figures"
  done
}

table() {  # beside the published figures; and KL, MI and AU over updates
  python "$VAE/table.py" --published "$VAE/published/$CORPUS.tsv" --results "$WORK/eval" --output "$WORK/table.md"
  local row logs=() names=()
  for row in $ROWS; do
    if [ "$row" != lstm-lm ] && grep -qs '\[valid\]\[INFO\]' "$WORK/$row.log"; then
      logs+=("$WORK/$row.log") names+=("$row")
    fi
  done
  if [ ${#logs[@]} -gt 0 ]; then
    fairseq-ami plot training "${logs[@]}" --name "${names[@]}" --metrics kl,mi,au,nll --output "$WORK/training.png"
    echo "figure: $WORK/training.png"
  fi
}

look() {  # the latent space of one row (tables 3 to 6 of the paper) and its posterior means in two dimensions
  [ $# = 1 ] || stop "name one row: $ROWS"
  [ "$1" != lstm-lm ] || stop "a language model has no latent space"
  have_data
  trained "$1" > /dev/null
  local checkpoint=$WORK/$1/checkpoint_best.pt from to
  from=$(sed -n "${FROM:-1}p" "$TEXT/test") to=$(sed -n "${TO:-2}p" "$TEXT/test")
  fairseq-ami vae-sample "$checkpoint" --data "$BIN" --reconstruct "${RECONSTRUCT:-test:1-3}" --samples 3 \
    --interpolate "$from" "$to" --neighbours "${NEIGHBOURS:-test:1-3}" --prior "${PRIOR:-5}" --no-unk --seed "$SEED" \
    --markdown --json "$WORK/$1/look.json" > "$WORK/$1/look.md.tmp"
  mv "$WORK/$1/look.md.tmp" "$WORK/$1/look.md"
  cat "$WORK/$1/look.md"
  fairseq-ami plot latent "$checkpoint" --data "$BIN" --output "$WORK/$1/latent.png"
  echo "figure: $WORK/$1/latent.png"
}
