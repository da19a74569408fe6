"""Average the parameters of several checkpoints into one."""

import argparse
import logging
import os
import sys

import torch

from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole
from fairseq_ami.plugin import register
from fairseq_ami.tools.sharing.averaging import average_checkpoints, last_checkpoints


def run(args: argparse.Namespace) -> int:
    register()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    if os.path.lexists(args.output) and not args.overwrite:
        raise AMIError(f"{args.output} exists already: pass --overwrite to replace it, or name another file")
    if os.path.isdir(args.output):
        raise AMIError(f"{args.output} is a folder: name a file")
    state = average_checkpoints(chosen(args))
    with whole(args.output, parents=True) as temporary:
        torch.save(state, temporary)
    print(args.output)
    return 0


def chosen(args: argparse.Namespace) -> "list[str]":
    """The checkpoints that the command line asks for.

    Raises:
        AMIError: a folder where files are needed, or the other way round.
    """
    count, kind = args.num_epoch_checkpoints, "epoch"
    if args.num_update_checkpoints is not None:
        count, kind = args.num_update_checkpoints, "update"
    if count is not None:
        if len(args.inputs) != 1:
            raise AMIError(f"--num-{kind}-checkpoints: give one folder to --inputs")
        return last_checkpoints(args.inputs[0], kind, count, args.checkpoint_upper_bound)
    if args.checkpoint_upper_bound is not None:
        raise AMIError("--checkpoint-upper-bound goes with --num-epoch-checkpoints or --num-update-checkpoints")
    if os.path.isdir(args.inputs[0]):
        raise AMIError(f"{args.inputs[0]} is a folder: pass --num-epoch-checkpoints N as well, or name files")
    return list(args.inputs)
