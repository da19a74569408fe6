"""The objective functions against numbers worked out by hand."""

import math
from types import SimpleNamespace

import pytest
import scipy.stats
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

from fairseq_ami.objectives import (
    advantages,
    average_word,
    cosine_multiplier,
    entropies,
    fake_loss,
    label_smoothed_nll,
    leave_one_out,
    policy_loss,
    token_log_likelihood,
    token_log_probs,
)
from fairseq_ami.objectives.adversarial import FAKE_LOSSES, mean_embedding, words_of
from fairseq_ami.objectives.likelihood import places_of, put

BOS, PAD, EOS = 0, 1, 2
NOT_WORDS = (PAD, EOS, BOS)
LOG = math.log


# ------------------------------------------------------------------ policy gradient


def test_leave_one_out_takes_off_the_mean_of_the_others():
    """(1, 2, 6): 4, 3.5 and 1.5; each source apart."""
    got = leave_one_out(torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]))
    assert got.tolist() == [[1 - 4, 2 - 3.5, 6 - 1.5], [-1.5, -1.5, 3.0]]


def test_leave_one_out_needs_two_samples():
    """With one sample there are no others."""
    with pytest.raises(ValueError, match="at least two"):
        leave_one_out(torch.zeros(3, 1))


def test_advantages_subtract_then_scale():
    """A number as baseline, or the others' mean; no gradient."""
    rewards = torch.tensor([[1.0, 3.0]], requires_grad=True)
    assert advantages(rewards, 0.5).tolist() == [[0.5, 2.5]]
    assert advantages(rewards, None).tolist() == [[-2.0, 2.0]]
    assert advantages(rewards, 0.0).tolist() == [[1.0, 3.0]]
    assert not advantages(rewards, None).requires_grad


def test_policy_loss_is_the_mean_over_samples_with_a_minus():
    """-(2 * -1 + -1 * -3) / 2 = -0.5, and its gradient is -advantage / k."""
    log_prob = torch.tensor([[-1.0, -3.0]], requires_grad=True)
    advantage = torch.tensor([[2.0, -1.0]], requires_grad=True)
    loss = policy_loss(log_prob, advantage)
    assert loss.tolist() == [-0.5]
    loss.sum().backward()
    assert log_prob.grad.tolist() == [[-1.0, 0.5]] and advantage.grad is None


# ------------------------------------------------------------------ K

