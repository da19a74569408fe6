"""Settings of the pair and of its networks, from argparse or from hydra."""

from argparse import ArgumentParser, Namespace
from typing import Any, Dict, Sequence, Tuple

from omegaconf import DictConfig, OmegaConf, open_dict

from fairseq_ami.choices import DIRECTIONS
from fairseq_ami.types import Arguments

LIMITS = ("max_source_positions", "max_target_positions")


def add_pair_args(parser: ArgumentParser) -> None:
    """Flags of the pair itself; those of its networks are added by the architectures."""
    parser.add_argument("--forward-checkpoint", help="fairseq checkpoint of P(T|S); its architecture is taken over")
    parser.add_argument("--backward-checkpoint", help="fairseq checkpoint of Q(S|T); its architecture is taken over")
    parser.add_argument(
        "--no-backward-network",
        action="store_true",
        help="no backward network: for --objective reward with rewards that do not need it",
    )
    parser.add_argument("--no-latent-noise", action="store_true", help="no noise network (the paper's AMI w/o LNS)")
    parser.add_argument("--noise-scale", type=float, help="factor on the latent noise (default: 0.1; the paper: 1)")
    parser.add_argument("--noise-hidden-dim", type=int, help="hidden units of the noise network (default: its input)")
    parser.add_argument(
        "--infomax-dim", type=int, help="size of InfoMax-GAN's common space, there 1024 (default: 0, no heads)"
    )


def pair_defaults(args: Arguments) -> None:
    args.forward_checkpoint = getattr(args, "forward_checkpoint", None)
    args.backward_checkpoint = getattr(args, "backward_checkpoint", None)
    args.no_backward_network = getattr(args, "no_backward_network", False)
    args.no_latent_noise = getattr(args, "no_latent_noise", False)
    args.noise_scale = getattr(args, "noise_scale", 0.1)
    args.noise_hidden_dim = getattr(args, "noise_hidden_dim", None)
    args.infomax_dim = getattr(args, "infomax_dim", 0)


def players_of(args: Arguments) -> Tuple[str, ...]:
    """The directions that the pair has networks for."""
    return DIRECTIONS[:1] if getattr(args, "no_backward_network", False) else DIRECTIONS


def as_namespace(args: Arguments) -> Namespace:
    """A copy as a plain Namespace, from argparse or from hydra."""
    if isinstance(args, DictConfig):
        plain: Any = OmegaConf.to_container(args, resolve=True)
        return Namespace(**plain)
    return Namespace(**vars(args))


def set_args(args: Arguments, **values: Any) -> None:
    """Write settings into the model's configuration, from argparse or from hydra."""
    if isinstance(args, DictConfig):
        with open_dict(args):
            for key, value in values.items():
                args[key] = value
    else:
        for key, value in values.items():
            setattr(args, key, value)


def mirrored(forward: Sequence[Any], backward: Sequence[Any]) -> bool:
    """Whether the backward network reads what the forward one writes and writes what it reads. In dialogue it does not.

    Args:
        forward, backward: what each network reads and writes: a pair of languages.
    """
    return list(backward) == list(forward)[::-1]


def exchange_limits(settings: Dict[str, Any]) -> None:
    """Exchange the longest source and the longest target of a network, in place."""
    source, target = (settings.pop(name, None) for name in LIMITS)
    settings.update({name: value for name, value in zip(LIMITS, (target, source)) if value is not None})


def exchange_word_vectors(settings: Dict[str, Any]) -> None:
    """Exchange the files of word vectors of a network's two sides, in place: each file is of one language.

    Whether they are frozen goes with them. One table for all sides keeps its file.
    """
    sides = ("encoder", "decoder")
    if settings.get("share_all_embeddings") or not any(settings.get(f"{side}_embed_path") for side in sides):
        return
    for name in ("embed_path", "freeze_embed"):
        source, target = (settings.pop(f"{side}_{name}", None) for side in sides)
        exchanged = {f"encoder_{name}": target, f"decoder_{name}": source}
        settings.update({key: value for key, value in exchanged.items() if value is not None})
