#!/usr/bin/env bash
# DailyDialog -> binary data and word vectors. Takes dialogues_{train,validation,test}.txt[.gz] in DATA, or downloads them.
CORPUS=dailydialog
. "$(dirname "$0")/../_dialogue/common.sh"
URL=http://yanran.li/files/ijcnlp_dailydialog.zip
if [ -z "$DATA" ]; then
  DATA=$WORK/raw
  download "$WORK/dailydialog.zip" "$URL"
  python - "$WORK/dailydialog.zip" "$DATA" <<'PYTHON'
import io, pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(sys.argv[1]) as outer:
    for split in ("train", "validation", "test"):
        name = next(name for name in outer.namelist() if name.endswith(f"/{split}.zip"))
        with zipfile.ZipFile(io.BytesIO(outer.read(name))) as inner:
            text = inner.read(f"{split}/dialogues_{split}.txt")
        (folder / f"dialogues_{split}.txt").write_bytes(text)
PYTHON
fi
train=$(raw train 'dialogues_train.txt' 'dialogues_train.txt.gz')
valid=$(raw validation 'dialogues_validation.txt' 'dialogues_validation.txt.gz')
test=$(raw test 'dialogues_test.txt' 'dialogues_test.txt.gz')
prepare dailydialog "$train" "$valid" "$test"
