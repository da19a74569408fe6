#!/usr/bin/env bash
# One row of Table 1, or of the ablations: ./3_train.sh ROW. Called again, it goes on where it stopped.
CORPUS=personachat
. "$(dirname "$0")/../_dialogue/common.sh"
train "$@"
