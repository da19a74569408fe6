#!/usr/bin/env bash
# Figures 2 and 3 from the logs.
CORPUS=dailydialog
. "$(dirname "$0")/../_dialogue/common.sh"
figures
