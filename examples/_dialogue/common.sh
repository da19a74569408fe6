# shellcheck shell=bash
# What the recipes of dialogue share. A recipe's script says `CORPUS=name`, sources this file, and calls a function.
# Every setting can be set in the environment.
set -euo pipefail
DIALOGUE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORK=${WORK:-$CORPUS-work}           # everything is written below this folder
DATA=${DATA:-}                       # folder with the raw dialogues; empty: download
VECTORS=${VECTORS:-}                 # text file of GloVe or word2vec vectors; empty: trained on the training replies
ARCH=${ARCH:-transformer}            # transformer, lstm
SIZE=${SIZE:-small}                  # tiny, small (CPU), paper
SEED=${SEED:-1}
PREPARE=${PREPARE:---lowercase --threshold 2}  # further options of fairseq-ami dialog-prepare
EPOCHS=${EPOCHS:-20}                 # of the pretraining
OPTIMIZER=${OPTIMIZER:-"--optimizer adam --adam-betas (0.9,0.98) --lr 0.001 --lr-scheduler inverse_sqrt --warmup-updates 1000"}
PRETRAIN=${PRETRAIN:-}               # further options of fairseq-train there
MAX_TOKENS=${MAX_TOKENS:-4000}
# Every row takes CYCLES * FORWARD forward updates; who plays in a row's cycle is in row().
CYCLES=${CYCLES:-50} NOISE=${NOISE:-4} FORWARD=${FORWARD:-8} BACKWARD=${BACKWARD:-8}
NOISE_UPDATES=${NOISE_UPDATES:-40}   # of the noise network alone, before the first cycle of ami
VALID_EVERY=${VALID_EVERY:-100}      # updates between validations
BEST=${BEST:-reply_average}          # what the best checkpoint has most of
CHECKPOINT=${CHECKPOINT:-checkpoint_best.pt}  # whose replies are scored; checkpoint_last.pt: equally many updates for all
MAX_LEN=${MAX_LEN:-40}               # words of a sampled or decoded reply
BEAM=${BEAM:-5}
LENPEN=${LENPEN:-}                   # length penalty of the search; such as 2: its replies and table1 beside those of the default
SEARCH=${SEARCH:---beam 10 --lambda-grid 0.25,0.5,1,2,4,8,16}  # where the candidates of reranking come from; such as "--sampling --sampling-topk 20 --beam 20"
MBR=${MBR---sampling --beam 20}      # where the candidates of minimum Bayes risk come from; empty: no such row
SEEDS=${SEEDS:-}                     # such as "1 2 3": Table 1 of these seeds together, which must all have been scored
TRIALS=${TRIALS:-10000}              # of the approximate randomisation, Table 1; 0: no test
EXTRA=${EXTRA:-}                     # further options of fairseq-train in the rows
REFIT_UPDATES=${REFIT_UPDATES:-200}  # of a backward network on a row's samples, for the bound under the refitted Q
DEVICE=${DEVICE:-}                   # --cpu leaves a GPU alone
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
ARCHS=${ARCHS:-lstm transformer}
ROWS=${ROWS:-mle mmi ami-no-noise ami}  # Table 1
MORE=${MORE-mmi-fixed ami-no-k ami-no-clip ami-no-noise-centred ami-centred ami-no-noise-hinge ami-hinge}  # Table 2, Figure 2, and what helps AMI

. "$DIALOGUE/../whole.sh"
. "$DIALOGUE/others.sh"
for tool in fairseq-ami fairseq-train fairseq-generate python; do
  command -v "$tool" > /dev/null || stop "no $tool on the PATH: activate the environment first (source .venv/bin/activate)"
done
[[ " lstm transformer " == *" $ARCH "* ]] || stop "ARCH=$ARCH: choose from lstm transformer"
BIN=$WORK/bin
RUNS=$WORK/$ARCH.$SEED
TAG=${LENPEN:+.lenpen$LENPEN}        # in the names of what is decoded with it
OUT=$WORK/replies.$SEED$TAG
USER_DIR=$(fairseq-ami user-dir)
mkdir -p "$WORK"

# the files in DATA whose names fit $2..., for split $1, one a line; those of the first pattern that fits
raw() {
  local split=$1 pattern found; shift
  for pattern in "$@"; do
    found=$(find -L "$DATA" -maxdepth 1 -name "$pattern" 2> /dev/null | sort)
    if [ -n "$found" ]; then echo "$found"; return; fi
  done
  stop "DATA=$DATA has no $split dialogues: no file is called $*"
}

