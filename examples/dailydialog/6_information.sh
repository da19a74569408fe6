#!/usr/bin/env bash
# VIM bounds of everything that is trained, under the run's own, a common and a refitted Q; Table 2.
CORPUS=dailydialog
. "$(dirname "$0")/../_dialogue/common.sh"
information
