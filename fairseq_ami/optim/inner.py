"""fairseq's own optimizers and schedulers for the players, built from flat flags."""

import argparse
import copy
import json
from typing import Any, Dict, FrozenSet, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import OPTIMIZER_DATACLASS_REGISTRY, OPTIMIZER_REGISTRY, FairseqOptimizer, _build_optimizer
from fairseq.optim.composite import CompositeOptimizer, OptimizerAndSchedulerConfig
from fairseq.optim.lr_scheduler import (
    LR_SCHEDULER_DATACLASS_REGISTRY,
    LR_SCHEDULER_REGISTRY,
    FairseqLRScheduler,
    build_lr_scheduler,
)
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fairseq_ami.checkpoints import first_line
from fairseq_ami.errors import AMIError
from fairseq_ami.optim.phased_config import AMIPhasedConfig, follows_lr

DEFAULTS = {"adam": {"adam_betas": "(0.9, 0.98)"}}
# why a name that fairseq knows cannot be inside
UNFIT_OPTIMIZERS = {
    "ami_phased": "it holds the players",
    "composite": "ami_phased is fairseq's composite optimizer already",
    "cpu_adam": "it needs DeepSpeed",
}
UNFIT_SCHEDULERS = {
    "manual": "it logs a warning for every update that its list leaves out",
    "pass_through": "it needs an optimizer that has a scheduler of its own",
    "reduce_lr_on_plateau": "players never see a validation loss",
}
# settings that fairseq fills in from the rest of its configuration
FILLED_IN = ("_name", "lr", "tpu")
# settings that act between epochs: a player counts its own updates, and is told of no epoch
OF_EPOCHS = {"fixed": ("force_anneal", "lr_shrink"), "polynomial_decay": ("force_anneal",)}
# what a scheduler needs inside; fairseq's would take some of it from --max-update, which counts everybody's updates
NEEDED = {
    "cosine": "lr_period_updates, in updates of the player",
    "inverse_sqrt": "warmup_updates of 1 or more",
    "polynomial_decay": "total_num_update, in updates of the player",
    "step": "a learning rate of the player above min_lr",
    "tri_stage": "decay_steps (with warmup_steps and hold_steps), in updates of the player",
    "triangular": "max_lr, above the player's learning rate",
}
# what fairseq's constructors raise at settings that make no sense
REFUSALS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OmegaConfBaseException,
    RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


def player_config(cfg: AMIPhasedConfig, player: str) -> OptimizerAndSchedulerConfig:
    """Optimizer and scheduler of one player.

    Args:
        cfg: the settings of ``ami_phased``.
        player: name of the player.

    Raises:
        AMIError: a name or a setting that fairseq does not know or refuses, or that has no effect on a player.
    """
    follows = follows_lr(cfg, player)  # such a player's rate is set from outside, whatever scheduler stands here
    lr = cfg.lr[0] if follows else getattr(cfg, f"{player}_lr")
    chosen = getattr(cfg, f"{player}_optimizer", None)
    flag = f"--{player}-optimizer" if chosen else "--inner-optimizer"
    optimizer = _optimizer_node(chosen or cfg.inner_optimizer, flag)
    _update(optimizer, "{}" if chosen else cfg.inner_optimizer_args, "--inner-optimizer-args")
    scheduler = _scheduler_node("fixed" if follows else cfg.inner_lr_scheduler, "--inner-lr-scheduler")
    _update(scheduler, "{}" if follows else cfg.inner_lr_scheduler_args, "--inner-lr-scheduler-args")
    for part in (optimizer, scheduler):
        with open_dict(part):
            part.lr = [lr]
    _try(optimizer, scheduler, flag, player)
    return OptimizerAndSchedulerConfig(optimizer=optimizer, lr_scheduler=scheduler, lr=[lr])


def pretrain_scheduler(cfg: AMIPhasedConfig, optimizer: FairseqOptimizer) -> FairseqLRScheduler:
    """Linear warm-up and inverse square root decay for the pretraining stage."""
    node = _scheduler_node("inverse_sqrt", "--inner-lr-scheduler")
    with open_dict(node):
        node.warmup_updates = max(1, cfg.pretrain_warmup_updates)
        node.warmup_init_lr = 0.0
        node.lr = [cfg.pretrain_lr]
    return build_lr_scheduler(node, optimizer)


