"""A study from its files to its scores, and mistakes in those files."""

import csv
import io
import json

import pytest

from fairseq_ami import cli

FIRST, SECOND = "ForwardNet", "BackwardNet"  # names that no text holds


def texts(system, lines):
    return [f"{system} {line}" for line in range(lines)]


@pytest.fixture
def study(tmp_path):
    """Writes 12 histories, replies and a study of them; gives (its folder, the outcome planted in each line)."""

    def make(*options, lines=12, second=None):
        histories = [f"=hello {line} __eou__ you __eou__" for line in range(lines)]
        files = {"histories": histories, "one": texts("=apple", lines), "two": second or texts("pear", lines)}
        for name, content in files.items():
            (tmp_path / name).write_text("".join(line + "\n" for line in content), encoding="utf-8")
        systems = ["--system", f"{FIRST}={tmp_path}/one", "--system", f"{SECOND}={tmp_path}/two"]
        common = ["--histories", f"{tmp_path}/histories", *systems, "--pair", FIRST, SECOND, "--count", "12"]
        code = cli.main(["human-eval", "prepare", *common, "--out", str(tmp_path / "study"), *options])
        return tmp_path / "study" if code == 0 else None

    return make


def sheet(folder, number=1):
    return list(csv.DictReader(io.StringIO((folder / f"judges/set-{number}.csv").read_text("utf-8-sig"))))


def judged(folder, judge, prefer, name="", ending="csv", number=1, delimiter=","):
    """A judge's file: `prefer` gives apple, pear, tie or nothing for a line counted from 0."""
    rows = []
    for row in sheet(folder, number):
        wanted = prefer(int(row["left"].split()[-1]))
        side = next((side for side in ("left", "right") if wanted and wanted in row[side]), wanted)
        rows.append({**row, "judge": name if not rows else "", "answer": side})
    path = folder / f"{judge}.{ending}"
    if ending == "json":
        path.write_text(json.dumps(rows))
        return str(path)
    with open(path, "w", encoding="utf-8-sig", newline="") as out:
        writer = csv.DictWriter(out, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def scores(folder, *files):
    out = folder / "scores.json"
    assert cli.main(["human-eval", "score", "--key", f"{folder}/key.json", *files, "--json", str(out)]) == 0
    return json.loads(out.read_text())["pairs"]


def test_round_trip(study, capsys):
    """One judge spreads the answers evenly, the other always takes the first system."""
    folder = study()
    files = [judged(folder, "anna", lambda line: ("apple", "pear", "tie")[line % 3], name="Anna")]
    files.append(judged(folder, "ben", lambda line: "apple", ending="json"))
    (found,) = scores(folder, *files)
    assert found["pair"] == [FIRST, SECOND] and found["judges"] == 2 and found["left_out"] == 0
    assert (found["wins"], found["losses"], found["ties"]) == (16, 4, 4)
    # 4 of 12 items agree; shares 2/3, 1/6, 1/6, so chance is 1/2
    assert found["kappa"] == pytest.approx((1 / 3 - 1 / 2) / (1 / 2)) and found["kappa_items"] == 12
    assert found["p_judgements"] == pytest.approx(2 * (1 + 20 + 190 + 1140 + 4845) / 2**20)
    assert found["p_items"] == pytest.approx(2 / 2**8)  # 8 items for the first, 4 undecided
    out = capsys.readouterr().out
    assert "66.7 % (16)  16.7 % (4)  16.7 % (4)" in out and "-0.333" in out and "0.0118" in out and "0.0078" in out


def test_items_left_out_are_counted_and_not_part_of_kappa(study, capsys):
    folder = study()
    files = [judged(folder, str(judge), lambda line: "" if line < judge else "pear") for judge in (1, 2, 3)]
    (found,) = scores(folder, *files)
    assert found["left_out"] == 1 + 2 + 3 and found["losses"] == 36 - 6 and found["kappa_items"] == 9
    assert found["kappa"] is None  # everybody always says the same
    out = capsys.readouterr().out
    assert "12 items, 30 judgements, 6 left out" in out and "undefined" in out


def test_sets_may_have_judges_of_their_own(study):
    folder = study("--sets", "2")
    sent = [(judge, number) for judge in "ab" for number in (1, 2)]
    files = [judged(folder, f"{judge}-{number}", lambda line: "tie", number=number) for judge, number in sent]
    (found,) = scores(folder, *files)
    assert found["ties"] == 24 and found["judges"] == 2 and found["kappa_items"] == 12 and found["left_out"] == 0
    (found,) = scores(folder, *files[:3])  # the second set has one judge less
    assert found["ties"] == 18 and found["judges"] == 2 and found["kappa_items"] == 6 and found["left_out"] == 0


def test_what_spreadsheets_make_of_it(study):
    folder = study()
    numbers = {"left": " 1 ", "right": "2", "tie": "3"}
    path = judged(folder, "semicolons", lambda line: "apple" if line < 7 else "pear", delimiter=";")
    rows = list(csv.DictReader(open(path, encoding="utf-8-sig"), delimiter=";"))
    with open(path, "w", newline="") as out:
        writer = csv.DictWriter(out, ["answer", "study", "item"], delimiter=";", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "answer": numbers[row["answer"]]} for row in rows)
        out.write(";;\r\n")
    (found,) = scores(folder, path)
    assert (found["wins"], found["losses"]) == (7, 5) and found["kappa"] is None