prepare() {  # format, files of train, of valid, of test (a file a line) -> $BIN and word vectors
  local train_files valid_files test_files
  mapfile -t train_files <<< "$2"; mapfile -t valid_files <<< "$3"; mapfile -t test_files <<< "$4"
  # shellcheck disable=SC2086
  [ -d "$BIN" ] || fairseq-ami dialog-prepare --format "$1" --train "${train_files[@]}" --valid "${valid_files[@]}" \
    --test "${test_files[@]}" --destdir "$BIN" $PREPARE
  if [ -z "$VECTORS" ] && [ ! -s "$WORK/vectors.txt" ]; then
    python "$DIALOGUE/vectors.py" "$BIN/train.reply" "$WORK/vectors.txt"
  fi
  echo "binary data: $BIN; word vectors: ${VECTORS:-$WORK/vectors.txt}"
}

have_data() {
  [ -s "$BIN/dict.hist.txt" ] || stop "there is no data in $BIN: run 1_prepare.sh first, with the same WORK"
  VECTORS=${VECTORS:-$WORK/vectors.txt}
  [ -s "$VECTORS" ] || stop "there are no word vectors in $VECTORS: run 1_prepare.sh, or set VECTORS to a file"
}

sizes() {  # options of the networks of ARCH and SIZE
  local dim inner layers heads dropout
  case $ARCH.$SIZE in
    transformer.tiny) dim=16 inner=16 layers=1 heads=2 dropout=0.1 ;;
    transformer.small) dim=128 inner=256 layers=3 heads=4 dropout=0.1 ;;
    transformer.paper) dim=512 inner=2048 layers=6 heads=8 dropout=0.1 ;;
    lstm.tiny) dim=16 layers=1 dropout=0.1 ;;
    lstm.small) dim=128 layers=1 dropout=0.3 ;;
    lstm.paper) dim=500 layers=2 dropout=0.3 ;;
    *) stop "SIZE=$SIZE: choose tiny, small or paper" ;;
  esac
  echo "--arch $ARCH --encoder-embed-dim $dim --decoder-embed-dim $dim --encoder-layers $layers --decoder-layers $layers"
  echo "--dropout $dropout --share-all-embeddings"
  if [ "$ARCH" = lstm ]; then
    echo "--encoder-bidirectional --encoder-hidden-size $dim --decoder-hidden-size $dim --decoder-out-embed-dim $dim"
  else
    echo "--encoder-ffn-embed-dim $inner --decoder-ffn-embed-dim $inner --encoder-attention-heads $heads"
    echo "--decoder-attention-heads $heads --encoder-normalize-before --decoder-normalize-before"
  fi
}

pretrain() {  # both networks by maximum likelihood with stock fairseq; called again it goes on where it stopped
  have_data
  local options network data source target
  options=$(sizes)
  while read -r network data source target; do
    # shellcheck disable=SC2086
    fairseq-train "$data" --user-dir "$USER_DIR" --task translation -s "$source" -t "$target" $options \
      --criterion label_smoothed_cross_entropy --label-smoothing 0.1 $OPTIMIZER --clip-norm 1 --max-tokens "$MAX_TOKENS" \
      --max-epoch "$EPOCHS" --seed "$SEED" --save-dir "$RUNS/pretrain.$network" --no-epoch-checkpoints --num-workers 1 \
      --patience 3 --skip-invalid-size-inputs-valid-test --log-format simple $DEVICE $PRETRAIN < /dev/null
  done <<< "forward $BIN hist reply
backward $BIN/backward context last"
}

