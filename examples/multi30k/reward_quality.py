"""How much of a translation's quality a reward knows: does the better one of two samples of one source get more?

Draws samples from the first pair's forward network, scores each with the rewards of every pair, and reports, a reward:
the mean rank correlation within a source with sentence BLEU, and the corpus BLEU of the samples that it picks, beside a
random pick (the floor) and the pick of sentence BLEU itself (the ceiling of any reward).
"""

import argparse
import json
from dataclasses import replace
from typing import Any, Dict, List

import sacrebleu
import torch
from scipy.stats import rankdata

from fairseq_ami.cli.bound import load_pair, pair_task
from fairseq_ami.criterions.ami_turn import word_counts
from fairseq_ami.data import reverse_sample
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import backward_log_likelihood, roll_out
from fairseq_ami.objectives import average_word, cosine_multiplier
from fairseq_ami.tools.information.bounds import sampler_settings


def main() -> None:
    args = parse()
    named = dict(entry.split("=", 1) for entry in args.path)
    task = pair_task(args, next(iter(named.values())))
    task.load_dataset(args.subset)
    pairs = {name: load_pair(path, task) for name, path in named.items()}
    dictionary = task.target_dictionary
    settings = replace(
        sampler_settings(dictionary, args.seed),
        num_samples=args.samples,
        policy=Policy((dictionary.pad(), dictionary.bos()), temperature=args.temperature),
    )
    counts = word_counts(dictionary, (dictionary.pad(), dictionary.eos()))
    rewards: Dict[str, List[torch.Tensor]] = {}
    hypotheses: List[List[str]] = []
    references: List[str] = []
    batches = task.get_batch_iterator(task.dataset(args.subset), max_tokens=args.max_tokens)
    for batch in batches.next_epoch_itr(shuffle=False):
        with torch.no_grad():
            tokens, found = scored(pairs, batch, settings, counts)
        for name, values in found.items():
            rewards.setdefault(name, []).append(values)
        rows = [text(dictionary, row, args.remove_bpe) for row in tokens]
        hypotheses += [rows[at : at + args.samples] for at in range(0, len(rows), args.samples)]
        references += [text(dictionary, row, args.remove_bpe) for row in batch["target"]]
    report({name: torch.cat(values) for name, values in rewards.items()}, hypotheses, references)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="binarised data")
    parser.add_argument("--path", nargs="+", required=True, metavar="NAME=FILE", help="pairs; the first one draws")
    parser.add_argument("-s", "--source-lang", help="source language (default: as the first pair was trained)")
    parser.add_argument("-t", "--target-lang", help="target language")
    parser.add_argument("--subset", default="valid")
    parser.add_argument("--samples", type=int, default=16, help="samples a source")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=1000)
    parser.add_argument("--remove-bpe", default="@@ ")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def text(dictionary: Any, row: torch.Tensor, bpe: str) -> str:
    return dictionary.string(row[row.ne(dictionary.pad())], bpe)


def scored(pairs: Dict[str, Any], batch: Dict[str, Any], settings: Any, counts: torch.Tensor) -> Any:
    """Samples (batch * k, length), and each reward (batch, k)."""
    first = next(iter(pairs.values()))
    rollout = roll_out(first, batch, settings, 0, noise=False, score=True)
    tokens, shape = rollout.samples.tokens, rollout.log_prob.shape
    reverse = reverse_sample(batch, settings.pad, settings.eos)
    skip = (settings.pad, settings.eos)
    target = batch["target"].repeat_interleave(settings.num_samples, 0)
    embedding = first.forward_model.decoder.embed_tokens.weight
    centers = {"K": None, "K centred": average_word(embedding, counts)}
    k = {name: cosine_multiplier(target, tokens, embedding, skip, at).view(shape) for name, at in centers.items()}
    length = tokens.ne(settings.pad).sum(1).view(shape)
    found = {"log P(T'|S)": rollout.log_prob, "length": length.float(), **{f"-{name}": -of for name, of in k.items()}}
    for name, pair in pairs.items():
        log_q = backward_log_likelihood(pair, tokens, reverse, settings.pad).sum(1).view(shape)
        found[f"log Q, {name}"] = log_q
        found.update({f"{kind} x log Q, {name}": of * log_q for kind, of in k.items()})
    return tokens, found


def report(rewards: Dict[str, torch.Tensor], hypotheses: List[List[str]], references: List[str]) -> None:
    metric = sacrebleu.BLEU(tokenize="none", effective_order=True)
    quality = torch.tensor([
        [metric.sentence_score(hypothesis, [reference]).score for hypothesis in row]
        for row, reference in zip(hypotheses, references)
    ])  # fmt: skip
    rewards = {
        "random": torch.rand(quality.shape, generator=torch.Generator().manual_seed(1)),
        **rewards,
        "sentence BLEU itself": quality,
    }
    corpus = sacrebleu.BLEU(tokenize="none", force=True)
    print("| reward | rank correlation | BLEU of its picks | length ratio |\n|---|---|---|---|")
    for name, values in rewards.items():
        picks = [row[at] for row, at in zip(hypotheses, values.argmax(1).tolist())]
        score = corpus.corpus_score(picks, [references])
        print(
            f"| {name} | {correlation(values, quality):.3f} | {score.score:.2f} | {score.sys_len / score.ref_len:.3f} |"
        )
    print(
        json.dumps({"sources": len(references), "samples": quality.size(1), "signature": str(corpus.get_signature())})
    )


def correlation(values: torch.Tensor, quality: torch.Tensor) -> float:
    """Mean over sources of Spearman's rank correlation; sources whose samples are all alike tell nothing."""
    ranks = [torch.from_numpy(rankdata(of.numpy(), axis=1)).double() for of in (values, quality)]
    left, right = (of - of.mean(1, keepdim=True) for of in ranks)
    norm = left.norm(dim=1) * right.norm(dim=1)
    return float(((left * right).sum(1)[norm > 0] / norm[norm > 0]).mean())


if __name__ == "__main__":
    main()
