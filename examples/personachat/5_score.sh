#!/usr/bin/env bash
# Decode the test set with all that is trained; Table 1 side by side.
CORPUS=personachat
. "$(dirname "$0")/../_dialogue/common.sh"
score
