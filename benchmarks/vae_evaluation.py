"""Importance-weighted likelihood at the paper's size: tokens and sentences per second, and memory for two set sizes.

    python benchmarks/vae_evaluation.py [--sentences 16] [--samples 100] [--words 21] [--vocabulary 10000]

A token counts once for each sample of z. The bare line is the matrix product of the output layer on as many rows, the
least that any way of doing it costs. The naive loop takes one sentence and one sample at a time. Memory is the peak of
a process of its own for each size.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any, Tuple

import torch
from fairseq.data import Dictionary

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fairseq_ami.data import SentenceDataset  # noqa: E402
from fairseq_ami.models.text_vae_lstm import TextVAELSTM, TextVAELSTMConfig  # noqa: E402
from fairseq_ami.tools.text_vae.likelihood import Settings, measure  # noqa: E402


class Sentences(list):
    """Random sentences, as fairseq's indexed data sets give them."""

    @property
    def sizes(self) -> Any:
        return [len(sentence) for sentence in self]


def make(vocabulary: int, sentences: int, words: int) -> Tuple[TextVAELSTM, SentenceDataset]:
    torch.manual_seed(1)
    dictionary = Dictionary()
    for number in range(vocabulary - dictionary.nspecial):
        dictionary.add_symbol(f"w{number}")
    rows = Sentences()
    for length in torch.randint(words // 2, 2 * words - words // 2 + 1, (sentences,)).tolist():
        row = torch.randint(dictionary.nspecial, len(dictionary), (length,))
        rows.append(torch.cat([row, torch.tensor([dictionary.eos()])]))
    task = argparse.Namespace(dictionary=dictionary)
    model = TextVAELSTM.build_model(TextVAELSTMConfig(critic="concat"), task)
    return model.eval(), SentenceDataset(rows, dictionary, shuffle=False)


def run(args: argparse.Namespace, sentences: int, answer: Any) -> None:
    """Measure in a fresh process, so that its peak of memory is its own."""
    torch.set_num_threads(args.threads)
    model, dataset = make(args.vocabulary, sentences, args.words)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = measure(model, dataset, Settings(iw_samples=args.samples, max_tokens=args.max_tokens))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.put((found.tokens * args.samples / seconds, len(dataset) / seconds, before / 1024, peak / 1024))


@torch.no_grad()
def naive(args: argparse.Namespace, sentences: int = 2) -> Tuple[float, float]:
    """Tokens and sentences per second of a loop over sentences and samples."""
    torch.set_num_threads(args.threads)
    model, dataset = make(args.vocabulary, sentences, args.words)
    tokens, start = 0, time.perf_counter()
    for number in range(sentences):
        target = dataset.collater([dataset[number]])["target"]
        posterior, _ = model.posterior(target)
        weights = []
        for _ in range(args.samples):
            z = posterior.sample(torch.randn_like(posterior.mean))
            log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
            weights.append(model.log_likelihood(target, z) + log_prior - posterior.log_prob(z))
        torch.logsumexp(torch.stack(weights), 0)
        tokens += target.numel()
    seconds = time.perf_counter() - start
    return tokens * args.samples / seconds, sentences / seconds


def bare(args: argparse.Namespace) -> float:
    """Tokens a second of the output layer alone."""
    torch.set_num_threads(args.threads)
    layer, rows = torch.nn.Linear(512, args.vocabulary), torch.randn(args.max_tokens, 512)
    with torch.no_grad():
        layer(rows)
        start = time.perf_counter()
        for _ in range(3):
            layer(rows)
    return 3 * len(rows) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sentences", type=int, default=16, help="of the smaller set; the larger has four times as many"
    )
    parser.add_argument("--samples", type=int, default=100, help="of z for each sentence")
    parser.add_argument("--words", type=int, default=21, help="mean length of a sentence")
    parser.add_argument("--vocabulary", type=int, default=10000, help="words")
    parser.add_argument("--max-tokens", type=int, default=8000, help="tokens through the model at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print(f"{'':28} {'tokens/s':>9} {'sentences/s':>12} {'MiB before':>11} {'MiB peak':>9}")
    print(f"{'output layer alone':28} {bare(args):9.0f}")
    speed, rate = naive(args)
    print(f"{'naive loop':28} {speed:9.0f} {rate:12.3f}")
    for sentences in (args.sentences, 4 * args.sentences):
        answer = context.Queue()
        process = context.Process(target=run, args=(args, sentences, answer))
        process.start()
        speed, rate, before, peak = answer.get()
        process.join()
        print(f"{f'{sentences} sentences':28} {speed:9.0f} {rate:12.3f} {before:11.0f} {peak:9.0f}")


if __name__ == "__main__":
    main()
