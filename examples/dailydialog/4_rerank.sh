#!/usr/bin/env bash
# Replies of maximum likelihood, reranked by its backward network; the weight is tuned on the validation set.
CORPUS=dailydialog
. "$(dirname "$0")/../_dialogue/common.sh"
rerank
