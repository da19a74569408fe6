#!/usr/bin/env bash
# One row of the comparison of rewards: ./8_rewards.sh ROW. All rows start from the same networks, see the same batches, stop
# by the same rule (the best validation BLEU, looked at every VALID_EVERY forward updates) and decode in the same way.
# NAME=... gives a run with other settings (EXTRA, SAMPLES, POLICY_WEIGHT, ANCHOR) a name of its own.
#   mle            maximum likelihood goes on
#   constant       a constant reward, which under a baseline is exactly nothing: maximum likelihood again
#   arbitrary      a hash as the reward (control.py): what sampling and a policy gradient do by themselves
#   bleu           sentence BLEU as the reward
#   mrt            sentence chrF as the reward, against the reference: what a similarity can do
#   best-of         maximum likelihood on what K log Q picks of P's BEST_OF samples of each source: no policy gradient
#   mmi, mmi-anchor                 log Q; with a pull to where P began
#   ami, ami-neutral, ami-anchor    K log Q; without what is linear in length; the latter with the pull as well
#   ami-k-bleu      K log Q, where K is 1 - BLEU of the sentence, not 1 - cosine
#   ami-bleu        K log Q and twice sentence BLEU
. "$(dirname "$0")/common.sh"
ROW=${1:-}
FORWARD_UPDATES=${FORWARD_UPDATES:-1250}
VALID_EVERY=${VALID_EVERY:-250}
SAMPLES=${SAMPLES:-5}
POLICY_WEIGHT=${POLICY_WEIGHT:-4}
ANCHOR=${ANCHOR:-0.5}
BEST_OF=${BEST_OF:-16}
per_cycle=10  # updates of P between those of Q

best_of() {  # binary data of the picks, into $PICKS, unless they are there
  [ ! -s "$PICKS/dict.$SRC.txt" ] || return 0
  local work=$PICKS.tmp
  rm -rf "$work"
  mkdir -p "$work"
  fairseq-ami reward-ceiling "$(pretrained "$SRC" "$TGT")" --backward "$(pretrained "$TGT" "$SRC")" --data "$BIN" \
    --subset train --sources 1000000 --samples "$BEST_OF" --temperature 0.6 --reward k-log-q --reward-length as-is --beam 1 \
    --seed "$SEED" --picks "$work/picks"
  fairseq-preprocess -s "$SRC" -t "$TGT" --trainpref "$work/picks" --srcdict "$WHOLE/dict.$SRC.txt" \
    --tgtdict "$WHOLE/dict.$TGT.txt" --destdir "$work" --workers 1
  cp "$WHOLE"/valid.en-de.* "$WHOLE"/test.en-de.* "$work"
  mv "$work" "$PICKS"
}

case $ROW in
  mle) OBJECTIVE=mle OPTIONS= ;;
  constant) OBJECTIVE=reward OPTIONS="--reward constant" ;;
  arbitrary) OBJECTIVE=reward OPTIONS="--reward control:arbitrary" PYTHONPATH=$HERE:${PYTHONPATH:-} && export PYTHONPATH ;;
  bleu) OBJECTIVE=reward OPTIONS="--reward bleu" ;;
  mrt) OBJECTIVE=reward OPTIONS="--reward chrf --reward-length as-is" ;;
  best-of) OBJECTIVE=mle OPTIONS='' PICKS=$WORK/picks/$KIND$SRC-$TGT.$SEED; best_of; BIN=$PICKS ;;
  mmi) OBJECTIVE=mmi OPTIONS= ;;
  mmi-anchor) OBJECTIVE=mmi OPTIONS="--anchor-weight $ANCHOR --reward-length neutral" ;;
  ami) OBJECTIVE=ami OPTIONS= ;;
  ami-k-bleu) OBJECTIVE=ami OPTIONS="--multiplier-similarity bleu" ;;
  ami-bleu) OBJECTIVE=ami OPTIONS="--reward log-q=1,bleu=2" ;;
  ami-neutral) OBJECTIVE=ami OPTIONS="--reward-length neutral" ;;
  ami-anchor) OBJECTIVE=ami OPTIONS="--reward-length neutral --anchor-weight $ANCHOR" ;;
  *) stop "name a row: mle, constant, arbitrary, bleu, mrt, best-of, mmi, mmi-anchor, ami, ami-neutral, ami-anchor, ami-k-bleu, ami-bleu" ;;
esac
case $OBJECTIVE in
  mle | reward) cycle=forward=$per_cycle backward=0 ;;
  *) cycle=forward=$per_cycle,backward=2 backward=2 ;;
esac
[ "$OBJECTIVE" = mle ] || OPTIONS="$OPTIONS --num-samples $SAMPLES --sample-temperature 0.6 --policy-weight $POLICY_WEIGHT"
every=$((VALID_EVERY * (per_cycle + backward) / per_cycle))
RUN=$WORK/$KIND$SRC-$TGT.rewards.${NAME:-$ROW}.$SEED NOISE_UPDATES=0
EXTRA="--no-latent-noise --no-valid-bound --phase-cycle $cycle --validate-interval 1000 --validate-interval-updates $every
  --save-interval-updates $every $OPTIONS $EXTRA"
train_pair $((FORWARD_UPDATES * (per_cycle + backward) / per_cycle))
