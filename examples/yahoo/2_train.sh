#!/usr/bin/env bash
# One row of table 2: ./2_train.sh ROW. Called again, it goes on where it stopped.
CORPUS=yahoo
. "$(dirname "$0")/../_vae/common.sh"
train "$@"
