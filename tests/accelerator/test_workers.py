"""What workers exchange lies on the device: NCCL knows no tensors of the CPU."""

from pathlib import Path
from typing import Any, List

import pytest
from accelerator import runs
from accelerator.device import on_device
from accelerator.runs import AMI, MINE, TRANSLATION, VAE
from fairseq.distributed import utils as distributed_utils
from functional.settings import NETWORKS
from functional.vae_settings import LAGGING, TRANSFORMER
from torch import Tensor

RUNS = {
    "AMI": [*TRANSLATION, *NETWORKS["transformer"], *AMI, "--pretrain-updates", "0", "--noise-updates", "2"],
    "text VAE": [*VAE, *TRANSFORMER, *MINE, *LAGGING, "--lagging-interval", "1"],
}


@pytest.mark.parametrize("name", RUNS)
def test_statistics_of_two_workers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second worker that saw the same: all sums double, and so the averages are those of one worker."""
    symbols = runs.dictionary(tmp_path)
    batches = runs.sentences(symbols) if "VAE" in name else runs.pairs(symbols)
    exchanged: List[Tensor] = []

    def all_reduce(tensor: Tensor, group: Any, op: str = "sum") -> Tensor:
        exchanged.append(tensor)
        return 2 * tensor

    found = []
    for workers in (1, 2):
        with runs.device(True):
            run = runs.trainer(tmp_path, RUNS[name], True)
            if workers == 2:
                monkeypatch.setattr(distributed_utils, "all_reduce", all_reduce)
                monkeypatch.setattr(distributed_utils, "get_data_parallel_group", lambda: "two workers")
                run.task.cfg.distributed_world_size = 2
            runs.updates(run, batches, 2)
            trackers = runs.seen(run)["optimizer"]["ami"]["trackers"]
            found.append({key: value for key, value in trackers.items() if key != "lagging"})
    assert exchanged and all(on_device(tensor) for tensor in exchanged)
    assert not runs.differences(*found)
