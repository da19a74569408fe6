"""Settings of all text VAEs, and the parts that only some of them have."""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Sequence, Type, Union

from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks.language_modeling import LanguageModelingTask
from omegaconf import DictConfig
from torch import nn

from fairseq_ami.errors import NO_LANGUAGE_MODEL, AMIError
from fairseq_ami.models.pair_settings import set_args
from fairseq_ami.modules.critics import CRITICS, build_critic
from fairseq_ami.types import Arguments, SentenceEncoder


@dataclass
class TextVAEModelConfig(FairseqDataclass):
    """Settings of all text VAEs; the defaults are those of VAE-MINE section 5.2."""

    latent_dim: int = field(default=64, metadata={"help": "size of the latent variable z"})
    word_dropout: float = field(
        default=0.0,
        metadata={"help": "in training, hide each word that the decoder reads behind <unk> with this probability"},
    )
    critic: ChoiceEnum(("none", *CRITICS)) = field(
        default="none", metadata={"help": "energy function f(x, z) for --mi-weight; concat is the paper's"}
    )
    critic_hidden: int = field(default=512, metadata={"help": "hidden units of the energy function"})
    critic_layers: int = field(default=2, metadata={"help": "hidden layers of the energy function"})
    critic_features: ChoiceEnum(("encoder", "words")) = field(
        default="encoder",
        metadata={
            "help": "what the energy function reads of x: the encoder's state (the paper), or means of own word vectors"
        },
    )
    latent_skip: bool = field(
        default=False,
        metadata={
            "help": "add W z to the logits of every word, with W = 0 in a new model. So z reaches the output without "
            "passing through the decoder's states (Dieng et al. 2019)"
        },
    )
    encoder_checkpoint: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint of a text VAE, such as an autoencoder trained with --kl-weight 0, with whose encoder a "
            "new model starts (Li et al. 2019)"
        },
    )
    encoder_word_dropout: float = field(
        default=0.0,
        metadata={"help": "in training, hide each word that the encoder reads behind <unk> with this probability"},
    )
    share_word_vectors: bool = field(
        default=False, metadata={"help": "let the encoder read the decoder's word vectors, which the decoder trains"}
    )
    bow_hidden: int = field(
        default=0, metadata={"help": "hidden units of the bag-of-words network for --bow-weight, 0 for none"}
    )
    max_target_positions: int = field(default=200, metadata={"help": "longest sentence, end symbol included"})


def fill_in(cfg: Union[TextVAEModelConfig, Arguments], config: Type[TextVAEModelConfig]) -> None:
    """Give *cfg* the defaults of the settings that it lacks.

    Those of an older checkpoint lack what is newer. fairseq fills them in only where --arch is the model's own name.

    Args:
        cfg: settings of the model; changed in place.
        config: their dataclass.
    """
    for name, default in config.__dataclass_fields__.items():
        known = name in cfg if isinstance(cfg, DictConfig) else hasattr(cfg, name)
        if not known:
            set_args(cfg, **{name: default.default})


def check_task(task: object) -> None:
    """Refuse a task for stock language models, which fairseq-eval-lm takes by default.

    Raises:
        AMIError: with the command that measures a text VAE.
    """
    if isinstance(task, LanguageModelingTask):
        raise AMIError(NO_LANGUAGE_MODEL)


def check_sizes(cfg: TextVAEModelConfig, names: Sequence[str]) -> None:
    """Refuse sizes that make no network.

    Raises:
        AMIError: with the flag.
    """
    for name in names:
        if getattr(cfg, name) < 1:
            raise AMIError(f"--{name.replace('_', '-')} must be at least 1")
    if cfg.latent_dim < 0:
        raise AMIError("--latent-dim must not be negative (0 makes a language model)")
    for name in ("word_dropout", "encoder_word_dropout"):
        if not 0 <= getattr(cfg, name) < 1:
            raise AMIError(f"--{name.replace('_', '-')} must be in [0, 1)")
    if cfg.latent_dim == 0:
        for name in ("latent_skip", "encoder_checkpoint", "encoder_word_dropout", "share_word_vectors"):
            if getattr(cfg, name):
                flag = f"--{name.replace('_', '-')}"
                raise AMIError(f"{flag} needs a latent variable: a language model has none (--latent-dim 0)")
    if cfg.share_word_vectors and cfg.encoder_checkpoint and getattr(cfg, "language_model", None):
        raise AMIError(
            "--share-word-vectors allows one table of word vectors, but --encoder-checkpoint and --language-model "
            "bring one each: leave one of the three out"
        )


def build_vae_critic(args: TextVAEModelConfig, encoder: Optional[SentenceEncoder]) -> Optional[nn.Module]:
    """The energy function f(features of x, z), or None; see :func:`build_critic_words`.

    Raises:
        AMIError: a critic for a model without z.
    """
    if str(args.critic) == "none":
        return None
    if encoder is None:
        raise AMIError("--critic needs a latent variable: a language model has none (--latent-dim 0)")
    return build_critic(str(args.critic), encoder.output_size, args.latent_dim, args.critic_hidden, args.critic_layers)


def build_critic_words(
    args: TextVAEModelConfig, encoder: Optional[SentenceEncoder], dictionary: Dictionary
) -> Optional[nn.Module]:
    """What the energy function reads of x instead of the encoder's state, tokens -> mean word vector; or None.

    Raises:
        AMIError: features for no energy function.
    """
    if str(args.critic_features) == "encoder":
        return None
    if str(args.critic) == "none":
        raise AMIError("--critic-features words is for an energy function: pass --critic bilinear")
    return nn.EmbeddingBag(len(dictionary), encoder.output_size, mode="mean", padding_idx=dictionary.pad())


def build_bow(args: TextVAEModelConfig, dictionary: Dictionary) -> Optional[nn.Sequential]:
    """The bag-of-words network z -> logits (Zhao et al. 2017), or None.

    Raises:
        AMIError: a bag-of-words network for a model without z.
    """
    if args.bow_hidden == 0:
        return None
    if args.latent_dim == 0:
        raise AMIError("--bow-hidden needs a latent variable: a language model has none (--latent-dim 0)")
    return nn.Sequential(
        nn.Linear(args.latent_dim, args.bow_hidden), nn.Tanh(), nn.Linear(args.bow_hidden, len(dictionary))
    )


def build_latent_skip(args: TextVAEModelConfig, dictionary: Dictionary) -> Optional[nn.Linear]:
    """W of ``--latent-skip``, z -> an addend for every word's logit, 0 at the start; or None."""
    if not args.latent_skip:
        return None
    skip = nn.Linear(args.latent_dim, len(dictionary), bias=False)
    nn.init.zeros_(skip.weight)
    return skip


def optional_parts(
    args: TextVAEModelConfig, encoder: Optional[SentenceEncoder], dictionary: Dictionary
) -> Dict[str, Any]:
    """What :class:`fairseq_ami.models.text_vae.TextVAE` has besides encoder and decoder, by the names of its arguments.

    Raises:
        AMIError: parts that need a latent variable, for a model without one.
    """
    return {
        "critic": build_vae_critic(args, encoder),
        "critic_words": build_critic_words(args, encoder, dictionary),
        "bow": build_bow(args, dictionary),
        "word_dropout": args.word_dropout,
        "encoder_word_dropout": args.encoder_word_dropout,
    }
