"""How ``fairseq-ami mi`` trains a critic; apart from the training, which needs torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EstimationSettings:
    """How a critic is trained; `clip` is SMILE's."""

    critic: str = "separable"
    hidden: int = 256
    layers: int = 2
    updates: int = 2000
    batch_size: int = 128
    lr: float = 5e-4
    valid_fraction: float = 0.3
    clip: float = 5.0
    seed: int = 1
