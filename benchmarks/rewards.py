"""What rewards, the anchor and sentences without references cost, as ratios of whole updates.

    python benchmarks/rewards.py [--sources 64] [--samples 8] [--rounds 7]

* A forward update of ``--objective ami`` with ``--reward log-q``, over updates that differ in one option each.
* The anchor's forward pass alone, which is the least that it can cost.
* The rewards of text alone, with and without fastchrf.
* A labelled update beside one that brings as many sentences without references.

Batches are random words. All systems take turns and medians are compared, so that a busy machine slows all of them
alike. The networks are those of examples/multi30k.
"""

import argparse
import logging
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import torch
from ami_training import SIZES
from fairseq.data import Dictionary
from systems import AMI_COMMON, both_sides, make_dictionary, pair_batch, rows, trainer_of

from fairseq_ami.generation.rollout import roll_out, score_samples
from fairseq_ami.rewards import Sampled, SentenceBleu, SentenceChrf, similarity

OWN = """
def words(sampled):
    return [float(len(output.split())) for output in sampled.outputs]
"""
BASE = "log-q"
UPDATES = {
    BASE: "--reward log-q",
    "log-q=1,chrf=1": "--reward log-q=1,chrf=1",
    "log-q=1,bleu=1": "--reward log-q=1,bleu=1",
    "log-q=1 and an own function": "--reward log-q=1,own_reward:words=0.1",
    "log-q, neutral": "--reward log-q --reward-length neutral",
    "log-q, anchor": "--reward log-q --anchor-weight 1",
}
ALONE = {
    "bleu alone, no Q": "--objective reward --no-backward-network --reward bleu",
    "chrf alone, no Q": "--objective reward --no-backward-network --reward chrf",
}
UNLABELLED = "log-q, one sentence without reference per pair"
PASS = "the anchor's pass"


def flags_of(options: str, args: argparse.Namespace) -> List[str]:
    """Command line of a game of the forward network alone."""
    common = f"--num-samples {args.samples} --phase-cycle forward=1000000 --no-latent-noise"
    sizes = [*both_sides(SIZES["transformer"]), "--share-all-embeddings"]
    objective = "" if "--objective" in options else "--objective mmi-fixed"
    # samples of untrained networks hardly ever end: they are cut at the length of their sources
    return [*AMI_COMMON.split(), "--arch", "ami_transformer", *f"{common} {objective} {options}".split(), *sizes]


def write_unlabelled(folder: Path, dictionary: Dictionary, count: int, length: int) -> None:
    """A split of sources alone, for the option to find; the timed batch is made by hand."""
    from fairseq.data import indexed_dataset

    stem = str(folder / "mono.en-None.en")
    builder = indexed_dataset.make_builder(stem + ".bin", impl="mmap", vocab_size=len(dictionary))
    for sentence in rows(dictionary, count, length, 3):
        builder.add_item(sentence)
    builder.finalize(stem + ".idx")


def with_unlabelled(batch: Dict[str, Any], dictionary: Dictionary, args: argparse.Namespace) -> Dict[str, Any]:
    """*batch* with as many sentences without references."""
    other = pair_batch(dictionary, args.sources, args.length)
    other = {**other, "target": None, "id": other["id"] + args.sources}
    return {**batch, "unlabelled": other}


def anchor_pass(trainer: Any, batch: Dict[str, Any]) -> Callable[[], Any]:
    """log P0(T'|S) of samples that are there: one pass without gradient."""
    model, criterion = trainer.model, trainer.criterion
    with torch.no_grad():
        samples = roll_out(model, batch, criterion.sampling, 0, noise=False, score=False).samples
    return lambda: score_samples(model, batch, samples, criterion.sampling)