def test_the_judges_files_name_no_system(study):
    folder = study("--question", "Which is more fluent?")
    files = sorted(path.name for path in (folder / "judges").iterdir())
    assert files == ["set-1.csv", "set-1.html"]
    for path in (folder / "judges").iterdir():
        assert not any(word in path.read_text() for word in (FIRST, SECOND, str(folder.parent), "key.json"))
    assert "Which is more fluent?" in (folder / "judges/set-1.html").read_text()
    rows = sheet(folder)
    assert all(side.startswith(("'=apple", "pear")) for row in rows for side in (row["left"], row["right"]))
    assert all(row["history"].startswith("[A] =hello") and row["history"].endswith("\n[B] you") for row in rows)


def test_several_pairs(tmp_path):
    """Planted: the last system beats the first always, and ties with the second."""
    names = ["Alpha", "Beta", "Gamma"]
    for name in names:
        (tmp_path / name).write_text("".join(f"{len(name)} {name[1]} {line}\n" for line in range(10)))
    (tmp_path / "histories").write_text("hi __eou__\n" * 10)
    systems = [part for name in names for part in ("--system", f"{name}={tmp_path}/{name}")]
    common = ["--histories", f"{tmp_path}/histories", *systems, "--count", "9", "--out", f"{tmp_path}/study"]
    assert cli.main(["human-eval", "prepare", *common]) == 0
    files = []
    for number in (1, 2):
        rows = sheet(tmp_path / "study", number)
        for row in rows:
            systems = {row[side].split()[1]: side for side in ("left", "right")}
            row["answer"] = "tie" if {*systems} == {"a", "e"} else systems["a"] if "a" in systems else "left"
        files.append(tmp_path / f"{number}.csv")
        with open(files[-1], "w", newline="") as out:
            writer = csv.DictWriter(out, rows[0])
            writer.writeheader()
            writer.writerows({**row, "judge": "Anna"} for row in rows)
    found = scores(tmp_path / "study", *map(str, files))
    assert [(p["pair"], p["wins"], p["losses"], p["ties"]) for p in found] == [
        (["Gamma", "Alpha"], 9, 0, 0),
        (["Gamma", "Beta"], 0, 0, 9),
    ]


def test_identical_replies_are_reported(study, capsys):
    folder = study("--identical", "drop", second=[*texts("=apple", 2), *texts("pear", 10)])
    (found,) = scores(folder, judged(folder, "anna", lambda line: "pear"))
    assert found["dropped"] == 2 and found["losses"] == 10
    assert f"{FIRST} vs. {SECOND}: 10 items; 2 with identical replies dropped" in capsys.readouterr().out


def edit(column, value):
    def change(rows):
        rows[2][column] = value

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (edit("study", "s000"), "line 4: this belongs to the study 's000'"),
        (edit("item", "99"), "line 4: there is no item '99'"),
        (edit("item", ""), "line 4: there is no item ''"),
        (edit("answer", "better"), "line 4: unknown answer 'better'"),
        (edit("item", "1"), "line 4: anna has judged item 1 already"),
        (edit("judge", "Ben"), "line 5: the judge is 'Carl', above it is 'Ben'"),
    ],
)
def test_mistakes_in_a_file_are_named_with_their_line(study, capsys, change, message):
    folder = study()
    path = judged(folder, "anna", lambda line: "tie")
    rows = [{name: row[name] for name in ("study", "judge", "item", "answer")} for row in sheet(folder)]
    change(rows)
    if rows[2]["judge"]:
        rows[3]["judge"] = "Carl"
    with open(path, "w") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert cli.main(["human-eval", "score", "--key", f"{folder}/key.json", path]) == 2
    assert f"{path}, {message}" in capsys.readouterr().err


