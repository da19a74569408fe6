"""The estimators of mutual information by their names, as options choose them."""

from dataclasses import dataclass
from typing import Callable, Dict, Optional

from torch import Tensor

from fairseq_ami.objectives.mutual_information import (
    donsker_varadhan,
    info_nce,
    jensen_shannon,
    nwj,
    smile,
    tangent_bound,
    tuba,
)

ScoreFunction = Callable[..., Tensor]


@dataclass(frozen=True)
class Estimator:
    """Both functions take scores, shape (n, n), then what they need, then the kind of negatives; they return a scalar.

    Attributes:
        objective: what a critic ascends, and what critics are compared by.
        needs: what else the objective takes; None: nothing.
        estimate: what is reported, in nats; None: the objective is the estimate.
        estimate_needs: what else the estimate takes.
    """

    objective: ScoreFunction
    needs: Optional[str] = None
    estimate: Optional[ScoreFunction] = None
    estimate_needs: Optional[str] = None


def _info_nce(scores: Tensor, negatives: str = "all") -> Tensor:
    """All other z are candidates, whatever the kind of negatives: a smaller choice would be no bound."""
    return info_nce(scores)


def _js_objective(scores: Tensor, negatives: str = "all") -> Tensor:
    return jensen_shannon(scores, negatives)[0]


def _js_estimate(scores: Tensor, negatives: str = "all") -> Tensor:
    return jensen_shannon(scores, negatives)[1]


ESTIMATORS: Dict[str, Estimator] = {
    "dv": Estimator(donsker_varadhan),
    "mine": Estimator(donsker_varadhan),  # its updates follow `mine`: the same value, a corrected gradient
    "nwj": Estimator(nwj),
    "tuba": Estimator(tuba, needs="log_baseline"),
    "infonce": Estimator(_info_nce),
    "js": Estimator(_js_objective, estimate=_js_estimate),
    "smile": Estimator(_js_objective, estimate=smile, estimate_needs="clip"),
    "tangent": Estimator(tangent_bound, needs="log_xi"),
}
