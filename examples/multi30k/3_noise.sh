#!/usr/bin/env bash
# The noise stage: only the latent-noise network learns. 4_minimax.sh goes on from here.
. "$(dirname "$0")/common.sh"
if [ "$OBJECTIVE" != ami ] || [ "$NOISE_UPDATES" -le 0 ]; then echo "$OBJECTIVE: no noise stage"; exit 0; fi
if [ -s "$RUN/checkpoint_last.pt" ]; then echo "$RUN has begun: 4_minimax.sh goes on"; exit 0; fi
train_pair "$NOISE_UPDATES"