def test_the_line_is_where_a_row_of_several_lines_begins(study, capsys):
    folder = study()
    path = judged(folder, "anna", lambda line: "tie" if line else "unsure")
    at = next(at for at, row in enumerate(sheet(folder)) if row["left"].endswith(" 0"))
    assert cli.main(["human-eval", "score", "--key", f"{folder}/key.json", path]) == 2
    assert f"anna.csv, line {2 + 2 * at}: unknown answer 'unsure'" in capsys.readouterr().err  # two turns a history


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "line 1: no column study, item, answer"),
        (b"study,item\n", "line 1: no column answer"),
        (b"study,item,answer\n", "has no answers"),
        (b'study,item,answer\n"a"b,1,tie\n', "line 2 is not CSV"),
        (b"study,item,answer,\xff\n", "is not UTF-8"),
        (b"[1]", "entry 1: no column"),
        (b"[{", "is not JSON"),
        (None, "cannot be read"),
    ],
)
def test_files_that_are_no_answers(study, capsys, content, message):
    folder = study()
    if content is not None:
        (folder / "judge.csv").write_bytes(content)
    assert cli.main(["human-eval", "score", "--key", f"{folder}/key.json", f"{folder}/judge.csv"]) == 2
    error = capsys.readouterr().err
    assert f"{folder}/judge.csv" in error and message in error


def test_two_files_of_one_judge(study, capsys):
    folder = study()
    files = [judged(folder, file, lambda line: "tie", name="Anna") for file in ("first", "second")]
    assert cli.main(["human-eval", "score", "--key", f"{folder}/key.json", *files]) == 2
    assert "second.csv, line 2: Anna has judged item 1 already" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{}", "[]", "nothing", '{"study": "s", "count": 1, "items": [{}]}'])
def test_no_key(tmp_path, capsys, content):
    (tmp_path / "key.json").write_text(content)
    assert cli.main(["human-eval", "score", "--key", f"{tmp_path}/key.json", "x.csv"]) == 2
    assert f"{tmp_path}/key.json is not a key" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--count", "13"], "13 histories are to be drawn and there are 12"),
        (["--pair", "x", FIRST], "there is no system x"),
        (["--pair", FIRST, FIRST], "cannot be compared with itself"),
        (["--pair", SECOND, FIRST], "are paired twice"),
        (["--system", "x"], "a system is given as NAME=FILE"),
        (["--system", f"{FIRST}=x"], f"two systems are called {FIRST}"),
        (["--sets", "13"], "no item is left for set 13"),
        (["--separator", " "], "--separator is empty"),
    ],
)
def test_mistakes_of_prepare_leave_nothing_behind(study, tmp_path, capsys, options, message):
    assert study(*options) is None
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["histories", "one", "two"]


def test_a_study_is_not_overwritten(study, capsys):
    folder = study()
    key = (folder / "key.json").read_bytes()
    assert study("--seed", "2") is None and (folder / "key.json").read_bytes() == key
    assert "is there already" in capsys.readouterr().err
    assert study("--seed", "2", "--out", f"{folder}2/")  # a slash at the end is no other name
    with pytest.raises(AssertionError):
        scores(folder, judged(folder.with_name("study2"), "anna", lambda line: "tie"))
    assert "belongs to the study" in capsys.readouterr().err


def test_pairs_by_default_are_the_last_system_with_each_other(tmp_path, capsys):
    (tmp_path / "text").write_text("a\nb\n")
    systems = [part for name in "xyz" for part in ("--system", f"{name}={tmp_path}/text")]
    common = ["--histories", f"{tmp_path}/text", *systems, "--count", "2", "--out", f"{tmp_path}/out"]
    assert cli.main(["human-eval", "prepare", *common]) == 0
    captured = capsys.readouterr()
    assert "z vs. x: 2 items; 2 with identical replies kept\nz vs. y: 2 items" in captured.out
    assert "no __eou__: each history is one turn" in captured.err
