# shellcheck shell=bash
# Settings shared by the numbered scripts; every one can be set in the environment.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$HERE/../whole.sh"
SRC=${SRC:-en}                       # SRC=de TGT=en trains the other direction
TGT=${TGT:-de}
ARCH=${ARCH:-transformer}            # transformer, lstm
WORK=${WORK:-multi30k-work}          # everything is written below this folder
DATA=${DATA:-}                       # folder with {train,val,test_2016_flickr}.{en,de}.gz; empty: download
CHECKPOINTS=${CHECKPOINTS:-}         # folder with en-de.pt, de-en.pt (of ARCH), dict.txt, bpe.codes; empty: pretrain
SEED=${SEED:-1}
MERGES=${MERGES:-6000}
CONVERGE=${CONVERGE:-800}            # updates that bring the networks to convergence before anything is compared; 0: none
MAX_TOKENS=${MAX_TOKENS:-1000}
NOISE_UPDATES=${NOISE_UPDATES:-40}
MAX_UPDATE=${MAX_UPDATE:-1040}
OBJECTIVE=${OBJECTIVE:-ami}          # ami, mmi, mmi-fixed, mle
EXTRA=${EXTRA:-}                     # further options of fairseq-train
HALF=${HALF:-}                       # a or b: networks trained on this half of the text play on the other one (halves.sh)
LABELS=${LABELS:-}                   # so many pairs have a translation, and of all others the networks see the source alone (labels.sh)
LAYERS=${LAYERS:-4}                  # of the encoder, and of the decoder, of a Transformer that is trained here
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

case $ARCH in
  transformer) KIND= ;;              # in the names of what an architecture writes
  lstm) KIND=lstm. ;;
  *) stop "ARCH=$ARCH: choose transformer or lstm" ;;
esac
# shellcheck disable=SC2034  # read by the scripts
TEXT=$WORK/text
WHOLE=$WORK/bin
BIN=$WHOLE                           # what is played on
PRETRAIN_BIN=$WHOLE                  # what the networks are trained on before
if [ -n "$HALF" ]; then
  case $HALF in
    a) OTHER=b ;;
    b) OTHER=a ;;
    *) stop "HALF=$HALF: choose a or b" ;;
  esac
  [ -z "$CHECKPOINTS" ] || stop "CHECKPOINTS were trained on the whole text: leave it empty with HALF"
  # shellcheck disable=SC2034  # read by 2_pretrain.sh
  PRETRAIN_BIN=$WORK/halves/$HALF BIN=$WORK/halves/$OTHER KIND=$KIND$HALF$SEED.
fi
if [ -n "$LABELS" ]; then
  [[ $LABELS =~ ^[1-9][0-9]*$ ]] || stop "LABELS=$LABELS: give a number of pairs"
  [ -z "$CHECKPOINTS$HALF" ] || stop "LABELS: leave CHECKPOINTS and HALF empty, for their networks have seen other pairs"
  # shellcheck disable=SC2034  # read by 2_pretrain.sh
  PRETRAIN_BIN=$WORK/labels/$LABELS BIN=$WORK/labels/$LABELS KIND=$KIND$LABELS.$SEED.
fi
BIN=${PLAY:-$BIN}                     # PLAY: other binary data of the same dictionary, such as pairs that a network has written
RUN=${RUN:-$WORK/$KIND$SRC-$TGT.$OBJECTIVE.$SEED}
USER_DIR=$(fairseq-ami user-dir)
mkdir -p "$WORK"

# network $1-$2 by maximum likelihood, and the same brought to convergence: where every objective begins
given() { if [ -n "$CHECKPOINTS" ]; then echo "$CHECKPOINTS/$1-$2.pt"; else echo "$WORK/mle.$KIND$1-$2/checkpoint_best.pt"; fi; }
pretrained() { if [ "$CONVERGE" -gt 0 ]; then echo "$WORK/converged.$KIND$1-$2/checkpoint_best.pt"; else given "$1" "$2"; fi; }

train_pair() {  # the minimax, up to update $1; called again it resumes
  # shellcheck disable=SC2086
  fairseq-train "$BIN" --user-dir "$USER_DIR" --task ami_translation -s "$SRC" -t "$TGT" \
    --arch "ami_$ARCH" --criterion ami_minimax --optimizer ami_phased --objective "$OBJECTIVE" \
    --forward-checkpoint "$(pretrained "$SRC" "$TGT")" --backward-checkpoint "$(pretrained "$TGT" "$SRC")" \
    --noise-updates "$NOISE_UPDATES" --label-smoothing 0.1 --max-tokens "$MAX_TOKENS" --seed "$SEED" \
    --max-update "$1" --save-dir "$RUN" --log-interval 20 --log-format simple --log-file "$RUN.log" \
    --validate-interval-updates 250 --save-interval-updates 250 --keep-interval-updates 1 --no-epoch-checkpoints \
    --eval-bleu --eval-bleu-args '{"beam": 5}' --eval-bleu-remove-bpe '@@ ' --eval-tokenized-bleu \
    --best-checkpoint-metric bleu --maximize-best-checkpoint-metric --required-batch-size-multiple 1 --num-workers 1 $EXTRA
}
