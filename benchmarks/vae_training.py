"""Updates of the text VAE against those of a bare LSTM language model on the same batches, in one run on one machine.

    python benchmarks/vae_training.py [--batches 12] [--batch-size 32] [--words 21] [--vocabulary 10000]

The bare model is an embedding, a torch.nn.LSTM and a linear layer of the decoder's sizes with dropout, cross-entropy,
clipping and torch.optim.SGD. All others run through fairseq's Trainer, as fairseq-train does. Batches are
random words in sentences of nearly one length, as fairseq makes them of sorted sentences.
The rounds of the systems alternate and medians are compared, so that a busy machine slows all of them alike.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import torch
from fairseq import options, tasks
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LM, VAE, SKIP, MINE = "LSTM-LM (text_lm_lstm)", "VAE", "VAE, z in the output layer", "VAE-MINE"
TARGET, WEIGHTED = "VAE-MINE, alpha by a constraint", "VAE, 8 importance samples"
_VAE = ["--arch", "text_vae_lstm"]
SYSTEMS = {
    LM: ["--arch", "text_lm_lstm"],
    VAE: _VAE,
    SKIP: [*_VAE, "--latent-skip"],
    MINE: [*_VAE, "--critic", "concat", "--mi-weight", "1"],
    TARGET: [*_VAE, "--critic", "concat", "--mi-weight", "1", "--mi-target", "3"],
    WEIGHTED: [*_VAE, "--iw-train", "8"],
}


class BareLM(nn.Module):
    """The language model that nobody needs a toolkit for."""

    def __init__(self, vocabulary: int, embed: int = 128, hidden: int = 512, dropout: float = 0.5):
        super().__init__()
        self.embed, self.lstm = nn.Embedding(vocabulary, embed), nn.LSTM(embed, hidden, batch_first=True)
        self.out, self.dropout = nn.Linear(hidden, vocabulary), nn.Dropout(dropout)

    def forward(self, previous: Tensor, target: Tensor, pad: int) -> Tensor:
        states, _ = self.lstm(self.dropout(self.embed(previous)))
        logits = self.out(self.dropout(states))
        return nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=pad, reduction="sum")


def bare_step(vocabulary: int, pad: int) -> Callable[[Dict[str, Any]], None]:
    model = BareLM(vocabulary)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    def step(batch: Dict[str, Any]) -> None:
        optimizer.zero_grad()
        loss = model(batch["net_input"]["prev_output_tokens"], batch["target"], pad) / batch["nsentences"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


def fairseq_step(data: str, flags: List[str]) -> Callable[[Dict[str, Any]], None]:
    """One update through fairseq's Trainer."""
    common = [
        "--user-dir",
        str(ROOT / "fairseq_ami"),
        "--cpu",
        "--no-save",
        "--clip-norm",
        "5",
        "--lr",
        "1",
        "--batch-size",
        "32",
    ]
    common += [
        "--task",
        "text_vae",
        "--criterion",
        "vae_mine_elbo",
        "--optimizer",
        "ami_phased",
        "--inner-optimizer",
        "sgd",
    ]
    cfg = convert_namespace_to_omegaconf(
        options.parse_args_and_arch(options.get_training_parser(), [data, *common, *flags])
    )
    task = tasks.setup_task(cfg.task)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    trainer = Trainer(cfg, task, model, criterion)
    return lambda batch: trainer.train_step([batch])


def make_batches(dictionary: Dictionary, args: argparse.Namespace) -> List[Dict[str, Any]]:
    from fairseq_ami.data import SentenceDataset

    generator = torch.Generator().manual_seed(1)
    shortest, longest = args.words - 1, args.words + 1
    lengths = torch.randint(shortest, longest + 1, (args.batches * args.batch_size,), generator=generator)
    words = [torch.randint(dictionary.nspecial, len(dictionary), (int(n),), generator=generator) for n in lengths]
    rows = [torch.cat([row, torch.tensor([dictionary.eos()])]) for row in words]
    collate = SentenceDataset.collater
    view = argparse.Namespace(dictionary=dictionary)
    items = [{"id": number, "target": row} for number, row in enumerate(rows)]
    return [collate(view, items[i : i + args.batch_size]) for i in range(0, len(items), args.batch_size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=12, help="updates of each system")
    parser.add_argument("--batch-size", type=int, default=32, help="sentences a batch")
    parser.add_argument("--words", type=int, default=21, help="mean length of a sentence")
    parser.add_argument("--vocabulary", type=int, default=10000, help="words")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dictionary = Dictionary()
    for number in range(args.vocabulary - dictionary.nspecial):
        dictionary.add_symbol(f"w{number}")
    batches = make_batches(dictionary, args)
    with tempfile.TemporaryDirectory() as folder:
        dictionary.save(str(Path(folder) / "dict.txt"))
        steps = {"bare nn.LSTM language model": bare_step(len(dictionary), dictionary.pad())}
        steps.update({name: fairseq_step(folder, flags) for name, flags in SYSTEMS.items()})
        times = {name: [] for name in steps}
        for step in steps.values():
            step(batches[0])  # warm up
        for batch in batches:
            for name, step in steps.items():
                start = time.perf_counter()
                step(batch)
                times[name].append(time.perf_counter() - start)
    report({name: statistics.median(values) for name, values in times.items()}, args)


def report(medians: Dict[str, float], args: argparse.Namespace) -> None:
    tokens = args.batch_size * (args.words + 1)
    bare = medians["bare nn.LSTM language model"]
    print(f"{'':32} {'s/update':>9} {'tokens/s':>9} {'over bare':>9}")
    for name, seconds in medians.items():
        print(f"{name:32} {seconds:9.3f} {tokens / seconds:9.0f} {seconds / bare:9.2f}")
    for name, base in ((MINE, VAE), (SKIP, VAE), (TARGET, MINE)):
        print(f"{name} over {base}: {medians[name] / medians[base]:.3f}")
    # The decoder's share of an update is about an update of the language model. The work of --iw-train 8 is that of
    # eight decoder passes for one encoder pass; as one large batch they may take less time than one after the other.
    decoder = (medians[WEIGHTED] - (medians[VAE] - medians[LM])) / medians[LM]
    print(f"{WEIGHTED}: {decoder:.2f} times the decoder's share of an update (the work of 8)")


if __name__ == "__main__":
    main()
