#!/usr/bin/env bash
# Decode the test set with all that is trained; Table 1 side by side.
CORPUS=dailydialog
. "$(dirname "$0")/../_dialogue/common.sh"
score
