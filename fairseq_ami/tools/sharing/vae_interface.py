"""A text VAE that reads and writes text: sentences from the prior, near others, and between two."""

import os
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import torch
from fairseq import checkpoint_utils
from fairseq.data import encoders
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf
from torch import Tensor

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.latent_decoding import DecodingOptions
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.tools.sharing.archives import unpacked
from fairseq_ami.tools.sharing.register import located
from fairseq_ami.tools.sharing.vae_states import DICTIONARY, is_text_vae
from fairseq_ami.tools.text_vae.studies import LatentStudies


@dataclass(frozen=True)
class Located:
    """A text VAE on the disk.

    Attributes:
        checkpoint: the file.
        data: folder of its dictionary.
        tokenizer: fairseq's tokenizer of the text that it reads, None for words separated by blanks.
    """

    checkpoint: str
    data: str
    tokenizer: Any = None

    def reads(self, text: str) -> str:
        """Words of plain text, separated by blanks."""
        return str(self.tokenizer.encode(text)) if self.tokenizer else text

    def writes(self, words: str) -> str:
        """Plain text of words that are separated by blanks."""
        return str(self.tokenizer.decode(words)) if self.tokenizer else words


def locate(model: str, data: Optional[str] = None) -> Located:
    """Find a text VAE and what it needs.

    Args:
        model: checkpoint, exported folder or ``.tar.gz``, or the name of a registered network.
        data: folder of the dictionary. Its text is tokenised already. None takes the dictionary and the tokenizer of
            an export, or the data that a checkpoint was trained on.

    Raises:
        AMIError: missing or damaged files, or a checkpoint of another kind.
    """
    path = model if model.endswith(".pt") else located(model)
    if path.endswith(".tar.gz") or os.path.isdir(path):
        path = os.path.join(unpacked(path), "model.pt")
    state = read_checkpoint(path, "checkpoint", lazily=True)
    if not is_text_vae(state):
        raise AMIError(f"{model} is no checkpoint of the task text_vae (a text VAE, or a language model of that task)")
    tokenizer = None
    if data is None:
        stored = str(part_of(state, "task").get("data") or ".").split(os.pathsep)[0]
        data = os.path.dirname(path) or "." if stored == "." else stored
        settings = state["cfg"].get("tokenizer") if state.get("cfg") else None
        tokenizer = encoders.build_tokenizer(OmegaConf.create(settings)) if settings else None
    if not os.path.isfile(os.path.join(data, DICTIONARY)):
        raise AMIError(f"--data: there is no {os.path.join(data, DICTIONARY)}")
    return Located(path, data, tokenizer)


def load_text_vae(found: Located) -> Tuple[TextVAE, FairseqTask]:
    """The model in eval mode and float32, and its task.

    Raises:
        AMIError: it does not fit the dictionary, or is no text VAE.
    """
    path, data = found.checkpoint, found.data
    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides={"data": data})
    except RuntimeError as error:  # what torch says about tensors of other sizes
        if "size mismatch" not in str(error):
            raise
        raise AMIError(f"{path} does not fit {data}/dict.txt: was it trained with another dictionary?") from error
    if not isinstance(models[0], TextVAE):
        raise AMIError(f"{path} is no text VAE and no LSTM language model")
    return models[0].float().eval(), task


class TextVAEInterface:
    """A text VAE that reads and writes text.

    Args:
        found: where it lies.

    Raises:
        AMIError: see :func:`load_text_vae`.
    """

    def __init__(self, found: Located):
        self.located = found
        self.model, self.task = load_text_vae(found)

    def studies(
        self, method: str = "greedy", seed: int = 1, max_len: Optional[int] = None, **options: Any
    ) -> LatentStudies:
        """What the methods below are made of, with a decoding of one's own (``DecodingOptions``)."""
        longest = self.model.max_decoder_positions() - 1  # the end symbol takes the last place
        return LatentStudies(
            self.model, max_len or longest, method, DecodingOptions(**options), seed,
            reads=self.located.reads, writes=self.located.writes,
        )  # fmt: skip

    @torch.no_grad()
    def interpolate(self, first: str, last: str, steps: int = 5, **decoding: Any) -> List[str]:
        """Sentences at equal distances on the line between the posterior means of two others.

        Args:
            steps: number of sentences, those at both ends included.
            decoding: ``method`` (``greedy``, ``sample``, ``beam``), ``seed``, ``max_len``, and the options of
                :class:`fairseq_ami.generation.latent_decoding.DecodingOptions`.

        Raises:
            AMIError: a sentence that is empty or too long, fewer than two steps, or a language model.
        """
        if steps < 2:
            raise AMIError("interpolate: steps must be at least 2, because both ends are among them")
        [found] = self.studies(**{"unk": False, **decoding}).interpolate([(first, last)], steps, "interpolate")
        return [step["sentence"] for step in found["steps"]]

    @torch.no_grad()
    def reconstruct(self, sentences: Sequence[str], **decoding: Any) -> List[str]:
        """What is decoded from the posterior mean of each sentence.

        Raises:
            AMIError: as for :meth:`interpolate`.
        """
        found = self.studies(**{"unk": False, **decoding}).reconstruct(list(sentences), 0, "reconstruct")
        return [entry["mean"] for entry in found]

    @torch.no_grad()
    def posterior_means(self, sentences: Sequence[str]) -> Tensor:
        """Where the sentences lie in the latent space, shape (sentences, size of z).

        Raises:
            AMIError: as for :meth:`interpolate`.
        """
        return self.studies().posteriors_of(sentences, "posterior_means").mean

    @torch.no_grad()
    def sample(self, count: int = 1, **decoding: Any) -> List[str]:
        """Sentences for z from the prior; the first ones do not depend on how many there are."""
        return list(self.studies(**{"unk": False, **decoding}).prior(count))
