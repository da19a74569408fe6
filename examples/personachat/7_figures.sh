#!/usr/bin/env bash
# Figures 2 and 3 from the logs.
CORPUS=personachat
. "$(dirname "$0")/../_dialogue/common.sh"
figures
