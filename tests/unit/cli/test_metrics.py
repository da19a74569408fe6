"""``fairseq-ami metrics``: files in, tables out."""

import json

import pytest

from fairseq_ami import cli

REFERENCES = ["the cat sat on the mat", "yes", "no", "a b c d e"]
SYSTEMS = {"good": ["the cat sat on a mat", "yes", "", "a b c d"], "bad": ["mat", "mat", "mat", "mat mat"]}


@pytest.fixture
def files(tmp_path):
    """Writes texts, returns the paths."""

    def write(**texts):
        for name, lines in texts.items():
            (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
        return [str(tmp_path / name) for name in texts]

    return write


@pytest.fixture
def inputs(files):
    reference, good, _, source = files(reference=REFERENCES, **SYSTEMS, source=["the mat", "no", "b", "e f"])
    options = ["--references", reference, "--source", source, "--bootstrap", "20"]
    return ["metrics", *options, "--hypotheses", f"good={good}"]


def test_table_json_and_markdown(inputs, files, tmp_path, capsys):
    (vectors,) = files(vectors=["2 2", "cat 1 0", "mat 0 1"])
    bad, as_json, as_markdown = tmp_path / "bad", tmp_path / "out.json", tmp_path / "out.md"
    options = [f"bad={bad}", "--trials", "50", "--vectors", vectors]
    options += ["--json", str(as_json), "--markdown", str(as_markdown)]
    assert cli.main([*inputs, *options]) == 0
    out = capsys.readouterr().out
    found = json.loads(as_json.read_text())
    assert found["replies"] == 4 and found["systems"]["bad"]["figures"]["length"]["value"] == 5 / 4
    average = found["systems"]["good"]["figures"]["average"]["value"]
    assert average == pytest.approx(1 / 4)  # cat + mat against cat + mat, then no known words
    assert found["systems"]["good"]["empty"] == 1 and found["systems"]["good"]["unknown"] == 3
    assert found["systems"]["good"]["figures"]["copy_1"]["value"] == 2 / 11  # the, mat; - ; - ; -
    assert found["unknown_references"] == 3 and found["vectors"].startswith(vectors)
    for text in (out, as_markdown.read_text()):
        for part in ("4 replies a system", vectors, found["signatures"]["bleu"], "minus good", "p (Holm)"):
            assert part in text
    row = next(line for line in as_markdown.read_text().splitlines() if line.startswith("| dist_1 |"))
    assert row.split(" | ")[2].startswith("0.2000 (")  # mat, five times
    assert not list(tmp_path.glob("*.tmp*"))


def test_trained_vectors_are_named(inputs, files, capsys):
    (train,) = files(train=REFERENCES)
    assert cli.main([*inputs, "--train-text", train, "--bootstrap", "0"]) == 0
    captured = capsys.readouterr()
    assert f"word vectors trained on {train} (4 lines) with gensim" in captured.out
    assert "bs:" not in captured.out and "95 %" not in captured.out


def test_without_vectors_it_says_so(inputs, capsys):
    assert cli.main(inputs) == 0
    out = capsys.readouterr().out
    assert "pass --vectors or --train-text" in out and "\naverage " not in out and "\nminus good" not in out


def test_an_equals_sign_in_a_file_name(files, inputs, tmp_path, capsys):
    path = tmp_path / "lr=1.txt"
    path.write_text("x\n" * 4)
    assert cli.main([*inputs, str(path), "--trials", "20"]) == 0
    assert f"{path}\n" in capsys.readouterr().out.split("dist_1")[0]


def test_seeds_are_one_column(inputs, files, tmp_path, capsys):
    """Two runs of the second system, in any order; what is printed is the mean of what each run alone has."""
    one, two = files(one=["the mat", "no", "x", "a b c d"], two=["the cat", "yes", "no", "a b c d e f"])
    base = [f"base:2={tmp_path / 'bad'}", f"base:1={tmp_path / 'good'}"]
    argv = inputs[: inputs.index("--hypotheses")]
    argv += ["--hypotheses", *base, f"new:1={one}", f"new:2={two}", "--trials", "30", "--json", str(tmp_path / "out")]
    assert cli.main([*argv, "--corpus-metrics", "chrf,ter"]) == 0
    found = json.loads((tmp_path / "out").read_text())
    assert found["files"]["hypotheses"]["base:2"] == str(tmp_path / "bad")
    new = found["systems"]["new"]
    assert new["seeds"] == [1, 2] and found["systems"]["base"]["by_seed"]["length"] == [11 / 4, 5 / 4]
    assert new["figures"]["length"]["value"] == (8 / 4 + 10 / 4) / 2
    assert new["gains"]["length"]["value"] == pytest.approx((8 + 10 - 11 - 5) / 8)
    assert list(new["p"]) == list(new["figures"]) and {"bleu", "chrf", "ter", "ead"} < set(new["p"])
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("length"))
    assert "2.00 \u00b1 1.06 (" in row and "2.25 \u00b1 0.35 (" in row  # of 2.75, 1.25 and of 2, 2.5
    assert "seeds" in out and "1 2" in out and "4 replies per run" in out and "ter: sacreBLEU nrefs:1|ar:30" in out
    assert "Lower is better" in out and "for 1 comparison." in out