def of_text(args: argparse.Namespace) -> Dict[str, Callable[[], Any]]:
    """The rewards of text alone, on other samples each time: sacreBLEU remembers texts that it has seen."""
    random_words = random.Random(1)

    def texts() -> Sampled:
        k, count = args.samples, args.sources
        line = [f"w{number}" for number in range(args.vocabulary - 4)]
        references = [" ".join(random_words.choices(line, k=args.length)) for _ in range(count)]
        repeated = [reference for reference in references for _ in range(k)]
        outputs = [
            " ".join(word if random_words.random() < 0.5 else random_words.choice(line) for word in text.split())
            for text in repeated
        ]
        ids = [[0]] * (k * count)
        return Sampled(repeated, outputs, repeated, ids, ids, ids, k)

    ready: List[Sampled] = [texts() for _ in range(args.rounds + 2)]
    places = {name: iter(ready) for name in ("chrF with fastchrf", "chrF of sacreBLEU", "BLEU of sacreBLEU")}
    fast = similarity.pairwise_chrf

    def slow_chrf(sampled: Sampled) -> None:
        similarity.pairwise_chrf = None
        SentenceChrf()(sampled)
        similarity.pairwise_chrf = fast

    functions: Dict[str, Callable[[Sampled], Any]] = {
        "chrF with fastchrf": SentenceChrf(), "chrF of sacreBLEU": slow_chrf, "BLEU of sacreBLEU": SentenceBleu(),
    }  # fmt: skip
    if fast is None:
        del functions["chrF with fastchrf"]
    return {name: lambda name=name: functions[name](next(places[name])) for name in functions}


def take_turns(steps: Dict[str, Callable[[], Any]], rounds: int) -> Dict[str, List[float]]:
    """CPU seconds of each step in each round: a busy machine stretches the time on the clock, and that much less."""
    times: Dict[str, List[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if number >= 2:  # the first update of a baseline has nothing to compare with
                times[name].append(time.process_time() - start)
    return times


def report(times: Dict[str, List[float]], over: str) -> None:
    """Median seconds, and the median over rounds of the ratio to *over*."""
    print(f"{'':48} {'s':>8} {'over ' + over:>12}")
    for name, values in times.items():
        ratio = statistics.median(value / base for value, base in zip(values, times[over]))
        print(f"{name:48} {statistics.median(values):8.4f} {ratio:12.3f}")
    triples = zip(times["log-q, anchor"], times[over], times[PASS])
    ratio = statistics.median((with_it - base) / alone for with_it, base, alone in triples)
    print(f"what the anchor adds, over its pass: {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, default=64, metavar="N", help="sources of a batch")
    parser.add_argument("--samples", type=int, default=8, metavar="N", help="samples per source")
    parser.add_argument("--length", type=int, default=16, metavar="N", help="tokens of a sentence")
    parser.add_argument("--vocabulary", type=int, default=6048, metavar="N", help="symbols of the joined dictionary")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="timed updates of each system")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    args.device, args.precision = "cpu", "fp32"
    logging.disable(logging.INFO)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sys.path.insert(0, name)
        (folder / "own_reward.py").write_text(OWN)
        dictionary = make_dictionary(folder, args.vocabulary)
        write_unlabelled(folder, dictionary, args.sources, args.length)
        batch = pair_batch(dictionary, args.sources, args.length)
        steps: Dict[str, Callable[[], Any]] = {}
        for title, options in {**UPDATES, **ALONE}.items():
            trainer = trainer_of(name, flags_of(options, args), args)
            steps[title] = lambda trainer=trainer: trainer.train_step([batch])
            if title == BASE:
                steps[PASS] = anchor_pass(trainer, batch)
        trainer = trainer_of(name, flags_of("--reward log-q --unlabelled mono --unlabelled-ratio 1", args), args)
        both = with_unlabelled(batch, dictionary, args)
        steps[UNLABELLED] = lambda: trainer.train_step([both])
        report(take_turns({**steps, **of_text(args)}, args.rounds), BASE)


if __name__ == "__main__":
    main()
