"""HRED against utterance-by-utterance loops, other batches, a plain seq2seq and a language model."""

import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator
from unit.tiny_hred import PAD, SIZES, context_loop, decoder_loop, flat, make_batch, make_model, make_task

from fairseq_ami.errors import AMIError
from fairseq_ami.models.hred import HRED
from fairseq_ami.models.hred_config import HREDConfig

PAIRS = [
    ([[0, 1], [2], [3, 3, 1]], [1, 2]),
    ([[2]], [0]),
    ([[0], [], [1, 2]], [3, 0, 2, 1]),  # a silence in the middle
    ([[], [1]], []),  # at the start, and an empty reply
]
KINDS = [("gru", "first"), ("gru", "all"), ("lstm", "first"), ("lstm", "all")]


def reply_log_probs(model, batch):
    """log p of each reply by fairseq's own way: logits, normalised, picked."""
    out = model(**batch["net_input"])
    log_probs = model.get_normalized_probs(out, log_probs=True)
    picked = log_probs.gather(2, batch["target"].unsqueeze(2)).squeeze(2)
    return (picked * batch["target"].ne(PAD)).sum(1)


def ids(words):
    return [*(4 + word for word in words), 2]


@pytest.mark.parametrize("cell, condition", KINDS)
def test_likelihood_is_the_loop(cell, condition):
    """Words, utterances and reply one after the other with torch's cells, without padding or packing."""
    task = make_task()
    model = make_model(task, decoder_cell=cell, condition=condition)
    found = reply_log_probs(model, make_batch(task, PAIRS))
    for row, (history, reply) in enumerate(PAIRS):
        context = context_loop(model, [ids(words) for words in history])[-1]
        assert found[row].item() == pytest.approx(decoder_loop(model, context, ids(reply)), abs=1e-5)


def test_row_alone_and_any_padding():
    task = make_task()
    model = make_model(task)
    batch = make_batch(task, PAIRS)
    together = reply_log_probs(model, batch)
    for row, pair in enumerate(PAIRS):
        torch.testing.assert_close(reply_log_probs(model, make_batch(task, [pair]))[0], together[row])
    order = torch.tensor([2, 0, 3, 1])
    shuffled = make_batch(task, [PAIRS[row] for row in order], ids=[0, 1, 2, 3])
    by_id = shuffled["id"].argsort()
    torch.testing.assert_close(reply_log_probs(model, shuffled)[by_id], together[order])
    right = torch.full_like(batch["net_input"]["src_tokens"], PAD)
    for row, (history, _) in enumerate(PAIRS):
        words = flat(task, history)
        right[row, : len(words)] = torch.tensor(words)
    batch["net_input"]["src_tokens"] = right
    torch.testing.assert_close(reply_log_probs(model, batch), together)


def test_without_a_separator_it_is_a_plain_seq2seq():
    """One utterance: the encoder's last states, one step of the context, the decoder. Nothing reads the dictionary."""
    plain = make_task(5, separator=False)  # w4 has the number of the separator
    model = make_model(plain)
    words = torch.tensor([[4, 8, 5, 2]])
    context = context_loop(model, [[4, 8, 5, 2]])[-1]
    torch.testing.assert_close(model.encoder(words)["z"], context)
    split = make_model(make_task(4))
    torch.testing.assert_close(split.encoder(words)["z"], context_loop(split, [[4, 2], [5, 2]])[-1])


def test_without_context_weights_it_is_a_language_model():
    """The history does not matter, and the likelihood is that of the decoder alone from a zero state."""
    task = make_task()
    model = make_model(task)
    with torch.no_grad():
        model.decoder.first_state.weight.zero_()
        model.decoder.first_state.bias.zero_()
    found = reply_log_probs(model, make_batch(task, PAIRS))
    nothing = torch.zeros(1, SIZES["context_hidden_size"]).double()
    expected = [decoder_loop(model, nothing, ids(reply)) for _, reply in PAIRS]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_condition_reads_every_word_of_the_history_and_none_of_the_reply():
    task = make_task()
    model = make_model(task, separate_embeddings=True)
    batch = make_batch(task, PAIRS[:1])
    seen = []
    model.encoder.embed_tokens.register_forward_hook(lambda m, i, out: seen.append(out) or out.retain_grad())
    encoder_out = model.encoder(batch["net_input"]["src_tokens"])
    encoder_out["z"].sum().backward()
    size = seen[0].grad.abs().sum(2)
    assert ((size > 0) == torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]).bool()).all()
    assert model.decoder.embed_tokens.weight.grad is None


