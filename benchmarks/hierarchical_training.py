"""What an update of HRED and VHRED and a beam search with them cost, beside fairseq's own ``lstm`` of the same sizes.

    python benchmarks/hierarchical_training.py [--size dialog|park] [--sources 64] [--words 12] [--rounds 15]

The ``lstm`` reads the same histories as one sequence, with a bi-directional encoder and attention. All have one layer
and as many units everywhere. Batches are random words, and all replies of the search have --words symbols. The systems
take turns and CPU seconds are compared, so that a busy machine slows all of them alike.
"""

import argparse
import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List

import torch
from fairseq.data import Dictionary
from fairseq.data.language_pair_dataset import collate
from gan_training import make_dictionary
from rewards import take_turns
from systems import rows, trainer_of

from fairseq_ami.data.dialogue import SEPARATOR

UNITS = {"dialog": 128, "park": 1000}
WORD_VECTORS = {"dialog": 128, "park": 500}
STOCK, HRED, VHRED = "stock lstm", "hred", "vhred"
BESIDE = {STOCK: STOCK, HRED: STOCK, VHRED: HRED}  # the ratio that has a limit: HRED 1.3, VHRED 1.25


def flags_of(system: str, size: str) -> List[str]:
    common = "-s hist -t reply --optimizer adam --lr 1e-4 --clip-norm 1"
    if system == STOCK:
        units, vectors = UNITS[size], WORD_VECTORS[size]
        return (
            f"--task translation {common} --criterion cross_entropy --arch lstm --encoder-bidirectional --dropout 0.2 "
            f"--encoder-embed-dim {vectors} --encoder-hidden-size {units} --decoder-embed-dim {vectors} "
            f"--decoder-hidden-size {units} --decoder-out-embed-dim {vectors} --share-all-embeddings"
        ).split()
    criterion = "cross_entropy" if system == HRED else "dialog_elbo"
    return f"--task hierarchical_dialog {common} --criterion {criterion} --arch {system}_{size} --dropout 0.2".split()


def dialogue_batch(dictionary: Dictionary, args: argparse.Namespace) -> Dict[str, Any]:
    """Histories of --utterances, cut by the separator, and their replies."""
    cut = torch.tensor([dictionary.index(SEPARATOR)])
    turns = [rows(dictionary, args.sources, args.words, seed) for seed in range(args.utterances + 1)]
    samples = []
    for number, (*history, reply) in enumerate(zip(*turns)):
        parts = [part for turn in history for part in (turn[:-1], cut)][:-1]
        samples.append({"id": number, "source": torch.cat([*parts, reply[-1:]]), "target": reply})
    return collate(samples, dictionary.pad(), dictionary.eos(), left_pad_source=True)


def search(trainer: Any, batch: Dict[str, Any], words: int) -> Callable[[], Any]:
    """A beam search of width 5 whose replies have *words* symbols and the end symbol."""
    settings = argparse.Namespace(beam=5, max_len_a=0, max_len_b=words, min_len=words)
    generator = trainer.task.build_generator([trainer.model], settings)

    def run() -> Any:
        trainer.model.eval()
        return trainer.task.inference_step(generator, [trainer.model], batch)

    return run


def report(title: str, times: Dict[str, List[float]], tokens: int) -> None:
    print(f"{title:22} {'s':>8} {'tokens/s':>10} {'over stock lstm':>16} {'over the one before':>20}")
    for name, values in times.items():
        ratios = [
            statistics.median(value / other for value, other in zip(values, times[beside]))
            for beside in (STOCK, BESIDE[name])
        ]
        seconds = statistics.median(values)
        print(f"{name:22} {seconds:8.3f} {tokens / seconds:10.0f} {ratios[0]:16.2f} {ratios[1]:20.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=tuple(UNITS), default="dialog", help="sizes of the networks")
    parser.add_argument("--sources", type=int, default=64, metavar="N", help="histories of a batch")
    parser.add_argument("--utterances", type=int, default=3, metavar="N", help="of a history")
    parser.add_argument("--words", type=int, default=12, metavar="N", help="about so many in an utterance")
    parser.add_argument("--vocabulary", type=int, default=5000, metavar="N", help="symbols of the dictionary")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="timed updates of each system")
    args = parser.parse_args()
    args.device, args.precision = "cpu", "fp32"
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        batch = dialogue_batch(make_dictionary(Path(name), args.vocabulary), args)
        trainers = {system: trainer_of(name, flags_of(system, args.size), args) for system in BESIDE}
        updates = {name: lambda trainer=trainer: trainer.train_step([batch]) for name, trainer in trainers.items()}
        report("an update", take_turns(updates, args.rounds), batch["ntokens"])
        searches = {name: search(trainer, batch, args.words) for name, trainer in trainers.items()}
        report("a search", take_turns(searches, args.rounds), args.sources * (args.words + 1))


if __name__ == "__main__":
    main()