row() {  # sets OBJECTIVE (options of the row), UPDATES (all of its updates), and BACKWARD of a strong critic
  case $1 in *-hinge) BACKWARD=$FORWARD ;; esac
  local cycle=$((FORWARD + BACKWARD)) strong="--center-cosine --adversarial-weight 1 --fake-loss hinge"
  UPDATES=$((CYCLES * cycle))
  case $1 in
    mle | mmi) OBJECTIVE="--objective $1" ;;
    mmi-fixed) OBJECTIVE="--objective mmi-fixed" UPDATES=$((CYCLES * FORWARD)) ;;
    ami-no-noise) OBJECTIVE="--objective ami --no-latent-noise" ;;
    ami) OBJECTIVE="--objective ami" ;;
    ami-no-k) OBJECTIVE="--objective ami --cosine-multiplier none" ;;
    ami-no-clip) OBJECTIVE="--objective ami --weight-clip-mode none" ;;
    ami-no-noise-centred) OBJECTIVE="--objective ami --no-latent-noise --center-cosine" ;;
    ami-centred) OBJECTIVE="--objective ami --center-cosine" ;;
    ami-no-noise-hinge) OBJECTIVE="--objective ami --no-latent-noise $strong" ;;
    ami-hinge) OBJECTIVE="--objective ami $strong" ;;
    *) stop "there is no row '$1': choose from $ROWS $MORE $OTHERS" ;;
  esac
  case $1 in
    ami | ami-no-k | ami-no-clip | ami-centred | ami-hinge)
      OBJECTIVE="$OBJECTIVE --noise-updates $NOISE_UPDATES"
      UPDATES=$((NOISE_UPDATES + CYCLES * (NOISE + cycle))) ;;
  esac
}

have_networks() {
  local network path
  for network in forward backward; do
    path=$RUNS/pretrain.$network/checkpoint_best.pt
    [ -s "$path" ] || stop "there is no $path: run 2_pretrain.sh first, with the same WORK, ARCH and SEED"
  done
}

# the pair of the pretrained networks in the folder $1; further options of fairseq-train
pair() {
  local folder=$1; shift
  # shellcheck disable=SC2086
  fairseq-train "$BIN" --user-dir "$USER_DIR" --task ami_dialog -s hist -t reply --arch "ami_$ARCH" \
    --forward-checkpoint "$RUNS/pretrain.forward/checkpoint_best.pt" \
    --backward-checkpoint "$RUNS/pretrain.backward/checkpoint_best.pt" \
    --criterion ami_minimax --optimizer ami_phased --phase-cycle "noise=$NOISE,forward=$FORWARD,backward=$BACKWARD" \
    --reward-scale advantage-std --label-smoothing 0.1 --sample-max-len-a 0 --sample-max-len-b "$MAX_LEN" \
    --max-tokens "$MAX_TOKENS" --seed "$SEED" \
    --save-dir "$folder" --no-epoch-checkpoints --required-batch-size-multiple 1 --num-workers 1 --log-format simple \
    --log-interval 20 $DEVICE "$@"
}

train() {  # one row; called again it goes on where it stopped
  [ $# = 1 ] || stop "name one row: $ROWS $MORE $OTHERS"
  local other=
  case " $OTHERS " in *" $1 "*) other=yes ;; *) row "$1" ;; esac
  have_data
  VALIDATION=(
    --validate-interval-updates "$VALID_EVERY" --save-interval-updates "$VALID_EVERY" --keep-interval-updates 1
    --eval-replies --eval-replies-args "{\"beam\": 1, \"max_len_a\": 0, \"max_len_b\": $MAX_LEN}"
    --eval-replies-vectors "$VECTORS" --eval-replies-remove-bpe '@@ '
    --best-checkpoint-metric "$BEST" --maximize-best-checkpoint-metric
  )
  if [ -n "$other" ]; then train_other "$1"; return; fi
  have_networks
  # shellcheck disable=SC2086
  pair "$RUNS/$1" $OBJECTIVE --max-update "$UPDATES" "${VALIDATION[@]}" $EXTRA 2>&1 | tee -a "$RUNS/$1.log"
}

trained() {  # rows of $1 (an architecture) that have a checkpoint
  local row
  for row in $ROWS $MORE; do [ ! -s "$WORK/$1.$SEED/$row/$CHECKPOINT" ] || echo "$row"; done
}

# Candidates of maximum likelihood, reranked by its backward network (MMI-bidi), and its samples by minimum Bayes risk
rerank() {
  have_data
  # shellcheck disable=SC2086
  reranked mle-reranked $SEARCH
  # shellcheck disable=SC2086
  [ -z "$MBR" ] || reranked mle-mbr --mbr $MBR
}

reranked() {  # row, further options of fairseq-ami rerank
  local path=$RUNS/mle/$CHECKPOINT out=$OUT/$ARCH-$1.txt; shift
  [ -s "$path" ] || stop "there is no $path: run 3_train.sh mle first"
  mkdir -p "$OUT"
  if [ "$out" -nt "$path" ]; then echo "$out is there"; return; fi
  # shellcheck disable=SC2086
  fairseq-ami rerank "$BIN" -s hist -t reply --path "$path" --max-len-a 0 --max-len-b "$MAX_LEN" --seed "$SEED" \
    --lenpen "${LENPEN:-1}" --remove-bpe --output "$out" --json "$out.json" "$@" $DEVICE
}