@pytest.mark.parametrize("cell, condition", KINDS)
def test_incremental_decoding_is_the_full_pass(cell, condition):
    task = make_task()
    model = make_model(task, decoder_cell=cell, condition=condition, decoder_layers=2).eval()
    batch = make_batch(task, PAIRS)
    encoder_out = model.encoder(batch["net_input"]["src_tokens"])
    full, _ = model.decoder(batch["net_input"]["prev_output_tokens"], encoder_out=encoder_out)
    state, order = {}, torch.arange(4)
    for step in range(full.size(1)):
        previous = batch["net_input"]["prev_output_tokens"][order, : step + 1]
        logits, _ = model.decoder(previous, encoder_out=encoder_out, incremental_state=state)
        torch.testing.assert_close(logits[:, -1], full[order, step])
        turn = torch.tensor([3, 0, 1, 2])  # the search reorders its hypotheses
        order = order[turn]
        model.decoder.reorder_incremental_state_scripting(state, turn)
        encoder_out = model.encoder.reorder_encoder_out(encoder_out, turn)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_fairseqs_search(cell):
    """The score of every hypothesis is the log-likelihood of the loop, and the first one has the best."""
    task = make_task(2)
    model = make_model(task, decoder_cell=cell, condition="all").eval()
    histories = [[[0], [1, 1]], [[1]]]
    batch = make_batch(task, [(history, []) for history in histories])
    generator = SequenceGenerator([model], task.target_dictionary, 4, max_len_b=3, normalize_scores=False)
    found = generator.generate([model], batch)
    for row, history in enumerate(histories):
        context = context_loop(model, [ids(words) for words in history])[-1]
        scores = [float(hypothesis["score"]) for hypothesis in found[row]]
        expected = [decoder_loop(model, context, hypothesis["tokens"].tolist()) for hypothesis in found[row]]
        assert len(scores) == 4 and scores == pytest.approx(expected, abs=1e-5) and scores[0] == max(scores)


def test_replies_to_the_parts_of_a_dialogue():
    """Several replies to one row: each is conditioned on the utterances before it alone."""
    task = make_task()
    model = make_model(task)
    src = torch.tensor([flat(task, [[0, 1], [2], [3]])])
    target = torch.tensor([[6, 2], [7, 2], [4, 2]])
    previous = torch.tensor([[2, 6], [2, 7], [2, 4]])
    out = model(src, None, previous, owner=torch.tensor([0, 0, 0]), turn=torch.tensor([1, 2, 3]))
    log_probs = model.get_normalized_probs(out, log_probs=True).gather(2, target.unsqueeze(2)).sum((1, 2))
    contexts = context_loop(model, [[4, 5, 2], [6, 2], [7, 2]])
    expected = [decoder_loop(model, contexts[i + 1], target[i].tolist()) for i in range(3)]
    assert log_probs.tolist() == pytest.approx(expected, abs=1e-5)


def test_shared_word_vectors():
    task = make_task()
    model = make_model(task)
    assert model.decoder.embed_tokens is model.encoder.embed_tokens
    apart = make_model(task, separate_embeddings=True)
    assert apart.decoder.embed_tokens is not apart.encoder.embed_tokens
    task.target_dictionary = make_task(6).target_dictionary
    assert make_model(task).decoder.embed_tokens.num_embeddings == 11


@pytest.mark.parametrize("name", ["encoder_layers", "context_layers", "decoder_layers"])
def test_two_layers_train(name):
    task = make_task()
    model = make_model(task, **{name: 2})
    reply_log_probs(model, make_batch(task, PAIRS)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_refused_sizes():
    for settings, flag in (({"embed_dim": 0}, "--embed-dim"), ({"context_layers": 0}, "--context-layers"),
                           ({"word_dropout": 1.0}, "--word-dropout"), ({"dropout": -0.1}, "--dropout")):  # fmt: skip
        with pytest.raises(AMIError, match=flag):
            HRED.build_model(HREDConfig(**{**SIZES, **settings}), make_task())
