#!/usr/bin/env bash
# The table beside the published figures, and a figure of the training.
CORPUS=snli
. "$(dirname "$0")/../vae/common.sh"
table "$@"
