"""A decoder that starts as a language model: the same probabilities whatever z is, until z's weights move."""

import pytest
import torch
from unit.tiny_vae import LSTM_SIZES, make_batch, make_task, make_vae

from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae_lstm import TextLMLSTM, TextLMLSTMConfig
from fairseq_ami.models.warm_start import start_from_language_model

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
