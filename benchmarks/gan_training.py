"""What an update of dialog_gan costs in each phase, and where the time of Monte Carlo rewards goes.

    python benchmarks/gan_training.py [--sources 64] [--length 15] [--completions 5] [--rounds 5]

* An update of the discriminator, of the teacher, and of the generator with each kind of rewards.
* The parts of a generator update with Monte Carlo rewards: replies drawn and scored, completions drawn, and judged.

Batches are random words. An untrained generator hardly ever ends a reply, so that all replies have --length symbols.
All systems take turns and CPU seconds are compared, so that a busy machine slows all of them alike. The networks are
those of the recipes of dialogue.
"""

import argparse
import logging
import statistics
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any, Callable, Dict, List

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.transformer import TransformerModel
from rewards import take_turns
from systems import pair_batch, trainer_of

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.generation.completions import complete
from fairseq_ami.generation.rollout import roll_out

SIZES = {"embed_dim": 128, "ffn_embed_dim": 256, "layers": 3, "attention_heads": 4}  # of SIZE=small
UPDATES = {
    "discriminator": "--phase-cycle discriminator=1000000",
    "teacher": "--phase-cycle teacher=1000000",
    "generator, whole replies": "--phase-cycle generator=1000000 --step-rewards none",
    "generator, prefixes": "--phase-cycle generator=1000000 --step-rewards prefix",
    "generator, Monte Carlo": "--phase-cycle generator=1000000 --step-rewards monte-carlo",
}
MONTE_CARLO = "generator, Monte Carlo"
DRAWN, COMPLETED, JUDGED = "replies drawn and scored", "completions drawn", "completions judged"


def make_dictionary(folder: Path, vocabulary: int) -> Dictionary:
    """A dictionary of *vocabulary* symbols with the separator, for histories and replies."""
    dictionary = Dictionary()
    for number in range(vocabulary - dictionary.nspecial - 1):
        dictionary.add_symbol(f"w{number}")
    dictionary.add_symbol(SEPARATOR)
    for name in ("hist", "reply"):
        dictionary.save(str(folder / f"dict.{name}.txt"))
    return dictionary


def make_generator(folder: Path, dictionary: Dictionary) -> Path:
    """An untrained Transformer of stock fairseq, as a checkpoint."""
    sides = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in SIZES.items()}
    args = Namespace(arch="transformer", share_all_embeddings=True, **sides)
    args.max_source_positions = args.max_target_positions = 256
    ARCH_CONFIG_REGISTRY["transformer"](args)
    view = Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    state = {"args": args, "model": TransformerModel.build_model(args, view).state_dict()}
    torch.save(state, folder / "generator.pt")
    return folder / "generator.pt"


def flags_of(options: str, generator: Path, args: argparse.Namespace) -> List[str]:
    common = (
        "--task dialog_gan -s hist -t reply --arch dialog_gan_dialog --criterion dialog_gan --optimizer ami_phased "
        f"--sample-max-len-b {args.length} --num-samples {args.samples} --generator-checkpoint {generator}"
    )
    more = f" --completions {args.completions}" if "monte-carlo" in options else ""
    return (common + " " + options + more).split()


def parts_of(trainer: Any, batch: Dict[str, Any], args: argparse.Namespace) -> Dict[str, Callable[[], Any]]:
    """The steps of one generator update by themselves."""
    model, sampling = trainer.model, trainer.criterion.sampling
    samples = roll_out(model, batch, sampling, 0, noise=False, score=False).samples
    found = list(complete(model, batch, samples, sampling, args.completions, 0))

    def draw() -> None:
        for _ in complete(model, batch, samples, sampling, args.completions, 0):
            pass

    @torch.no_grad()
    def judge() -> None:
        known = model.discriminator.read(batch["net_input"]["src_tokens"]).repeat_interleave(args.samples, 0)
        for some in found:
            model.discriminator.judge(known[some.sample], some.tokens)

    return {
        DRAWN: lambda: roll_out(model, batch, sampling, 0, noise=False, score=True),
        COMPLETED: draw,
        JUDGED: judge,
    }


def report(times: Dict[str, List[float]]) -> None:
    print(f"{'':28} {'s':>8} {'updates per minute':>20} {'of Monte Carlo':>16}")
    for name, values in times.items():
        seconds = statistics.median(values)
        part = statistics.median(value / whole for value, whole in zip(values, times[MONTE_CARLO]))
        updates = f"{60 / seconds:20.1f}" if name in UPDATES else " " * 20
        print(f"{name:28} {seconds:8.3f} {updates} {part:16.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, default=64, metavar="N", help="histories of a batch")
    parser.add_argument("--samples", type=int, default=2, metavar="N", help="replies per history")
    parser.add_argument("--length", type=int, default=15, metavar="N", help="symbols of a reply")
    parser.add_argument("--completions", type=int, default=5, metavar="N", help="completions of a prefix")
    parser.add_argument("--vocabulary", type=int, default=6000, metavar="N", help="symbols of the dictionary")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="timed updates of each system")
    args = parser.parse_args()
    args.device, args.precision = "cpu", "fp32"
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dictionary = make_dictionary(folder, args.vocabulary)
        generator = make_generator(folder, dictionary)
        batch = pair_batch(dictionary, args.sources, args.length)
        steps: Dict[str, Callable[[], Any]] = {}
        for title, options in UPDATES.items():
            trainer = trainer_of(name, flags_of(options, generator, args), args)
            trainer.task._to_check = ()  # an untrained generator may be worse than chance
            steps[title] = lambda trainer=trainer: trainer.train_step([batch])
            if title == MONTE_CARLO:
                steps.update(parts_of(trainer, batch, args))
        report(take_turns(steps, args.rounds))


if __name__ == "__main__":
    main()
