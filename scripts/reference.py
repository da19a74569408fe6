"""Writes docs/reference.md: every option of this package, from its dataclasses and parsers. `make reference`.

What the code cannot know stands here as data: the papers' values, and what the names in the log mean.
"""

import argparse
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from fairseq.options import get_generation_parser
from fairseq.tasks.translation import TranslationConfig

import fairseq_ami  # noqa: F401  # registers the architectures
from fairseq_ami.cli import VERBS, build_parser
from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.criterions.dialog_config import DialogELBOConfig
from fairseq_ami.criterions.dialog_gan_config import DialogGANLossConfig
from fairseq_ami.criterions.vae_config import VAEMineConfig
from fairseq_ami.models.dialog_gan import DialogGANConfig
from fairseq_ami.models.hred_config import HREDConfig
from fairseq_ami.models.latent_dialogue import VHREDConfig
from fairseq_ami.models.noisy_transformer import NoisyTransformer
from fairseq_ami.models.pair_settings import add_pair_args, pair_defaults
from fairseq_ami.models.text_vae_lstm import TextVAELSTMConfig
from fairseq_ami.models.text_vae_transformer import TextVAETransformerConfig
from fairseq_ami.models.vhcr import VHCRConfig
from fairseq_ami.optim.phased_config import AMIPhasedConfig
from fairseq_ami.tasks.ami_dialog import AMIDialogConfig
from fairseq_ami.tasks.ami_translation import AMITranslationConfig
from fairseq_ami.tasks.dialog_gan import DialogGANTaskConfig
from fairseq_ami.tasks.hierarchical_dialog import HierarchicalDialogConfig
from fairseq_ami.tasks.text_vae import TextVAEConfig

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"

# what AMI's paper does; "released" is the code that its authors published. Absent: the paper has no such setting
PAPER = {
    "--adversarial-weight": "1",
    "--baseline": "`running-mean`",
    "--baseline-decay": "not stated",
    "--backward-clip-norm": "not stated",
    "--backward-lr": "LSTM: SGD from 1",
    "--cosine-multiplier": "`both`",
    "--fake-loss": "`log-likelihood`",
    "--forward-clip-norm": "not stated",
    "--forward-lr": "LSTM: SGD from 1",
    "--infomax-dim": "none (InfoMax-GAN: 1024)",
    "--infomax-weight": "none (InfoMax-GAN: 0.2)",
    "--inner-lr-scheduler": "decays for LSTMs",
    "--inner-optimizer": "Adam (0.9, 0.998), SGD for LSTMs",
    "--label-smoothing": "not stated",
    "--mle-weight": "1",
    "--no-latent-noise": '"AMI w/o LNS"',
    "--noise-clip-norm": "not stated",
    "--noise-hidden-dim": "not stated",
    "--noise-lambda": "0.1, on the norm",
    "--noise-lr": "LSTM: SGD from 1",
    "--noise-norm-cap": "no cap",
    "--noise-scale": "1",
    "--noise-updates": "5000",
    "--num-samples": "1",
    "--objective": "all but `reward`",
    "--phase-cycle": "`noise=5000,forward=35,backward=10000`; released: 4, 8, 8",
    "--policy-weight": "1",
    "--pretrain-updates": "both networks are pretrained",
    "--real-weight": "1",
    "--reward-per": "`sentence`",
    "--reward-scale": "`none`",
    "--sample-max-len-a": "not stated",
    "--sample-max-len-b": "not stated",
    "--sample-temperature": "1",
    "--sample-topk": "0",
    "--sample-topp": "1",
    "--sampler": "sampled; released: teacher-forced",
    "--weight-clip": "0.01",
    "--weight-clip-mode": "`absolute`",
}

