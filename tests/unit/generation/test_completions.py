"""Completions of prefixes against the exact probabilities of every reply that begins with them."""

import math
from collections import Counter

import pytest
import torch
from unit.exact import EVERY_SAMPLE, PAD
from unit.tiny_gan import exact_games, make_criterion, make_gan, make_histories, make_task

from fairseq_ami.generation import completions
from fairseq_ami.generation.completions import complete
from fairseq_ami.generation.rollout import roll_out
from fairseq_ami.generation.sampler import Prefixes, Samples, sample
from fairseq_ami.random_streams import stream_keys

COUNT = 1500


@pytest.fixture
def task():
    return make_task()


def samples_of(replies):
    tokens = torch.tensor([one + [PAD] * (3 - len(one)) for one in replies])
    actions = torch.stack([torch.arange(3) < min(len(one), 2) for one in replies])
    return Samples(tokens, actions)


@pytest.mark.parametrize("arch", ["ami_transformer", "ami_lstm", "ami_hred"])
def test_completions_follow_the_exact_probabilities(task, arch):
    """Within four standard errors, for each reply that begins with the prefix; nothing else comes."""
    model, replies = make_gan(task, arch), [[4, 5, 2], [3, 2], [5, 2], [2]]
    settings, batch = make_criterion(task).sampling, make_histories(task)
    found = {}
    for some in complete(model, batch, samples_of(replies), settings, COUNT, 0):
        for row, kept, tokens in zip(some.sample.tolist(), some.kept.tolist(), some.tokens.tolist()):
            found.setdefault((row, kept), Counter())[tuple(t for t in tokens if t != PAD)] += 1
    assert set(found) == {(0, 1), (1, 1), (2, 1)}  # a last choice has nothing to complete
    games = [game for game in exact_games(model) for _ in range(2)]
    for (row, kept), counts in found.items():
        prefix = replies[row][:kept]
        begin = [y for y in EVERY_SAMPLE if y[:kept] == prefix]
        with torch.no_grad():
            log_p = torch.stack([games[row].log_p(y, games[row].encode()[0]) for y in begin])
        assert set(counts) <= {tuple(y) for y in begin} and sum(counts.values()) == COUNT
        for y, p in zip(begin, torch.softmax(log_p, 0).tolist()):
            assert counts[tuple(y)] / COUNT == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / COUNT) + 1e-9)


