"""How a training run starts: fresh, from pretrained networks, or where another one stopped."""

import logging
import math
from typing import Any, Callable, Iterable, List, Mapping, Optional, Protocol, Sequence, Tuple

import torch
from fairseq.distributed import utils as distributed_utils

from fairseq_ami.checkpoints import architecture, languages_of, model_class, part_of, read_checkpoint, restore_path
from fairseq_ami.data import reverse_sample
from fairseq_ami.errors import AMIError
from fairseq_ami.models.pair_settings import set_args
from fairseq_ami.models.paired import DIRECTIONS, PairedModel
from fairseq_ami.models.pretrained import check_languages
from fairseq_ami.modules import dropout_off
from fairseq_ami.training.settings import RunSettings
from fairseq_ami.types import Arguments, Batch, PairTaskSettings, Symbols

logger = logging.getLogger(__name__)

# changing one of these in the middle of a run would give another meaning to its update numbers
SCHEDULE = ("phase_cycle", "pretrain_updates", "noise_updates")
# the networks' own settings are taken over; these decide which networks a pair has
PAIR_SETTINGS = ("no_backward_network", "no_latent_noise", "noise_hidden_dim", "infomax_dim")


class Scheduled(Protocol):
    """Settings of a task whose players take turns."""

    phase_cycle: str
    reset_optimizer: bool


def find_checkpoint(cfg: RunSettings) -> Optional[str]:
    """The checkpoint to resume from, or None; the first worker mends a damaged one before the others look."""
    return _first_worker_first(
        lambda: restore_path(cfg.save_dir, cfg.restore_file, cfg.checkpoint_suffix or "", cfg.continue_once)
    )


def _first_worker_first(action: Callable[[], Optional[str]]) -> Optional[str]:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed or distributed_utils.get_global_rank() == 0:
        result = action()
    if distributed:
        torch.distributed.barrier()
        if distributed_utils.get_global_rank() > 0:
            result = action()
    return result


def prepare(
    model_cfg: Arguments, task_cfg: PairTaskSettings, backward_languages: List[str], resuming: Optional[str]
) -> Optional[str]:
    """Take over the networks' settings from the checkpoint to resume, or check those to start from.

    Args:
        model_cfg, task_cfg: settings of the run.
        backward_languages: what the backward network reads and writes.
        resuming: the checkpoint to resume from, or None.

    Returns:
        The objective of the run that is resumed; None where updates are counted from 0.

    Raises:
        AMIError: a resume that cannot continue the run, or pretrained networks of the other direction.
    """
    if resuming is None:
        forward_languages = [task_cfg.source_lang, task_cfg.target_lang]
        for name, wanted in zip(DIRECTIONS, (forward_languages, backward_languages)):
            path = getattr(model_cfg, f"{name}_checkpoint", None)
            if path:
                check_languages(path, name, wanted)
        return None
    state = read_checkpoint(resuming, "checkpoint to resume from", lazily=True)
    saved = part_of(state, "model")
    if "network_settings" not in saved:
        raise AMIError(f"{resuming} is no checkpoint of a pair of networks: pass another --save-dir or --restore-file")
    check_same_model(saved, model_cfg, resuming, PAIR_SETTINGS, absent_is_off=True)
    languages = languages_of(saved)
    trained = languages["backward"]
    if trained != backward_languages:
        raise AMIError(
            f"the backward network of {resuming} was trained for {' -> '.join(trained)}, that of this run is for "
            f"{' -> '.join(backward_languages)}: resume with the same -s, -t and --task (ami_translation, ami_dialog)"
        )
    set_args(model_cfg, network_settings=saved["network_settings"])
    set_args(model_cfg, pair_languages=languages["forward"], backward_languages=trained)
    goes_on = check_schedule(state, task_cfg, resuming, SCHEDULE)
    return part_of(state, "criterion").get("objective") if goes_on else None


def check_schedule(state: Mapping[str, Any], task_cfg: Scheduled, resuming: str, names: Sequence[str]) -> bool:
    """Refuse a resume that would give another meaning to the numbers of the updates.

    Args:
        state: the checkpoint to resume.
        task_cfg: settings of the run.
        resuming: where the checkpoint lies.
        names: settings that say whose turn it is: the cycle, and the stages before it.

    Returns:
        Whether the updates are counted on from those of the checkpoint; else from 0.

    Raises:
        AMIError: other phases, or stages that would run again.
    """
    stages = [name for name in names[1:] if getattr(task_cfg, name)]
    if task_cfg.reset_optimizer or state.get("last_optimizer_state") is None:
        if stages:
            which = " and ".join(name.removesuffix("_updates") for name in names[1:])
            zeros = " ".join(f"--{name.replace('_', '-')} 0" for name in names[1:])
            raise AMIError(
                f"resuming {resuming} without optimizer state starts at update 0: the {which} stages would run again. "
                f"Pass {zeros}"
            )
        logger.warning("%s: no optimizer state is taken over, updates are counted from 0", resuming)
        return False
    before = part_of(dict(state), "task")
    changed = [name for name in names if name in before and str(before[name]) != str(getattr(task_cfg, name))]
    if changed:
        was = ", ".join(f"--{name.replace('_', '-')} {before[name]}" for name in changed)
        raise AMIError(
            f"{resuming} was written with {was}: resume with the same phases, or start a new run from it with "
            "--restore-file, --reset-optimizer and another --save-dir"
        )
    return True