# name in the log -> what it is; the names of AMI's ratios are compared with the code by a test
LOGGED = {
    "phase": "0 pretraining, 1 noise, 2 forward, 3 backward",
    "reward_forward, reward_noise": "mean reward of P and of the noise network, in nats per token or sentence of S",
    "reward_std_*, advantage_std_*": "standard deviation of the rewards, and of the rewards minus their baseline",
    "baseline_forward, baseline_noise": "mean baseline",
    "multiplier": "mean of K(T')",
    "vim_bound, vim_bound_token": "log Q(S\\|T') under the system's own Q, in nats per sentence and per token",
    "vim_bound_common, vim_bound_token_common": "the same under the common Q (only while training validates)",
    "forward_nll": "-log P(T\\|S) in nats per token of T",
    "backward_nll_real, backward_nll_fake": "-log Q(S\\|T) and -log Q(S\\|T') in nats per token of S",
    "nll_gap": "`backward_nll_fake` minus `backward_nll_real` (validation)",
    "entropy": "entropy of the sampler, in nats per symbol",
    "length_ratio": "tokens of T' over tokens of T",
    "cut_samples": "share of samples that ended at the length limit",
    "infomax_real, infomax_fake": "InfoMax-GAN's bound on real and on sampled text, in nats per word",
    "anchor_divergence": "log P(T'\\|S) minus log P0(T'\\|S), in nats per symbol of T'",
    "noise_norm": "root mean square of the noise",
    "clipped_fraction": "share of Q's weights that the box held in the last clip",
    "lr_*, gnorm_*": "learning rate and gradient norm of each player",
    "reward_NAME_forward": "mean of each reward by its name; `_between_` and `_within_` are standard "
    "deviations between sources, and among the samples of a source",
    "unlabelled_...": "any of these on sentences of `--unlabelled`",
    "reply_...": "metrics of decoded replies (`--eval-replies`)",
}
VAE_LOGGED = {
    "nll": "-ELBO at KL weight 1, in nats per sentence (of a language model the exact value)",
    "reconstruction, kl": "its two parts",
    "iw_nll": "importance-weighted negative log-likelihood, in nats per sentence (`--iw-train`)",
    "mi_weight": "alpha, where `--mi-target` moves it",
    "bound": "bound on I(x; z) by the energy function, in nats (validation: Donsker and Varadhan's)",
    "mi": "I(x; z) by the aggregated posterior of `--mi-batch` sentences, in nats",
    "au": "active units: dimensions of z whose posterior mean varies",
    "bow, mmd": "loss of the bag-of-words network; maximum mean discrepancy",
    "kl_weight": "weight of the KL term",
    "lagging, decoder_updates": "1 while the encoder has inner loops; updates of the decoder so far",
}

GAN_LOGGED = {
    "phase": "1 discriminator, 2 generator, 3 teacher",
    "discriminator_loss": "cross-entropy of the discriminator, in nats per reply (log 2 where it guesses)",
    "human_accuracy, machine_accuracy": "share of human and of sampled replies that it judges rightly; of validation "
    "one sample per history",
    "reward, reward_std": "mean and standard deviation of what the words of sampled replies earn",
    "baseline, baseline_error, advantage_std": "mean baseline; its mean squared distance from a reply's mean reward; "
    "standard deviation of what it leaves",
    "completions": "completions drawn per sampled reply",
    "teacher_nll": "-log p of human replies in the teacher-forced updates, in nats per token",
    "entropy, length_ratio, cut_samples": "of the sampled replies, as above",
}

ActionRow = Tuple[str, str, str, str]


def options_of(config: Any, without: Any = None) -> List[argparse.Action]:
    """The options of a dataclass, as fairseq makes them, except those that it shares with *without*."""
    parser = argparse.ArgumentParser(add_help=False)
    gen_parser_from_dataclass(parser, config())
    shared = {field.name for field in fields(without)} if without else set()
    return [action for action in parser._actions if action.dest not in shared]


def arguments_of(add: Any) -> List[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    add(parser)
    return parser._actions


def shown(value: Any) -> str:
    """A default as it is written on the command line."""
    if value in (None, argparse.SUPPRESS, MISSING, "???") or value == []:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, (list, tuple)):
        value = " ".join(map(str, value))
    return f"`{value}`" if str(value).strip() else ""


def row(action: argparse.Action, default: Any) -> ActionRow:
    """Name with choices or placeholder, default, the paper's value, help."""
    name = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
    text = (action.help or "").replace("%(default)s", str(default)).replace("%%", "%")
    choices = "|".join(str(choice) for choice in action.choices or ())
    value = "" if action.nargs == 0 or not action.option_strings else f" {choices or _placeholder(action)}"
    value = value.replace("|", "\\|")
    return f"`{name}{value}`", shown(default), PAPER.get(name, ""), text.replace("|", "\\|").replace("<", "&lt;")


def _placeholder(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar or ())
    return metavar or {int: "N", float: "X"}.get(getattr(action, "type", None), "VALUE")  # type: ignore[arg-type]


def table(actions: List[argparse.Action], defaults: Optional[argparse.Namespace] = None, paper: bool = False) -> str:
    """A Markdown table, its rows in the order of the code."""
    head = ["option", "default", "the paper", "what it is"]
    rows: List[Tuple[str, ...]] = [tuple(head)]
    for action in actions:
        hidden = (
            isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)) or action.help == argparse.SUPPRESS
        )
        if not hidden:
            rows.append(row(action, getattr(defaults, action.dest) if defaults else action.default))
    if not paper:
        rows = [(name, default, text) for name, default, _, text in rows]
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def verbs() -> Iterator[Tuple[str, argparse.ArgumentParser]]:
    """Each verb of fairseq-ami, and of a verb with actions each action."""
    for verb in VERBS:
        outer = build_parser(verb)
        parser = next(a for a in outer._actions if isinstance(a, argparse._SubParsersAction)).choices[verb]
        inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        for name, sub in inner[0].choices.items() if inner else [("", parser)]:
            yield f"{verb} {name}".strip(), sub