TABLE = torch.tensor([[9.0, 9.0], [9.0, 9.0], [9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])


def test_mean_embedding_leaves_out_what_is_no_word():
    """Begin, padding and end do not count; a sentence of none is the zero vector."""
    tokens = torch.tensor([[BOS, 3, 4, EOS, PAD], [4, EOS, PAD, PAD, PAD], [EOS, PAD, PAD, PAD, PAD]])
    assert mean_embedding(tokens, TABLE, NOT_WORDS).tolist() == [[0.5, 1.0], [0.0, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "real, fake, expected",
    [
        ([3, EOS], [3, EOS], 0.0),
        ([3, EOS], [3, 3, EOS], 0.0),  # lengths do not matter
        ([3, EOS], [4, EOS], 1.0),
        ([3, EOS], [5, EOS], 2.0),
        ([3, EOS], [3, 4, EOS], 1 - 0.5 / math.hypot(0.5, 1.0)),
        ([4, 3, EOS], [3, 4, EOS], 0.0),  # neither does the order
        ([3, EOS], [EOS], 1.0),  # nothing to compare
        ([3, EOS], [3, 5, EOS], 1.0),  # the words cancel out
    ],
)
def test_multiplier_by_hand(real, fake, expected):
    """1 - cos of the two means."""
    got = cosine_multiplier(torch.tensor([real]), torch.tensor([fake]), TABLE, NOT_WORDS)
    assert got.tolist() == pytest.approx([expected], abs=1e-6)


def test_multiplier_is_one_number_a_sentence():
    """[rows], not [rows, rows]: each sentence has the K that it has alone; padding changes nothing."""
    real = torch.tensor([[3, EOS, PAD], [4, EOS, PAD], [3, 4, EOS]])
    fake = torch.tensor([[3, EOS], [5, EOS], [4, EOS]])
    got = cosine_multiplier(real, fake, TABLE, NOT_WORDS)
    assert got.shape == (3,)
    alone = [cosine_multiplier(r[r.ne(PAD)][None], f[None], TABLE, NOT_WORDS).item() for r, f in zip(real, fake)]
    assert got.tolist() == pytest.approx(alone) and len(set(alone)) == 3


def test_multiplier_has_no_gradient_and_is_float32():
    """It weighs terms; it is no objective. Half precision would lose the digits of 1 - cos."""
    table = TABLE.half().requires_grad_()
    got = cosine_multiplier(torch.tensor([[3, 4]]), torch.tensor([[4, 4]]), table, NOT_WORDS)
    assert got.dtype == torch.float32 and not got.requires_grad


def test_average_word_by_hand():
    """Words as often as they stand in the text; here 3 once, 4 once, 5 twice."""
    assert average_word(TABLE, torch.tensor([0, 0, 0, 1, 1, 2])).tolist() == [-0.25, 0.5]


@pytest.mark.parametrize(
    "real, fake, expected",
    [
        ([3, EOS], [3, EOS], 0.0),
        ([3, EOS], [4, EOS], 1 - (0.5 * -0.5 + 0.0) / (0.5 * math.hypot(0.5, 2.0))),
        ([3, 4, EOS], [4, EOS], 1 - (0.0 * -0.5 + 1.0 * 2.0) / math.hypot(0.5, 2.0)),
        ([3, EOS], [EOS], 1.0),  # nothing to compare, wherever the centre is
    ],
)
def test_centred_multiplier_by_hand(real, fake, expected):
    """1 - cos of the two means less (0.5, 0)."""
    center = torch.tensor([0.5, 0.0])
    got = cosine_multiplier(torch.tensor([real]), torch.tensor([fake]), TABLE, NOT_WORDS, center)
    assert got.tolist() == pytest.approx([expected], abs=1e-6)


def test_centre_takes_away_what_all_sentences_share():
    """Sentences of many words are alike because all words share a direction; less the average word they are not."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(500, 16, generator=generator) + 1.0
    real, fake = (torch.randint(3, 500, (200, 40), generator=generator) for _ in range(2))
    counts = torch.ones(500).index_fill(0, torch.tensor(NOT_WORDS), 0.0)
    raw = cosine_multiplier(real, fake, table, NOT_WORDS)
    centred = cosine_multiplier(real, fake, table, NOT_WORDS, average_word(table, counts))
    assert raw.max() < 0.2 and centred.mean().item() == pytest.approx(1.0, abs=0.06)


def test_sign_of_the_weighted_reward():
    """K log Q is negative and largest, zero, at T' = T (with Q itself in the place of log Q it would be smallest)."""
    table = torch.randn(8, 4)
    real = torch.tensor([[4, 5, EOS]])
    log_q = -2.0
    others = torch.tensor([[3, 7, EOS], [6, 7, EOS], [4, 4, EOS], [5, EOS, PAD]])
    at_real = cosine_multiplier(real, real, table, NOT_WORDS) * log_q
    elsewhere = cosine_multiplier(real.expand(4, -1), others, table, NOT_WORDS) * log_q
    assert abs(at_real.item()) < 1e-6
    assert (elsewhere < at_real - 1e-3).all()
    assert (elsewhere / log_q * math.exp(log_q) > 0).all()


# ------------------------------------------------------------------ fake losses

Q = torch.tensor([[0.5, 0.9, 0.3], [0.01, 0.2, 0.7]])
MASK = torch.tensor([[True, True, False], [True, True, True]])


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("log-likelihood", [LOG(0.5) + LOG(0.9), LOG(0.01) + LOG(0.2) + LOG(0.7)]),
        ("unlikelihood", [-LOG(0.5) - LOG(0.1), -LOG(0.99) - LOG(0.8) - LOG(0.3)]),
        ("hinge", [2 + LOG(0.5) + LOG(0.9), 0 + 0 + 1 + LOG(0.7)]),
    ],
)
def test_fake_loss_by_hand(kind, expected):
    """Summed over the tokens of S, padding left out; hinge with margin 1."""
    assert fake_loss(Q.log(), MASK, kind, 1.0).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", FAKE_LOSSES)
