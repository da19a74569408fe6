"""Settings of an evaluator that tells human replies from others. No torch: ``--help`` must not wait for it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluatorSettings:
    """How an evaluator is built and trained.

    Attributes:
        embed_dim: size of its word vectors.
        hidden: units of its GRUs.
        dropout: on word vectors and the last state.
        epochs: at most so many; the best one by the examples kept back is taken.
        batch_size: examples per update.
        lr: learning rate of Adam.
        min_count: rarer words of the training half are unknown ones.
        seed: of the halves, the random replies, the weights and the order of the examples.
    """

    embed_dim: int = 128
    hidden: int = 128
    dropout: float = 0.2
    epochs: int = 8
    batch_size: int = 64
    lr: float = 1e-3
    min_count: int = 2
    seed: int = 1
