"""Samples of a pair: how long they may be, who writes them, and what they score in half precision."""

import math
from dataclasses import replace

import pytest
import torch
from unit.tiny import make_batch, make_criterion, make_pair, make_task

from fairseq_ami.criterions.ami_minimax import Step
from fairseq_ami.data import reverse_sample
from fairseq_ami.data.dialogue import reverse_dialogue
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import backward_log_likelihood, roll_out

BOS, PAD, EOS = 0, 1, 2
PAIRS = [([0, 2, 1], [0, 1]), ([1], [1]), ([2, 2], [0])]
POSITIONS = {
    "learned": ("ami_transformer", {"encoder_learned_pos": True}),
    "sinusoidal": ("ami_transformer", {}),
    "LSTM": ("ami_lstm", {}),
}


def pair_that_reads(task, positions, name, limit, **settings):
    """A pair, one of whose networks reads at most *limit* symbols; the other weights are those of the pair without."""
    arch, flags = POSITIONS[positions]
    whole = make_pair(task, arch, **flags, **settings)
    stored = whole.args_of_test.network_settings
    stored[name]["max_source_positions"] = limit
    short = make_pair(task, arch, network_settings=stored, **flags, **settings)
    weights = {key: value for key, value in whole.state_dict().items() if value.shape == short.state_dict()[key].shape}
    short.load_state_dict(weights, strict=False)
    return short, whole


def rows(drawn):
    return [row[row.ne(PAD)].tolist() for row in drawn.samples.tokens]


# ------------------------------------------------------------------ length


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("writer, reader", [("forward", "backward"), ("backward", "forward")])
def test_samples_fit_what_the_other_network_reads(task, positions, writer, reader):
    """Those that are short enough stay as they are, the others end at the limit, where nobody chose the end."""
    short, whole = pair_that_reads(task, positions, reader, 4)
    batch = make_batch(task, PAIRS * 30)
    read = batch if writer == "forward" else reverse_sample(batch, PAD, EOS)
    settings = make_criterion(task, sample_max_len_b=9).sampling
    found, free = (
        roll_out(model, read, settings, 0, False, score=False, network=getattr(model, f"{writer}_model"))
        for model in (short, whole)
    )
    assert 9 == max(map(len, rows(free))) and 4 == max(map(len, rows(found)))
    assert rows(found) == [row if len(row) <= 4 else [*row[:3], EOS] for row in rows(free)]
    assert found.samples.actions.sum(1).tolist() == [min(len(row), 3) for row in rows(free)]


@pytest.mark.parametrize("phase", ["forward", "noise", "backward", None])
@pytest.mark.parametrize("dialogue", [False, True])
def test_every_phase_runs_with_a_network_of_few_positions(phase, dialogue):
    """Learned positions: an index beyond the last one would end the run. The context of a dialogue gives way."""
    task = make_task(3, 3)
    model, _ = pair_that_reads(task, "learned", "backward", 4, infomax_dim=3)
    batch = make_batch(task, PAIRS * 3)
    if dialogue:
        batch["reverse"] = reverse_dialogue(batch, 5, PAD, EOS, (4, 20))
    criterion = make_criterion(task, sample_max_len_b=9, infomax_weight=0.2)
    step = None if phase is None else Step(phase, 1)
    loss, _, log = criterion(model, batch, step)
    assert loss.isfinite() and log["sample_cut"] > 0


def test_a_sample_is_read_whole_after_its_context(task):
    """The longest T' that the limit allows leaves no place for the context, and loses no word itself."""
    model, _ = pair_that_reads(task, "learned", "backward", 4)
    batch = make_batch(task, [([0, 1, 2], [0])] * 20)
    reverse = reverse_dialogue(batch, 5, PAD, EOS, (4, 20))  # w1 separates
    settings = make_criterion(task, sample_max_len_b=9).sampling
    tokens = roll_out(model, batch, settings, 0, False, score=False).samples.tokens
    found = backward_log_likelihood(model, tokens, reverse, PAD)
    longest = [row for row in range(len(tokens)) if tokens[row].ne(PAD).all()]
    assert longest and tokens.size(1) == 4 and reverse["context"].size(1) == 2
    previous, last = torch.tensor([[EOS, 6]]), [6, EOS]
    for row in longest:
        logits = model.backward_model(tokens[row : row + 1], torch.tensor([4]), previous)[0][0]
        assert torch.allclose(found[row], logits.log_softmax(-1)[[0, 1], last], atol=1e-5)


