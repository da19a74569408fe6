"""Projections for the contrastive regulariser of InfoMax-GAN."""

from typing import Tuple

import torch.nn as nn
from torch import Tensor


class InfoMaxHeads(nn.Module):
    """Projects the critic's local and global features into one space, where their dot product is the score.

    Args:
        local_dim: size of a word's feature.
        global_dim: size of a sentence's feature.
        dim: size of the common space (InfoMax-GAN: 1024).
    """

    def __init__(self, local_dim: int, global_dim: int, dim: int):
        super().__init__()
        self.word = nn.Linear(local_dim, dim)
        self.sentence = nn.Linear(global_dim, dim)
        for layer in (self.word, self.sentence):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, words: Tensor, sentences: Tensor) -> Tuple[Tensor, Tensor]:
        """Words (n, length, local_dim) and sentences (n, global_dim), projected."""
        return self.word(words), self.sentence(sentences)
