"""The games that ``ami_minimax`` can play, as data: a new objective is one more row of :data:`GAMES`."""

from dataclasses import dataclass
from typing import Dict, FrozenSet, Optional, Tuple


@dataclass(frozen=True)
class Game:
    """Who plays, and for what.

    Attributes:
        players: the networks that learn.
        rewards: what the forward network and the noise are rewarded for, unless ``--reward`` says otherwise.
            Empty: it must say so. None: no T' is drawn in training.
        real_weight: weight of log Q(S|T) in the backward phase, unless ``--real-weight`` says otherwise.
        fake_weight: weight of the sampled pairs there, unless ``--adversarial-weight`` does.
        adversarial: the backward network learns to distrust sampled pairs (equation 13). Otherwise it
            maximises log Q(S|T') together with the forward network (equation 4).
        multiplier: K(T') of equation 11 weighs the samples, where ``--cosine-multiplier`` allows it.
        box: the backward network's weights are clipped (section 3.1). Only an adversarial game asks for it.
    """

    players: FrozenSet[str]
    rewards: Optional[Tuple[str, ...]] = None
    real_weight: float = 1.0
    fake_weight: float = 0.0
    adversarial: bool = False
    multiplier: bool = False
    box: bool = False

    @property
    def samples(self) -> bool:
        """Whether T' is drawn in training."""
        return self.rewards is not None

    @property
    def noise(self) -> bool:
        """Whether latent noise is injected into the encoder."""
        return "noise" in self.players


GAMES: Dict[str, Game] = {
    "ami": Game(
        frozenset({"noise", "forward", "backward"}), ("log-q",), 1.0, 0.1, adversarial=True, multiplier=True, box=True
    ),
    "mmi": Game(frozenset({"forward", "backward"}), ("log-q",), 0.0, 1.0),
    "mmi-fixed": Game(frozenset({"forward"}), ("log-q",)),
    "reward": Game(frozenset({"forward"}), ()),
    "mle": Game(frozenset({"forward", "backward"})),
}
