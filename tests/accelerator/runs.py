"""Runs of fairseq's Trainer with tiny networks, on the CPU or on the simulated accelerator."""

import random
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np
import torch
from accelerator.device import DEVICE, Accelerator, to_device
from fairseq import options, tasks, utils
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer
from functional.vae_settings import CRITIC
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from fairseq_ami.data.dialogue import SEPARATOR, DialogueDataset
from fairseq_ami.data.sentences import SentenceDataset

PLUGIN = Path(__file__).resolve().parents[2] / "fairseq_ami"
COMMON = ["--user-dir", str(PLUGIN), "--cpu", "--seed", "3", "--clip-norm", "0", "--batch-size", "8"]
FP16 = ["--fp16", "--fp16-no-flatten-grads", "--fp16-init-scale", "4"]
# every phase; the second update of a phase has the statistics of the first
CYCLE = ["--pretrain-updates", "1", "--noise-updates", "1", "--phase-cycle", "noise=1,forward=2,backward=2"]
PHASES = ["pretrain", "noise", "noise", "forward", "forward", "backward", "backward"]
SHORT = ["--sample-max-len-a", "0", "--sample-max-len-b", "6"]
AMI = ["--criterion", "ami_minimax", "--optimizer", "ami_phased", *CYCLE, *SHORT]
VAE = ["--task", "text_vae", "--criterion", "vae_mine_elbo", "--optimizer", "ami_phased", "--inner-optimizer", "sgd"]
VAE += ["--lr", "0.5"]
TRANSLATION = ["--task", "ami_translation", "-s", "en", "-t", "de"]
DIALOGUE = ["--task", "ami_dialog", "-s", "hist", "-t", "reply"]
MINE = [*CRITIC, "--mi-weight", "1"]


class DeviceTrainer(Trainer):
    """fairseq's Trainer on the simulated device."""

    def __init__(self, cfg: Any, task: Any, model: Any, criterion: Any):
        super().__init__(cfg, task, to_device(model), criterion)

    @property
    def device(self) -> torch.device:
        return DEVICE

    @device.setter
    def device(self, value: Any) -> None:
        """The Trainer would choose the CPU."""

    def _prepare_sample(self, sample: Any, is_dummy: bool = False) -> Any:
        return super()._prepare_sample(utils.apply_to_sample(lambda tensor: tensor.to(DEVICE), sample), is_dummy)


def trainer(folder: Path, flags: Sequence[str], on_device: bool) -> Trainer:
    """The Trainer of a command line; dictionaries stand in *folder*, and checkpoints under it."""
    torch.manual_seed(1)
    given = [str(folder), *COMMON, "--save-dir", str(folder / "saved"), *flags]
    parsed = options.parse_args_and_arch(options.get_training_parser(), given)
    cfg = convert_namespace_to_omegaconf(parsed)
    task = tasks.setup_task(cfg.task)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    return (DeviceTrainer if on_device else Trainer)(cfg, task, model, criterion)


@contextmanager
def device(on_device: bool) -> Iterator[Optional[Accelerator]]:
    """The simulated device, or the CPU in the steps that any other device takes.

    The CPU's own attention and LSTM kernels round in another order. PyTorch makes an LSTM's input products in one go
    on the CPU alone, so LSTMs agree to rounding only.
    """
    with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
        with Accelerator() if on_device else nullcontext() as accelerator:
            yield accelerator


def seen(run: Trainer) -> Dict[str, Any]:
    """All that a run has: weights, optimizers, anchor, trackers, masters, scaler, gradients. On the CPU."""
    optimizer = run.optimizer
    found = {
        "model": run.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "gradients": {name: p.grad for name, p in run.model.named_parameters() if p.grad is not None},
    }
    return utils.apply_to_sample(lambda tensor: tensor.detach().cpu().clone(), found)


def updates(run: Trainer, batches: List[Dict[str, Any]], count: int, first: int = 0) -> List[Dict[str, Any]]:
    """What *count* updates log, each of two micro-batches, and the state after each."""
    found = []
    for number in range(first, first + count):
        torch.manual_seed(number)  # dropout
        log = run.train_step([batches[number % len(batches)], batches[(number + 1) % len(batches)]])
        found.append({"log": dict(log), **seen(run)})
    return found


