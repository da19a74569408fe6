"""Text from a text VAE: from its prior, from posteriors, between sentences, near sentences (VAE-MINE 5.5, 5.6)."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

import torch
from torch import Tensor

from fairseq_ami.data.sentences import SentenceDataset, check_lengths
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.latent_decoding import DecodingOptions, generate
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.random_streams import Stream, normal, stream_keys
from fairseq_ami.tools.text_vae.space import interpolate, nearest, posteriors, read_sentences
from fairseq_ami.types import Progress

# streams of the sampled words; those of the prior's sentences are vae-eval's


@dataclass(frozen=True)
class LatentStudies:
    """What can be done with one model; the results are plain values, ready for JSON.

    All random numbers follow from the seed and a sentence's number: they do not depend on the batches.

    Attributes:
        model: a :class:`fairseq_ami.models.text_vae.TextVAE` in eval mode.
        method, options, max_len, batch_size: as for :func:`fairseq_ami.generation.latent_decoding.generate`.
        max_tokens: sentences x longest sentence that go through the encoder at a time.
        progress: called with batches and what is being done, returns the batches; for a progress bar.
        reads: makes words separated by blanks of a given sentence.
        writes: makes what is returned of words separated by blanks.
    """

    model: TextVAE
    max_len: int
    method: str = "greedy"
    options: DecodingOptions = DecodingOptions()
    seed: int = 1
    batch_size: int = 1024
    max_tokens: int = 16_000
    progress: Progress = lambda items, what: items
    reads: Callable[[str], str] = str
    writes: Callable[[str], str] = str

    def prior(self, count: int) -> List[str]:
        """Sentences for z from the prior (table 5); the first ones do not depend on how many there are."""
        found: List[str] = []
        for ids in self.progress(list(torch.arange(count).split(self.batch_size)), "sentences"):
            z = normal(stream_keys(self.seed, 0, Stream.EVAL_PRIOR, ids, 1), 1, self.model.latent_dim)[:, 0]
            found += self._decode(z, ids, 1, Stream.EVAL_WORDS)
        return found

    def reconstruct(self, lines: Sequence[str], samples: int, where: str) -> List[Dict[str, Any]]:
        """The posterior's mean decoded, and *samples* draws from it (table 3).

        Args:
            where: the lines come from, for messages.

        Raises:
            AMIError: lines that the model cannot read, or a model without posterior.
        """
        posterior, ids = self.posteriors_of(lines, where), torch.arange(len(lines))
        means = self._decode(posterior.mean, ids, 1, Stream.RECONSTRUCTED_WORDS)
        keys = stream_keys(self.seed, 0, Stream.EVAL_POSTERIOR, ids, samples)
        rows = ids.repeat_interleave(samples)
        repeated = DiagonalGaussian(posterior.mean[rows], posterior.log_variance[rows])
        z = repeated.sample(normal(keys, 1, self.model.latent_dim).squeeze(1))
        drawn = self._decode(z, ids, samples, Stream.RECONSTRUCTED_WORDS)
        return [
            {"input": line, "mean": means[row], "samples": drawn[row * samples : (row + 1) * samples]}
            for row, line in enumerate(lines)
        ]

    def interpolate(self, pairs: Sequence[Tuple[str, str]], steps: int, where: str) -> List[Dict[str, Any]]:
        """Sentences on the line between the posterior means of two others (table 4).

        Raises:
            AMIError: as for :meth:`reconstruct`.
        """
        means = self.posteriors_of([text for pair in pairs for text in pair], where).mean.view(len(pairs), 2, -1)
        weights = torch.linspace(0, 1, steps).tolist()
        found = []
        for number, (first, last) in enumerate(pairs):
            ids = number * steps + torch.arange(steps)
            one, other = means[number]
            texts = self._decode(interpolate(one, other, steps), ids, 1, Stream.INTERPOLATED_WORDS)
            points = [{"weight": weight, "sentence": text} for weight, text in zip(weights, texts)]
            found.append({"from": first, "to": last, "steps": points})
        return found

    def neighbours(self, lines: Sequence[str], split: SentenceDataset, top: int, where: str) -> List[Dict[str, Any]]:
        """The sentences of *split* whose posterior means have the largest cosine with a line's (table 6).

        The line itself does not count, however often the split holds it.

        Raises:
            AMIError: as for :meth:`reconstruct`, or a split with sentences that are too long.
        """
        self._check_posterior()
        queries = self._read(lines, where)
        check_lengths(self.model, split, max(self.max_tokens, self.model.max_positions()))

        def same(query: int) -> Iterable[int]:
            tokens = queries[query]["target"]
            candidates = (split.sizes == len(tokens)).nonzero()[0].tolist()
            return [row for row in candidates if split[row]["target"].equal(tokens)]

        near = nearest(self._posteriors(queries).mean, self._posteriors(split).mean, top, same)
        return [
            {
                "query": line,
                "neighbours": [
                    {"line": split[row]["id"] + 1, "cosine": cosine, "sentence": self._string(split[row]["target"])}
                    for row, cosine in zip(rows, cosines)
                    if cosine > float("-inf")  # the split has fewer others
                ],
            }
            for line, rows, cosines in zip(lines, near.rows.tolist(), near.cosine.tolist())
        ]

    # ------------------------------------------------------------------ parts

    def _check_posterior(self) -> None:
        if self.model.encoder is None:
            raise AMIError("a language model has no latent variable: it can only generate, from no z at all")

    def posteriors_of(self, lines: Sequence[str], where: str) -> DiagonalGaussian:
        """q(z|x) of each line; arguments and errors are those of :meth:`reconstruct`."""
        self._check_posterior()
        return self._posteriors(self._read(lines, where))

    def _read(self, lines: Sequence[str], where: str) -> SentenceDataset:
        words = [self.reads(line) for line in lines]
        return read_sentences(words, self.model.dictionary, self.model.max_positions(), where)

    def _posteriors(self, dataset: SentenceDataset) -> DiagonalGaussian:
        return posteriors(self.model, dataset, self.max_tokens, self.progress)

    def _decode(self, z: Tensor, ids: Tensor, samples: int, stream: int) -> List[str]:
        keys = stream_keys(self.seed, 0, stream, ids, samples)
        found = generate(self.model, z, self.max_len, self.method, self.options, keys, self.batch_size)
        return [self._string(tokens) for tokens in found]

    def _string(self, tokens: Tensor) -> str:
        return self.writes(self.model.dictionary.string(tokens.tolist()))
