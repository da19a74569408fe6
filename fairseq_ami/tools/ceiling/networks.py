"""The networks whose samples are judged: a pair, or plain networks of both directions."""

import argparse
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Tuple, cast

from fairseq import utils
from fairseq.data.data_utils import infer_language_pair
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import BaseFairseqModel
from omegaconf import DictConfig

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.data.dialogue import CONTEXT, HISTORY, LAST, REPLY
from fairseq_ami.errors import AMIError
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.tools.reranking.decoder import setup_task
from fairseq_ami.tools.reranking.networks import load_models
from fairseq_ami.types import Network, Search

if TYPE_CHECKING:
    from fairseq_ami.tasks.ami_translation import AMITranslation


@dataclass(frozen=True)
class SearchSettings:
    """How the networks search and where they run.

    Attributes:
        beam: of beam search.
        lenpen: its length penalty.
        seed: of the samples.
        cpu: leave a GPU alone.
        tokenizer: fairseq's name of the tokenizer that is undone before texts are compared, or None.
    """

    beam: int = 5
    lenpen: float = 1.0
    seed: int = 1
    cpu: bool = False
    tokenizer: Optional[str] = None


@dataclass(frozen=True)
class Players:
    """A forward network that draws samples, and the network of the other direction if there is one.

    Attributes:
        name: of the checkpoint.
        task: over the data that are to be judged.
        pair: in eval mode; its ``backward_model`` may be None.
        generator: beam search with the forward network.
        cfg: fairseq's configuration of a generation run.
    """

    name: str
    task: "AMITranslation"
    pair: PairedModel
    generator: Search
    cfg: DictConfig


def load_players(
    path: str,
    backward: Optional[str],
    data: Optional[str],
    languages: Tuple[Optional[str], Optional[str]],
    how: SearchSettings,
) -> Players:
    """Load a checkpoint of a pair or of a plain network.

    Args:
        path: the checkpoint whose forward network draws the samples.
        backward: a checkpoint of the other direction, or of a pair that has one; None takes the pair's own, if any.
        data: folder of binarised data; None takes that of the checkpoint's training.
        languages: source and target; None takes those of the checkpoint.
        how: search and machine.

    Raises:
        AMIError: files or folders that are missing, or that do not fit each other.
    """
    state = read_checkpoint(path, "CHECKPOINT", lazily=True)
    model, trained = part_of(state, "model"), part_of(state, "task")
    folder = data or trained.get("data")
    if not folder or not os.path.isdir(utils.split_paths(folder)[0]):
        raise AMIError(f"there is no folder {folder} of binarised data: name it with --data")
    stored = model.get("pair_languages") or (trained.get("source_lang"), trained.get("target_lang"))
    source, target = (given or known for given, known in zip(languages, stored))
    if source is None or target is None:
        source, target = infer_language_pair(utils.split_paths(folder)[0])
    if (source, target) == (CONTEXT, LAST):
        raise AMIError(f"-s {CONTEXT} -t {LAST} is the backward network's own data: pass -s {HISTORY} -t {REPLY}")
    dialogue = (source, target) == (HISTORY, REPLY)
    cfg = _configuration("ami_dialog" if dialogue else "ami_translation", folder, source, target, how)
    task = setup_task(cfg)
    loaded = load_models(path, task, cfg, "CHECKPOINT")[0][0]
    pair = _paired(loaded, backward, task, cfg)
    return Players(path, task, pair, task.build_generator([pair], cfg.generation), cfg)


def _configuration(task: str, data: str, source: str, target: str, how: SearchSettings) -> DictConfig:
    given = argparse.Namespace(
        task=task, data=data, source_lang=source, target_lang=target, beam=how.beam, lenpen=how.lenpen,
        seed=how.seed, cpu=how.cpu,
    )  # fmt: skip
    if how.tokenizer:
        given.tokenizer = how.tokenizer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what hydra thinks of fairseq
        return convert_namespace_to_omegaconf(given)


def _paired(loaded: BaseFairseqModel, backward: Optional[str], task: "AMITranslation", cfg: DictConfig) -> PairedModel:
    """The network that writes T' and the one that may read it, as a pair without latent noise."""
    network, other, heads = _one_network(loaded), None, None
    if isinstance(loaded, PairedModel):
        other, heads = loaded.other, loaded.infomax if loaded.direction == "forward" else None
    if backward:
        other, heads = _one_network(load_models(backward, task.reversed(), cfg, "--backward")[0][0]), None
        task.limit_backward(other)
    mirrored = not task.separators  # in dialogue the backward network reads a history as well
    return PairedModel(network, other, None, infomax=heads, mirrored=mirrored).eval()


def _one_network(model: BaseFairseqModel) -> Network:
    return model.active if isinstance(model, PairedModel) else cast(Network, model)
