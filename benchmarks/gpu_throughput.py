"""Words a second and peak memory on a GPU, on random token ids: AMI's phases against a stock maximum-likelihood update.

    python benchmarks/gpu_throughput.py [--precision fp16] [--network transformer] [--tokens 4096] [--json FILE]

Networks and sizes are those of WMT14 English-German (examples/wmt14_en_de), batches have as many target tokens as
there. Both systems run through fairseq's Trainer, as fairseq-train does. Untrained networks hardly ever end a sentence,
so samples are cut at the length of their sources. Words are target tokens of the batch, whatever the update does with
them. The text VAE has the sizes of Penn Treebank. Without CUDA nothing is measured; `--device cpu --precision fp32
--tiny` only tries the script.
"""

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import torch
from fairseq import options, tasks, utils
from fairseq.data import Dictionary
from fairseq.data.language_pair_dataset import collate
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.sequence_generator import SequenceGenerator
from fairseq.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIDES = ("encoder", "decoder")
TINY = {
    "transformer": "--SIDE-layers 1 --SIDE-embed-dim 16 --SIDE-ffn-embed-dim 16 --SIDE-attention-heads 2",
    "lstm": "--SIDE-layers 1 --SIDE-embed-dim 16 --SIDE-hidden-size 16 --decoder-out-embed-dim 16",
    "text_lm_lstm": "--embed-dim 16 --hidden-size 16",
    "text_vae_lstm": "--embed-dim 16 --hidden-size 16 --latent-dim 4",
    "text_vae_transformer": "--embed-dim 16 --ffn-dim 16 --latent-dim 4",
}
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
ONE = "--num-samples 1 --baseline running-mean"
PHASES = {
    "noise, 1 sample": f"--phase-cycle noise=1000000 {ONE}",
    "forward, 1 sample": f"--phase-cycle forward=1000000 {ONE}",
    "forward, 1 sample, teacher-forced": f"--phase-cycle forward=1000000 {ONE} --sampler teacher-forced",
    "forward, 2 samples": "--phase-cycle forward=1000000",
    "backward, 1 sample": f"--phase-cycle backward=1000000 {ONE}",
    "backward, 2 samples": "--phase-cycle backward=1000000",
}
VAE_COMMON = (
    "--task text_vae --criterion vae_mine_elbo --optimizer ami_phased --inner-optimizer sgd --lr 1 --clip-norm 5"
)
VAES = {
    "LSTM-LM": "--arch text_lm_lstm",
    "VAE": "--arch text_vae_lstm",
    "VAE-MINE": "--arch text_vae_lstm --critic concat --mi-weight 1",
    "VAE-MINE, Transformer": "--arch text_vae_transformer --critic concat --mi-weight 1",
}


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


def synchronize(args: argparse.Namespace) -> None:
    if args.device == "cuda":
        torch.cuda.synchronize()


def measure(step: Callable[[], Any], words: int, args: argparse.Namespace) -> Dict[str, float]:
    """Median seconds of a call, words a second, and the most memory that was ever taken, in GiB."""
    for _ in range(args.warm_up):
        step()
    times = []
    for _ in range(args.updates):
        synchronize(args)
        start = time.perf_counter()
        step()
        synchronize(args)
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    memory = torch.cuda.max_memory_allocated() / 2**30 if args.device == "cuda" else float("nan")
    return {"seconds": seconds, "words_per_second": words / seconds, "peak_gib": memory}


def updates(data: str, flags: List[str], batch: Any, args: argparse.Namespace) -> Dict[str, float]:
    """Updates of one system, alone on the device."""
    if args.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = trainer_of(data, flags, args)
    found = measure(lambda: trainer.train_step([batch]), batch["ntokens"], args)
    if trainer.get_num_updates() == 0:
        sys.exit("gpu_throughput.py: every update overflowed; pass a larger --warm-up or --precision bf16")
    return found


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


def vae_batch(dictionary: Dictionary, count: int, length: int) -> Dict[str, Any]:
    from fairseq_ami.data import SentenceDataset

    samples = [{"id": i, "target": row} for i, row in enumerate(rows(dictionary, count, length, 3))]
    return SentenceDataset.collater(argparse.Namespace(dictionary=dictionary), samples)


# ---------------------------------------------------------------------- the three tables


