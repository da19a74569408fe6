"""Hierarchical models and batches small enough to be checked by loops, in float64."""

from types import SimpleNamespace

import torch
from fairseq.data.language_pair_dataset import collate
from unit.tiny import dictionary

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.models.hred import HRED
from fairseq_ami.models.hred_config import HREDConfig

PAD, EOS, UNK = 1, 2, 3
SIZES = {
    "embed_dim": 4, "encoder_hidden_size": 3, "context_hidden_size": 5, "decoder_hidden_size": 6, "dropout": 0.0,
    "max_source_positions": 60, "max_target_positions": 60,
}  # fmt: skip


def make_task(words=4, separator=True):
    """One dictionary for both sides; the separator is its last symbol."""
    symbols = dictionary(words)
    if separator:
        symbols.add_symbol(SEPARATOR)
    return SimpleNamespace(source_dictionary=symbols, target_dictionary=symbols, cfg=SimpleNamespace(seed=3))


def make_model(task=None, kind=HRED, config=HREDConfig, seed=1, scale=2.0, **settings):
    """An untrained model in training mode, with weights so large that its distributions are far from uniform."""
    torch.manual_seed(seed)
    model = kind.build_model(config(**{**SIZES, **settings}), task or make_task())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return model.double().train()


def flat(task, utterances):
    """Ids of a history; word w0 is written as 0."""
    separator = task.source_dictionary.index(SEPARATOR)
    found = []
    for number, utterance in enumerate(utterances):
        found += [separator] * (number > 0) + [4 + word for word in utterance]
    return [*found, EOS]


def make_batch(task, pairs, ids=None):
    """fairseq's own collation of (utterances of a history, reply), in the order given."""
    samples = [
        {
            "id": index if ids is None else ids[index],
            "source": torch.tensor(flat(task, history)),
            "target": torch.tensor([4 + word for word in reply] + [EOS]),
        }
        for index, (history, reply) in enumerate(pairs)
    ]
    batch = collate(samples, PAD, EOS)
    back = batch["id"].argsort() if ids is None else torch.arange(len(samples))
    for part in (batch, batch["net_input"]):
        part.update({k: v[back] for k, v in part.items() if isinstance(v, torch.Tensor) and v.dim() > 0})
    return batch


def log_softmax(logits):
    return logits - logits.exp().sum(-1, keepdim=True).log()


@torch.no_grad()
def utterance_loop(gru, table, words):
    """Last states of both directions of one utterance, by torch's cell, without padding or packing."""
    states = []
    for suffix, order in (("", [*words]), ("_reverse", [*words][::-1])):
        cell = copied_cell(gru, f"_l0{suffix}")
        h = torch.zeros(1, gru.hidden_size).double()
        for word in order:
            h = cell(table[[word]], h)
        states.append(h)
    return torch.cat(states, 1)


def copied_cell(network, suffix):
    """torch's cell with the weights of one layer of a recurrent network."""
    kind = torch.nn.GRUCell if isinstance(network, torch.nn.GRU) else torch.nn.LSTMCell
    cell = kind(getattr(network, f"weight_ih{suffix}").size(1), network.hidden_size).double()
    for name, value in cell.named_parameters():
        value.data.copy_(getattr(network, f"{name}{suffix}"))
    return cell


@torch.no_grad()
def context_loop(model, utterances):
    """The context before and after each utterance (ids with the end symbol), one step at a time."""
    encoder = model.encoder
    cell, table = copied_cell(encoder.context.gru, "_l0"), encoder.embed_tokens.weight
    h = torch.zeros(1, encoder.context.gru.hidden_size).double()
    found = [h]
    for words in utterances:
        h = cell(utterance_loop(encoder.utterances.gru, table, words), h)
        found.append(h)
    return found


@torch.no_grad()
def decoder_steps(model, condition, words):
    """log p of one reply (ids with the end symbol) given each row of *condition* (n, size), word by word."""
    decoder = model.decoder
    cell = copied_cell(decoder.lstm, "_l0")
    state = torch.tanh(condition @ decoder.first_state.weight.T + decoder.first_state.bias)
    if isinstance(cell, torch.nn.LSTMCell):
        state = state.chunk(2, 1)
    total, previous = torch.zeros(len(condition)).double(), EOS
    for word in words:
        inputs = decoder.embed_tokens.weight[[previous]].expand(len(condition), -1)
        if decoder.every_word:
            inputs = torch.cat([inputs, condition], 1)
        state = cell(inputs, state)
        h = state[0] if isinstance(state, tuple) else state
        total += log_softmax(h @ decoder.output_projection.weight.T + decoder.output_projection.bias)[:, word]
        previous = word
    return total


def decoder_loop(model, condition, words):
    """The same for a single vector, as a number."""
    return float(decoder_steps(model, condition, words))
