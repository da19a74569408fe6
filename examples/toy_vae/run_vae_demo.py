"""VAE-MINE against a collapsing VAE and a language model on an embedded corpus, on the CPU: `make demo-vae`.

Trains the three with stock fairseq-train, measures them with `fairseq-ami vae-eval` beside the corpus's true entropy,
and ends with a table, figures, prior samples and an interpolation.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from corpus import entropy, global_information, write_corpus

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.text_vae.ngram_lm import KenLM

sys.path.append(str(Path(__file__).resolve().parents[1] / "toy"))
from run_demo import Demo, fairseq  # noqa: E402

TITLES = {"lm": "LSTM-LM", "vae": "VAE", "mine": "VAE-MINE"}
SIZES = ["--embed-dim", 32, "--hidden-size", 64]
LATENT = ["--arch", "text_vae_lstm_tiny", "--latent-dim", 8, "--kl-anneal", "linear", "--kl-anneal-updates", 750]
# the last two differ in the term of mutual information alone
MODELS = {
    "lm": ["--arch", "text_lm_lstm_tiny"],
    "vae": LATENT,
    "mine": [*LATENT, "--critic", "bilinear", "--critic-lr", 0.02, "--xi", "optimal"],
}


def ami(verb: str, *options: object) -> list:
    return [sys.executable, "-m", "fairseq_ami.cli", verb, *map(str, options)]


class VAEDemo(Demo):
    """The steps; every command's output goes to a log in the working folder."""

    def checkpoint(self, name: str) -> Path:
        return self.work / name / "checkpoint_last.pt"

    def corpus(self) -> None:
        text = self.work / "text"
        write_corpus(text, self.args.seed)
        shutil.rmtree(self.binary, ignore_errors=True)
        prefixes = [f"--{split}pref={text / split}" for split in ("train", "valid", "test")]
        command = fairseq("preprocess", "--only-source", *prefixes, "--destdir", self.binary)
        self.run({"preprocess": command}, lambda name: "fairseq-preprocess")

    def train(self) -> None:
        commands = {}
        for name, options in MODELS.items():
            shutil.rmtree(self.work / name, ignore_errors=True)
            weight = ["--mi-weight", self.args.alpha] if name == "mine" else []
            commands[name] = fairseq(
                "train", self.binary, "--user-dir", self.user_dir, "--task=text_vae", *options, *SIZES, *weight,
                "--criterion=vae_mine_elbo", "--optimizer=ami_phased", "--lr", self.args.lr, "--batch-size=32",
                "--lr-scheduler=polynomial_decay", "--total-num-update", self.args.updates,
                "--max-update", self.args.updates, "--seed", self.args.seed, "--save-dir", self.work / name,
                *self.logging(), *self.args.extra,
            )  # fmt: skip
        for group in (["mine"], ["lm", "vae"]) if self.args.one_core else (list(commands),):
            chosen = {name: commands[name] for name in group}
            self.run(chosen, lambda name: self.progress(name, ("nll", "kl", "bound")))

    def measure(self) -> None:
        names = list(TITLES)
        generation = ["--samples", self.args.samples] if self.has_kenlm() else ["--no-generation"]
        commands = {
            "eval": ami(
                "vae-eval", *map(self.checkpoint, names), "--name", *TITLES.values(), "--data", self.binary,
                "--iw-samples", self.args.iw_samples, "--json", self.work / "eval.json", "--cpu", *generation,
            ),
            "look": ami(
                "vae-sample", self.checkpoint("mine"), "--data", self.binary, "--prior", 8, "--cpu",
                "--json", self.work / "look.json", "--interpolate", *self.two_sentences(), "--steps", 7,
            ),
            "training": ami(
                "plot", "training", self.work / "vae.log", self.work / "mine.log", "--name", "VAE", "VAE-MINE",
                "--metrics", "kl,mi,au,nll", "--output", self.work / "training.png",
            ),
            "latent": ami(
                "plot", "latent", self.checkpoint("mine"), "--data", self.binary, "--subset", "test",
                "--labels", self.work / "text" / "test.scenes", "--output", self.work / "latent.png", "--cpu",
            ),
        }  # fmt: skip
        self.run(commands, lambda name: name)

    @staticmethod
    def has_kenlm() -> bool:
        try:
            KenLM.find()
        except AMIError:
            return False
        return True

    def two_sentences(self) -> list:
        """The first test sentence, and the next one of another scene."""
        lines, scenes = ((self.work / "text" / name).read_text().splitlines() for name in ("test", "test.scenes"))
        other = next(row for row, scene in enumerate(scenes) if scene != scenes[0])
        return [lines[0], lines[other]]

    def report(self) -> str:
        look = json.loads((self.work / "look.json").read_text())
        steps = [f"{step['weight']:.2f}  {step['sentence']}" for step in look["interpolations"][0]["steps"]]
        # so few words, all of them frequent, are no language to Kneser-Ney: the table's asterisks say enough
        lines = (self.work / "eval.log").read_text().splitlines()
        table = [line for line in lines if "fall-back discounts for" not in line]
        kenlm = "" if self.has_kenlm() else "\nFPPL and RPPL were left out: `make kenlm` builds what they need\n"
        return "\n".join([
            "", *table, kenlm,
            f"floor: the entropy of a sentence is {entropy():.2f} nats, no exact NLL is lower but by chance;",
            f"scene and order of a sentence share {global_information():.2f} nats with it", "",
            "VAE-MINE, greedy, z from the prior:", *look["prior"], "",
            "VAE-MINE, between two sentences:", look["interpolations"][0]["from"], *steps,
            look["interpolations"][0]["to"], "",
        ])  # fmt: skip

    def all(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.say(f"writing to {self.work}; every log is there")
        for title, step in (
            ("corpus", self.corpus),
            ("language model, VAE, VAE-MINE", self.train),
            ("measuring", self.measure),
        ):
            self.say(f"--- {title}")
            step()
        print(self.report())
        self.say(f"figures: {self.work / 'training.png'}, {self.work / 'latent.png'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", default="demo-vae-output", help="folder for everything that is written")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=0.005, help="falls to 0")
    parser.add_argument("--alpha", type=float, default=2.5, help="weight of the mutual information")
    parser.add_argument("--iw-samples", type=int, default=50, help="of the importance-weighted likelihood")
    parser.add_argument("--samples", type=int, default=2000, help="generated sentences for FPPL and RPPL")
    parser.add_argument("--interval", type=float, default=10, help="seconds between progress lines")
    parser.add_argument("--one-core", action="store_true", help="train VAE-MINE before the others, not beside them")
    parser.add_argument("extra", nargs="*", help="after --: further fairseq-train options of the three runs")
    VAEDemo(parser.parse_args()).all()


if __name__ == "__main__":
    main()