def pairs(data: str, dictionary: Dictionary, args: argparse.Namespace) -> Dict[str, Dict[str, float]]:
    batch = pair_batch(dictionary, max(args.tokens // args.length, 2), args.length)
    tiny = both_sides(TINY[args.network]) if args.tiny else []
    found = {"stock maximum likelihood": [*STOCK_COMMON.split(), *both_sides(STOCK[args.network]), *tiny]}
    arch = ["--arch", f"ami_{args.network}_wmt_en_de"]
    arch += ["--share-all-embeddings"] if args.network == "transformer" else []
    for name, flags in PHASES.items():
        found[name] = [*AMI_COMMON.split(), *arch, *flags.split(), *tiny]
    return {name: updates(data, flags, batch, args) for name, flags in found.items()}


def samplers(data: str, dictionary: Dictionary, args: argparse.Namespace) -> Dict[str, Dict[str, float]]:
    """The training sampler against fairseq's generator with sampling; both write as many symbols as a source has."""
    tiny = both_sides(TINY[args.network]) if args.tiny else []
    trainer = trainer_of(data, [*STOCK_COMMON.split(), *both_sides(STOCK[args.network]), *tiny], args)
    found, network = {}, trainer.model  # in half precision where the run is
    for size in args.sampler_batches:
        batch = pair_batch(dictionary, size, args.length)
        batch = utils.move_to_cuda(batch) if args.device == "cuda" else batch
        for name, step in {"training sampler": ours, "SequenceGenerator": theirs}.items():
            words = size * args.length
            found[f"{name}, batch {size}"] = measure(step(network, batch, dictionary, args.length), words, args)
    return found


def ours(network: Any, batch: Dict[str, Any], dictionary: Dictionary, length: int) -> Callable[[], Any]:
    from fairseq_ami.generation.policy import Policy
    from fairseq_ami.generation.random_streams import stream_keys
    from fairseq_ami.generation.sampler import sample
    from fairseq_ami.modules import dropout_off

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


def vaes(data: str, dictionary: Dictionary, args: argparse.Namespace) -> Dict[str, Dict[str, float]]:
    batch = vae_batch(dictionary, 32, 21)
    found = {}
    for name, flags in VAES.items():
        tiny = TINY[flags.split()[1]].split() if args.tiny else []
        found[name] = updates(data, [*VAE_COMMON.split(), *flags.split(), *tiny], batch, args)
    return found


def table(title: str, found: Dict[str, Dict[str, float]]) -> None:
    first = next(iter(found.values()))["seconds"]
    print(f"\n{title:45} {'s':>9} {'words/s':>10} {'ratio':>6} {'GiB':>6}")
    for name, values in found.items():
        print(
            f"{name:45} {values['seconds']:9.4f} {values['words_per_second']:10.0f} "
            f"{values['seconds'] / first:6.2f} {values['peak_gib']:6.2f}"
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=sorted(STOCK), default="transformer", help="of the pairs")
    parser.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp16")
    parser.add_argument("--tokens", type=int, default=4096, metavar="N", help="target tokens of a batch")
    parser.add_argument("--length", type=int, default=28, metavar="N", help="tokens of a sentence")
    parser.add_argument("--vocabulary", type=int, default=32768, metavar="N", help="symbols of the joined dictionary")
    parser.add_argument("--sampler-batches", type=int, nargs="+", default=[64, 256], metavar="N", help="sentences")
    parser.add_argument("--updates", type=int, default=10, metavar="N", help="timed updates; the median counts")
    parser.add_argument("--warm-up", type=int, default=12, metavar="N", help="updates before (the loss scale falls)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks: says nothing about speed")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    logging.disable(logging.INFO)
    if args.device == "cuda" and not torch.cuda.is_available():
        print("gpu_throughput.py: skipped, there is no CUDA device (or this PyTorch was built without CUDA)")
        return
    machine = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{machine}, torch {torch.__version__}, {args.network}, {args.precision}, {args.tokens} tokens")
    dictionary = Dictionary()
    for number in range(args.vocabulary - dictionary.nspecial):
        dictionary.add_symbol(f"w{number}")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("dict.txt", "dict.en.txt", "dict.de.txt"):
            dictionary.save(str(Path(folder) / name))
        figures = {
            "an update": pairs(folder, dictionary, args),
            "sampling": samplers(folder, dictionary, args),
            "an update of a text VAE": vaes(folder, dictionary, args),
        }
    for title, found in figures.items():
        table(title, found)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "precision": args.precision, **figures}, indent=1))


if __name__ == "__main__":
    main()
