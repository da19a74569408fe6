"""The networks of ``fairseq-ami translate``, of fairseq or of CTranslate2."""

import argparse
import os
from typing import Any, Callable, Dict, Optional, Tuple

import torch

from fairseq_ami.checkpoints import first_line
from fairseq_ami.choices import ENGINES
from fairseq_ami.errors import AMIError
from fairseq_ami.hub import TextInterface, any_network
from fairseq_ami.plugin import register
from fairseq_ami.tools.formats import ctranslate2_writer
from fairseq_ami.tools.formats.ctranslate2_network import network_folder
from fairseq_ami.tools.formats.record import format_of
from fairseq_ami.tools.formats.search import Engine, Search
from fairseq_ami.tools.translation.ctranslate2_engine import CTranslate2Engine
from fairseq_ami.tools.translation.fairseq_engine import FairseqEngine
from fairseq_ami.tools.translation.translator import Reranking, Translator

FAIRSEQ, CTRANSLATE2 = ENGINES
Other = Callable[[], Engine]  # makes the engine of the other direction


def translator_of(args: argparse.Namespace) -> Translator:
    """What the options ask for.

    Raises:
        AMIError: a model that is missing, damaged or of another kind.
    """
    register()
    if args.threads:
        torch.set_num_threads(args.threads)
    engine, backward = engines(args)
    reranking = None if backward is None else Reranking(backward, args.weight, args.length_weight or 0.0)
    return Translator(engine, search(args), reranking)


def search(args: argparse.Namespace) -> Search:
    """The options of the search and of the draws."""
    return Search(
        beam=args.beam,
        nbest=args.nbest,
        lenpen=args.lenpen,
        max_len_a=args.max_len_a,
        max_len_b=args.max_len_b,
        min_len=args.min_len,
        no_repeat_ngram=args.no_repeat_ngram_size,
        sampling=args.sampling,
        topk=args.sampling_topk,
        topp=args.sampling_topp,
        temperature=args.temperature,
        noise=args.noise,
        seed=args.seed,
    )


def engines(args: argparse.Namespace) -> Tuple[Engine, Optional[Engine]]:
    """The engine that translates, and the one that scores the other direction if it is asked for.

    Raises:
        AMIError: a model that is missing, damaged or of another kind, or one without a backward network.
    """
    chosen = engine_of(args.model, args.engine)
    forward, own = _ctranslate2(args) if chosen == CTRANSLATE2 else _fairseq(args)
    if args.weight is None:
        return forward, None
    if not args.backward:
        return forward, own()
    named = argparse.Namespace(**{**vars(args), "model": args.backward, "direction": None})
    if engine_of(args.backward, None) == CTRANSLATE2:
        folder = network_folder(args.backward, _other(args.direction))
        return forward, _converted(folder, args)
    return forward, _backward_of_fairseq(named, _other(args.direction))


def engine_of(path: str, asked: Optional[str]) -> str:
    """The engine that reads *path*.

    Raises:
        AMIError: it is not the one that was asked for.
    """
    format = format_of(path) if os.path.isdir(path) else None
    if format not in (None, ctranslate2_writer.NAME):
        raise AMIError(f"{path} was exported for {format}: its page model_card.md shows how to use it")
    found = CTRANSLATE2 if format else FAIRSEQ
    if asked not in (None, found):
        raise AMIError(f"{path} is read by --engine {found}, not by --engine {asked} (see fairseq-ami export --format)")
    return found


def _other(direction: Optional[str]) -> str:
    return "forward" if direction == "backward" else "backward"


def _ctranslate2(args: argparse.Namespace) -> Tuple[Engine, Other]:
    """An engine over a converted folder, and what makes that of the other direction."""
    for option in ("data", "bpe_codes", "tokenizer", "fp16"):
        if getattr(args, option):
            name = option.replace("_", "-")
            raise AMIError(f"--{name}: {args.model} brings its own text processing and type of weights; leave it out")
    folder = network_folder(args.model, args.direction)

    def other() -> Engine:
        if folder == args.model:
            raise AMIError(f"{args.model} holds one network: name the backward one with --backward")
        return _converted(network_folder(args.model, _other(args.direction)), args)

    return _converted(folder, args), other


def _converted(folder: str, args: argparse.Namespace) -> Engine:
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    return CTranslate2Engine(folder, device, args.threads or 0, args.batch_size)


def _fairseq(args: argparse.Namespace) -> Tuple[Engine, Other]:
    """An engine over fairseq's networks, and what makes that of the other direction."""
    engine = FairseqEngine(_interface(args), args.direction)
    return engine, engine.reversed


def _backward_of_fairseq(args: argparse.Namespace, direction: str) -> Engine:
    interface = _interface(args)
    engine = FairseqEngine(interface)
    return FairseqEngine(interface, direction) if engine.pair else engine


def _interface(args: argparse.Namespace) -> TextInterface:
    options: Dict[str, Any] = {}
    if args.bpe_codes:
        options.update(bpe="subword_nmt", bpe_codes=os.path.abspath(args.bpe_codes))
    if args.tokenizer:
        options["tokenizer"] = args.tokenizer
    data = os.path.abspath(args.data) if args.data else "."
    try:
        interface = any_network(args.model, data_name_or_path=data, **options)
    except RuntimeError as error:  # what torch says about tensors of other sizes
        if "size mismatch" not in str(error):
            raise
        raise AMIError(f"{args.model} does not fit its dictionaries ({first_line(error)}): see --data") from error
    if args.batch_size:
        interface.cfg.dataset.batch_size = args.batch_size
    if args.fp16:
        interface.half()
    return interface.cuda() if torch.cuda.is_available() and not args.cpu else interface