def _try(optimizer: DictConfig, scheduler: DictConfig, flag: str, player: str) -> None:
    """Let fairseq build both over one weight, and ask for the rates of two updates.

    Raises:
        AMIError: fairseq refuses the settings, in its own words.
    """
    node = optimizer
    try:
        built = _build_optimizer(copy.deepcopy(optimizer), [torch.nn.Parameter(torch.ones(1))])
        node, flag = scheduler, "--inner-lr-scheduler"
        schedule = build_lr_scheduler(copy.deepcopy(scheduler), built)
        for update in range(2):
            schedule.step_update(update)
    except REFUSALS as error:
        said = f" ({first_line(error)})" if str(error) else ""
        needs = f". It needs {NEEDED[node._name]}" if node._name in NEEDED else ""
        raise AMIError(
            f"{flag} {node._name}: fairseq refuses these settings of the {player} player, learning rate "
            f"{node.lr[0]:g}{said}{needs}"
        ) from error


def _choose(name: str, flag: str, registry: Dict[str, Any], unfit: Dict[str, str]) -> None:
    known = sorted(set(registry) - set(unfit))
    if name not in known:
        why = f" ({unfit[name]})" if name in unfit else ""
        raise AMIError(f"{flag}: fairseq has no {name!r} that fits here{why}; choose one of {', '.join(known)}")


def _optimizer_node(name: str, flag: str) -> DictConfig:
    _choose(name, flag, OPTIMIZER_REGISTRY, UNFIT_OPTIMIZERS)
    if name in OPTIMIZER_DATACLASS_REGISTRY:
        return _structured(OPTIMIZER_DATACLASS_REGISTRY[name](), name)
    parser = argparse.ArgumentParser(add_help=False)  # fairseq's older optimizers (sgd, adagrad, ...)
    OPTIMIZER_REGISTRY[name].add_args(parser)
    return OmegaConf.create({"_name": name, **vars(parser.parse_args([]))})


def _scheduler_node(name: str, flag: str) -> DictConfig:
    _choose(name, flag, LR_SCHEDULER_REGISTRY, UNFIT_SCHEDULERS)
    return _structured(LR_SCHEDULER_DATACLASS_REGISTRY[name](), name)


def _structured(config: FairseqDataclass, name: str) -> DictConfig:
    node = OmegaConf.structured(config)
    with open_dict(node):
        node._name = name
        # fields that fairseq fills in from the rest of its configuration
        plain: Any = OmegaConf.to_container(node, resolve=False)
        for key, value in plain.items():
            if isinstance(value, str) and value.startswith("${"):
                node[key] = {"lr": [0], "max_update": 0, "total_num_update": MISSING}.get(key, False)
    return node


def _update(node: DictConfig, text: str, flag: str) -> None:
    name, given = node._name, _settings(text, flag)
    own = [str(key) for key in node.keys() if key not in (*FILLED_IN, *OF_EPOCHS.get(name, ()))]
    for key, value in {**DEFAULTS.get(name, {}), **given}.items():
        if key in OF_EPOCHS.get(name, ()):
            raise AMIError(
                f"{flag}: {key} of {name} acts between epochs, and a player counts only its own updates: choose a "
                "scheduler over updates, such as step"
            )
        if key not in own:
            rate = ": the learning rates are --forward-lr, --encoder-lr, ..." if key == "lr" else ""
            raise AMIError(f"{flag}: {name} has no setting {key!r} here{rate}; it has {', '.join(own)}")
        try:
            node[key] = value
        except OmegaConfBaseException as error:
            raise AMIError(f"{flag}: {key} cannot be {value!r}: {first_line(error)}") from error
    if any(OmegaConf.is_missing(node, key) for key in own):
        raise AMIError(f"{flag}: {name} needs {NEEDED[name]}")


def _settings(text: str, flag: str) -> Dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise AMIError(f"{flag} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise AMIError(f'{flag} must be a JSON object such as {{"weight_decay": 0.01}}, not {text}')
    return values


class PlayersOptimizer(CompositeOptimizer):
    """The inner optimizers, as an outer learning rate scheduler sees them: those that follow it, and no other."""

    def __init__(self, optimizers: Dict[str, Any], followers: FrozenSet[str]):
        super().__init__(optimizers)
        self.followers = followers

    @property
    def param_groups(self) -> List[Dict[str, Any]]:
        return [group for name in sorted(self.followers) for group in self.optimizers[name].param_groups]