def check_objective(before: Optional[str], now: str) -> None:
    """Who plays, and so which update is whose, follows from the objective.

    Raises:
        AMIError: a resume with another objective.
    """
    if before is not None and str(before) != now:
        raise AMIError(
            f"the run to resume was started with --objective {before}, not {now}: resume with the same, or start a new "
            "run from its checkpoint with --restore-file, --reset-optimizer and another --save-dir"
        )


def check_same_model(
    saved: Mapping[str, Any], model_cfg: Arguments, path: str, names: Iterable[str], absent_is_off: bool = False
) -> None:
    """Refuse to resume the checkpoint of another model.

    Args:
        saved: the model's settings in the checkpoint.
        model_cfg: those of this run.
        path: of the checkpoint.
        names: settings that decide which weights there are, or what they mean.
        absent_is_off: a setting that the checkpoint lacks, since it is older, was off. Else it may have been anything.

    Raises:
        AMIError: with the setting that differs.
    """
    asked = {name: getattr(model_cfg, name, None) for name in ("arch", "_name", *names)}
    if model_class(saved) is not model_class(asked):
        raise AMIError(
            f"{path} is of --arch {architecture(saved)}, not {architecture(asked)}: resume with the same, or choose "
            "another --save-dir"
        )
    for name in names:
        before, now = saved.get(name), asked[name]
        unknown = not (before or now) if absent_is_off else None in (before, now)
        if not unknown and str(before) != str(now):
            flag = "--" + name.replace("_", "-")
            raise AMIError(
                f"{path} was trained with {flag} {before}, this run has {now}: resume with the settings of the first "
                "run, or choose another --save-dir"
            )


def check_finetuning(model: PairedModel, model_cfg: Arguments, path: Optional[str]) -> None:
    """Look at the weights of ``--finetune-from-model`` before fairseq loads them, whose error names no reason.

    Args:
        model: the pair of this run; it is left with the checkpoint's weights, as fairseq leaves it.
        model_cfg: its settings.
        path: the checkpoint, or None.

    Raises:
        AMIError: the weights do not fit, with the first that does not and what takes the checkpoint's sizes over.
    """
    if path is None:
        return
    weights = read_checkpoint(path, "--finetune-from-model")["model"]
    try:
        model.load_state_dict(weights, strict=True, model_cfg=model_cfg)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise AMIError(
            f"--finetune-from-model {path} does not fit the networks of this run ({reasons[0]}). If the sizes of that "
            f"pair came from checkpoints, pass --restore-file {path} --reset-optimizer --reset-dataloader "
            "--reset-meters instead: they are taken over"
        ) from error


def pretrained(model_cfg: Arguments) -> Tuple[str, ...]:
    """Which networks came from a checkpoint."""
    return tuple(name for name in DIRECTIONS if getattr(model_cfg, f"{name}_checkpoint"))


@torch.no_grad()
def check_networks(model: PairedModel, criterion: Symbols, sample: Batch, names: Tuple[str, ...]) -> None:
    """Refuse pretrained networks that do worse than chance on the first batches of all workers (a collective call).

    fairseq checkpoints carry no dictionary and often no languages. With a joint dictionary nothing else
    tells a network of the other direction, or one whose dictionary has other symbols in the same number.

    Raises:
        AMIError: worse than a uniform guess.
    """
    for name in names:
        network = getattr(model, f"{name}_model")
        batch = reverse_sample(sample, criterion.pad, criterion.eos) if name == "backward" else sample
        with dropout_off(network):
            log_likelihood = model.log_likelihood(network, batch["net_input"], batch["target"])
        total = -log_likelihood.double().sum()
        sums = torch.stack([total, torch.full_like(total, batch["ntokens"])])
        if torch.distributed.is_initialized():  # no worker may stop alone: the others would wait for it
            sums = distributed_utils.all_reduce(sums, group=distributed_utils.get_data_parallel_group())
        nll = (sums[0] / sums[1]).item()
        chance = math.log(network.decoder.embed_tokens.num_embeddings)
        logger.info("%s network: %.3f nats a token on the first batches", name, nll)
        if nll > chance:
            raise AMIError(
                f"--{name}-checkpoint does worse than chance on this data ({nll:.2f} nats a token, uniform is "
                f"{chance:.2f}): it was trained in the other direction, or with another dictionary"
            )
