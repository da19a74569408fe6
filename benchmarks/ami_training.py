"""AMI's phases against the passes through the networks that none of them can do without, and against stock fairseq.

    python benchmarks/ami_training.py [--network transformer|lstm] [--tokens 1000] [--rounds 12] [--memory]

* A phase through fairseq's Trainer, over the sum of its unavoidable passes, each timed alone and written with plain
  fairseq and torch: the real pairs with gradients, sampling, scoring the samples with gradients, the backward network's
  judgement of them, and the step of the optimizer.
* A forward update over a stock maximum-likelihood update of the same network on the same batch.
* The training sampler over fairseq's SequenceGenerator with sampling, in tokens a second.
* --memory: peak memory of processes that make a few updates of each kind.

Batches are random words. Untrained networks hardly ever end a sentence, so samples are cut at the length of their
sources. All systems take turns and medians are compared, so that a busy machine slows all of them alike.
"""

import argparse
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.optim.adam import Adam
from systems import AMI_COMMON, STOCK_COMMON, both_sides, make_dictionary, ours, pair_batch, theirs, trainer_of

from fairseq_ami.data import reverse_sample
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.sampler import sample
from fairseq_ami.modules import dropout_off
from fairseq_ami.random_streams import stream_keys

SIZES = {
    "transformer": (
        "--SIDE-layers 4 --SIDE-embed-dim 128 --SIDE-ffn-embed-dim 256 --SIDE-attention-heads 4 --dropout 0.3"
    ),
    "lstm": "--SIDE-layers 1 --SIDE-embed-dim 256 --SIDE-hidden-size 256 --decoder-out-embed-dim 256 --dropout 0.3",
}
SHARED = {"transformer": "--share-all-embeddings", "lstm": ""}
STOCK_ARCH = {"transformer": "--arch transformer", "lstm": "--arch lstm --encoder-bidirectional"}
AMI = "--num-samples 1 --baseline running-mean --phase-cycle {}=1000000"
PHASES = {
    "forward, ancestral": AMI.format("forward"),
    "forward, teacher-forced": AMI.format("forward") + " --sampler teacher-forced",
    "noise": AMI.format("noise"),
    "backward": AMI.format("backward"),
}
# which passes a phase cannot do without
UNAVOIDABLE = {
    "forward, ancestral": ("P real", "sampling", "P scores", "Q judges", "step"),
    "forward, teacher-forced": ("P real", "P scores", "Q judges", "step"),
    "noise": ("P encodes", "sampling", "P scores to z", "Q judges"),
    "backward": ("P encodes", "sampling", "Q real", "Q fake", "step"),
}
STOCK = "stock maximum likelihood"


def flags_of(name: str, network: str) -> List[str]:
    """Command line of a system."""
    sizes = [*both_sides(SIZES[network]), *SHARED[network].split()]
    if name == STOCK:
        return [*STOCK_COMMON.split(), *STOCK_ARCH[network].split(), *sizes]
    return [*AMI_COMMON.split(), "--arch", f"ami_{network}", *PHASES[name].split(), *sizes]


