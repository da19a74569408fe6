"""The hierarchical discriminator against a loop over torch's own cells, and its independence of the batch."""

import pytest
import torch
from fairseq.data.data_utils import collate_tokens
from unit.tiny_gan import make_discriminator, make_task
from unit.tiny_hred import copied_cell, flat

from fairseq_ami.errors import AMIError
from fairseq_ami.models.dialog_discriminator import DialogDiscriminator, DiscriminatorConfig

PAD, EOS = 1, 2
DIALOGUES = [([[0, 1], [1], [2, 0, 1]], [1, 2]), ([[2]], [0, 1, 1, 2]), ([[1, 1], []], [])]


@pytest.fixture
def task():
    return make_task(3, separator=True)


@pytest.fixture
def judge(task):
    return make_discriminator(task).double()


def read_loop(judge, utterances):
    """Context after utterances of word ids with their end symbols, one word at a time."""
    words, context = copied_cell(judge.words, "_l0"), copied_cell(judge.utterances.gru, "_l0")
    state = torch.zeros(1, 5).double()
    for utterance in utterances:
        h = torch.zeros(1, 5).double()
        for word in utterance:
            h = words(judge.embed_tokens.weight[[word]], h)
        state = context(h, state)
    return state


def logit_loop(judge, history, reply):
    state = read_loop(judge, [*history, reply])
    return float(state @ judge.out.weight.T + judge.out.bias)


def ids(words):
    return [4 + word for word in words] + [EOS]


def batch_of(task, dialogues, left_pad=True):
    histories = collate_tokens([torch.tensor(flat(task, h)) for h, _ in dialogues], PAD, left_pad=left_pad)
    return histories, collate_tokens([torch.tensor(ids(reply)) for _, reply in dialogues], PAD)


@pytest.mark.parametrize("left_pad", [True, False])
def test_it_is_the_loop(task, judge, left_pad):
    histories, replies = batch_of(task, DIALOGUES, left_pad)
    found = judge.judge(judge.read(histories), replies).tolist()
    want = [logit_loop(judge, [ids(u) for u in history], ids(reply)) for history, reply in DIALOGUES]
    assert found == pytest.approx(want, abs=1e-6)
    assert max(found) - min(found) > 0.1


def test_prefixes_are_judged_as_replies_that_end_there(task, judge):
    histories, replies = batch_of(task, DIALOGUES)
    found = judge.judge_prefixes(judge.read(histories), replies)
    for row, (history, reply) in enumerate(DIALOGUES):
        words = ids(reply)
        want = [logit_loop(judge, [ids(u) for u in history], words[: t + 1]) for t in range(len(words))]
        assert found[row, : len(words)].tolist() == pytest.approx(want, abs=1e-6)


def test_the_history_matters(task, judge):
    histories, replies = batch_of(task, [([[0], [1]], [2]), ([[1], [0]], [2])])
    one, two = judge.judge(judge.read(histories), replies).tolist()
    assert abs(one - two) > 1e-3


def test_sizes_and_use(task):
    for settings, message in (
        ({"discriminator_embed_dim": 0}, "--discriminator-embed-dim must be at least 1"),
        ({"discriminator_dropout": 1.0}, r"--discriminator-dropout must be in \[0, 1\)"),
    ):
        with pytest.raises(AMIError, match=message):
            DialogDiscriminator.build_model(DiscriminatorConfig(**settings), task)
    with pytest.raises(AMIError, match="a part of --arch dialog_gan"):
        DialogDiscriminator.build_model(DiscriminatorConfig(), task)(src_tokens=None)
