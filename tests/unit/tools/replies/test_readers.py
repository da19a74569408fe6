"""Dialogue files and the folder made of them, on texts written out."""

import gzip
import json
from pathlib import Path

import pytest
from fairseq.data import Dictionary, data_utils
from fairseq.data.encoders.subword_nmt_bpe import SubwordNMTBPE, SubwordNMTBPEConfig
from fairseq.tasks.translation import load_langpair_dataset

from fairseq_ami import cli
from fairseq_ami.data.dialogue import Dialogue, DialogueDataset
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.replies import corpus as dialogue_corpus
from fairseq_ami.tools.replies.readers import read_dialogues, tokenize

PARLAI = """1 your persona: i like tea.
2 partner's persona: i hate tea.
3 your persona: i am old.
4 hello , you !\thi there .\t\thi there .|no
5 how are you ?\tfine
1 __SILENCE__\twho are you ?
2 me\tsure ?
"""
PARLAI_DIALOGUES = [
    Dialogue(
        ("hello , you !", "hi there .", "how are you ?", "fine"), (1, 3),
        ("your persona: i like tea.", "your persona: i am old."),
    ),
    Dialogue(("", "who are you ?", "me", "sure ?"), (1, 3)),
]  # fmt: skip
DAILY = "Hi ! __eou__ Hi , Jim . __eou__ Bye __eou__\n\nAlone . __eou__ \n"
DAILY_DIALOGUES = [Dialogue(("Hi !", "Hi , Jim .", "Bye"), (1, 2)), Dialogue(("Alone .",), ())]
TSV = "a b <sep> c\td\ne\t f \n"
TSV_DIALOGUES = [Dialogue(("a b", "c", "d"), (2,)), Dialogue(("e", "f"), (1,))]
FORMS = {
    "parlai": (PARLAI, PARLAI_DIALOGUES),
    "dailydialog": (DAILY, DAILY_DIALOGUES),
    "tsv": (TSV, TSV_DIALOGUES),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_formats(form: str, packed: bool, tmp_path: Path) -> None:
    text, want = FORMS[form]
    path = tmp_path / ("file.txt.gz" if packed else "file.txt")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert list(read_dialogues(str(path), form)) == want


MALFORMED = {
    "no number": ("parlai", b"1 a\tb\nhello\tyou\n", 2, "no line number"),
    "gap": ("parlai", b"1 a\tb\n3 c\td\n", 2, "number 3 after 1"),
    "no reply": ("parlai", b"1 a\tb\n2 c\n", 2, "no tab"),
    "no end": ("dailydialog", b"a __eou__\nb __eou__ c\n", 2, "no __eou__ after the last utterance"),
    "no tab": ("tsv", b"a\tb\n\nc d\n", 3, "0 tabs"),
    "two tabs": ("tsv", b"a\tb\tc\n", 1, "2 tabs"),
    "bytes": ("tsv", b"a\tb\n\xff\tc\n", 2, "not UTF-8"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_lines_are_named(case: str, tmp_path: Path) -> None:
    form, content, number, what = MALFORMED[case]
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(AMIError, match=rf"bad\.txt, line {number}: {what}"):
        list(read_dialogues(str(tmp_path / "bad.txt"), form))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = gzip.compress(TSV.encode() * 50)
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "plain.gz").write_text(TSV)
    for name in ("cut.gz", "plain.gz", "missing"):
        with pytest.raises(AMIError, match=f"{name} cannot be read"):
            list(read_dialogues(str(tmp_path / name), "tsv"))


def test_words() -> None:
    """Spaces and punctuation split; what looks like a special symbol falls apart."""
    want = "I ' m fine . . . ( 42 % ) < sep > Ünï_cøde < / s >"
    assert tokenize("I'm  fine...(42%) <sep> Ünï_cøde</s>") == want
    assert tokenize("Hé \t LLO!", lowercase=True) == "hé llo !"
    assert tokenize("  ") == ""


# ---------------------------------------------------------------------- the folder


def run(tmp_path: Path, *extra: object, form: str = "parlai", text: str = PARLAI, name: str = "out") -> int:
    (tmp_path / "train.txt").write_text(text)
    argv = ["dialog-prepare", "--format", form, "--train", tmp_path / "train.txt", "--destdir", tmp_path / name]
    return cli.main([str(word) for word in (*argv, *extra)])


def rows(folder: Path, pair: str, language: str, dictionary: Dictionary) -> list:
    path = str(folder / f"train.{pair}.{language}").rstrip(".")
    data = data_utils.load_indexed_dataset(path, dictionary, dataset_impl="mmap")
    assert all(int(row[-1]) == dictionary.eos() for row in data)
    return [dictionary.string(row) for row in data]


def counts(folder: Path) -> dict:
    return json.loads((folder / "dialog-prepare.json").read_text())["counts"]["train"]


def test_folder_written_out(tmp_path: Path) -> None:
    """All four sides of each example, in text and in numbers, the silence at the start dropped and counted."""
    assert run(tmp_path, "--history", 2) == 0
    out = tmp_path / "out"
    hist = ["hello , you !", "hi there . <sep> how are you ?", "who are you ? <sep> me"]
    reply = ["hi there .", "fine", "sure ?"]
    assert (out / "train.hist").read_text() == "\n".join(hist) + "\n"
    assert (out / "train.reply").read_text() == "\n".join(reply) + "\n"
    dictionary = Dictionary.load(str(out / "dict.hist.txt"))
    assert rows(out, "hist-reply", "hist", dictionary) == hist and rows(out, "hist-reply", "reply", dictionary) == reply
    context = ["hi there .", "hi there . <sep> fine", "who are you ? <sep> sure ?"]
    assert rows(out / "backward", "context-last", "context", dictionary) == context
    assert rows(out / "backward", "context-last", "last", dictionary) == ["hello , you !", "how are you ?", "me"]
    whole = ["hello , you ! <sep> hi there . <sep> how are you ? <sep> fine", "who are you ? <sep> me <sep> sure ?"]
    assert (out / "train.dialogue").read_text() == "\n".join(whole) + "\n"
    assert rows(out, "dialogue", "", dictionary) == whole
    texts = {path.read_text() for path in out.rglob("dict.*.txt")}
    assert len(texts) == 1 and len(list(out.rglob("dict.*.txt"))) == 6
    assert dictionary.index("<sep>") != dictionary.unk() and len(dictionary) % 8 == 0
    # each utterance of the dialogues counts once: "?" stands in three of them, "hi" in one
    assert [dictionary.get_count(dictionary.index(word)) for word in ("?", "hi", ",")] == [3, 1, 1]
    assert counts(out) == {
        "dialogues": 2, "utterances": 7, "examples": 3, "empty_histories": 1, "empty_replies": 0,
        "reply_words": 6, "unknown_words": 0,
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "train.txt"]


def test_reverse_of_a_batch_is_the_backward_networks_data(tmp_path: Path) -> None:
    """What the minimax scores is what a stock network is pretrained on."""
    text = DAILY * 3 + "a __eou__ b __eou__ c __eou__ d __eou__"
    assert run(tmp_path, "--history", 3, form="dailydialog", text=text) == 0
    out = tmp_path / "out"
    dictionary = Dictionary.load(str(out / "dict.hist.txt"))

    def load(folder: Path, source: str, target: str):
        return load_langpair_dataset(
            str(folder), "train", source, dictionary, target, dictionary, False, None, -1, True, False, 99, 99
        )

    pairs = DialogueDataset(load(out, "hist", "reply"), dictionary.index("<sep>"), 99, (99, 99))
    back = load(out / "backward", "context", "last")
    got = pairs.collater([pairs[i] for i in range(len(pairs))])["reverse"]
    want = back.collater([back[i] for i in range(len(back))])
    place = [want["id"].tolist().index(number) for number in got["id"].tolist()]
    assert len(place) == 9
    for key in ("src_tokens", "src_lengths", "prev_output_tokens"):
        assert got["net_input"][key].tolist() == want["net_input"][key][place].tolist()
    assert got["target"].tolist() == want["target"][place].tolist() and got["ntokens"] == want["ntokens"]


def test_persona_and_lower_case(tmp_path: Path) -> None:
    assert run(tmp_path, "--history", 1, "--persona", "--lowercase", text=PARLAI.replace("hello", "HELLO")) == 0
    first = (tmp_path / "out" / "train.hist").read_text().splitlines()[0]
    assert first == "your persona : i like tea . <sep> your persona : i am old . <sep> hello , you !"
    whole = (tmp_path / "out" / "train.dialogue").read_text().splitlines()  # of what was said
    assert whole[0] == "hello , you ! <sep> hi there . <sep> how are you ? <sep> fine"


def test_empty_replies_are_dropped_and_counted(tmp_path: Path) -> None:
    assert run(tmp_path, form="tsv", text="a\tb\n\tc\nd\t\ne\tf\n") == 0
    found = counts(tmp_path / "out")
    assert (found["examples"], found["empty_histories"], found["empty_replies"]) == (2, 1, 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_vocabulary(workers: int, tmp_path: Path) -> None:
    """x is there 4 times, y 3, z 2, w once; the separator stays whatever is dropped."""
    text = "x y\tz x\nx y\ty z\nw\tx\n"
    kept = {"--vocab-size": (2, {"x", "y"}), "--threshold": (3, {"x", "y"})}
    for flag, (value, words) in kept.items():
        assert run(tmp_path, flag, value, "--workers", workers, form="tsv", text=text, name=flag) == 0
        dictionary = Dictionary.load(str(tmp_path / flag / "dict.reply.txt"))
        assert {s for s in dictionary.symbols[4:] if not s.startswith("madeup")} == words | {"<sep>"}
        assert rows(tmp_path / flag, "hist-reply", "reply", dictionary) == ["<unk> x", "y <unk>", "x"]
        assert counts(tmp_path / flag)["unknown_words"] == 2


def test_subwords(tmp_path: Path) -> None:
    """Learnt on the training text; the separator stays whole for stock readers of the codes."""
    text = "lower lowest <sep> newer\tlow new\n" * 4
    assert run(tmp_path, "--bpe-merges", 3, form="tsv", text=text) == 0
    out = tmp_path / "out"
    assert (out / "train.hist").read_text().splitlines()[0] == "lower lowest <sep> newer"
    bpe = SubwordNMTBPE(SubwordNMTBPEConfig(bpe_codes=str(out / "bpecodes")))
    dictionary = Dictionary.load(str(out / "dict.hist.txt"))
    got = rows(out, "hist-reply", "hist", dictionary)[0]
    assert got == bpe.encode("lower lowest <sep> newer") and bpe.decode(got) == "lower lowest <sep> newer"
    assert rows(out, "dialogue", "", dictionary)[0] == bpe.encode("lower lowest <sep> newer <sep> low new")
    assert "@@" in got and "<unk>" not in got and " <sep> " in got


REFUSED = {
    "no destination": (["--destdir", "train.txt/x"], "cannot write"),
    "persona": (["--persona", "--format", "tsv"], "have no persona"),
    "no example": (["--valid", "one.txt"], "--valid one.txt: no reply with an utterance before it"),
    "malformed": (["--test", "bad.txt"], "bad.txt, line 1"),
    "letters": (["--bpe-merges", "5", "--train", "letters.txt"], "--bpe-merges"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, and nothing left behind."""
    extra, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("1 __SILENCE__\thello\n")
    (tmp_path / "bad.txt").write_text("hello\n")
    (tmp_path / "letters.txt").write_text("1 a\tb\n")
    assert run(tmp_path, *extra) == 2
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.txt", "letters.txt", "one.txt", "train.txt"]


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "out").mkdir()
    assert run(tmp_path) == 0  # nothing was there
    before = (tmp_path / "out" / "train.hist").read_bytes()
    assert run(tmp_path, "--history", 1) == 2 and "--force" in capsys.readouterr().err
    assert (tmp_path / "out" / "train.hist").read_bytes() == before
    assert run(tmp_path, "--history", 1, "--force") == 0
    assert (tmp_path / "out" / "train.hist").read_bytes() != before
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    assert run(tmp_path, "--force") == 2 and "thesis.tex" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "train.txt"]


def test_nothing_stays_of_a_run_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the earlier folder touched."""
    assert run(tmp_path) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(dialogue_corpus, "_binarise", fail)
    assert run(tmp_path, "--history", 1, "--force") == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "train.txt"]
