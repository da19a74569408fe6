"""A decoder that starts as a language model, whatever z is, and an encoder that starts as another VAE's."""

from types import SimpleNamespace

import pytest
import torch
from unit.tiny_vae import KINDS, LSTM_SIZES, TRANSFORMER_SIZES, make_batch, make_task, make_vae

from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae_lstm import TextLMLSTM, TextLMLSTMConfig
from fairseq_ami.models.warm_start import start_from_encoder, start_from_language_model

SENTENCES = [[0, 2, 1, 3], [3], [1, 1, 0]]


def save(path, task, latent_dim=0, **sizes):
    torch.manual_seed(5)
    model = TextLMLSTM.build_model(TextLMLSTMConfig(**{**LSTM_SIZES, **sizes}), task).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    torch.save({"cfg": {"model": {"_name": "some_model", "latent_dim": latent_dim}}, "model": model.state_dict()}, path)
    return model


@pytest.mark.parametrize("layers", [1, 2])
def test_likelihood_is_the_language_models(layers, tmp_path):
    task, path = make_task(), str(tmp_path / "lm.pt")
    language_model = save(path, task, num_layers=layers)
    model = make_vae("lstm", task, num_layers=layers)
    tokens, z = make_batch(task, SENTENCES)["target"], torch.randn(3, 3).double()
    expected = language_model.log_likelihood(tokens)
    assert (model.log_likelihood(tokens, z) - expected).abs().min() > 1e-2
    start_from_language_model(model, path)
    torch.testing.assert_close(model.log_likelihood(tokens, z), expected, atol=1e-12, rtol=0)


def test_z_can_be_learnt_to_be_read(tmp_path):
    """Both ways in have gradients at once, so that zeros are no saddle point of the decoder."""
    task, path = make_task(), str(tmp_path / "lm.pt")
    save(path, task)
    model = make_vae("lstm", task)
    start_from_language_model(model, path)
    tokens, z = make_batch(task, SENTENCES)["target"], torch.randn(3, 3).double()
    model.log_likelihood(tokens, z).sum().backward()
    assert model.decoder.first_state.weight.grad.abs().min() > 0
    assert model.decoder.lstm.weight_ih_l0.grad[:, LSTM_SIZES["embed_dim"] :].abs().min() > 0
    assert model.decoder.embed_tokens.weight.param_group == "decoder"


@pytest.mark.parametrize(
    "words, sizes, latent_dim, message",
    [
        (5, {}, 0, "knows 9 symbols, the dictionary of this data has 8"),
        (4, {"hidden_size": 7}, 0, "--hidden-size"),
        (4, {"num_layers": 2}, 0, "--num-layers"),
        (4, {}, 3, "is of the model 'some_model': it takes"),
    ],
)
def test_what_does_not_fit(words, sizes, latent_dim, message, tmp_path):
    path = str(tmp_path / "lm.pt")
    save(path, make_task(words), latent_dim, **sizes)
    with pytest.raises(AMIError, match=message):
        start_from_language_model(make_vae("lstm"), path)


# ---------------------------------------------------------------------- the encoder


def save_vae(path, kind, task, seed=5, **settings):
    model = make_vae(kind, task, seed=seed, **settings)
    sizes = LSTM_SIZES if kind == "lstm" else TRANSFORMER_SIZES
    cfg = {"_name": f"text_vae_{kind}", "latent_dim": 3, **sizes, **settings}
    torch.save({"cfg": {"model": cfg}, "model": model.state_dict()}, path)
    return model


def settings_of(kind, **settings):
    return SimpleNamespace(**{**(LSTM_SIZES if kind == "lstm" else TRANSFORMER_SIZES), **settings})


@pytest.mark.parametrize("kind", KINDS)
def test_posterior_is_the_other_models(kind, tmp_path):
    """Bit for bit; what the decoder and the energy function are does not matter, and they stay as they were."""
    task, path = make_task(), str(tmp_path / "ae.pt")
    other = save_vae(path, kind, task, bow_hidden=4, latent_skip=True)
    model = make_vae(kind, task, critic="bilinear")
    tokens, z = make_batch(task, SENTENCES)["target"], torch.randn(3, 3).double()
    before, likelihood = model.posterior(tokens)[0].mean, model.log_likelihood(tokens, z)
    start_from_encoder(model, path, settings_of(kind))
    for name in ("mean", "log_variance"):
        assert torch.equal(getattr(model.posterior(tokens)[0], name), getattr(other.posterior(tokens)[0], name))
    assert (before - model.posterior(tokens)[0].mean).abs().min() > 1e-4
    assert torch.equal(model.log_likelihood(tokens, z), likelihood)


def test_with_a_shared_table_the_decoder_gets_the_word_vectors(tmp_path):
    task, path = make_task(), str(tmp_path / "ae.pt")
    other = save_vae(path, "lstm", task)
    model = make_vae("lstm", task, share_word_vectors=True)
    start_from_encoder(model, path, settings_of("lstm"))
    assert torch.equal(model.decoder.embed_tokens.weight, other.encoder.embed_tokens.weight)


@pytest.mark.parametrize(
    "kind, words, settings, message",
    [
        ("lstm", 5, {}, "knows 9 symbols, the dictionary of this data has 8"),
        ("lstm", 4, {"hidden_size": 7}, "has another encoder: give this run its sizes"),
        ("lstm", 4, {"latent_dim": 2}, "has another encoder"),
        ("lstm", 4, {"encoder_bidirectional": True}, "has another encoder.*--encoder-bidirectional"),
        ("lstm", 4, {"encoder_max_pooling": True}, "with --encoder-max-pooling True, this run has 0"),
        ("lstm", 4, {"latent_dim": 0}, "is of the model 'text_vae_lstm': it takes a checkpoint of a text VAE"),
        ("transformer", 4, {"attention_heads": 1}, "with --attention-heads 1, this run has 2"),
    ],
)
def test_encoders_that_do_not_fit(kind, words, settings, message, tmp_path):
    path = str(tmp_path / "ae.pt")
    save_vae(path, kind, make_task(words), **settings)
    model = make_vae(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(AMIError, match=message):
        start_from_encoder(model, path, settings_of(kind))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_lstm_is_no_transformer(tmp_path):
    path = str(tmp_path / "ae.pt")
    save_vae(path, "lstm", make_task())
    with pytest.raises(AMIError, match="has another encoder"):
        start_from_encoder(make_vae("transformer"), path, settings_of("transformer"))
