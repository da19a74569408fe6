"""Idle players on the device: bit-identical, and nothing of them is exchanged."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.recorder import player_of, record_updates
from functional.settings import NETWORKS, ami_args, hydra_args
from functional.test_phases import CYCLE, PHASES, PLAYERS, RATES, as_config, check_isolation
from gpu.device import FP16, ON_CPU, here_hydra, records, train

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("network", NETWORKS)
def test_only_the_player_moves(network: str, precision: str, data: Path, tmp_path: Path) -> None:
    """Also cuDNN's recurrent networks: the phases train through the scoring pass with dropout off."""
    if precision == "bf16":
        task, criterion, optimizer = (as_config(options) for options in (CYCLE, RATES[:2], RATES[2:]))
        sections = {"common": here_hydra({"bf16": True}), "task": task, "criterion": criterion, "optimizer": optimizer}
        args = hydra_args(data, tmp_path, len(PHASES), network=NETWORKS[network], **sections)
        train(tmp_path, [*args, f"hydra.run.dir={tmp_path / 'hydra'}"], command="hydra-train")
    else:
        args = ami_args(data, tmp_path, len(PHASES), *CYCLE, *RATES, network=NETWORKS[network])
        train(tmp_path, [*args, *(FP16 if precision == "fp16" else [])])
    check_isolation(records(tmp_path), DTYPES[precision])


def watch_exchange(path: str) -> None:
    """The recorder of the functional tests, and which gradients each update exchanged, in bytes."""
    from fairseq.distributed import LegacyDistributedDataParallel
    from fairseq.distributed import utils as distributed
    from fairseq.trainer import Trainer

    record_updates(path)
    exchange, reduce, step = LegacyDistributedDataParallel.all_reduce_grads, distributed.all_reduce, Trainer.train_step
    counter: Dict[str, Any] = {"open": False, "bytes": 0}
    exchanged: List[int] = []

    def all_reduce_grads(self: Any) -> None:
        counter["open"] = True
        exchange(self)
        counter["open"] = False

    def all_reduce(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        counter["bytes"] += tensor.numel() * tensor.element_size() if counter["open"] else 0
        return reduce(tensor, *args, **kwargs)

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        counter["bytes"] = 0
        out = step(self, *args, **kwargs)
        exchanged.append(counter["bytes"])
        torch.save(exchanged, path + ".bytes")
        return out

    LegacyDistributedDataParallel.all_reduce_grads, distributed.all_reduce = all_reduce_grads, all_reduce
    Trainer.train_step = train_step


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("backend", ["nccl", "gloo"])
def test_two_workers(backend: str, precision: str, data: Path, tmp_path: Path) -> None:
    """Equal weights on both, and idle players bit-identical."""
    if backend == "nccl" and (ON_CPU or torch.cuda.device_count() < 2):
        pytest.skip("nccl needs two GPUs")
    args = ami_args(data, tmp_path, len(PHASES), *CYCLE, *RATES)
    train(tmp_path, [*args, *(FP16 if precision == "fp16" else [])], 2, backend)
    seen = [records(tmp_path, rank) for rank in range(2)]
    for rank in range(2):
        check_isolation(seen[rank], DTYPES[precision])
    last = [run[-1]["weights"] for run in seen]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])


def test_no_gradient_of_an_idle_player_is_exchanged(data: Path, tmp_path: Path) -> None:
    """In bytes: what an update exchanges is as large as the gradients of its players."""
    train(tmp_path, ami_args(data, tmp_path, len(PHASES), *CYCLE, *RATES), 2, watch=watch_exchange)
    exchanged = torch.load(tmp_path / "updates.0.pt.bytes")
    for record, count in zip(records(tmp_path)[1:], exchanged):
        own = [w for name, w in record["weights"].items() if player_of(name) in PLAYERS[record["phase"]]]
        assert count == sum(w.numel() * w.element_size() for w in own), (record["phase"], count)
