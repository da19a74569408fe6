"""The demo corpus: correct German, exact judgements, and the same bytes everywhere."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

TOY = Path(__file__).resolve().parents[3] / "examples" / "toy"
sys.path.insert(0, str(TOY))

from analysis import Sampler, all_translations, german, judge, references, shares  # noqa: E402
from grammar import ADJECTIVE, NOUN, english, parse  # noqa: E402
from make_corpus import corpus_files, generate, main, write_corpus  # noqa: E402

# Written by hand: fully informative translations.
CORRECT = [
    # verb second, with and without a fronted adverbial
    ("today the old woman reads the book .", "heute liest die alte Frau das Buch ."),
    ("today the old woman reads the book .", "die alte Frau liest heute das Buch ."),
    ("every day we buy my bread .", "jeden Tag kaufen wir mein Brot ."),
    # subject-verb agreement
    ("she reads books .", "sie liest Bücher ."),
    ("they read books .", "sie lesen Bücher ."),
    ("the children are happy .", "die Kinder sind froh ."),
    # perfect with haben and sein, past of sein
    ("the woman ate the apple .", "die Frau hat den Apfel gegessen ."),
    ("my sisters ran quickly .", "meine Schwestern sind schnell gelaufen ."),
    ("the car was expensive .", "das Auto war teuer ."),
    # modal verb and infinitive at the end; separable verbs
    ("she can read a letter .", "sie kann einen Brief lesen ."),
    ("tomorrow he must call the doctor .", "morgen muss er den Arzt anrufen ."),
    ("he calls the doctor .", "er ruft den Arzt an ."),
    ("he called the doctor .", "er hat den Arzt angerufen ."),
    ("we sleep while he calls the doctor .", "wir schlafen , während er den Arzt anruft ."),
    # cases: accusative, dative object, dative verb, governed preposition, n-declension
    ("he gives the child an apple .", "er gibt dem Kind einen Apfel ."),
    ("the man helps the women .", "der Mann hilft den Frauen ."),
    ("my friend follows the children .", "mein Freund folgt den Kindern ."),
    ("the dog waits for my doctor .", "der Hund wartet auf meinen Arzt ."),
    ("the girl plays with a cat .", "das Mädchen spielt mit einer Katze ."),
    ("she visits the student .", "sie besucht den Studenten ."),
    ("a boy sleeps .", "ein Junge schläft ."),
    ("we see the boy .", "wir sehen den Jungen ."),
    # adjective endings: weak, mixed, strong; stems
    ("an old man sees a small horse .", "ein alter Mann sieht ein kleines Pferd ."),
    ("the old man sees the small horse .", "der alte Mann sieht das kleine Pferd ."),
    ("old men see small horses .", "alte Männer sehen kleine Pferde ."),
    ("my old friends love my small dog .", "meine alten Freunde lieben meinen kleinen Hund ."),
    ("she helps the old neighbour .", "sie hilft dem alten Nachbarn ."),
    ("she receives an expensive picture .", "sie bekommt ein teures Bild ."),
    ("he laughs in the dark kitchen .", "er lacht in der dunklen Küche ."),
    ("he laughs in the garden .", "er lacht im Garten ."),
    ("he laughs in front of the old house .", "er lacht vor dem alten Haus ."),
    # nicht and kein
    ("she does not read the book .", "sie liest das Buch nicht ."),
    ("she did not read the book .", "sie hat das Buch nicht gelesen ."),
    ("she does not read a book .", "sie liest kein Buch ."),
    ("he does not help a child .", "er hilft keinem Kind ."),
    ("they do not buy apples .", "sie kaufen keine Äpfel ."),
    ("he does not wait for the doctor .", "er wartet nicht auf den Arzt ."),
    ("he does not wait for a doctor .", "er wartet nicht auf einen Arzt ."),
    ("the book is not new .", "das Buch ist nicht neu ."),
    # subordinate clauses: verb last, inversion after a fronted one
    ("she laughs because the man bought a car .",
     "sie lacht , weil der Mann ein Auto gekauft hat ."),
    ("she laughs because the man bought a car .",
     "da der Mann einen Wagen gekauft hat , lacht sie ."),
    ("they know that he can drink the coffee .", "sie wissen , dass er den Kaffee trinken kann ."),
]


@pytest.mark.parametrize("source,target", CORRECT)
def test_hand_written_translations(source, target):
    assert judge(source, target) == "informative"


@pytest.mark.parametrize("source,target", [
    ("the poodle sleeps .", "der Hund schläft ."),
    ("the old man sleeps .", "der Mann schläft ."),
    ("a man sleeps .", "jemand schläft ."),
    ("she helps a man .", "sie hilft jemandem ."),
    ("she reads a book .", "sie liest etwas ."),
    ("the girl reads the book quickly .", "das Kind liest das Buch ."),
    ("he laughs in the garden .", "er lacht dort ."),
    ("today he works .", "er arbeitet ."),
    ("they bought a car .", "sie haben ein Fahrzeug gekauft ."),
    ("we sleep because the surgeon laughs .", "weil der Arzt lacht , schlafen wir ."),
])
def test_valid_but_generic(source, target):
    assert judge(source, target) == "generic"


@pytest.mark.parametrize("source,target", [
    ("today the old woman reads the book .", "heute die alte Frau liest das Buch ."),
    ("the old woman reads the book .", "die alten Frau liest das Buch ."),
    ("the man sleeps .", "den Mann schläft ."),
    ("they sleep .", "sie schläft ."),
    ("he called the doctor .", "er hat angerufen den Arzt ."),
    ("we sleep because he laughs .", "wir schlafen , weil er lacht , ."),
    ("we sleep because he laughs .", "wir schlafen , weil lacht er ."),
    ("she does not read a book .", "sie liest etwas ."),
    ("he does not see a poodle .", "er sieht keinen Hund ."),  # not implied
    ("the dog sleeps .", "der Pudel schläft ."),
    ("the man sleeps .", "der Mann schläft"),
    ("the man sleeps .", ""),
])
def test_wrong(source, target):
    assert judge(source, target) == "wrong"


def test_shares():
    outputs = ["der Hund schläft .", "der Pudel schläft .", "ein Hund schläft .", ""]
    assert shares(["the poodle sleeps ."] * 4, outputs) == {
        "informative": 0.25, "generic": 0.25, "wrong": 0.5}
    for lengths in ((0, 0), (1, 2)):
        with pytest.raises(ValueError):
            shares(["the poodle sleeps ."] * lengths[0], outputs[:lengths[1]])


@pytest.fixture(scope="module")
def pairs():
    return generate(3000, 7)


def test_every_target_is_a_translation(pairs):
    for pair in pairs[:400]:
        assert judge(pair.source, pair.target) == ("informative" if pair.specific else "generic")
    short = [pair for pair in pairs if len(pair.source.split()) < 8]
    for pair in short[:200]:
        assert dict(all_translations(pair.structure))[pair.target] == pair.specific


def test_enumeration_of_a_whole_sentence():
    found = dict(all_translations(parse("today a poodle is happy .")))
    subjects = {"ein Pudel": True, "ein Hund": False}
    expected = {}
    for subject, keeps in subjects.items():
        for adjective in ("glücklich", "froh"):
            expected[f"heute ist {subject} {adjective} ."] = keeps
            expected[f"{subject} ist heute {adjective} ."] = keeps
            expected[f"{subject} ist {adjective} ."] = False
    assert found == expected


def test_parse_inverts_english(pairs):
    assert all(parse(pair.source) == pair.structure for pair in pairs)
    assert english(parse("an old man sees the eagles .")) == "an old man sees the eagles ."
    for source in ("a old man sleeps .", "the man sleep .", "sleeps .", ""):
        with pytest.raises(ValueError):
            parse(source)


def test_informative_translations_tell_the_sources_apart(pairs):
    owner = {}
    for pair in pairs:
        for draw in range(3):
            target = german(pair.structure, Sampler(Random(draw), specific=True))
            assert owner.setdefault(target, pair.source) == pair.source


def test_references_are_informative_and_different():
    source = "today the surgeon bought a huge car ."
    found = references(source)
    assert len(found) == len(set(found)) >= 6
    assert all(judge(source, text) == "informative" for text in found)
    assert "heute hat der Chirurg ein riesiges Auto gekauft ." in found
    assert found == references(source)


def test_sizes(pairs):
    for side, most in ((0, 260), (1, 450)):
        lengths = [len(pair[side].split(" ")) for pair in pairs]
        assert 6 <= sum(lengths) / len(lengths) <= 12 and max(lengths) <= 20
        assert 150 <= len({word for pair in pairs for word in pair[side].split()}) <= most
    for pair in pairs:
        for text in (pair.source, pair.target):
            assert text.split() == text.split(" ") and text.endswith(" .")
            assert not set(text) & {"_", "*", "+", "~", "/", "|"}


def test_generic_wording_is_frequent_as_documented(pairs):
    assert 0.25 < sum(pair.specific for pair in pairs) / len(pairs) < 0.5
    structure = parse("the girl sleeps .")
    rng = Random(3)
    drawn = Counter(german(structure, Sampler(rng)) for _ in range(4000))
    assert drawn["das Kind schläft ."] / 4000 == pytest.approx(0.45, abs=0.03)
    assert set(drawn) == {"das Kind schläft .", "das Mädchen schläft ."}
    assert all(pair.specific for pair in generate(200, 7, specific=True))


def test_lexicon_is_well_formed():
    for kind, entry in NOUN.values():
        assert all(len(option) == 3 and option[1] in "mfnw"
                   for option in entry.specific + entry.generic)
        assert all(option[0][0].isupper() for option in entry.specific + entry.generic)
    forms = [form for _, entry in NOUN.values() for form in entry.english if form != "-"]
    assert len(forms) == len(set(forms)) and not set(forms) & set(ADJECTIVE)


def test_same_bytes_everywhere():
    digest = "aa24e1c872f1ec7601a0fdfa55e23a6ec89a36b3f035c472c72baff7fc3358f3"
    code = ("import hashlib, sys; sys.path.insert(0, sys.argv[1]); "
            "from make_corpus import corpus_files; files = corpus_files(300, 20, 20, 5); "
            "print(hashlib.sha256(b''.join(files[n] for n in sorted(files))).hexdigest())")
    for hash_seed in ("0", "4711"):
        found = subprocess.run([sys.executable, "-c", code, str(TOY)], check=True,
                               env={**os.environ, "PYTHONHASHSEED": hash_seed},
                               stdout=subprocess.PIPE, universal_newlines=True).stdout
        assert found.strip() == digest
    assert corpus_files(300, 20, 20, 5) != corpus_files(300, 20, 20, 6)


def test_splits_are_disjoint_and_test_does_not_depend_on_train():
    files = corpus_files(500, 50, 60, 2)
    lines = {name: content.decode().splitlines() for name, content in files.items()}
    assert {name: len(text) for name, text in lines.items()} == {
        "train.en": 500, "train.de": 500, "valid.en": 50, "valid.de": 50,
        "test.en": 60, "test.de": 60}
    sources = [line for name in ("train.en", "valid.en", "test.en") for line in lines[name]]
    assert len(set(sources)) == 610
    assert corpus_files(100, 50, 60, 2)["test.de"] == files["test.de"]


def test_specific_test_changes_only_the_test_targets():
    plain, specific = corpus_files(50, 5, 80, 2), corpus_files(50, 5, 80, 2, specific_test=True)
    assert [name for name in plain if plain[name] != specific[name]] == ["test.de"]
    rows = zip(*(specific[f"test.{s}"].decode().splitlines() for s in ("en", "de")))
    assert all(judge(*row) == "informative" for row in rows)


def test_command_line(tmp_path, capsys):
    folder, sizes = tmp_path / "new" / "corpus", ["--train", "30", "--valid", "5", "--test", "5"]
    assert main([str(folder), *sizes]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(corpus_files(30, 5, 5, 1))
    assert main([str(folder), *sizes]) == 0  # the same content again
    before = hashlib.sha256((folder / "train.en").read_bytes()).hexdigest()
    assert main([str(folder), *sizes, "--seed", "9"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert hashlib.sha256((folder / "train.en").read_bytes()).hexdigest() == before
    assert main([str(folder), *sizes, "--seed", "9", "--overwrite"]) == 0
    assert hashlib.sha256((folder / "train.en").read_bytes()).hexdigest() != before
    with pytest.raises(SystemExit):
        main([str(folder), "--train", "0"])


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="notes.txt"):
        write_corpus(tmp_path, 10, 5, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    write_corpus(tmp_path, 10, 5, 5, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
