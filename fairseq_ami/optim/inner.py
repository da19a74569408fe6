"""fairseq's own optimizers and schedulers for the players, built from flat flags."""

import argparse
import copy
import json
from typing import Any, Dict

from fairseq.optim import OPTIMIZER_DATACLASS_REGISTRY, OPTIMIZER_REGISTRY
from fairseq.optim.composite import OptimizerAndSchedulerConfig
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY, build_lr_scheduler
from omegaconf import DictConfig, OmegaConf, ValidationError, open_dict

from fairseq_ami.checkpoints import first_line
from fairseq_ami.errors import AMIError

# composites, and schedulers that want a validation loss, which players never see
UNFIT_OPTIMIZERS = ("ami_phased", "composite", "cpu_adam")
DEFAULTS = {"adam": {"adam_betas": "(0.9, 0.98)"}}
UNFIT_SCHEDULERS = ("pass_through", "reduce_lr_on_plateau", "manual")


def player_config(cfg: Any, player: str) -> OptimizerAndSchedulerConfig:
    """Optimizer and scheduler of one player.

    Raises:
        AMIError: a name or a setting that fairseq does not know.
    """
    own = getattr(cfg, f"{player}_lr", None)
    lr = cfg.lr[0] if own is None else own
    chosen = getattr(cfg, f"{player}_optimizer", None)
    flag = f"--{player}-optimizer" if chosen else "--inner-optimizer"
    optimizer = _optimizer_node(chosen or cfg.inner_optimizer, flag)
    _update(optimizer, "{}" if chosen else cfg.inner_optimizer_args, "--inner-optimizer-args")
    scheduler = _scheduler_node(cfg.inner_lr_scheduler)
    _update(scheduler, cfg.inner_lr_scheduler_args, "--inner-lr-scheduler-args")
    for part in (optimizer, scheduler):
        with open_dict(part):
            part.lr = [lr]
    return OptimizerAndSchedulerConfig(optimizer=optimizer, lr_scheduler=scheduler, lr=[lr])


def pretrain_scheduler(cfg: Any, optimizer: Any) -> Any:
    """Linear warm-up and inverse square root decay for the pretraining stage."""
    node = _scheduler_node("inverse_sqrt")
    with open_dict(node):
        node.warmup_updates = max(1, cfg.pretrain_warmup_updates)
        node.warmup_init_lr = 0.0
        node.lr = [cfg.pretrain_lr]
    return build_lr_scheduler(node, optimizer)


def _optimizer_node(name: str, flag: str) -> DictConfig:
    known = sorted(set(OPTIMIZER_REGISTRY) - set(UNFIT_OPTIMIZERS))
    if name not in known:
        raise AMIError(f"{flag}: fairseq has no {name!r} that fits here; choose one of {', '.join(known)}")
    if name in OPTIMIZER_DATACLASS_REGISTRY:
        return _structured(OPTIMIZER_DATACLASS_REGISTRY[name](), name)
    parser = argparse.ArgumentParser(add_help=False)  # fairseq's older optimizers (sgd, adagrad, ...)
    OPTIMIZER_REGISTRY[name].add_args(parser)
    return OmegaConf.create({"_name": name, **vars(parser.parse_args([]))})


def _scheduler_node(name: str) -> DictConfig:
    known = sorted(set(LR_SCHEDULER_DATACLASS_REGISTRY) - set(UNFIT_SCHEDULERS))
    if name not in known:
        raise AMIError(
            f"--inner-lr-scheduler: fairseq has no {name!r} that fits here; choose one of {', '.join(known)}"
        )
    return _structured(LR_SCHEDULER_DATACLASS_REGISTRY[name](), name)


def _structured(config: Any, name: str) -> DictConfig:
    node = OmegaConf.structured(config)
    with open_dict(node):
        node._name = name
        # fields that fairseq fills in from the rest of its configuration
        for key, value in copy.deepcopy(OmegaConf.to_container(node, resolve=False)).items():
            if isinstance(value, str) and value.startswith("${"):
                node[key] = [0] if key in ("lr", "update_freq") else (0 if key == "max_update" else False)
    return node


def _update(node: DictConfig, text: str, flag: str) -> None:
    for key, value in {**DEFAULTS.get(node._name, {}), **_settings(text, flag)}.items():
        if key not in node:
            raise AMIError(f"{flag}: {node._name} has no setting {key!r}; it has {', '.join(map(str, node))}")
        try:
            node[key] = value
        except ValidationError as error:
            raise AMIError(f"{flag}: {key} cannot be {value!r}: {first_line(error)}") from error


def _settings(text: str, flag: str) -> Dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise AMIError(f"{flag} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise AMIError(f'{flag} must be a JSON object such as {{"weight_decay": 0.01}}, not {text}')
    return values
