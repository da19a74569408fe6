#!/usr/bin/env bash
# The minimax itself (or MMI, or continued maximum likelihood: OBJECTIVE). Called again, it goes on where it stopped.
. "$(dirname "$0")/common.sh"
train_pair "$MAX_UPDATE"