def differences(one: Any, other: Any, tolerance: float = 0.0, name: str = "") -> List[str]:
    """Names of what differs in two nested states by more than *tolerance* of 1 and of a tensor's largest entry."""
    if type(one) is not type(other):
        return [f"{name}: {type(one)} / {type(other)}"]
    if torch.is_tensor(one):
        same = one.dtype == other.dtype and one.shape == other.shape and _near(one, other, tolerance)
        return [] if same else [name]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{name}: {sorted(map(str, one))} / {sorted(map(str, other))}"]
        return [found for key in one for found in differences(one[key], other[key], tolerance, f"{name}.{key}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{name}: {len(one)} / {len(other)} parts"]
        parts = enumerate(zip(one, other))
        return [found for n, (a, b) in parts for found in differences(a, b, tolerance, f"{name}[{n}]")]
    if isinstance(one, float) and _near(torch.tensor(one), torch.tensor(other), tolerance):
        return []
    return [] if one == other else [f"{name}: {one} / {other}"]


def _near(one: Tensor, other: Tensor, tolerance: float) -> bool:
    if tolerance == 0 or not one.is_floating_point() or one.numel() == 0:
        return torch.allclose(one, other, 0, 0, equal_nan=True)
    return torch.allclose(one, other, 0, tolerance * (1 + float(one.abs().nan_to_num(posinf=0).max())), equal_nan=True)


# ---------------------------------------------------------------------- data


def dictionary(folder: Path, words: int = 15) -> Dictionary:
    """One dictionary, under all the names that the tasks look for."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Dictionary()
    for symbol in (SEPARATOR, *(f"w{number}" for number in range(words))):
        found.add_symbol(symbol, 3 + len(found) % 5)
    for name in ("dict.txt", "dict.en.txt", "dict.de.txt", "dict.hist.txt", "dict.reply.txt"):
        found.save(str(folder / name))
    return found


def sentence(symbols: Dictionary, rng: random.Random, parts: int = 1) -> Tensor:
    """A few random words, in *parts* with the separator between them, and the end symbol."""
    words = [[rng.randrange(5, len(symbols)) for _ in range(rng.randint(1, 3))] for _ in range(parts)]
    ids = [symbol for part in words for symbol in (*part, symbols.index(SEPARATOR))]
    return torch.tensor([*ids[:-1], symbols.eos()])


def pairs(symbols: Dictionary, dialogue: bool = False, count: int = 3) -> List[Dict[str, Any]]:
    """Batches of sentence pairs, or of histories and replies with their reverse."""
    rng, size = random.Random(5), 5
    source = [sentence(symbols, rng, rng.randint(1, 3) if dialogue else 2) for _ in range(size * count)]
    target = [sentence(symbols, rng) for _ in range(size * count)]
    lengths = [[len(row) for row in side] for side in (source, target)]
    data: Any = LanguagePairDataset(source, lengths[0], symbols, target, lengths[1], symbols, shuffle=False)
    if dialogue:
        data = DialogueDataset(data, symbols.index(SEPARATOR), 9, (7, 9))
    return [data.collater([data[i] for i in range(n * size, (n + 1) * size)]) for n in range(count)]


def with_unlabelled(symbols: Dictionary, batches: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """*batches*, each with sentences without references; the last one's are spare."""
    rng, size = random.Random(8), 4
    source = [sentence(symbols, rng, 2) for _ in range(size * len(batches))]
    data = LanguagePairDataset(source, [len(row) for row in source], symbols, shuffle=False)
    found = []
    for n, batch in enumerate(batches):
        other = data.collater([{**data[i], "id": 100 + i} for i in range(n * size, (n + 1) * size)])
        spare = {"spare": True} if n == len(batches) - 1 else {}
        found.append({**batch, "unlabelled": {**other, **spare}})
    return found


class Lines(list):
    """What fairseq's indexed data sets look like."""

    @property
    def sizes(self) -> Any:
        return np.array([len(line) for line in self])


def sentences(symbols: Dictionary, count: int = 3) -> List[Dict[str, Any]]:
    """Batches of sentences."""
    rng, size = random.Random(6), 5
    data = SentenceDataset(Lines(sentence(symbols, rng) for _ in range(size * count)), symbols, shuffle=False)
    return [data.collater([data[i] for i in range(n * size, (n + 1) * size)]) for n in range(count)]
