#!/usr/bin/env bash
# Decode the test set with all that is trained; Table 1 side by side, Table 2 and the bounds.
CORPUS=personachat
. "$(dirname "$0")/../dialogue/common.sh"
score
