"""Loading the networks that search, and those that score the other direction."""

import ast
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Union

import torch
from fairseq import checkpoint_utils, utils
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from omegaconf import DictConfig, OmegaConf

from fairseq_ami.checkpoints import first_line, languages_of, part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.types import Arguments

if TYPE_CHECKING:
    from fairseq_ami.tasks.ami_translation import AMITranslation


def load_models(
    paths: str, task: "AMITranslation", cfg: DictConfig, what: str = "--path"
) -> Tuple[List[BaseFairseqModel], DictConfig]:
    """Checkpoints that fit *task*, ready for decoding, and the settings that the last was trained with.

    Args:
        paths: file names, colon separated: pairs or single networks.
        task: gives the dictionaries and the direction.
        cfg: fairseq's configuration.
        what: the flag that named them, for messages.

    Raises:
        AMIError: missing, damaged, of another dictionary or another direction.
    """
    names = utils.split_paths(paths)
    for name in names:
        _check_languages(read_checkpoint(name, what, lazily=True), name, task, what)
    overrides = ast.literal_eval(cfg.common_eval.model_overrides)
    try:
        models, saved = checkpoint_utils.load_model_ensemble(names, arg_overrides=overrides, task=task)
    except AMIError as error:
        raise AMIError(f"{what} {paths}: {error}") from error
    except RuntimeError as error:  # shapes, or fairseq's own exception for them
        raise _misfit(what, paths, error) from error
    except Exception as error:
        if "match" in str(error):
            raise _misfit(what, paths, error) from error
        raise
    for model in models:
        if cfg.common.fp16:
            model.half()
        if torch.cuda.is_available() and not cfg.common.cpu:
            model.cuda()
        model.prepare_for_inference_(cfg)
        model.eval()
    return models, saved


def _misfit(what: str, paths: str, error: BaseException) -> AMIError:
    return AMIError(
        f"{what} {paths} does not fit the dictionaries of this data ({first_line(error)}): binarise the data with the "
        "dictionaries that it was trained with"
    )


def _check_languages(state: Dict[str, Any], path: str, task: "AMITranslation", what: str) -> None:
    """A single network must translate in the task's direction; a joint dictionary would hide the mistake."""
    model = part_of(state, "model")
    wanted = [vars_of(task.cfg).get(name) for name in ("source_lang", "target_lang")]
    if model.get("pair_languages"):  # a pair looks for its direction itself, but not what its other half reads
        directions = list(languages_of(model).values())
        if wanted in directions and list(task.backward_languages) not in directions:
            raise AMIError(
                f"{what} {path}: the backward network of this pair is one for {' -> '.join(directions[1])}; needed is "
                f"one for {' -> '.join(task.backward_languages)} (pairs of ami_dialog and of ami_translation cannot "
                "stand for one another)"
            )
        return
    trained = part_of(state, "task")
    stored = [trained.get(name) for name in ("source_lang", "target_lang")]
    if None not in stored and stored != wanted:
        raise AMIError(
            f"{what} {path} translates {stored[0]} -> {stored[1]}; needed is a network for {wanted[0]} -> {wanted[1]}"
        )


def vars_of(cfg: Union[Arguments, FairseqDataclass]) -> Dict[str, Any]:
    found: Any = OmegaConf.to_container(cfg) if OmegaConf.is_config(cfg) else vars(cfg)
    return found


def backward_networks(
    models: List[BaseFairseqModel], path: Optional[str], task: "AMITranslation", cfg: DictConfig
) -> List[BaseFairseqModel]:
    """Q(S|T): of ``--backward-path`` if given, else the other halves of the pairs that search.

    Args:
        models: what ``--path`` holds.
        path: checkpoints of the other direction (pairs of the same languages serve as well), or None.
        task: the task of the backward network.
        cfg: fairseq's configuration.

    Raises:
        AMIError: networks that have no other half, without ``--backward-path``, or checkpoints that do not fit.
    """
    if path:
        found, _ = load_models(path, task, cfg, "--backward-path")
        return [model.active if isinstance(model, PairedModel) else model for model in found]
    if not bring_backward(models):
        raise AMIError("--path holds no backward network: name one with --backward-path (a pair brings its own)")
    return [model.other for model in models]


def bring_backward(models: List[BaseFairseqModel]) -> bool:
    """Whether *models*, those that search, are pairs that bring backward networks; one may be trained without."""
    return bool(models) and all(isinstance(model, PairedModel) and model.other is not None for model in models)
