#!/usr/bin/env bash
# Figures 2 and 3 from the logs.
CORPUS=dailydialog
. "$(dirname "$0")/../dialogue/common.sh"
figures
