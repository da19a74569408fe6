#!/usr/bin/env bash
# Table 4: histories with the replies of all systems; and the pages for human judges.
CORPUS=dailydialog
. "$(dirname "$0")/../_dialogue/common.sh"
look
