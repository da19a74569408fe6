#!/usr/bin/env bash
# PersonaChat (self persona, original) -> binary data and word vectors. Takes ParlAI's files in DATA, or downloads them.
CORPUS=personachat
. "$(dirname "$0")/../_dialogue/common.sh"
URL=http://parl.ai/downloads/personachat/personachat.tgz
if [ -z "$DATA" ]; then
  DATA=$WORK/personachat
  download "$WORK/personachat.tgz" "$URL"
  tar -xzf "$WORK/personachat.tgz" -C "$WORK"
fi
# the training set may be in several files, train_a_self_original_no_cands.txt.gz and so on
train=$(raw train 'train*self_original_no_cands.txt*' 'train*self_original.txt*')
valid=$(raw validation 'valid*self_original_no_cands.txt*' 'valid*self_original.txt*')
test=$(raw test 'test*self_original_no_cands.txt*' 'test*self_original.txt*')
prepare parlai "$train" "$valid" "$test"
