"""The simulated device itself: what it forbids, what it allows and what it counts, as CUDA does."""

from typing import Any, Callable, Dict

import pytest
import torch
from accelerator.device import DEVICE, Accelerator, DeviceTensor, to_device


def on(*values: Any) -> torch.Tensor:
    return torch.tensor(values, device=DEVICE)


def written(target: torch.Tensor, place: Any, value: Any) -> torch.Tensor:
    target[place] = value
    return target


FORBIDDEN: Dict[str, Callable[[], Any]] = {
    "sum with the CPU": lambda: on(1.0, 2.0) + torch.ones(2),
    "gather by the CPU": lambda: on(1.0, 2.0).gather(0, torch.tensor([1])),
    "rows by the CPU": lambda: on(1.0, 2.0).index_select(0, torch.tensor([1])),
    "mask of the CPU": lambda: on(1.0, 2.0).masked_fill(torch.tensor([True, False]), 0.0),
    "membership": lambda: torch.isin(on(1, 2), torch.tensor([1])),
    "joined with the CPU": lambda: torch.cat([on(1.0), torch.ones(1)]),
    "embedding of the CPU's words": lambda: torch.nn.functional.embedding(
        torch.tensor([0]), torch.ones(2, 2).to(DEVICE)
    ),
    "index into the CPU": lambda: torch.ones(2)[on(0)],
    "written into the CPU": lambda: torch.ones(2).add_(on(1.0, 2.0)),
    "written into a number of the CPU": lambda: torch.tensor(1.0).add_(on(1.0)[0]),
    "several values of the CPU put in": lambda: written(on(1.0, 2.0), on(0, 1), torch.ones(2)),
    "a number of the CPU where none may be": lambda: torch.stack([on(1.0)[0], torch.tensor(1.0)]),
    "numpy": lambda: on(1.0).numpy(),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_mixing_is_refused(name: str) -> None:
    with Accelerator(), pytest.raises((RuntimeError, TypeError)):
        FORBIDDEN[name]()


def test_what_cuda_allows_gives_the_values_of_the_cpu() -> None:
    with Accelerator():
        x = on(1.0, 2.0, 3.0)
        for found, expected in [
            (x + torch.tensor(1.0), [2.0, 3.0, 4.0]),
            (x[torch.tensor([2, 0])], [3.0, 1.0]),
            (x.clone().copy_(torch.zeros(3)), [0.0, 0.0, 0.0]),
            (written(x.clone(), on(1), 7.0), [1.0, 7.0, 3.0]),
            (written(x.clone(), x > 1.5, torch.tensor(0.0)), [1.0, 0.0, 0.0]),
            (torch.ones(2, 3, device=DEVICE) @ x, [6.0, 6.0]),
        ]:
            assert isinstance(found, DeviceTensor) and found.device == DEVICE
            assert found.tolist() == expected


# (operation, times that a host waits for CUDA: torch.cuda.set_sync_debug_mode warns of these)
WAITS = {
    "none": (lambda x: (x * 2 + 1).sum(), 0),
    "made there": (lambda x: torch.arange(3, device=x.device) + x.new_zeros(3), 0),
    "number filled in by a mask": (lambda x: written(x.clone(), x > 1, 0.0), 0),
    "item": (lambda x: x[0].item(), 1),
    "bool": (lambda x: bool((x > 1).all()), 1),
    "tolist": (lambda x: x.tolist(), 1),
    "copy to the CPU": (lambda x: x.cpu(), 1),
    "values from the host": (lambda x: torch.tensor([1, 2], device=x.device), 1),
    "nonzero": (lambda x: x.nonzero(), 1),
    "mask as an index": (lambda x: x[x > 1], 1),
    "index of the CPU": (lambda x: x[torch.tensor([0])], 1),
    "masked_select": (lambda x: x.masked_select(x > 1), 1),
    "masked_scatter": (lambda x: x.masked_scatter(x > 1, x), 0),
    "equal": (lambda x: torch.equal(x, x), 1),
}


@pytest.mark.parametrize("name", WAITS)
def test_waiting_is_counted(name: str) -> None:
    operation, count = WAITS[name]
    with Accelerator() as accelerator:
        x = on(1.0, 2.0, 3.0)
        accelerator.waits.clear()
        operation(x)
        assert sum(accelerator.waits.values()) == count
        assert all(file == __file__ for file, _, _ in accelerator.waits)


def test_a_module_keeps_its_parameters_and_learns_as_on_the_cpu() -> None:
    def learnt(move: bool) -> Any:
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        module[0].weight.param_group = "own"
        before = list(module.parameters())
        x = torch.ones(2, 3)
        if move:
            to_device(module)
            x = x.to(DEVICE)
        assert all(a is b for a, b in zip(before, module.parameters())) and module[0].weight.param_group == "own"
        optimizer = torch.optim.Adam(module.parameters())
        module(x).sum().backward()
        optimizer.step()
        return [p.detach().cpu() for p in module.parameters()]

    expected = learnt(False)
    with Accelerator():
        assert all(torch.equal(a, b) for a, b in zip(learnt(True), expected))