class Passes:
    """The unavoidable passes over one batch, with the networks of an AMI trainer."""

    def __init__(self, model: Any, batch: Dict[str, Any], dictionary: Dictionary):
        self.model, self.batch, self.dictionary = model.train(), batch, dictionary
        self.pad, self.eos = dictionary.pad(), dictionary.eos()
        self.reverse = reverse_sample(batch, self.pad, self.eos)
        self.optimizers = {
            name: Adam(getattr(model, name).parameters(), lr=1e-4) for name in ("forward_model", "backward_model")
        }
        with torch.no_grad(), dropout_off(model.forward_model):
            self.encoded = self._encode()
        self.samples = self._draw()

    def steps(self) -> Dict[str, Callable[[], Any]]:
        forward, backward = self.model.forward_model, self.model.backward_model
        real, back = self.batch["net_input"], self.reverse["net_input"]
        drawn = {**real, "prev_output_tokens": self._shift(self.samples)}
        heard = {
            "src_tokens": self.samples,
            "src_lengths": self.samples.ne(self.pad).sum(1),
            "prev_output_tokens": back["prev_output_tokens"],
        }
        return {
            "P real": lambda: self._learn("forward", forward, real, self.batch["target"]),
            "P scores": lambda: self._learn("forward", forward, drawn, self.samples, quiet=True),
            "P scores to z": lambda: self._reach_z(drawn),
            "P encodes": self._encode_quietly,
            "sampling": self._draw,
            "Q judges": lambda: self._judge(backward, heard),
            "Q real": lambda: self._learn("backward", backward, back, self.reverse["target"]),
            "Q fake": lambda: self._learn("backward", backward, heard, self.reverse["target"]),
            "step": lambda: self._step(forward),
        }

    def _encode(self) -> Any:
        inputs = self.batch["net_input"]
        return self.model.encode(self.model.forward_model, inputs["src_tokens"], inputs["src_lengths"])

    @torch.no_grad()
    def _encode_quietly(self) -> None:
        with dropout_off(self.model.forward_model):
            self._encode()

    def _draw(self) -> torch.Tensor:
        network, ids = self.model.forward_model, self.batch["id"]
        with torch.no_grad(), dropout_off(network):
            found = sample(
                network.decoder, self.encoded, network.encoder.reorder_encoder_out, Policy((self.pad,)),
                stream_keys(1, 0, 0, ids, 1), self.batch["net_input"]["src_lengths"], self.pad, self.eos,
            )  # fmt: skip
        return found.tokens

    def _shift(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full_like(tokens[:, :1], self.eos), tokens[:, :-1]], 1)

    def _learn(self, player: str, network: Any, inputs: Dict, target: torch.Tensor, quiet: bool = False) -> None:
        """A pass with gradients."""
        self.model.set_players({player})
        with dropout_off(*([network] if quiet else [])):
            encoded = self.model.encode(network, inputs["src_tokens"], inputs["src_lengths"])
            loss = self._loss_where(network, inputs["prev_output_tokens"], encoded, target)
        loss.backward()

    def _loss_where(self, network: Any, previous: torch.Tensor, encoded: Any, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy without the output layer at padding: the least that there is to do."""
        real = target.ne(self.pad)
        features = network.decoder.extract_features(previous, encoder_out=encoded)[0]
        return F.cross_entropy(network.decoder.output_layer(features[real]), target[real], reduction="sum")

    def _reach_z(self, inputs: Dict) -> None:
        """A pass of the decoder with gradients that reach z, and no further."""
        self.model.set_players(set())
        z, _ = self.model.latent.get(self.encoded)
        encoded = self.model.latent.replace(self.encoded, z.detach().requires_grad_())
        network = self.model.forward_model
        with dropout_off(network):
            self._loss_where(network, inputs["prev_output_tokens"], encoded, self.samples).backward()

    def _judge(self, network: Any, inputs: Dict) -> None:
        with torch.no_grad(), dropout_off(network):
            encoded = self.model.encode(network, inputs["src_tokens"], inputs["src_lengths"])
            self._loss_where(network, inputs["prev_output_tokens"], encoded, self.reverse["target"])

    def _step(self, network: Any) -> None:
        """Clip, step, forget: what follows the passes of every update."""
        for parameter in network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimizers["forward_model"].step()
        self.optimizers["forward_model"].zero_grad()


def take_turns(steps: Dict[str, Callable[[], Any]], rounds: int) -> Dict[str, float]:
    """Median seconds of each step."""
    times: Dict[str, List[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def report_phases(seconds: Dict[str, float]) -> None:
    print(f"{'pass':28} {'s':>8}")
    for name in dict.fromkeys(name for names in UNAVOIDABLE.values() for name in names):
        print(f"{name:28} {seconds[name]:8.4f}")
    print(f"\n{'update':28} {'s':>8} {'its passes':>10} {'ratio':>6} {'over stock':>10}")
    print(f"{STOCK:28} {seconds[STOCK]:8.4f}")
    for name, passes in UNAVOIDABLE.items():
        least = sum(seconds[part] for part in passes)
        print(f"{name:28} {seconds[name]:8.4f} {least:10.4f} {seconds[name] / least:6.2f} "
              f"{seconds[name] / seconds[STOCK]:10.2f}")  # fmt: skip


def phases(folder: str, dictionary: Dictionary, args: argparse.Namespace) -> None:
    batch = pair_batch(dictionary, max(args.tokens // args.length, 2), args.length)
    steps: Dict[str, Callable[[], Any]] = {}
    for name in (STOCK, *PHASES):
        trainer = trainer_of(folder, flags_of(name, args.network), args)
        steps[name] = lambda trainer=trainer: trainer.train_step([batch])
    trainer = trainer_of(folder, flags_of("backward", args.network), args)
    steps.update(Passes(trainer.model, batch, dictionary).steps())
    report_phases(take_turns(steps, args.rounds))


def samplers(folder: str, dictionary: Dictionary, args: argparse.Namespace) -> None:
    network = trainer_of(folder, flags_of(STOCK, args.network), args).model
    print(f"\n{'sampling':28} {'tokens/s':>9} {'generator':>9} {'ratio':>6}")
    for size in args.sampler_batches:
        batch = pair_batch(dictionary, size, args.length)
        steps = {
            "ours": ours(network, batch, dictionary, args.length),
            "theirs": theirs(network, batch, dictionary, args.length),
        }
        seconds = take_turns(steps, max(args.rounds // 4, 3))
        speed = {name: size * args.length / value for name, value in seconds.items()}
        print(f"batch {size:<22} {speed['ours']:9.0f} {speed['theirs']:9.0f} {speed['ours'] / speed['theirs']:6.2f}")


def memory(args: argparse.Namespace) -> None:
    """Each system in a process of its own."""
    print(f"\n{'peak memory above the start':28} {'MiB':>8} {'over stock':>10}")
    found: Dict[str, float] = {}
    for name in (STOCK, *PHASES):
        command = [sys.executable, __file__, "--only", name, "--network", args.network, "--tokens", str(args.tokens)]
        command += ["--length", str(args.length), "--vocabulary", str(args.vocabulary)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(done.stdout.split()[-1])
        print(f"{name:28} {found[name]:8.0f} {found[name] / found[STOCK]:10.2f}")


def only(folder: str, dictionary: Dictionary, args: argparse.Namespace) -> None:
    """A few updates of one system; prints the growth of the process in MiB."""
    batch = pair_batch(dictionary, max(args.tokens // args.length, 2), args.length)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer = trainer_of(folder, flags_of(args.only, args.network), args)
    for _ in range(6):
        trainer.train_step([batch])
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=sorted(SIZES), default="transformer")
    parser.add_argument("--tokens", type=int, default=1000, metavar="N", help="target tokens of a batch")
    parser.add_argument("--length", type=int, default=16, metavar="N", help="tokens of a sentence")
    parser.add_argument("--vocabulary", type=int, default=6048, metavar="N", help="symbols of the joined dictionary")
    parser.add_argument("--rounds", type=int, default=12, metavar="N", help="timed updates of each system")
    parser.add_argument("--sampler-batches", type=int, nargs="*", default=[64, 256], metavar="N", help="sentences")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--memory", action="store_true", help="measure peak memory as well")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.device, args.precision = "cpu", "fp32"
    logging.disable(logging.INFO)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        dictionary = make_dictionary(Path(folder), args.vocabulary)
        if args.only:
            return only(folder, dictionary, args)
        phases(folder, dictionary, args)
        samplers(folder, dictionary, args)
    if args.memory:
        memory(args)
    return None


if __name__ == "__main__":
    main()
