"""``ami_dialog --eval-replies``: the logged metrics against stock decoding, and two workers against one."""

from collections import Counter

import numpy as np
import pytest
from functional.checkpoints import load
from functional.commands import PLUGIN, run, start
from functional.export_fixtures import column
from functional.recorder import free_port
from functional.settings import BLEU, ami_args, train, with_validation, workers_args
from functional.test_ami_dialog import DIALOG, folder, stock  # noqa: F401  (fixtures)

EVAL = ["--eval-replies", "--eval-replies-args", '{"beam": 3, "max_len_b": 8}']
BEST = ["--best-checkpoint-metric", "reply_average", "--maximize-best-checkpoint-metric"]
WHOLE = ["--required-batch-size-multiple", 1, "--batch-size-valid", 3]
NAMES = "average greedy extrema dist_1 dist_2 ent_4 bleu length repetition".split()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of its own for the fixtures."""
    return tmp_path_factory.mktemp("dialogue-validation")


@pytest.fixture(scope="module")
def vectors(home):
    """The words lie on a circle; one of them has no vector."""
    path = home / "vectors.txt"
    path.write_text("".join(f"w{n} {n % 3} {(n * n) % 5 - 2} {1 - n % 2}\n" for n in range(7)))
    return path


@pytest.fixture(scope="module")
def arguments(folder, stock, vectors):  # noqa: F811
    """Training that changes nothing, for a validation of the pretrained networks."""
    still = [f"--{player}-lr=0" for player in ("forward", "backward", "noise")]
    names = [f"--{name}-checkpoint={path}" for name, path in stock.items()]

    def make(save_dir, *extra):
        args = ami_args(folder, save_dir, 2, *DIALOG, *still, *names, "--weight-clip-mode", "none", *WHOLE, *EVAL)
        return with_validation([*args, "--eval-replies-vectors", vectors, *BEST, *extra], 2)

    return make


@pytest.fixture(scope="module")
def alone(arguments, home):
    """Of one worker; two validation sets, with fairseq's own BLEU beside."""
    options = [*BLEU, "--eval-bleu-args", '{"beam": 3, "max_len_b": 8}', "--valid-subset", "valid,test"]
    return train(home / "alone", arguments(home / "alone", *options))


def decoded(data, path, subset, out):
    """What stock fairseq writes and what it should have written, words by sentence."""
    argv = [data, "--path", path, "--gen-subset", subset, "--beam", 3, "--max-len-b", 8, "--cpu", "--num-workers", 0]
    argv += ["--required-batch-size-multiple", 1, "--user-dir", PLUGIN]
    text = run("generate", argv, out / f"{subset}.log").text
    return [[line.split() for line in column(text, kind)] for kind in "HT"]


def cosine_of_sums(first, second, vectors):
    table = {word: np.array(numbers, float) for word, *numbers in map(str.split, vectors.read_text().splitlines())}
    one, two = (sum((table[word] for word in words if word in table), np.zeros(3)) for words in (first, second))
    size = np.linalg.norm(one) * np.linalg.norm(two)
    return one @ two / size if size else 0.0


def test_metrics_are_those_of_the_decoded_text(alone, folder, stock, vectors, tmp_path):  # noqa: F811
    """Stock decoding, and figures counted here, on both validation sets."""
    for subset in ("valid", "test"):
        said, real = decoded(folder, stock["forward"], subset, tmp_path)
        (logged,) = alone.logs(subset)
        found = {name: float(logged[f"{subset}_reply_{name}"]) for name in NAMES}
        grams = {n: [tuple(reply[i : i + n]) for reply in said for i in range(len(reply) - n + 1)] for n in (1, 2, 4)}
        shares = np.array(list(Counter(grams[4]).values())) / len(grams[4])
        expected = {
            "average": np.mean([cosine_of_sums(*both, vectors) for both in zip(said, real)]),
            "dist_1": len(set(grams[1])) / len(grams[1]),
            "dist_2": len(set(grams[2])) / len(grams[2]),
            "ent_4": -(shares * np.log(shares)).sum(),
            "length": len(grams[1]) / len(said),
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)
        assert found["bleu"] == pytest.approx(float(logged[f"{subset}_bleu"]), abs=0.0051)  # fairseq's own


def test_two_workers_measure_what_one_does(alone, arguments, home):
    """An odd number of batches: one worker repeats a batch, which must not count."""
    port, running = free_port(), []
    for rank in range(2):
        args = [*arguments(home / "two"), *workers_args(2, rank, port)]
        running.append(start("train", args, home / f"two.{rank}.log"))
    results = [worker.wait() for worker in running]
    assert [result.code for result in results] == [0, 0], results[0].text[-3000:]
    (one,), (two,) = (result.logs("valid") for result in (alone, results[0]))
    assert {name: two[f"valid_reply_{name}"] for name in NAMES} == {name: one[f"valid_reply_{name}"] for name in NAMES}
    best = load(home / "two" / "checkpoint_best.pt")["extra_state"]["best"]
    assert best == float(two["valid_reply_average"])


def test_mistakes(arguments, home, tmp_path):
    for options, message in [
        (["--eval-replies-args", "beam 3"], "--eval-replies-args is no JSON object"),
        (["--eval-replies-vectors", tmp_path / "none"], "none cannot be read"),
    ]:
        result = train(tmp_path, arguments(tmp_path / "run", *options), check=False)
        assert result.code != 0 and message in result.text and "Traceback" not in result.text, result.text[-2000:]