def architectures(*models: str) -> str:
    """Names of the architectures of some models."""
    return ", ".join(f"`{name}`" for name, model in sorted(ARCH_MODEL_NAME_REGISTRY.items()) if model in models)


def logged(names: Dict[str, str]) -> str:
    lines = [f"| {', '.join(f'`{name}`' for name in key.split(', '))} | {text} |" for key, text in names.items()]
    return "\n".join(["| name | what it is |", "|---|---|", *lines])


def page() -> str:
    """The whole document."""
    pair = argparse.Namespace()
    pair_defaults(pair)
    parts = [
        "# Reference of options",
        "<!-- Written by scripts/reference.py: change the code or the script, then run `make reference`. -->",
        "Terms are explained in the [glossary](glossary.md).\n"
        "fairseq's own options, and whether they work here, are in [options](options.md).\n"
        'The column "the paper" holds what AMI\'s paper does, where it has such a setting.\n'
        "Why some defaults differ from it is in the "
        "[paper map](paper_map.md#where-this-differs-from-the-paper-and-why).\n"
        "Equation 12 as printed needs `--reward-per sentence --reward-scale none --baseline running-mean "
        "--num-samples 1`.\n"
        "Equation 15 needs `--noise-norm-cap 0` as well.",
        "## `--task ami_translation`",
        table(options_of(AMITranslationConfig, TranslationConfig), paper=True),
        "All options of fairseq's `translation` hold as well.",
        "## `--task ami_dialog`",
        "All options of `ami_translation` hold, and these:",
        table(options_of(AMIDialogConfig, AMITranslationConfig)),
        "## Architectures of a pair",
        architectures("ami_transformer", "ami_lstm") + ".",
        "All options of fairseq's `transformer` or `lstm` hold for both networks, and these:",
        table(arguments_of(add_pair_args), pair, paper=True),
        "## `--arch noisy_transformer`",
        "One Transformer whose encoder injects the noise.\nIt trains with any fairseq criterion.",
        table([a for a in arguments_of(NoisyTransformer.add_args) if "noise_" in a.dest and "quant" not in a.dest]),
        "## `--criterion ami_minimax`",
        table(options_of(AMIMinimaxConfig), paper=True),
        "## `--optimizer ami_phased`",
        "A pair's players have learning rates of their own, so `--lr` and `--lr-scheduler` are refused there.\n"
        "Those of a text VAE follow `--lr` and `--lr-scheduler`.\n"
        "An option of a player that has no updates in a run is refused.",
        table(options_of(AMIPhasedConfig), paper=True),
        "## `--task text_vae`",
        table(options_of(TextVAEConfig)),
        "## Architectures of text VAEs",
        architectures("text_vae_lstm", "text_lm_lstm", "text_vae_transformer") + ".",
        "`text_vae_lstm` and `text_lm_lstm`:",
        table(options_of(TextVAELSTMConfig)),
        "`text_vae_transformer`:",
        table(options_of(TextVAETransformerConfig)),
        "## `--criterion vae_mine_elbo`",
        table(options_of(VAEMineConfig)),
        "## `--task hierarchical_dialog`",
        table(options_of(HierarchicalDialogConfig, TranslationConfig)),
        "## Dialogue systems",
        architectures("hred", "vhred", "dir_vhred", "vhcr") + " ([which is which](dialogue_systems.md)).",
        "`hred`:",
        table(options_of(HREDConfig)),
        "`vhred` adds:",
        table(options_of(VHREDConfig, HREDConfig)),
        "`vhcr` adds to `vhred`:",
        table(options_of(VHCRConfig, VHREDConfig)),
        "## `--criterion dialog_elbo`",
        table(options_of(DialogELBOConfig)),
        "## `--task dialog_gan`",
        table(options_of(DialogGANTaskConfig, TranslationConfig)),
        "## `--arch dialog_gan`",
        architectures("dialog_gan") + ".\nThe sizes of the generator are those of its checkpoint.",
        table(options_of(DialogGANConfig)),
        "## `--criterion dialog_gan`",
        table(options_of(DialogGANLossConfig)),
        "## What is logged",
        "Besides what fairseq logs. The loss is in bits, as everywhere in fairseq.\nA name is absent from a line if no "
        "update of the interval had it.",
        logged(LOGGED),
        "Text VAEs:",
        logged(VAE_LOGGED),
        "`dialog_gan`:",
        logged(GAN_LOGGED),
        "## `fairseq-ami`",
    ]
    stock = {(action.dest, action.help) for action in get_generation_parser()._actions}
    for name, parser in verbs():
        actions = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
        own = [action for action in actions if (action.dest, action.help) not in stock]
        text = VERBS[name.split()[0]]
        parts += [f"### `fairseq-ami {name}`", f"{text[0].upper()}{text[1:]}."]
        if len(own) < len(actions):
            parts.append("All options of `fairseq-generate` for its search hold, and these:")
        parts += [table(own)] if own else []
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
