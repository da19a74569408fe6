"""Checkpoints of text VAEs that the verbs read."""

import argparse
import os
from typing import TYPE_CHECKING, Any, Iterable, Tuple

import torch
from fairseq import checkpoint_utils
from tqdm import tqdm

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.plugin import register

if TYPE_CHECKING:
    from fairseq_ami.tasks.text_vae import TextVAETask


def check_checkpoint(path: str, data: str) -> None:
    """Before the first of several is measured.

    Raises:
        AMIError: unreadable, of another kind, or of another vocabulary.
    """
    register()
    state = read_checkpoint(path, "checkpoint", lazily=True)
    if part_of(state, "task").get("_name") != "text_vae" and part_of(state, "task").get("task") != "text_vae":
        raise AMIError(f"{path} is no checkpoint of the task text_vae (a text VAE, or a language model of that task)")
    dictionary = os.path.join(data, "dict.txt")
    if not os.path.isfile(dictionary):
        raise AMIError(f"--data: there is no {dictionary}")


def load(path: str, args: argparse.Namespace) -> "Tuple[TextVAE, TextVAETask]":
    """A model in eval mode and float32, on the GPU if there is one, and its task over --data.

    Raises:
        AMIError: it does not fit the data's dictionary, or is no text VAE.
    """
    try:
        overrides = {"data": args.data}
        models, _, task = checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides=overrides)
    except RuntimeError as error:  # what torch says about tensors of other sizes
        if "size mismatch" not in str(error):
            raise
        raise AMIError(f"{path} does not fit {args.data}/dict.txt: was it trained with another dictionary?") from error
    if not isinstance(models[0], TextVAE):
        raise AMIError(f"{path} is no text VAE and no LSTM language model")
    model = models[0].float().eval()
    return (model.cuda() if torch.cuda.is_available() and not args.cpu else model), task


def progress_bar(items: Iterable[Any], what: str) -> Iterable[Any]:
    """*items* with a bar on a terminal."""
    return tqdm(items, desc=what, leave=False, disable=None)  # None: no bar where there is no terminal
