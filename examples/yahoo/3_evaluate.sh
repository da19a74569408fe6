#!/usr/bin/env bash
# The test set's figures of the named rows, or of all that are trained.
CORPUS=yahoo
. "$(dirname "$0")/../_vae/common.sh"
evaluate "$@"
