"""Speed of generation from text VAEs, one core, at the paper's size (LSTM 512, embeddings 128, z 64, 10k words).

    OMP_NUM_THREADS=1 python benchmarks/vae_generation.py --sentences 2048

CPU seconds; the best of several rounds in which all ways take turns, so that a busy machine slows all of them. The
weights are not trained: the end symbol's bias makes sampled sentences 22 tokens long on average (PTB's length), with
the long tail of a geometric distribution. Greedy sentences, which would not end, are cut at 22 tokens.
"""

import argparse
import math
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import torch
from fairseq.data import Dictionary
from fairseq.search import Sampling
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fairseq_ami.generation.latent_decoding import _LatentEnsemble, generate  # noqa: E402
from fairseq_ami.generation.policy import Policy  # noqa: E402
from fairseq_ami.models.text_vae_lstm import TextVAELSTM, TextVAELSTMConfig  # noqa: E402

TOKENS = 22  # a PTB sentence's, the end symbol counted
MAX_LEN = 199
WHOLE = 100_000


def build_model(words: int, ends: bool = True, dtype: torch.dtype = torch.float32) -> Any:
    """Untrained, with sampled sentences of about TOKENS tokens, or with sentences that never end by themselves."""
    torch.manual_seed(1)
    dictionary = Dictionary()
    for index in range(words - len(dictionary)):
        dictionary.add_symbol(f"w{index}")
    model = TextVAELSTM.build_model(TextVAELSTMConfig(), SimpleNamespace(dictionary=dictionary)).eval()
    with torch.no_grad():
        bias = model.decoder.output_projection.bias
        bias[dictionary.eos()] = math.log(words / (TOKENS - 1)) if ends else -1e4
    model.decoder.to(dtype)
    return model


@torch.no_grad()
def step_by_step(model: Any, z: Tensor, max_len: int, sampled: bool, batch_size: int) -> List[Tensor]:
    """The plain loop: all rows of a batch go on until the last of them has ended."""
    dictionary, found = model.dictionary, []
    for part in z.split(batch_size):
        condition, state = model.condition(part), {}
        tokens = torch.full((len(part), 1), dictionary.eos())
        ended = torch.zeros(len(part), dtype=torch.bool)
        for _ in range(max_len):
            logits = model.decoder(tokens, encoder_out=condition, incremental_state=state)[0][:, -1]
            logits[:, [dictionary.bos(), dictionary.pad()]] = float("-inf")
            chosen = logits.softmax(1).multinomial(1) if sampled else logits.argmax(1, keepdim=True)
            tokens = torch.cat([tokens, chosen.masked_fill(ended.unsqueeze(1), dictionary.pad())], dim=1)
            ended |= chosen[:, 0].eq(dictionary.eos())
            if ended.all():
                break
        found += [row[row.gt(dictionary.eos())] for row in tokens]
    return found


@torch.no_grad()
def stock_search(model: Any, z: Tensor, max_len: int, sampled: bool, batch_size: int) -> List[Tensor]:
    """fairseq's SequenceGenerator with a beam of 1."""
    dictionary = model.dictionary
    ensemble = _LatentEnsemble(model, Policy((dictionary.bos(), dictionary.pad())))
    search = Sampling(dictionary) if sampled else None
    generator = SequenceGenerator(ensemble, dictionary, 1, max_len_b=max_len, min_len=0, search_strategy=search)
    found = []
    for part in z.split(batch_size):
        source = torch.zeros(len(part), 1, dtype=torch.long)
        hypotheses = generator.generate([model], {"net_input": {"src_tokens": source, "z": part}})
        found += [row[0]["tokens"][:-1] for row in hypotheses]
    return found


@torch.no_grad()
def output_layer_alone(model: Any, rows: int) -> float:
    """CPU seconds a token of the output layer and nothing else: no way of generating is faster."""
    features = torch.randn(rows, 512, dtype=model.decoder.output_projection.weight.dtype)
    times = []
    for _ in range(6):
        start = time.process_time()
        model.decoder.output_layer(features)
        times.append(time.process_time() - start)
    return min(times) / rows


def ways(words: int, size: int) -> Dict[str, Callable[[Tensor], List[Tensor]]]:
    """What is compared; a way that is slow gets fewer sentences."""
    few, some = 24, 256
    model, half = build_model(words), build_model(words, dtype=torch.bfloat16)
    endless, endless_half = build_model(words, False), build_model(words, False, torch.bfloat16)
    return {
        "sample, ours": lambda z: generate(model, z, MAX_LEN, "sample", batch_size=size),
        "sample, ours, bf16": lambda z: generate(half, z, MAX_LEN, "sample", batch_size=size),
        "sample, loop over a batch": lambda z: step_by_step(model, z[:some], MAX_LEN, True, size),
        "sample, loop, one by one": lambda z: step_by_step(model, z[:few], MAX_LEN, True, 1),
        "sample, SequenceGenerator": lambda z: stock_search(model, z, MAX_LEN, True, size),
        "greedy, ours": lambda z: generate(endless, z, TOKENS, batch_size=size),
        "greedy, ours, bf16": lambda z: generate(endless_half, z, TOKENS, batch_size=size),
        "greedy, loop over a batch": lambda z: step_by_step(endless, z[:some], TOKENS, False, size),
        "greedy, loop, one by one": lambda z: step_by_step(endless, z[:few], TOKENS, False, 1),
        "greedy, SequenceGenerator": lambda z: stock_search(endless, z, TOKENS - 1, False, size),
        "beam 5, SequenceGenerator": lambda z: generate(endless, z[: few * 4], TOKENS - 1, "beam", batch_size=size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=int, default=2048)
    parser.add_argument("--words", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="ways whose name contains one of these")
    args = parser.parse_args()
    torch.set_num_threads(1)
    z = torch.randn(args.sentences, TextVAELSTMConfig().latent_dim)
    chosen = ways(args.words, args.batch_size)
    if args.only:
        chosen = {name: way for name, way in chosen.items() if any(part in name for part in args.only)}
    seconds: Dict[str, List[float]] = {name: [] for name in chosen}
    lengths: Dict[str, List[float]] = {name: [] for name in chosen}
    for _ in range(args.rounds):
        for name, way in chosen.items():
            torch.manual_seed(1)
            start = time.process_time()
            found = way(z)
            spent = time.process_time() - start
            forced = name.startswith(("greedy", "beam")) and "Sequence" not in name  # no pass for a forced end symbol
            tokens = sum(len(row) + (not forced) for row in found)
            seconds[name].append(spent / tokens)
            lengths[name].append(tokens / len(found))
    print(f"{'way':34} tokens/s  us/token  tokens/sentence  minutes for {WHOLE} of {TOKENS} tokens (extrapolated)")
    for name, found in seconds.items():
        best = min(found)
        minutes = best * WHOLE * TOKENS / 60
        print(f"{name:34} {1 / best:8.0f}  {1e6 * best:8.0f}  {statistics.mean(lengths[name]):15.1f}  {minutes:8.1f}")
    for dtype in (torch.float32, torch.bfloat16):
        alone = output_layer_alone(build_model(args.words, dtype=dtype), args.batch_size)
        print(f"output layer alone, {dtype}: {1e6 * alone:.0f} us/token, {alone * WHOLE * TOKENS / 60:.1f} minutes")


if __name__ == "__main__":
    main()
