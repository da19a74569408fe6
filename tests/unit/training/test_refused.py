"""Options of fairseq that are refused: every rule of the tables, in fairseq's whole configuration."""

import pytest
from fairseq.dataclass.configs import FairseqConfig
from fairseq.optim.lr_scheduler.fixed_schedule import FixedLRScheduleConfig
from fairseq.optim.lr_scheduler.inverse_square_root_schedule import InverseSquareRootLRScheduleConfig
from omegaconf import OmegaConf, open_dict

from fairseq_ami.errors import AMIError
from fairseq_ami.tasks.ami_translation import AMITranslationConfig
from fairseq_ami.training.refused import OWN_RATES, REFUSED, refuse
from fairseq_ami.training.settings import check_settings

GIVEN = {
    "common.tpu": True,
    "common.model_parallel_size": 2,
    "common.quantization_config_path": "iterative_pq.yaml",
    "dataset.curriculum": 1,
    "dataset.update_ordered_indices_seed": True,
    "distributed_training.ddp_backend": "fully_sharded",
    "distributed_training.cpu_offload": True,
    "distributed_training.pipeline_model_parallel": True,
    "distributed_training.heartbeat_timeout": 60,
    "optimization.sentence_avg": True,
    "checkpoint.write_checkpoints_asynchronously": True,
    "task.num_batch_buckets": 4,
    "optimization.lr": [0.01],
    "optimization.stop_min_lr": 1e-6,
    "lr_scheduler._name": "inverse_sqrt",
    "lr_scheduler.warmup_updates": 100,
    "lr_scheduler.force_anneal": 3,
}


def whole(scheduler=FixedLRScheduleConfig, **changes):
    """fairseq's configuration of a run of ami_translation, with *changes* by place."""
    config = OmegaConf.structured(FairseqConfig())
    with open_dict(config):
        config.task = OmegaConf.structured(AMITranslationConfig(data="."))
        config.lr_scheduler = OmegaConf.structured(scheduler())
        config.lr_scheduler._name = "fixed"
        for place, value in changes.items():
            OmegaConf.update(config, place, value, merge=False)
    return config


def test_all_rules_are_tried():
    assert {*GIVEN, "dataset"} - {"dataset.curriculum"} == {*REFUSED, *OWN_RATES}


def test_defaults_pass():
    check_settings(whole().task, OWN_RATES)


def test_a_curriculum_with_new_batches_in_each_epoch_passes():
    refuse(whole(**{"dataset.curriculum": 1, "dataset.update_epoch_batch_itr": True}).task, REFUSED)


@pytest.mark.parametrize("place", GIVEN)
def test_refused(place):
    """With the flag, in one line. A place that fairseq does not have would pass here and fail."""
    scheduler = InverseSquareRootLRScheduleConfig if place == "lr_scheduler._name" else FixedLRScheduleConfig
    config = whole(scheduler, **{place: GIVEN[place]})
    flag = "--lr-scheduler" if place == "lr_scheduler._name" else "--" + place.split(".")[1].replace("_", "-")
    with pytest.raises(AMIError, match=flag) as error:
        check_settings(config.task, OWN_RATES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", OWN_RATES)
def test_rates_of_a_text_vae_pass(place):
    """Its players follow --lr and --lr-scheduler."""
    refuse(whole(**{place: GIVEN[place]}).task, REFUSED)
