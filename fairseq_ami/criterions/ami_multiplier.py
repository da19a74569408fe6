"""K(T'), by which AMI weighs what the backward network says of a sample: 1 minus its similarity to T (equation 11)."""

from typing import Callable, Sequence

import torch
from torch import Tensor

from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.criterions.ami_turn import word_counts
from fairseq_ami.generation.rollout import Rollout
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.objectives import average_word, cosine_multiplier
from fairseq_ami.rewards import TextReader, text_reward
from fairseq_ami.types import Batch, PairTask

Multiplier = Callable[[PairedModel, Batch, Rollout], Tensor]  # K of each sample, shape (batch * k,)


def make_multiplier(cfg: AMIMinimaxConfig, task: PairTask, not_words: Sequence[int]) -> Multiplier:
    """The multiplier of ``--multiplier-similarity``.

    Args:
        cfg: of the criterion.
        task: gives the dictionaries.
        not_words: symbols that are no words.
    """
    similarity = str(cfg.multiplier_similarity)
    if similarity == "cosine":
        return CosineMultiplier(task, not_words, cfg.center_cosine)
    return TextMultiplier(
        similarity, TextReader(task.source_dictionary, task.target_dictionary, cfg.reward_post_process)
    )


class CosineMultiplier:
    """K(T') = 1 - cos(T, T') of equation 11, with the forward network's target embeddings.

    Args:
        task: gives the target dictionary.
        not_words: symbols that are no words.
        center: compare mean embeddings minus that of the average word.
    """

    def __init__(self, task: PairTask, not_words: Sequence[int], center: bool):
        self.not_words = not_words
        skip = (*not_words, *getattr(task, "separators", ()))
        self.word_counts = word_counts(task.target_dictionary, skip) if center else None

    def __call__(self, model: PairedModel, batch: Batch, rollout: Rollout) -> Tensor:
        """K of each sample, shape (batch * k,)."""
        tokens = rollout.samples.tokens
        k = tokens.size(0) // batch["target"].size(0)
        embedding = model.forward_model.decoder.embed_tokens.weight
        center = None if self.word_counts is None else average_word(embedding, self.word_counts)
        return cosine_multiplier(batch["target"].repeat_interleave(k, 0), tokens, embedding, self.not_words, center)


class TextMultiplier:
    """K(T') = 1 - similarity of the texts T and T', both without subwords.

    Args:
        similarity: ``bleu`` or ``chrf`` of the sentence, between 0 and 1.
        reader: turns ids into text.
    """

    def __init__(self, similarity: str, reader: TextReader):
        self.similarity, self.reader = text_reward(similarity), reader

    def __call__(self, model: PairedModel, batch: Batch, rollout: Rollout) -> Tensor:
        """K of each sample, shape (batch * k,)."""
        tokens, source = rollout.samples.tokens, batch["net_input"]["src_tokens"]
        found = self.similarity(self.reader.read(source, tokens, batch["target"]))
        return 1 - torch.tensor(found, device=tokens.device)