def drawn(model, batch, samples, settings):
    """(sentence, sample, kept, tokens) of all completions, in order."""
    found = []
    for some in complete(model, batch, samples, settings, 4, 9):
        for row, kept, tokens in zip(some.sample.tolist(), some.kept.tolist(), some.tokens.tolist()):
            k = settings.num_samples
            found.append((int(batch["id"][row // k]), row % k, kept, tuple(t for t in tokens if t != PAD)))
    return sorted(found)


def test_neither_the_batch_nor_the_chunk_matters(task, monkeypatch):
    model, settings = make_gan(task), make_criterion(task, sample_max_len_b=6).sampling
    batch = make_histories(task, 3)
    samples = roll_out(model, batch, settings, 9, False, score=False).samples
    whole = drawn(model, batch, samples, settings)
    assert len(whole) > 20 and len({tokens for *_, tokens in whole}) > 5
    monkeypatch.setattr(completions, "ROWS", 3)
    assert drawn(model, batch, samples, settings) == whole
    order = torch.arange(len(batch["id"])).flip(0)[:2]
    some = {
        "id": batch["id"][order],
        "net_input": {name: value[order] for name, value in batch["net_input"].items()},
    }
    rows = (order.unsqueeze(1) * 2 + torch.arange(2)).flatten()
    width = int(samples.tokens[rows].ne(PAD).sum(1).max())
    part = Samples(samples.tokens[rows, :width], samples.actions[rows, :width])
    ids = set(some["id"].tolist())
    assert drawn(model, some, part, settings) == [each for each in whole if each[0] in ids]


def test_a_prefix_is_kept_and_is_no_choice(task):
    """Rows with prefixes of different lengths, and none; what follows is drawn as without a prefix of that text."""
    model, limits = make_gan(task, "ami_lstm"), torch.tensor([6, 6, 3, 4])
    settings, network = make_criterion(task).sampling, model.forward_model
    source = torch.tensor([[4, 5, 2]] * 4)
    out = network.encoder(source, src_lengths=torch.tensor([3] * 4))
    keys = stream_keys(1, 2, 3, torch.arange(4), 1)
    prefix = torch.tensor([[4, 4, 5], [5, PAD, PAD], [4, 5, PAD], [PAD, PAD, PAD]])
    reorder = network.encoder.reorder_encoder_out
    found = sample(
        network.decoder, out, reorder, settings.policy, keys, limits, PAD, 2, Prefixes(prefix, torch.arange(4))
    )
    plain = sample(network.decoder, out, reorder, settings.policy, keys, limits, PAD, 2)
    for row, kept in enumerate(prefix.ne(PAD).sum(1).tolist()):
        tokens = [token for token in found.tokens[row].tolist() if token != PAD]
        assert tokens[:kept] == prefix[row, :kept].tolist() and tokens[-1] == 2 and len(tokens) <= limits[row]
        assert not found.actions[row, :kept].any() and len(tokens) > kept
        forced = int(len(tokens) == limits[row] and not found.actions[row, len(tokens) - 1])
        assert found.actions[row].sum() == len(tokens) - kept - forced
    assert found.tokens[3].tolist()[: plain.tokens.size(1)] == plain.tokens[3].tolist()[: found.tokens.size(1)]


@pytest.mark.parametrize("arch", ["ami_lstm", "ami_transformer", "ami_hred"])
def test_a_row_that_joins_draws_what_it_draws_when_it_reads_its_prefix_itself(task, arch):
    """Also one whose prefix is empty, and one that has room for the end symbol alone."""
    model, limits = make_gan(task, arch), torch.tensor([6, 6, 6, 6, 3, 6, 4])
    settings, network = make_criterion(task).sampling, model.forward_model
    out = network.encoder(torch.tensor([[4, 5, 2], [5, 5, 2]]), src_lengths=torch.tensor([3, 3]))
    source = torch.tensor([0, 1, 0, 0, 1, 0, 1])
    keys = stream_keys(1, 2, 3, torch.arange(7), 1)
    prefix = torch.tensor([[4, 4, 5], [5, 4, PAD], [4, PAD, PAD], [4, 4, PAD], [5, 4, PAD], [PAD] * 3, [5, PAD, PAD]])
    leader = torch.tensor([0, 1, 0, 0, 1, 0, 1])

    def drawn(leader):
        own = leader.eq(torch.arange(7))
        some = network.encoder.reorder_encoder_out(out, source[own])
        reorder = network.encoder.reorder_encoder_out
        return sample(network.decoder, some, reorder, settings.policy, keys, limits, PAD, 2, Prefixes(prefix, leader))

    found, alone = drawn(leader), drawn(torch.arange(7))
    assert found.tokens.tolist() == alone.tokens.tolist() and found.actions.equal(alone.actions)
    assert found.tokens[4].tolist()[:3] == [5, 4, 2] and not found.actions[4].any()


def test_a_row_may_join_in_the_step_in_which_another_one_ends(task):
    """As many rows as before, but of other sources: stock attention does not follow when their number stays."""
    model, limits = make_gan(task), torch.tensor([9, 2, 9])
    settings, network = make_criterion(task).sampling, model.forward_model
    out = network.encoder(torch.tensor([[4, 5, 2], [5, 5, 2]]), src_lengths=torch.tensor([3, 3]))
    reorder, prefix = network.encoder.reorder_encoder_out, torch.tensor([[4, 4], [PAD, PAD], [4, PAD]])
    keys = stream_keys(1, 2, 3, torch.arange(300), 1).view(100, 3)

    def drawn(leader, source, keys):
        prefixes = Prefixes(prefix, torch.tensor(leader))
        return sample(
            network.decoder,
            reorder(out, torch.tensor(source)),
            reorder,
            settings.policy,
            keys,
            limits,
            PAD,
            2,
            prefixes,
        )

    for some in keys:
        assert drawn([0, 1, 0], [0, 1], some).tokens.equal(drawn([0, 1, 2], [0, 1, 0], some).tokens)
