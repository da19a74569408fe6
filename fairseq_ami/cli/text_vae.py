"""Checkpoints of text VAEs that the verbs read."""

import argparse
import os
from typing import TYPE_CHECKING, Optional, Tuple, cast

import torch

from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.plugin import register
from fairseq_ami.tools.sharing.vae_interface import Located, load_text_vae, locate

if TYPE_CHECKING:
    from fairseq_ami.tasks.text_vae import TextVAETask


def find(path: str, data: Optional[str]) -> Located:
    """Before the first of several is measured.

    Args:
        path: checkpoint, exported folder or archive, or name of a registered network.
        data: folder of binarised data; None for what an export brings.

    Raises:
        AMIError: unreadable, of another kind, or of another vocabulary.
    """
    register()
    return locate(path, data)


def check_data(data: Optional[str]) -> None:
    """Refuse a folder that is not there.

    Raises:
        AMIError: with its name.
    """
    if data is not None and not os.path.isdir(data):
        raise AMIError(f"--data: there is no folder {data}")


def load(found: Located, args: argparse.Namespace) -> "Tuple[TextVAE, TextVAETask]":
    """A model in eval mode and float32, on the GPU if there is one, and its task over its data.

    Raises:
        AMIError: it does not fit the data's dictionary, or is no text VAE.
    """
    model, task = load_text_vae(found)
    model = model.cuda() if torch.cuda.is_available() and not args.cpu else model
    return model, cast("TextVAETask", task)
