#!/usr/bin/env bash
# Replies of maximum likelihood, reranked by its backward network, the weight tuned on the validation set; and the one of
# its samples that is most like the others (minimum Bayes risk).
CORPUS=personachat
. "$(dirname "$0")/../_dialogue/common.sh"
rerank