def test_fake_loss_gradient_by_finite_differences(kind):
    """All three push log Q down, never up."""
    log_q = Q.log().requires_grad_()
    fake_loss(log_q, MASK, kind, 1.0).sum().backward()
    for place in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]:
        values = []
        for step in (1e-3, -1e-3):
            moved = log_q.detach().clone()
            moved[place] += step
            values.append(fake_loss(moved, MASK, kind, 1.0).double().sum().item())
        assert log_q.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-3, abs=0.01, rel=0.01)
    assert (log_q.grad >= 0).all() and log_q.grad[0, 2] == 0


def test_fake_loss_bounds():
    """As Q goes to 0 log-likelihood falls for ever, unlikelihood and hinge stop; at Q = 1 all are finite."""
    one = torch.ones(1, 1, dtype=torch.bool)

    def value(kind, log_q):
        return fake_loss(torch.tensor([[log_q]]), one, kind, 5.0).item()

    assert value("log-likelihood", -1000.0) == -1000.0
    assert value("unlikelihood", -1000.0) == value("hinge", -1000.0) == 0.0
    assert all(math.isfinite(value(kind, 0.0)) for kind in FAKE_LOSSES)
    assert value("hinge", 0.0) == 5.0


def test_fake_loss_refuses_an_unknown_kind():
    """The message names the choices."""
    with pytest.raises(ValueError, match="unlikelihood"):
        fake_loss(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), "other", 1.0)


# ------------------------------------------------------------------ likelihoods


def test_token_log_likelihood_by_hand():
    """log softmax at the target, 0 where the mask is False."""
    logits = torch.tensor([[0.0, 0.0, 0.0, LOG(2.0)], [0.0, 0.0, LOG(5.0), 0.0]])
    target = torch.tensor([[3, 2, PAD]])
    got = token_log_likelihood(logits, target, target.ne(PAD))
    assert got.tolist()[0] == pytest.approx([LOG(2 / 5), LOG(5 / 8), 0.0], rel=1e-6)


def test_token_log_probs_leaves_out_what_is_masked():
    """The rows of log_probs are those of the mask, in reading order; the rest is 0."""
    log_probs = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]).log()
    tokens, mask = torch.tensor([[1, 1], [0, 1]]), torch.tensor([[True, False], [True, True]])
    found = token_log_probs(log_probs, tokens, mask)
    assert found.flatten().tolist() == pytest.approx([LOG(0.75), 0.0, LOG(0.5), LOG(0.1)])


def test_entropies_are_those_of_scipy():
    """Also of distributions in which symbols are impossible."""
    probs = torch.tensor([[0.25, 0.75, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])
    assert entropies(probs.log()).tolist() == pytest.approx(scipy.stats.entropy(probs.double(), axis=1), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_is_that_of_fairseqs_criterion(task, smoothing):
    """Loss and NLL of the stock criterion on the same batch."""
    logits, target = torch.randn(2, 3, 6), torch.tensor([[3, 4, EOS], [5, EOS, PAD]])
    stock = LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=smoothing)
    model = SimpleNamespace(
        get_normalized_probs=lambda out, log_probs: torch.log_softmax(out[0], -1),
        get_targets=lambda sample, out: sample["target"],
    )
    want = stock.compute_loss(model, (logits,), {"target": target})
    got = label_smoothed_nll(torch.log_softmax(logits, -1), target, smoothing, PAD)
    assert [x.item() for x in got] == pytest.approx([x.item() for x in want])
    by_hand = -sum(torch.log_softmax(logits, -1)[i, j, target[i, j]].item() for i in range(2) for j in range(3 - i))
    assert got[1].item() == pytest.approx(by_hand, rel=1e-5)


def test_places_and_put_undo_each_other_also_in_the_gradient():
    """Against a mask as an index, and masked_scatter."""
    mask = torch.tensor([[True, False, True], [False, False, True]])
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    found = put(values, places_of(mask), mask.shape)
    assert torch.equal(found, torch.zeros(2, 3).masked_scatter(mask, values)) and torch.equal(found[mask], values)
    weight = torch.arange(6.0).view(2, 3)
    (found * weight).sum().backward()
    assert torch.equal(values.grad, weight[mask])


def test_words_are_all_symbols_but_those_to_skip():
    tokens = torch.tensor([[BOS, 3, PAD], [4, EOS, 3]])
    assert words_of(tokens, NOT_WORDS).tolist() == [[False, True, False], [True, False, True]]
    assert words_of(tokens, ()).all()
