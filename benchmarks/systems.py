"""What the benchmarks share: fairseq's Trainer for a command line, random batches, the two samplers."""

import argparse
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import torch
from fairseq import options, tasks
from fairseq.data import Dictionary
from fairseq.data.language_pair_dataset import collate
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.sequence_generator import SequenceGenerator
from fairseq.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIDES = ("encoder", "decoder")
LSTM = (
    "--arch lstm --encoder-bidirectional --SIDE-layers 4 --SIDE-embed-dim 1024 --SIDE-hidden-size 1024 "
    "--decoder-out-embed-dim 1024 --dropout 0.2"
)
STOCK = {"transformer": "--arch transformer_wmt_en_de --share-all-embeddings", "lstm": LSTM}
STOCK_COMMON = (
    "--task translation -s en -t de --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam "
    "--lr 1e-4"
)
AMI_COMMON = (
    "--task ami_translation -s en -t de --criterion ami_minimax --label-smoothing 0.1 --optimizer ami_phased "
    "--sample-max-len-a 1 --sample-max-len-b 0"
)


def both_sides(flags: str) -> List[str]:
    """SIDE stands for both encoder and decoder."""
    words, given = [], flags.split()
    for index, word in enumerate(given):
        if "SIDE" in word:
            for side in SIDES:
                words += [word.replace("SIDE", side), given[index + 1]]
        elif index == 0 or "SIDE" not in given[index - 1]:
            words.append(word)
    return words


def trainer_of(data: str, flags: List[str], args: argparse.Namespace) -> Trainer:
    """fairseq's Trainer for a command line."""
    common = ["--user-dir", str(ROOT / "fairseq_ami"), "--no-save", "--seed", "1", "--max-tokens", "4096"]
    common += ["--cpu"] if args.device == "cpu" else []
    if args.precision == "fp16":
        common += ["--fp16", "--fp16-no-flatten-grads"]
    if args.precision == "bf16":
        common += ["--bf16", "--fp16-no-flatten-grads"]
    parsed = options.parse_args_and_arch(options.get_training_parser(), [data, *common, *flags])
    parsed.tpu = False  # fairseq takes --bf16 on the command line for a TPU
    cfg = convert_namespace_to_omegaconf(parsed)
    task = tasks.setup_task(cfg.task)
    return Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))


def make_dictionary(folder: Path, vocabulary: int) -> Dictionary:
    """A dictionary of *vocabulary* symbols, written into *folder* under all names that the tasks look for."""
    dictionary = Dictionary()
    for number in range(vocabulary - dictionary.nspecial):
        dictionary.add_symbol(f"w{number}")
    for name in ("dict.txt", "dict.en.txt", "dict.de.txt"):
        dictionary.save(str(folder / name))
    return dictionary


# ---------------------------------------------------------------------- random token ids


def rows(dictionary: Dictionary, count: int, length: int, seed: int) -> List[torch.Tensor]:
    """Sentences of about *length* random words, end symbol included."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        size = int(torch.randint(max(length - 3, 1), length + 3, (), generator=generator))
        words = torch.randint(dictionary.nspecial, len(dictionary), (size,), generator=generator)
        found.append(torch.cat([words, torch.tensor([dictionary.eos()])]))
    return found


def pair_batch(dictionary: Dictionary, count: int, length: int) -> Dict[str, Any]:
    sides = zip(rows(dictionary, count, length, 1), rows(dictionary, count, length, 2))
    samples = [{"id": i, "source": source, "target": target} for i, (source, target) in enumerate(sides)]
    return collate(samples, dictionary.pad(), dictionary.eos())


# ---------------------------------------------------------------------- samplers


def ours(network: Any, batch: Dict[str, Any], dictionary: Dictionary, length: int) -> Callable[[], Any]:
    from fairseq_ami.generation.policy import Policy
    from fairseq_ami.generation.sampler import sample
    from fairseq_ami.modules import dropout_off
    from fairseq_ami.random_streams import stream_keys

    inputs, end = batch["net_input"], dictionary.eos()
    keys = stream_keys(1, 0, 0, batch["id"].to(inputs["src_tokens"].device), 1)
    limits = torch.full_like(keys, length)
    policy = Policy((dictionary.pad(), dictionary.bos()))

    @torch.no_grad()
    def step() -> Any:
        with dropout_off(network):
            out = network.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
            order = network.encoder.reorder_encoder_out
            return sample(network.decoder, out, order, policy, keys, limits, dictionary.pad(), end)

    return step


def theirs(network: Any, batch: Dict[str, Any], dictionary: Dictionary, length: int) -> Callable[[], Any]:
    from fairseq.search import Sampling

    search = Sampling(dictionary)
    # one symbol fewer: the end symbol comes on top of its limit
    generator = SequenceGenerator(
        [network], dictionary, beam_size=1, max_len_a=0, max_len_b=length - 1, search_strategy=search
    )
    return lambda: generator.generate([network], batch)
