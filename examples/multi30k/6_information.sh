#!/usr/bin/env bash
# VIM bounds and gaps of finished runs on test2016: ./6_information.sh NAME=FOLDER ... The first one (best: maximum likelihood
# continued) gives the common Q and the frozen samples. "refitted": under a backward network that was fitted to the run's
# own samples, from the pretrained one, in REFIT_UPDATES updates on the training text: a run's own Q may flatter it.
# CHECKPOINT: which of a run's (checkpoint_last.pt: equally many updates for all; checkpoint_best.pt: validation BLEU).
. "$(dirname "$0")/common.sh"
REFIT_UPDATES=${REFIT_UPDATES:-200}
CHECKPOINT=${CHECKPOINT:-checkpoint_last.pt}
[ $# -gt 0 ] || stop "name finished runs, as in: $0 mle=$WORK/$KIND$SRC-$TGT.mle.1 ami=$WORK/$KIND$SRC-$TGT.ami.1"

named=()
for entry in "$@"; do
  [[ $entry == *=* ]] || stop "$entry: write NAME=FOLDER"
  [ -s "${entry#*=}/$CHECKPOINT" ] || stop "there is no ${entry#*=}/$CHECKPOINT"
  named+=("$entry/$CHECKPOINT")
done
first=${named[0]#*=}
mkdir -p "$WORK/information"
fairseq-ami bound "$BIN" --path "${named[@]}" --common-q "$first" --frozen-samples "$first" --seed "$SEED" \
  --json "$WORK/information/$KIND$SRC-$TGT.json"

for entry in "${named[@]}"; do
  name=${entry%%=*} checkpoint=${entry#*=}
  refitted=$WORK/information/$KIND$SRC-$TGT.$name
  if [ ! "$refitted.pt" -nt "$checkpoint" ]; then  # none yet, or of a run that has gone on since
    rm -rf "$refitted"
    fairseq-ami export "$checkpoint" "$refitted.pt" --direction forward --overwrite > "$refitted.export.log"
  fi
  # MMI's backward phase alone, without a box: Q ascends E[log Q(S|T')], P stands still
  (OBJECTIVE=mmi NOISE_UPDATES=0 RUN=$refitted
   EXTRA="--forward-checkpoint $refitted.pt --no-latent-noise --phase-cycle backward=1 --weight-clip-mode none --disable-validation"
   train_pair "$REFIT_UPDATES") > "$refitted.train.log" 2>&1
  fairseq-ami bound "$BIN" --path "$entry" --common-q "$refitted/checkpoint_last.pt" --seed "$SEED" \
    --json "$refitted.json" > /dev/null
  python -c 'import json, sys; print("refitted", *(f"{k}\t{v[sys.argv[2]]:.2f}" for k, v in json.load(open(sys.argv[1])).items()), sep="\t")' \
    "$refitted.json" bound_common
done
