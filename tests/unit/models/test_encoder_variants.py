"""Encoders of the text VAE: both directions, max-pooling, dropout, hidden words, a table shared with the decoder."""

import math

import pytest
import torch
from unit.tiny_vae import KINDS, make_batch, make_task, make_vae

from fairseq_ami.errors import AMIError
from fairseq_ami.random_streams import stream_keys, uniform

PAD, EOS, UNK = 1, 2, 3
SENTENCES = [[0, 2, 1, 3], [3], [1, 1, 0]]


@torch.no_grad()
def direction(encoder, words, suffix):
    """States of one direction over one sentence, word by word with torch's cell, in the order of reading."""
    cell = torch.nn.LSTMCell(encoder.lstm.input_size, encoder.lstm.hidden_size).double()
    for name, value in cell.named_parameters():
        value.copy_(getattr(encoder.lstm, f"{name}_l0{suffix}"))
    h = c = torch.zeros(1, encoder.lstm.hidden_size).double()
    states = []
    for word in words:
        h, c = cell(encoder.embed_tokens.weight[[word]], (h, c))
        states.append(h[0])
    return states


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("pooling", [False, True])
def test_features_are_those_of_a_loop(both, pooling):
    """Of each row without its padding: the last state of each direction, or each unit's largest value."""
    task = make_task()
    model = make_vae("lstm", task, encoder_bidirectional=both, encoder_max_pooling=pooling)
    tokens = make_batch(task, SENTENCES)["target"]
    tokens = torch.cat([tokens, torch.full((3, 2), PAD)], 1)
    found = model.encoder(tokens)
    assert found.shape == (3, 12 if both else 6) == (3, model.encoder.output_size)
    for row, sentence in enumerate(SENTENCES):
        words = [*(4 + word for word in sentence), EOS]
        parts = [direction(model.encoder, words, "")]
        if both:
            parts.append(direction(model.encoder, words[::-1], "_reverse"))
        parts = [torch.stack(part).max(0).values if pooling else part[-1] for part in parts]
        torch.testing.assert_close(found[row], torch.cat(parts))


def test_gradient_reaches_both_directions():
    model = make_vae("lstm", encoder_bidirectional=True, encoder_max_pooling=True)
    model.posterior(make_batch(make_task(), SENTENCES)["target"])[0].kl().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_dropout_is_on_the_word_vectors_in_training_only():
    task = make_task()
    tokens = make_batch(task, SENTENCES)["target"]
    model, plain = make_vae("lstm", task, encoder_dropout=0.5), make_vae("lstm", task)
    seen = []
    model.encoder.lstm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.encoder(tokens)
    kept = seen[0].ne(0)
    torch.testing.assert_close(seen[0][kept], 2 * plain.encoder.embed_tokens(tokens)[kept])
    assert 0 < kept[tokens.ne(PAD)].double().mean() < 1
    assert torch.equal(model.eval().posterior(tokens)[0].mean, plain.posterior(tokens)[0].mean)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_words_are_unknown_to_the_encoder_alone(kind):
    """The end symbol and padding stay; the energy function on words reads the sentence as it is."""
    task = make_task()
    model = make_vae(kind, task, critic="bilinear", critic_features="words")
    tokens = make_batch(task, [[0, 2, 1], [3]])["target"]
    hide = torch.tensor([[True, False, True, True], [False, True, True, True]])
    seen = torch.tensor([[UNK, 6, UNK, EOS], [7, EOS, PAD, PAD]])
    (found, features), (expected, _) = model.posterior(tokens, hide), model.posterior(seen)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(features, model.posterior(tokens)[1])
    assert (found.mean - model.posterior(tokens)[0].mean)[0].abs().max() > 1e-3


def test_hidden_words_follow_the_sentence():
    """With the given probability, in training only, and other words than the decoder's with another key."""
    model = make_vae(encoder_word_dropout=0.2)
    keys = stream_keys(1, 2, 3, torch.arange(2000), 1)
    hidden = model.hidden_from_encoder(torch.zeros(2000, 9), keys)
    assert torch.equal(hidden, uniform(keys, 9) < 0.2) and model.hidden_words(torch.zeros(2000, 9), keys) is None
    assert float(hidden.float().mean()) == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 18000))
    assert model.eval().hidden_from_encoder(torch.zeros(2000, 9), keys) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_table_is_the_decoders(kind):
    """One tensor, one player; the posterior reads it, and its gradient is that of both readers."""
    task = make_task()
    model = make_vae(kind, task, share_word_vectors=True)
    table = model.decoder.embed_tokens.weight
    reader = model.encoder if kind == "lstm" else model.encoder.transformer
    assert reader.embed_tokens.weight is table and table.param_group == "decoder"
    names = [name for name, _ in model.named_parameters()]
    assert sum(len(part) for part in model.players().values()) == len(names)
    assert not any(p is table for p in model.players()["encoder"])
    tokens = make_batch(task, SENTENCES)["target"]
    posterior, _ = model.posterior(tokens)
    own = torch.autograd.grad(posterior.kl().sum(), table)[0]
    assert own[[4, 5, 6, 7]].abs().sum() > 0
    with torch.no_grad():
        before = posterior.mean.clone()
        table[4].add_(1.0)
    assert (model.posterior(tokens)[0].mean - before)[0].abs().max() > 1e-3
    restored = make_vae(kind, task, share_word_vectors=True, seed=2)
    restored.load_state_dict(model.state_dict())
    assert torch.equal(restored.posterior(tokens)[0].mean, model.posterior(tokens)[0].mean)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_in_bfloat16_leaves_the_encoder_alone(kind, shared):
    """As vae-sample --bf16 computes: the posterior keeps every bit, also with word vectors that both have read."""
    task = make_task()
    model = make_vae(kind, task, share_word_vectors=shared).float().eval()
    tokens = make_batch(task, SENTENCES)["target"]
    before = model.posterior(tokens)[0].mean
    model.use_bfloat16_decoder()
    assert torch.equal(model.posterior(tokens)[0].mean, before)
    assert {p.dtype for p in model.decoder.parameters()} == {torch.bfloat16}
    assert model.log_likelihood(tokens, before).isfinite().all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"encoder_dropout": 1.0}, "--encoder-dropout must be in"),
        ({"encoder_word_dropout": -0.1}, "--encoder-word-dropout must be in"),
        ({"latent_dim": 0, "encoder_word_dropout": 0.1}, "--encoder-word-dropout needs a latent variable"),
        ({"latent_dim": 0, "share_word_vectors": True}, "--share-word-vectors needs a latent variable"),
        ({"share_word_vectors": True, "encoder_checkpoint": "a", "language_model": "b"}, "bring one each"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(AMIError, match=message):
        make_vae("lstm", **settings)