decode() {  # replies of one system to the test set, unless they are newer than its checkpoint
  local name=$1 path=$2 out=$OUT/$1.txt
  if [ "$out" -nt "$path" ]; then return; fi
  # shellcheck disable=SC2086
  fairseq-generate "$BIN" --user-dir "$USER_DIR" --task ami_dialog -s hist -t reply --path "$path" --beam "$BEAM" \
    --max-len-a 0 --max-len-b "$MAX_LEN" --max-tokens 12000 --remove-bpe --required-batch-size-multiple 1 \
    --lenpen "${LENPEN:-1}" --results-path "$OUT/$name.results" $DEVICE > "$OUT/$name.log" 2>&1 || stop "$name: see $OUT/$name.log"
  whole "$out" hypotheses "$OUT/$name.results/generate-test.txt"
}

hypotheses() { grep '^H-' "$1" | sort -V | cut -f3; }  # of fairseq-generate, in the order of the data

systems() {  # sets SYSTEMS to NAME=FILE of all replies in $OUT, in the order of the table
  local arch row name
  SYSTEMS=()
  for arch in $ARCHS; do for row in mle mle-reranked mle-mbr mmi mmi-fixed ami-no-noise ami-no-noise-centred \
    ami-no-noise-hinge ami-no-k ami-no-clip ami ami-centred ami-hinge; do
    [ ! -s "$OUT/$arch-$row.txt" ] || SYSTEMS+=("$arch-$row=$OUT/$arch-$row.txt")
  done; done
  for row in $OTHERS; do for arch in $ARCHS; do
    name=$(ARCH=$arch other_name "$row")
    [[ ! -s $OUT/$name.txt || " ${SYSTEMS[*]} " = *" $name="* ]] || SYSTEMS+=("$name=$OUT/$name.txt")
  done; done
  [ ${#SYSTEMS[@]} -gt 0 ] || stop "there are no replies in $OUT: run 3_train.sh and 5_score.sh first"
}

with_seeds() {  # SYSTEMS of $OUT -> the same of all SEEDS, as NAME:SEED=FILE; rows that a seed lacks are left out
  local entry name seed file runs found=()
  for entry in "${SYSTEMS[@]}"; do
    name=${entry%%=*} runs=()
    for seed in $SEEDS; do
      file=$WORK/replies.$seed$TAG/$name.txt
      if [ -s "$file" ]; then runs+=("$name:$seed=$file"); else echo "$name: no seed $seed, left out"; continue 2; fi
    done
    found+=("${runs[@]}")
  done
  [ ${#found[@]} -gt 0 ] || stop "SEEDS=$SEEDS: no row has replies of all of them: run 5_score.sh with each SEED first"
  SYSTEMS=("${found[@]}")
}

score() {  # Table 1 of everything that is trained
  have_data
  mkdir -p "$OUT"
  local arch row ARCH RUNS
  for arch in $ARCHS; do
    ARCH=$arch RUNS=$WORK/$arch.$SEED
    for row in $(trained "$arch"); do decode "$arch-$row" "$RUNS/$row/$CHECKPOINT"; done
    score_others
  done
  systems
  local table=$WORK/table1$TAG trials=()
  if [ -n "$SEEDS" ]; then with_seeds; table=$WORK/table1.seeds$TAG; fi
  [[ ${SYSTEMS[0]%%[:=]*} = "${SYSTEMS[-1]%%[:=]*}" ]] || trials=(--trials "$TRIALS")  # one system cannot be tested
  fairseq-ami metrics --references "$BIN/test.reply" --source "$BIN/test.hist" --hypotheses "${SYSTEMS[@]}" \
    --vectors "$VECTORS" --vocabulary "$BIN/train.reply" --bootstrap "${BOOTSTRAP:-1000}" "${trials[@]}" \
    --json "$table.json" --markdown "$table.md"
}

information() {  # Table 2 and the bounds of all that is trained, on the test set
  have_data
  local arch row paths start
  for arch in $ARCHS; do
    ARCH=$arch RUNS=$WORK/$arch.$SEED paths=()
    for row in $(trained "$arch"); do paths+=("$row=$RUNS/$row/checkpoint_last.pt"); done
    [ ${#paths[@]} -gt 0 ] || continue
    # the common Q and the frozen samples are those of the pretrained networks: a pair that nothing moves
    start=$RUNS/start/checkpoint_last.pt
    [ -s "$start" ] || pair "$RUNS/start" --objective mle --forward-lr 0 --backward-lr 0 --max-update 1 \
      --disable-validation > "$RUNS/start.log" 2>&1 || stop "see $RUNS/start.log"
    whole "$WORK/table2.$arch.tsv" fairseq-ami bound "$BIN" --path "${paths[@]}" --common-q "$start" \
      --frozen-samples "$start" --vectors "$VECTORS" \
      --remove-bpe --seed "$SEED" --max-tokens 12000 --json "$WORK/table2.$arch.json"
    echo "$arch, bounds and Table 2 (likeness_real - likeness_own is the gap):"
    cat "$WORK/table2.$arch.tsv"
    for row in $(trained "$arch"); do refit "$row"; done
  done
}

# The bound of one row under a backward network that was fitted to the row's own samples, from the pretrained one: MMI's
# backward phase alone, without a box, so that Q ascends E[log Q(S|T')] while P stands still.
refit() {
  local path=$RUNS/$1/checkpoint_last.pt refitted=$RUNS/refit.$1 figures=$RUNS/refit.$1.json
  if [ ! "$figures" -nt "$path" ]; then
    rm -rf "$refitted"
    fairseq-ami export "$path" "$refitted.pt" --direction forward --overwrite > "$refitted.log" 2>&1 || stop "see $refitted.log"
    # shellcheck disable=SC2086
    pair "$refitted" $EXTRA --forward-checkpoint "$refitted.pt" --objective mmi --no-latent-noise --phase-cycle backward=1 \
      --weight-clip-mode none --disable-validation --max-update "$REFIT_UPDATES" >> "$refitted.log" 2>&1 ||
      stop "see $refitted.log"
    fairseq-ami bound "$BIN" --path "$1=$path" --common-q "$refitted/checkpoint_last.pt" --seed "$SEED" \
      --max-tokens 12000 --json "$figures" > /dev/null
  fi
  python -c 'import json, sys; print("refitted", *(f"{k}\t{v[sys.argv[2]]:.2f}" for k, v in json.load(open(sys.argv[1])).items()), sep="\t")' \
    "$figures" bound_common
}

figure() {  # file, metrics, rows: curves over updates and their numbers, from the logs of those rows that are trained
  local file=$WORK/$1.$ARCH.png metrics=$2 row logs=() names=(); shift 2
  for row in "$@"; do
    if grep -qs ' | INFO | valid | ' "$RUNS/$row.log"; then logs+=("$RUNS/$row.log") names+=("$row"); fi
  done
  if [ ${#logs[@]} = 0 ]; then echo "$(basename "$file"): none of the rows $* is trained"; return; fi
  whole "${file%.png}.tsv" fairseq-ami plot training "${logs[@]}" --name "${names[@]}" --metrics "$metrics" \
    --output "$file" --table
  echo "figure: $file"
}

figures() {  # Figure 3: the bound over updates; Figure 2: convergence of the ablations
  figure figure3 vim_bound,vim_bound_common mmi ami
  figure figure2 "${CONVERGENCE:-reply_average,reply_dist_2,nll_loss}" ami ami-no-k ami-no-clip
}

look() {  # Table 4, and blind pairs for human judges (Table 3)
  have_data
  systems
  local options=() entry
  for entry in "${SYSTEMS[@]}"; do options+=(--system "$entry"); done
  fairseq-ami compare --histories "$BIN/test.hist" --separator '<sep>' "${options[@]}" --references "$BIN/test.reply" \
    --count "${EXAMPLES:-10}" --seed "$SEED" --markdown "$WORK/table4$TAG.md" --html "$WORK/table4$TAG.html"
  echo "histories with all replies: $WORK/table4$TAG.md, $WORK/table4$TAG.html"
  if [ -d "$WORK/human-eval$TAG" ]; then echo "$WORK/human-eval$TAG is there"; return; fi
  if [ ${#SYSTEMS[@]} -lt 2 ]; then echo "human evaluation needs two systems"; return; fi
  fairseq-ami human-eval prepare --histories "$BIN/test.hist" --separator '<sep>' "${options[@]}" \
    --count "${ITEMS:-120}" --seed "$SEED" --out "$WORK/human-eval$TAG"
}
