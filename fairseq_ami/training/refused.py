"""Settings of fairseq that would train something else than they say, or nothing, when players take turns."""

from typing import Any, Callable, Dict, Tuple

from omegaconf import DictConfig, OmegaConf

from fairseq_ami.errors import AMIError

Rule = Tuple[Callable[[Any], bool], str]  # which values are refused; why, and what to do

GRADIENTS = "each phase divides its gradients by what its loss is a sum of: leave it out"

# place in fairseq's configuration -> what is refused of it, for all tasks of this package
REFUSED: Dict[str, Rule] = {
    "common.tpu": (bool, "--tpu is not supported: train on GPUs or a CPU"),
    "common.model_parallel_size": (
        lambda size: size != 1,
        "--model-parallel-size splits fairseq's Megatron networks only: leave it at 1",
    ),
    "common.quantization_config_path": (
        bool,
        "--quantization-config-path puts new layers in the place of those that a player owns: leave it out, and "
        "quantise the network that `fairseq-ami export` writes",
    ),
    "dataset": (
        lambda section: section.curriculum > 0 and not section.update_epoch_batch_itr,
        "--curriculum would keep the batches in the same order for ever, for fairseq asks only once whether to shuffle "
        "them: pass --update-epoch-batch-itr True as well",
    ),
    "dataset.update_ordered_indices_seed": (
        bool,
        "--update-ordered-indices-seed would give a resumed run other batches: leave it out (the order of the batches "
        "changes with each epoch anyway)",
    ),
    "distributed_training.ddp_backend": (
        lambda backend: str(backend) == "fully_sharded",
        "--ddp-backend fully_sharded cuts the weights of all players into one: pass --ddp-backend legacy_ddp",
    ),
    "distributed_training.cpu_offload": (bool, "--cpu-offload needs --ddp-backend fully_sharded, which is refused"),
    "distributed_training.pipeline_model_parallel": (
        bool,
        "--pipeline-model-parallel splits fairseq's pipeline networks only: leave it out",
    ),
    "distributed_training.heartbeat_timeout": (
        lambda seconds: seconds > 0,
        "--heartbeat-timeout watches calls of a network that training by turns does not make, so it would never end a "
        "run that hangs: leave it out",
    ),
    "optimization.sentence_avg": (bool, f"--sentence-avg has no effect here: {GRADIENTS}"),
    "checkpoint.write_checkpoints_asynchronously": (
        bool,
        "--write-checkpoints-asynchronously leaves checkpoint_last.pt unwritten, so that a resume starts again: leave "
        "it out",
    ),
    "task.num_batch_buckets": (bool, "--num-batch-buckets is for TPUs and is not supported: leave it out"),
}


def own_rates(who: str, flags: str) -> Dict[str, Rule]:
    """What is refused where no player follows --lr.

    Args:
        who: the players, for messages.
        flags: the options of their learning rates.
    """
    have = f"{who} have learning rates of their own"
    return {
        "optimization.lr": (
            lambda rates: list(rates) != [0.25],  # fairseq's default
            f"--lr has no effect here, {have}: pass {flags}",
        ),
        "optimization.stop_min_lr": (
            lambda rate: rate > -1,
            f"--stop-min-lr cannot tell which rate is meant, {have}: leave it out and pass --max-update or --patience",
        ),
        "lr_scheduler._name": (
            lambda name: str(name) != "fixed",
            f"--lr-scheduler has no effect here, {have}: pass --inner-lr-scheduler and --inner-lr-scheduler-args",
        ),
        "lr_scheduler.warmup_updates": (
            bool,
            f"--warmup-updates has no effect here, {have}: pass --inner-lr-scheduler inverse_sqrt and "
            """--inner-lr-scheduler-args '{"warmup_updates": 100}' (in pretraining --pretrain-warmup-updates)""",
        ),
        "lr_scheduler.force_anneal": (
            lambda epoch: epoch is not None,
            f"--force-anneal has no effect here, {have}: leave it out",
        ),
    }


OWN_RATES = own_rates("the networks of a pair", "--forward-lr, --backward-lr and --noise-lr (and --pretrain-lr)")
GAN_RATES = own_rates(
    "generator and discriminator", "--generator-lr and --discriminator-lr (and --baseline-lr of --baseline network)"
)


def refuse(cfg: DictConfig, *tables: Dict[str, Rule]) -> None:
    """Refuse what one of *tables* names. A setting that this run does not have passes.

    Args:
        cfg: settings of a task, one level below fairseq's whole configuration.
        tables: such as :data:`REFUSED`.

    Raises:
        AMIError: with the option, why it is refused and what to pass instead.
    """
    for table in tables:
        for place, (refused, reason) in table.items():
            value = OmegaConf.select(cfg, f"..{place}")
            if value is not None and refused(value):
                raise AMIError(reason)
