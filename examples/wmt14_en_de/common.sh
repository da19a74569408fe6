# shellcheck shell=bash
# Settings shared by the numbered scripts; every one can be set in the environment.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$HERE/../whole.sh"
WORK=${WORK:-wmt14-work}             # everything is written below this folder
DATA=${DATA:-}                       # folder with {train,valid,test}.{en,de}, gzipped or not; empty: download WMT14
SRC=${SRC:-en} TGT=${TGT:-de}        # SRC=de TGT=en plays the game the other way round
ARCH=${ARCH:-transformer}            # or lstm: 4 layers of 1024, bi-directional encoder
SEED=${SEED:-1}

MERGES=${MERGES:-32000}              # joined byte-pair encoding
MAX_LENGTH=${MAX_LENGTH:-250} MAX_RATIO=${MAX_RATIO:-1.5}  # of a training pair, in tokens
DEDUP=${DEDUP:-0}                    # 1: leave out training pairs that were there before
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 4)}  # processes that prepare the data

GPUS=${GPUS:-8}                      # 0: the CPU, in single precision
PRECISION=${PRECISION:-fp16}         # or fp32
PRETRAIN_UPDATES=${PRETRAIN_UPDATES:-}  # empty: those of the paper
PRETRAIN_EXTRA=${PRETRAIN_EXTRA:-}   # further options of fairseq-train in 4_pretrain.sh: a later option overrules an earlier one
OBJECTIVE=${OBJECTIVE:-ami}          # ami, mmi, mmi-fixed, mle
NOISE_UPDATES=${NOISE_UPDATES:-5000}
PHASE_CYCLE=${PHASE_CYCLE:-noise=4,forward=8,backward=8}
MAX_UPDATE=${MAX_UPDATE:-55000}
MAX_TOKENS=${MAX_TOKENS:-2048}       # of a batch of the game, on one GPU
BATCH_TOKENS=${BATCH_TOKENS:-32768}  # of an update, on all GPUs
SAVE_INTERVAL=${SAVE_INTERVAL:-1000}
EXTRA=${EXTRA:-}                     # further options of fairseq-train in 5_ami.sh
AVERAGE=${AVERAGE:-5}                # checkpoints to average
BEAM=${BEAM:-4} LENPEN=${LENPEN:-0.6}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

# shellcheck disable=SC2034  # read by the scripts
RAW=$WORK/raw TOK=$WORK/tok CLEAN=$WORK/clean TEXT=$WORK/text BIN=$WORK/bin
RUN=${RUN:-$WORK/$ARCH.$SRC-$TGT.$OBJECTIVE.$SEED}

for tool in fairseq-ami fairseq-train sacremoses subword-nmt sacrebleu python; do
  command -v "$tool" > /dev/null || stop "no $tool on the PATH: activate the environment first (source .venv/bin/activate)"
done
case "$SRC-$TGT" in en-de | de-en) ;; *) stop "SRC=$SRC TGT=$TGT: the languages are en and de" ;; esac
case "$ARCH" in transformer | lstm) ;; *) stop "ARCH=$ARCH: choose transformer or lstm" ;; esac
case "$PRECISION" in fp16 | fp32) ;; *) stop "PRECISION=$PRECISION: choose fp16 or fp32 (bf16: config/ami.yaml)" ;; esac
USER_DIR=$(fairseq-ami user-dir)
mkdir -p "$WORK"

# the raw file of split $1 in language $2
raw() {
  local ending
  for ending in "" .gz; do
    if [ -s "${DATA:-$RAW}/$1.$2$ending" ]; then echo "${DATA:-$RAW}/$1.$2$ending"; return; fi
  done
  if [ -n "$DATA" ]; then stop "DATA=$DATA has no $1.$2, gzipped or not"; fi
  stop "there is no $RAW/$1.$2: run 1_download.sh, or set DATA to a folder with {train,valid,test}.{en,de}"
}

lines() { wc -l < "$1"; }

# The common part of all trainings: workers, precision, checkpoints. $1: save folder.
train_options() {
  echo "--user-dir $USER_DIR --seed $SEED --save-dir $1 --save-interval-updates $SAVE_INTERVAL --no-epoch-checkpoints"
  echo "--keep-interval-updates $AVERAGE --validate-interval-updates $SAVE_INTERVAL --log-format simple --num-workers 1"
  if [ "$GPUS" -eq 0 ]; then echo "--cpu"; return; fi
  echo "--distributed-world-size $GPUS --ddp-backend legacy_ddp"
  if [ "$PRECISION" = fp16 ]; then echo "--fp16 --fp16-no-flatten-grads"; fi
}

# --update-freq that makes updates of BATCH_TOKENS out of $1 tokens a GPU
update_freq() { local all=$(($1 * (GPUS > 0 ? GPUS : 1))); echo $(((BATCH_TOKENS + all - 1) / all)); }

# A kill may leave half a checkpoint_last.pt: the newest whole checkpoint then takes its place.
mend() { python -c 'import sys; from fairseq_ami.checkpoints import restore_path
restore_path(sys.argv[1], "checkpoint_last.pt")' "$1"; }

# Whether the run in folder $1 has reached update $2: fairseq-train, called again, would make one update more.
finished() { [ -s "$1/finished" ] && [ "$(cat "$1/finished")" -ge "$2" ]; }

# mean of the last AVERAGE checkpoints of the run $1 -> $1/average.pt; anew when the run went on
average() {
  if [ -s "$1/average.pt" ] && [ ! "$1/checkpoint_last.pt" -nt "$1/average.pt" ]; then return; fi
  fairseq-ami average --inputs "$1" --num-update-checkpoints "$AVERAGE" --output "$1/average.pt" --overwrite
}

pretraining() { echo "$WORK/$ARCH.mle.$1-$2.$SEED"; }  # the folder of network $1-$2
