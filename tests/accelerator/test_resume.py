"""A run on the simulated accelerator resumes from its checkpoint on either device as one that was never broken."""

from pathlib import Path
from typing import Any, List

import pytest
from accelerator import runs
from accelerator.device import DEVICE, on_device
from accelerator.runs import AMI, FP16, MINE, PHASES, TRANSLATION, VAE
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from functional.settings import NETWORKS
from functional.vae_settings import LAGGING, TRANSFORMER

HALF = len(PHASES) - 1  # the box and the statistics of two phases are in the checkpoint, and the rest uses them
RUNS = {
    "AMI": [*TRANSLATION, *NETWORKS["transformer"], *AMI],
    "AMI, running mean": [*TRANSLATION, *NETWORKS["transformer"], *AMI, "--baseline", "running-mean"],
    "AMI, fp16": [*TRANSLATION, *NETWORKS["transformer"], *AMI, *FP16],
    "text VAE, lagging": [*VAE, *TRANSFORMER, *MINE, *LAGGING, "--lagging-interval", "1"],
}


def broken(folder: Path, flags: List[str], batches: List[Any], devices: List[bool]) -> Any:
    """The last update of a run that is saved on the first device and resumed on the second."""
    path = folder / "saved" / "checkpoint.pt"
    path.parent.mkdir(exist_ok=True)
    with runs.device(devices[0]):
        first = runs.trainer(folder, flags, devices[0])
        runs.updates(first, batches, HALF)
        first.consolidate_optimizer()
        first.save_checkpoint(str(path), {"train_iterator": {"epoch": 1}})
    saved = load_checkpoint_to_cpu(str(path))  # fairseq's safe reading; all is on the CPU, wherever it was trained
    assert saved["last_optimizer_state"]["ami"]["counts"]
    with runs.device(devices[1]):
        second = runs.trainer(folder, flags, devices[1])
        second.load_checkpoint(str(path))
        if devices[1]:
            check_devices(second)
        return runs.updates(second, batches, len(PHASES) - HALF, HALF)


def check_devices(run: Any) -> None:
    """What a checkpoint brought is where the weights are."""
    inner = getattr(run.optimizer, "fp32_optimizer", run.optimizer)
    assert all(parameter.device == DEVICE for parameter in run.model.parameters())
    assert all(on_device(centre) for centre in inner.anchor or [])
    for optimizer in inner.optimizers.values():
        for slots in optimizer.optimizer.state.values():
            assert all(on_device(value) for value in slots.values() if hasattr(value, "dim") and value.dim() > 0)


@pytest.mark.parametrize("name", RUNS)
def test_resume_on_the_device(name: str, tmp_path: Path) -> None:
    symbols = runs.dictionary(tmp_path)
    batches = runs.sentences(symbols) if "VAE" in name else runs.pairs(symbols)
    with runs.device(True):
        whole = runs.updates(runs.trainer(tmp_path, RUNS[name], True), batches, len(PHASES))[HALF:]
    assert not runs.differences(whole, broken(tmp_path, RUNS[name], batches, [True, True]))[:10]


def test_resume_elsewhere(tmp_path: Path) -> None:
    """From the CPU to the device and back."""
    batches, flags = runs.pairs(runs.dictionary(tmp_path)), RUNS["AMI"]
    one, other = (broken(tmp_path, flags, batches, devices) for devices in ([False, True], [True, False]))
    assert not runs.differences(one, other)[:10]
