#!/usr/bin/env bash
# The noise stage: only the latent-noise network learns. 4_minimax.sh goes on from here.
. "$(dirname "$0")/common.sh"
[ "$OBJECTIVE" = ami ] && [ "$NOISE_UPDATES" -gt 0 ] || { echo "$OBJECTIVE: no noise stage"; exit 0; }
if [ -s "$RUN/checkpoint_last.pt" ]; then echo "$RUN has begun: 4_minimax.sh goes on"; exit 0; fi
train_pair "$NOISE_UPDATES"
