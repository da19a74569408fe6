"""Histories cut by hand, and the encoders against loops of torch's own cells."""

import random

import pytest
import torch
from unit.tiny_hred import copied_cell, utterance_loop

from fairseq_ami.modules.hierarchy import ContextEncoder, UtteranceEncoder, cut_utterances, initialise_as_park

PAD, EOS, SEP = 1, 2, 9


def cut(*rows):
    found = cut_utterances(torch.tensor(rows), SEP, PAD, EOS)
    return [[word for word in row if word != PAD] for row in found.tokens.tolist()], found


def test_by_hand():
    """Padding on either side, an empty utterance in the middle and at the end, a history without a separator."""
    utterances, found = cut(
        [PAD, PAD, 4, SEP, 5, 6, SEP, SEP, EOS],
        [4, 5, 5, 6, EOS, PAD, PAD, PAD, PAD],
        [PAD, PAD, PAD, PAD, PAD, SEP, 7, SEP, EOS],
    )
    assert utterances == [[4, 2], [5, 6, 2], [2], [2], [4, 5, 5, 6, 2], [2], [7, 2], [2]]
    assert found.owner.tolist() == [0, 0, 0, 0, 1, 2, 2, 2]
    assert found.place.tolist() == [0, 1, 2, 3, 0, 0, 1, 2]
    assert found.counts.tolist() == [4, 1, 3]


def test_any_history_against_splitting_a_list():
    rng = random.Random(1)
    for _ in range(50):
        rows = []
        for _ in range(rng.randint(1, 4)):
            words = [rng.choice([4, 5, 6, SEP, SEP]) for _ in range(rng.randint(0, 8))] + [EOS] * rng.randint(0, 1)
            left = rng.randint(0, 9 - len(words))
            rows.append([PAD] * left + words + [PAD] * (9 - left - len(words)))
        expected = []
        for row in rows:
            words = [word for word in row if word != PAD]
            while SEP in words:
                place = words.index(SEP)
                expected.append([*words[:place], EOS])
                words = words[place + 1 :]
            expected += [words] if words else []
        assert cut(*rows)[0] == expected


def test_without_a_separator_in_the_dictionary():
    found = cut_utterances(torch.tensor([[4, SEP, 5, EOS]]), None, PAD, EOS)
    assert found.tokens.tolist() == [[4, SEP, 5, EOS]] and found.counts.tolist() == [1]


def test_utterances_against_a_loop():
    torch.manual_seed(1)
    encoder, table = UtteranceEncoder(4, 3, 1, 0.0).double(), torch.randn(8, 4).double()
    tokens = torch.tensor([[4, 2, 1, 1], [5, 6, 4, 2], [2, 1, 1, 1]])
    found = encoder(table[tokens], tokens.ne(PAD).sum(1))
    for row, words in enumerate(([4, 2], [5, 6, 4, 2], [2])):
        expected = utterance_loop(encoder.gru, table, words)
        torch.testing.assert_close(found[row : row + 1], expected)


@pytest.mark.parametrize("given", [False, True])
def test_context_against_a_loop(given):
    torch.manual_seed(1)
    encoder = ContextEncoder(3, 4, 1, 0.0).double()
    inputs, first = torch.randn(2, 3, 3).double(), torch.randn(1, 2, 4).double()
    found = encoder(inputs, first if given else None)
    cell, h = copied_cell(encoder.gru, "_l0"), first[0] if given else torch.zeros(2, 4).double()
    torch.testing.assert_close(found[:, 0], h)
    for step in range(3):
        h = cell(inputs[:, step], h)
        torch.testing.assert_close(found[:, step + 1], h)


def test_initial_weights_of_park():
    """With recurrent weights that are orthogonal and an open update gate the state hardly changes."""
    gru, lstm = torch.nn.GRU(3, 5, 2), torch.nn.LSTM(3, 5)
    initialise_as_park(torch.nn.ModuleList([gru, lstm]))
    for weight in (gru.weight_hh_l0, gru.weight_hh_l1, lstm.weight_hh_l0):
        for gate in weight.split(5):
            torch.testing.assert_close(gate @ gate.T, torch.eye(5))
    with torch.no_grad():
        for weight in (gru.weight_ih_l0, gru.weight_hh_l0, gru.weight_ih_l1, gru.weight_hh_l1):
            weight.zero_()
        for name in ("bias_ih_l0", "bias_hh_l0"):
            getattr(gru, name)[:5] = getattr(gru, name)[10:] = 0  # all that is left is the bias of the update gate
        first = torch.randn(2, 1, 5)
        _, states = gru(torch.zeros(1, 1, 3), first)
    torch.testing.assert_close(states[0], torch.sigmoid(torch.tensor(2.0)) * first[0])