def test_vocabulary_of_ead(inputs, files, capsys):
    """Of the references, of a text, or a number: good has 11 words, 10 of them different."""
    (train,) = files(train=["a a b", "c"] + [f"w{number}" for number in range(17)])
    for options, size, how in (
        ([], 12, "reference)"),
        (["--vocabulary", train], 20, f"{train})"),
        (["--vocabulary", "100"], 100, "(given)"),
    ):
        assert cli.main([*inputs, *options]) == 0
        out = capsys.readouterr().out
        ead = 10 / (size * (1 - (1 - 1 / size) ** 11))
        assert f"vocabulary: {size} words" in out and how in out
        assert next(line for line in out.splitlines() if line.startswith("ead ")).split()[1] == f"{ead:.4f}"


def test_a_text_with_fewer_words_than_a_system_uses(inputs, files, capsys):
    (train,) = files(train=["a a b"])
    assert cli.main([*inputs, "--vocabulary", train]) == 0
    assert "ead: good use more different words than that" in capsys.readouterr().out


def test_subwords_are_noticed(files, inputs, capsys):
    (pieces,) = files(pieces=["un@@ done", "", "", "\u2581x"])
    assert cli.main([*inputs, f"pieces={pieces}", "--trials", "20"]) == 0
    assert "warning: pieces has 2 subwords" in capsys.readouterr().err


def test_lines_are_only_what_line_feeds_separate(files, capsys):
    lines = ["a\u2028b", "c\x85d\r", "e"]
    reference, reply = files(reference=lines, reply=lines)
    assert cli.main(["metrics", "--references", reference, "--hypotheses", reply, "--bootstrap", "0"]) == 0
    assert "3 replies" in capsys.readouterr().out


def refused(argv, capsys):
    assert cli.main([str(arg) for arg in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_another_number_of_lines(inputs, files, tmp_path, capsys):
    (short,) = files(short=["a", "b"])
    for argv in ([*inputs, short], [*inputs, "--source", short]):
        message = refused(argv, capsys)
        assert f"{short} has 2 lines, {tmp_path / 'reference'} has 4" in message


def test_bad_files(inputs, files, tmp_path, capsys):
    (tmp_path / "latin").write_bytes(b"a\nb\ncaf\xe9\nd\n")
    (empty,) = files(empty=[])
    assert f"{tmp_path / 'latin'}, line 3 is not UTF-8" in refused([*inputs, tmp_path / "latin"], capsys)
    assert f"{empty} is empty" in refused([*inputs, empty], capsys)
    assert f"{tmp_path / 'absent'} cannot be read" in refused([*inputs, tmp_path / "absent"], capsys)
    assert f"{tmp_path} cannot be read" in refused([*inputs, tmp_path], capsys)
    (vectors,) = files(vectors=["cat 1 0", "mat 1"])
    assert f"{vectors}, line 2: 1 numbers instead of 2" in refused([*inputs, "--vectors", vectors], capsys)
    (vectors,) = files(vectors=["dog 1 0"])
    assert "none of the" in refused([*inputs, "--vectors", vectors], capsys)


def test_bad_seeds(inputs, tmp_path, capsys):
    good, bad = tmp_path / "good", tmp_path / "bad"
    assert "the seed 'x' is no whole number" in refused([*inputs, f"a:x={bad}"], capsys)
    assert "a has two files for seed 1" in refused([*inputs, f"a:1={bad}", f"a:1={good}"], capsys)
    assert "two systems are called good" in refused([*inputs, f"good:1={bad}"], capsys)
    assert "two systems are called a: name" in refused([*inputs, f"a:1={bad}", f"a={good}"], capsys)
    message = refused([*inputs, f"a:1={bad}", f"a:2={good}"], capsys)
    assert "seeds of a: 1 2; of good: without. The test pairs" in message and "--trials 0" in message
    assert cli.main([*inputs, f"a:1={bad}", f"a:2={good}", "--trials", "0"]) == 0


def test_a_test_of_one_system(inputs, capsys):
    message = refused([*inputs, "--trials", "10"], capsys)
    assert "the test compares systems, and there is only good" in message
    assert cli.main([*inputs, "--trials", "0"]) == 0


def test_a_bad_vocabulary(inputs, files, tmp_path, capsys):
    (blank,) = files(blank=["", " "])
    assert "--vocabulary 0: a vocabulary has at least one word" in refused([*inputs, "--vocabulary", "0"], capsys)
    assert "has at least one word" in refused([*inputs, "--vocabulary", "-3"], capsys)
    assert "has at least one word" in refused([*inputs, "--vocabulary", blank], capsys)
    assert "--vocabulary 9: good uses 10 different words" in refused([*inputs, "--vocabulary", "9"], capsys)
    assert "cannot be read" in refused([*inputs, "--vocabulary", tmp_path / "absent"], capsys)


def test_bad_options(inputs, tmp_path, capsys):
    assert "two systems are called good" in refused([*inputs, f"good={tmp_path / 'bad'}"], capsys)
    assert "cannot write" in refused([*inputs, "--json", tmp_path / "absent" / "out.json"], capsys)
    numbers = ["--bootstrap", "-1"], ["--trials", "-1"]
    for options in (*numbers, ["--corpus-metrics", "bleu,meteor"], ["--vectors", "a", "--train-text", "b"]):
        with pytest.raises(SystemExit):
            cli.main([*inputs, *options])
