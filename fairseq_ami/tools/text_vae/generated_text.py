"""Forward and reverse perplexity of sentences generated from the prior (VAE-MINE section 5.3; Zhao et al. 2018)."""

import os
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, Optional, Sequence, Tuple

import torch
from fairseq.data import Dictionary

from fairseq_ami.choices import JUDGED_DECODINGS
from fairseq_ami.data.sentences import SentenceDataset
from fairseq_ami.generation.latent_decoding import generate
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.random_streams import Stream, normal, stream_keys
from fairseq_ami.tools.text_vae.ngram_lm import KenLM, NGramError, NGramModel, Perplexity, write_sentences
from fairseq_ami.types import Progress

MEASURES = ("fppl", "rppl", "rppl_closed")
_AT_A_TIME = 1024  # sentences that are generated together


@dataclass
class GeneratedText:
    """Of the sentences of one model under one decoding.

    Attributes:
        decoding: ``greedy`` or ``sampled`` from the decoder's whole distribution.
        sentences: how many; both perplexities depend on it.
        distinct: how many different ones.
        tokens_per_sentence: with the end symbol.
        fppl: of the generated sentences under the model of the real training text. Low if each of them is plausible,
            were they all the same.
        rppl: of the real test text under the model of the generated sentences. Low if they cover the test text too.
            Words that were never generated count as one unknown word, which is likely if few words were generated:
            read it together with ``rppl.oov``.
        rppl_closed: the same with the unseen words' mass shared among the vocabulary: fair whatever was generated.
        remarks: why a number is missing or not comparable, by its name.
    """

    decoding: str
    sentences: int
    distinct: int = 0
    tokens_per_sentence: float = 0.0
    fppl: Optional[Perplexity] = None
    rppl: Optional[Perplexity] = None
    rppl_closed: Optional[Perplexity] = None
    remarks: Dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return asdict(self)


class GeneratedTextJudge:
    """Perplexities against one real training text and one test text.

    Args:
        kenlm: the programs.
        folder: for models and texts; they stay there.
        training: the real training sentences.
        test: the real test sentences.
        vocabulary: words that a model can generate, the end symbol among them.
    """

    def __init__(self, kenlm: KenLM, folder: str, training: Iterable[str], test: Iterable[str], vocabulary: int):
        self.kenlm = kenlm
        self.folder = folder
        self.vocabulary = vocabulary
        self.training = write_sentences(training, self._file("training"))
        self.test = write_sentences(test, self._file("test"))
        self._real: Optional[NGramModel] = None  # estimated once, when first asked for

    def measure(self, decoding: str, sentences: Iterable[str]) -> GeneratedText:
        """What can be measured; what cannot is explained in the remarks. Nothing is raised."""
        count = _Count(sentences)
        found = GeneratedText(decoding, 0)
        try:
            text = write_sentences(count, self._file("generated"))
        except NGramError as error:
            found.remarks = dict.fromkeys(MEASURES, str(error))
            return found
        found.sentences, found.distinct = count.sentences, len(count.seen)
        found.tokens_per_sentence = (count.words + count.sentences) / max(1, count.sentences)
        measures: Sequence[Tuple[str, Callable[[], Perplexity]]] = (
            ("fppl", lambda: self.kenlm.perplexity(self.real_model(), text)),
            ("rppl", lambda: self._reverse(text, 0)),
            ("rppl_closed", lambda: self._reverse(text, self.vocabulary)),
        )
        for name, measure in measures:
            try:
                value = measure()
                setattr(found, name, value)
                if value.fallback:
                    whose = "training" if name == "fppl" else "generated"
                    found.remarks[name] = f"fall-back discounts for the {whose} text ({value.fallback})"
            except NGramError as error:
                found.remarks[name] = str(error)
        return found

    def real_model(self) -> NGramModel:
        """The model of the training text."""
        if self._real is None:
            self._real = self.kenlm.estimate(self.training, self._file("training.arpa"))
        return self._real

    def _reverse(self, text: str, vocabulary: int) -> Perplexity:
        model = self.kenlm.estimate(text, self._file("generated.arpa"), vocabulary=vocabulary)
        return self.kenlm.perplexity(model, self.test)

    def _file(self, name: str) -> str:
        return os.path.join(self.folder, name)


class _Count:
    """Counts what passes through."""

    def __init__(self, sentences: Iterable[str]):
        self.source = sentences
        self.sentences = self.words = 0
        self.seen: "set[int]" = set()

    def __iter__(self) -> Iterator[str]:
        for sentence in self.source:
            self.sentences += 1
            self.words += len(sentence.split())
            self.seen.add(hash(sentence))
            yield sentence


def dataset_sentences(dataset: SentenceDataset, dictionary: Dictionary) -> Iterator[str]:
    """The sentences of a :class:`fairseq_ami.data.sentences.SentenceDataset` as the dictionary's words."""
    return (dictionary.string(dataset[index]["target"].tolist()) for index in range(len(dataset)))


def sentences_from_prior(
    model: TextVAE, decoding: str, count: int, max_len: int, seed: int, progress: Progress
) -> Iterator[str]:
    """Sentences for z from the standard normal prior; a language model has no z and only starts anew each time.

    Args:
        model: a :class:`fairseq_ami.models.text_vae.TextVAE`.
        decoding: a key of :data:`fairseq_ami.choices.JUDGED_DECODINGS`.
        count: how many sentences.
        max_len: the most words in one.
        seed: of z and of the sampled words; more sentences begin with the same ones.

    Raises:
        AMIError: a *max_len* that the model does not reach.
    """
    device = next(model.parameters()).device
    for ids in progress(torch.arange(count).split(_AT_A_TIME), f"{decoding} sentences"):
        prior, words = (
            stream_keys(seed, 0, stream, ids, 1).to(device) for stream in (Stream.EVAL_PRIOR, Stream.EVAL_WORDS)
        )
        z = normal(prior, 1, model.latent_dim)[:, 0]
        for tokens in generate(model, z, max_len, JUDGED_DECODINGS[decoding], keys=words, batch_size=_AT_A_TIME):
            yield model.dictionary.string(tokens.tolist())
