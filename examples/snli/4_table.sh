#!/usr/bin/env bash
# The table beside the published figures, and a figure of the training.
CORPUS=snli
. "$(dirname "$0")/../_vae/common.sh"
table "$@"
