"""VIM bounds and gaps of a trained pair, against stock networks, a sentence at a time."""

import math
from dataclasses import replace

import pytest
import torch
from unit.criterions.test_ami_minimax import PAIRS, token_log_q, words
from unit.tiny import make_batch, make_pair

from fairseq_ami.generation.rollout import roll_out
from fairseq_ami.random_streams import VALIDATION_UPDATE
from fairseq_ami.tools.information.bounds import measure, sampler_settings, table


def samples_one_by_one(model, task, seed):
    """T' of every sentence, each drawn in a batch of its own."""
    settings = replace(sampler_settings(task.target_dictionary, seed))
    drawn = []
    for index, pair in enumerate(PAIRS):
        batch = make_batch(task, [pair], ids=[index])
        rollout = roll_out(model, batch, settings, VALIDATION_UPDATE, noise=False, score=False)
        drawn.append(words(rollout.samples.tokens[0]))
    return drawn


def sides():
    """Source and target ids of every pair, with their end symbols."""
    return [([4 + w for w in s] + [2], [4 + w for w in t] + [2]) for s, t in PAIRS]


def total_log_q(model, drawn):
    return sum(sum(token_log_q(model.backward_model, t, s)) for t, (s, _) in zip(drawn, sides()))


def test_every_figure_by_hand(task):
    """Own, common and frozen columns use the right network on the right samples."""
    pair, common, frozen = (make_pair(task, seed=seed).eval() for seed in (1, 2, 3))
    found = measure(pair, [make_batch(task, PAIRS)], task.target_dictionary, 5, common, frozen)
    own, other = samples_one_by_one(pair, task, 5), samples_one_by_one(frozen, task, 6)
    tokens = sum(len(s) for s, _ in sides())
    real = sum(sum(token_log_q(pair.backward_model, t, s)) for s, t in sides())
    forward = sum(sum(token_log_q(pair.forward_model, s, t)) for s, t in sides())
    assert found.bound == pytest.approx(total_log_q(pair, own) / len(PAIRS), rel=1e-5)
    assert found.bound_token == pytest.approx(total_log_q(pair, own) / tokens, rel=1e-5)
    assert found.bound_common == pytest.approx(total_log_q(common, own) / len(PAIRS), rel=1e-5)
    assert found.gap == pytest.approx((real - total_log_q(pair, own)) / tokens, rel=1e-4)
    assert found.gap_frozen == pytest.approx((real - total_log_q(pair, other)) / tokens, rel=1e-4)
    assert found.nll_real == pytest.approx(-real / tokens, rel=1e-5)
    assert found.forward_nll == pytest.approx(-forward / sum(len(t) for _, t in sides()), rel=1e-5)


def test_figures_do_not_depend_on_the_batches(task):
    """Three batches of one sentence give what one batch of three gives."""
    pair = make_pair(task).eval()
    whole = measure(pair, [make_batch(task, PAIRS)], task.target_dictionary)
    parts = measure(pair, [make_batch(task, [p], ids=[i]) for i, p in enumerate(PAIRS)], task.target_dictionary)
    torch.testing.assert_close(whole.bound, parts.bound, rtol=1e-5, atol=1e-6)
    assert whole.bound_common is None and whole.gap_frozen is None


@pytest.mark.parametrize("other", ["common", "frozen"])
def test_samples_fit_all_networks_that_read_them(task, other):
    """Learned positions, 20 of the pair and 3 of the network that reads its samples, or the other way round."""
    long = make_pair(task, encoder_learned_pos=True).eval()
    settings = long.args_of_test.network_settings
    settings["backward"]["max_source_positions"] = 3
    short = make_pair(task, encoder_learned_pos=True, network_settings=settings).eval()
    pair, role = (long, {"common": short}) if other == "common" else (short, {"frozen": long})
    lines = [([0, 2, 1], [0]), ([1], [1])] * 40
    assert max(len(tokens) for tokens in samples_one_by_one(long, task, 5)) > 3
    found = measure(pair, [make_batch(task, lines)], task.target_dictionary, 5, **role)
    assert math.isfinite(found.bound_common if other == "common" else found.gap_frozen)


def test_table_shows_what_was_not_measured_as_a_dash(task):
    """One row a system, with a dash for the columns that need another network."""
    rows = table({"mle": measure(make_pair(task).eval(), [make_batch(task, PAIRS)], task.target_dictionary)})
    assert rows[0][:3] == ["system", "bound", "bound_token"]
    assert rows[1][0] == "mle" and rows[1][rows[0].index("bound_common")] == "-"
