"""The whole of AMI on an embedded corpus, on the CPU, in minutes: `make demo`.

Pretrains both networks with stock fairseq, trains maximum likelihood (continued), MMI and AMI from them,
decodes with fairseq-generate, and ends with a table, sample translations and a figure.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from make_corpus import write_corpus
from report import figure, results

PAIR_RUNS = ("mle", "mmi", "ami")
TITLES = {"mle": "maximum likelihood", "mmi": "MMI", "ami": "AMI"}


def fairseq(tool: str, *options: str) -> list:
    return [sys.executable, "-m", f"fairseq_cli.{tool}", *map(str, options)]


def network_options() -> list:
    sizes = {"layers": 2, "embed-dim": 64, "ffn-embed-dim": 128, "attention-heads": 2}
    options = [f"--{side}-{name}={value}" for side in ("encoder", "decoder") for name, value in sizes.items()]
    return [*options, "--share-decoder-input-output-embed", "--dropout=0.1"]


class Demo:
    """The steps; every command's output goes to a log in the working folder."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.work = Path(args.work)
        self.binary = self.work / "binary"
        self.user_dir = str(Path(__file__).resolve().parents[2] / "fairseq_ami")
        self.start = time.time()

    def say(self, text: str) -> None:
        print(f"[{time.time() - self.start:4.0f} s] {text}", flush=True)

    def run(self, commands: dict, describe) -> None:
        """Run named commands side by side, telling every few seconds how far they are."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        root = str(Path(self.user_dir).parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        running = {}
        for name, command in commands.items():
            log = open(self.work / f"{name}.log", "w")
            running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            while any(process.poll() is None for process in running.values()):
                time.sleep(self.args.interval)
                self.say("   ".join(describe(name) for name in commands))
        finally:
            for process in running.values():
                process.terminate()
        for name, process in running.items():
            if process.returncode != 0:
                tail = (self.work / f"{name}.log").read_text().splitlines()[-15:]
                raise SystemExit("\n".join([f"{name} failed; the end of {self.work / name}.log:", *tail]))

    def progress(self, name: str, keys: tuple) -> str:
        """Last numbers of a training log."""
        last = {}
        for line in (self.work / f"{name}.log").read_text().splitlines():
            if "| train_inner |" in line:
                last = json.loads(line.split("|", 3)[3])
        shown = [f"{key} {float(last[key]):.2f}" for key in keys if last.get(key) is not None]
        return f"{name}: update {last.get('num_updates', 0)} " + " ".join(shown)

    def corpus(self) -> None:
        text = self.work / "text"
        write_corpus(text, train=self.args.train, valid=512, test=512, seed=self.args.seed, overwrite=True)
        shutil.rmtree(self.binary, ignore_errors=True)
        prefixes = [f"--{split}pref={text / split}" for split in ("train", "valid", "test")]
        command = fairseq("preprocess", "-s", "en", "-t", "de", *prefixes, "--destdir", self.binary)
        self.run({"preprocess": command}, lambda name: "fairseq-preprocess")

    def pretrain(self) -> None:
        commands = {}
        for source, target in (("en", "de"), ("de", "en")):
            name = f"pretrain.{source}-{target}"
            commands[name] = fairseq(
                "train", self.binary, "--user-dir", self.user_dir, "--task=translation", "-s", source, "-t", target,
                "--arch=transformer", *network_options(), "--criterion=label_smoothed_cross_entropy",
                "--optimizer=adam", "--adam-betas=(0.9, 0.98)", "--lr=5e-3", "--lr-scheduler=inverse_sqrt",
                "--warmup-updates=200", "--clip-norm=1.0", "--max-tokens=2000", "--seed", self.args.seed,
                "--max-update", self.args.pretrain_updates, "--save-dir", self.work / name, *self.logging(),
            )  # fmt: skip
        self.run(commands, lambda name: self.progress(name, ("ppl",)))

    def pair_command(self, objective: str) -> list:
        pretrained = {
            direction: self.work / f"pretrain.{pair}" / "checkpoint_last.pt"
            for direction, pair in (("forward", "en-de"), ("backward", "de-en"))
        }
        return fairseq(
            "train", self.binary, "--user-dir", self.user_dir, "--task=ami_translation", "-s", "en", "-t", "de",
            "--arch=ami_transformer", "--forward-checkpoint", pretrained["forward"],
            "--backward-checkpoint", pretrained["backward"], "--criterion=ami_minimax", "--objective", objective,
            "--optimizer=ami_phased", "--phase-cycle", self.args.phase_cycle,
            "--noise-updates", self.args.noise_updates if objective == "ami" else 0,
            "--max-tokens=1000", "--seed", self.args.seed, "--max-update", self.updates(objective),
            "--save-dir", self.work / objective, "--validate-interval-updates", self.args.validate_every,
            "--policy-weight=2", "--reward-scale=running-std",
            *(["--cosine-multiplier=backward"] if objective == "ami" else []),  # the other objectives have no K
            *self.logging(), *self.args.extra,
        )  # fmt: skip

    def updates(self, objective: str) -> int:
        """As many updates as give every objective the same number of forward phases."""
        from fairseq_ami.schedules import parse_phase_cycle

        cycle = dict(parse_phase_cycle(self.args.phase_cycle))
        players = ("noise", "forward", "backward") if objective == "ami" else ("forward", "backward")
        length = sum(cycle.get(player, 0) for player in players)
        return self.args.cycles * length + (self.args.noise_updates if objective == "ami" else 0)

    @staticmethod
    def logging() -> list:
        return ["--cpu", "--num-workers=0", "--log-format=json", "--log-interval=20", "--no-epoch-checkpoints",
                "--required-batch-size-multiple=1"]  # fmt: skip

    def train_pairs(self) -> None:
        for group in (("ami",), ("mle", "mmi")) if self.args.one_core else (PAIR_RUNS,):
            commands = {name: self.pair_command(name) for name in group}
            self.run(commands, lambda name: self.progress(name, ("vim_bound", "backward_nll_real")))

    def decode(self) -> None:
        commands = {}
        for name in PAIR_RUNS:
            commands[f"generate.{name}"] = fairseq(
                "generate", self.binary, "--user-dir", self.user_dir, "-s", "en", "-t", "de",
                "--path", self.work / name / "checkpoint_last.pt", "--beam=5", "--batch-size=128", "--cpu",
                "--required-batch-size-multiple=1", "--results-path", self.work / name,
            )  # fmt: skip
        pairs = [f"{name}={self.work / name / 'checkpoint_last.pt'}" for name in PAIR_RUNS]
        first = self.work / "mle" / "checkpoint_last.pt"
        commands["bound"] = [
            sys.executable, "-m", "fairseq_ami.cli", "bound", str(self.binary), "--subset", "test",
            "--path", *pairs, "--common-q", str(first), "--frozen-samples", str(first),
            "--json", str(self.work / "bound.json"),
        ]  # fmt: skip
        self.run(commands, lambda name: name)

    def all(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.say(f"writing to {self.work}; every log is there")
        for title, step in (
            ("corpus", self.corpus),
            ("maximum likelihood on both networks, stock fairseq", self.pretrain),
            ("maximum likelihood continued, MMI and AMI", self.train_pairs),
            ("decoding and measuring", self.decode),
        ):
            self.say(f"--- {title}")
            step()
        print(results(self.work, {name: TITLES[name] for name in PAIR_RUNS}))
        self.say(f"figure of the bound over updates: {figure(self.work, TITLES)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", default="demo-output", help="folder for everything that is written")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", type=int, default=12000, help="training pairs")
    parser.add_argument("--pretrain-updates", type=int, default=1200)
    parser.add_argument("--noise-updates", type=int, default=20)
    parser.add_argument("--cycles", type=int, default=24, help="of the phases, for each objective")
    parser.add_argument("--phase-cycle", default="noise=2,forward=8,backward=8")
    parser.add_argument("--validate-every", type=int, default=48)
    parser.add_argument("--interval", type=float, default=10, help="seconds between progress lines")
    parser.add_argument("--one-core", action="store_true", help="train AMI after the others, not beside them")
    parser.add_argument("extra", nargs="*", help="after --: further fairseq-train options of the three runs")
    Demo(parser.parse_args()).all()


if __name__ == "__main__":
    main()
