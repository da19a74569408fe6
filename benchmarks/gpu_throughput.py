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
from fairseq import utils
from fairseq.data import Dictionary
from systems import (
    AMI_COMMON,
    STOCK,
    STOCK_COMMON,
    both_sides,
    make_dictionary,
    ours,
    pair_batch,
    rows,
    theirs,
    trainer_of,
)

TINY = {
    "transformer": "--SIDE-layers 1 --SIDE-embed-dim 16 --SIDE-ffn-embed-dim 16 --SIDE-attention-heads 2",
    "lstm": "--SIDE-layers 1 --SIDE-embed-dim 16 --SIDE-hidden-size 16 --decoder-out-embed-dim 16",
    "text_lm_lstm": "--embed-dim 16 --hidden-size 16",
    "text_vae_lstm": "--embed-dim 16 --hidden-size 16 --latent-dim 4",
    "text_vae_transformer": "--embed-dim 16 --ffn-dim 16 --latent-dim 4",
}
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
    with tempfile.TemporaryDirectory() as folder:
        dictionary = make_dictionary(Path(folder), args.vocabulary)
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
