"""What the criterions log."""

import math

import pytest
from fairseq.logging import metrics

from fairseq_ami.criterions.ami_report import log_metrics
from fairseq_ami.criterions.vae_report import log_vae_metrics


def perplexity(log, **sums):
    with metrics.aggregate(new_root=True) as found:
        log([{"ntokens": 10, **sums}])
    return found.get_smoothed_values()["ppl"]


@pytest.mark.parametrize("nats, expected", [(10 * math.log(8), 8.0), (7000.0, math.exp(700)), (8000.0, math.inf)])
def test_perplexity_of_a_network_that_diverged(nats, expected):
    """exp(800) is no float: the run goes on, so that its log says what happened."""
    found = perplexity(log_vae_metrics, nsentences=2, loss=nats, reconstruction=nats, kl=0.0)
    assert found == pytest.approx(expected)
    assert perplexity(log_metrics, sample_size=10, valid_nll=nats) == pytest.approx(expected)