def test_a_limit_of_the_settings(task, pair):
    """What else reads the samples bounds them as well."""
    settings = make_criterion(task, sample_max_len_b=9).sampling
    drawn = [
        roll_out(pair, make_batch(task, PAIRS * 30), replace(settings, longest=longest), 0, False, score=False)
        for longest in (None, 3, 50)
    ]
    assert [drawn.samples.tokens.size(1) for drawn in drawn] == [9, 3, 9]


# ------------------------------------------------------------------ who writes


@pytest.mark.parametrize("arch", ["ami_transformer", "ami_lstm", "ami_hred"])
def test_the_backward_network_writes_as_the_forward_one_of_the_exchanged_pair(task, arch):
    """Words and log P of samples of S."""
    model, other_way = make_pair(task, arch), make_pair(make_task(2, 3), arch)
    other_way.forward_model.load_state_dict(model.backward_model.state_dict())
    settings = make_criterion(task, sample_max_len_b=6).sampling
    batch = make_batch(make_task(2, 3), [(target, source) for source, target in PAIRS])
    found = roll_out(model, batch, settings, 2, False, score=True, network=model.backward_model)
    wanted = roll_out(other_way, batch, settings, 2, False, score=True)
    assert torch.equal(found.samples.tokens, wanted.samples.tokens) and found.samples.tokens.gt(5).any()
    assert torch.equal(found.log_prob, wanted.log_prob)


# ------------------------------------------------------------------ half precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cut", [{"sample_topk": 5}, {"sample_topp": 0.5}], ids=str)
def test_every_sample_has_a_probability_in_half_precision(dtype, cut):
    """Two passes round differently, and move words across the edge of what is kept: a drawn one stays inside."""
    task = make_task(target_words=100)
    model = make_pair(task).to(dtype)
    batch = make_batch(task, [([0, 2, 1], [0]), ([1], [0, 1])] * 250)
    settings = make_criterion(task, sample_max_len_b=8, **cut).sampling
    scored = []

    class Spy(Policy):
        def log_probs(self, logits, drawn=None):
            scored.append((logits.float(), drawn))
            return super().log_probs(logits, drawn)

    spy = Spy(settings.policy.banned, topk=settings.policy.topk, topp=settings.policy.topp)
    rollout = roll_out(model, batch, replace(settings, policy=spy), 0, False, score=True)
    logits, drawn = scored[-1]
    logits[:, [PAD, BOS]] = float("-inf")
    whole, own = logits.logsumexp(-1), logits.gather(1, drawn.unsqueeze(1)).squeeze(1)
    if spy.topk:
        edge = logits.sort(descending=True).values[:, spy.topk - 1]
        outside = own < edge
        kept = logits.masked_fill(logits < edge.unsqueeze(1), float("-inf")).logsumexp(-1)
        want = own - torch.where(outside, torch.logaddexp(kept, own), kept)
        totals = torch.zeros(rollout.samples.tokens.shape).masked_scatter(rollout.samples.actions, want).sum(1)
        assert torch.allclose(rollout.log_prob.flatten(), totals, atol=1e-4)
    else:  # what is kept has a probability between p and 1
        outside = settings.policy.log_probs(logits).gather(1, drawn.unsqueeze(1)).isinf()
        least = torch.zeros(rollout.samples.tokens.shape).masked_scatter(rollout.samples.actions, own - whole).sum(1)
        most = least - rollout.samples.actions.sum(1) * math.log(spy.topp)
        found = rollout.log_prob.flatten()
        assert ((least - 1e-4 <= found) & (found <= most + 1e-4)).all()
    assert outside.any()  # else nothing was tested
