#!/usr/bin/env bash
# Maximum likelihood of both networks of ARCH. Called again, it goes on where it stopped.
CORPUS=dailydialog
. "$(dirname "$0")/../_dialogue/common.sh"
pretrain
