"""z in the output layer: an addend that is linear in z, nothing at the start, and then what a loop says."""

from types import SimpleNamespace

import pytest
import torch
from unit.tiny import dictionary
from unit.tiny_vae import KINDS, make_batch, make_task, make_vae

from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae_lstm import TextLMLSTM, TextLMLSTMConfig, TextVAELSTM, TextVAELSTMConfig
from fairseq_ami.models.warm_start import start_from_language_model

SENTENCES = [[0, 2, 1, 3], [3], [1, 1, 0]]


def pair(kind, **settings):
    """The same weights with the skip connection and without, and W."""
    task = make_task()
    model, plain = make_vae(kind, task, latent_skip=True, **settings), make_vae(kind, task, **settings)
    weight = model.decoder.latent_skip.weight
    left = model.load_state_dict(plain.state_dict(), strict=False)
    assert left.missing_keys == ["decoder.latent_skip.weight"] and not left.unexpected_keys
    return model, plain, weight, make_batch(task, SENTENCES)["target"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_one_changes_nothing(kind):
    """Not a bit of any likelihood; but its weights have a gradient at once, and they are the decoder's."""
    model, plain, weight, tokens = pair(kind)
    z = torch.randn(3, 3).double()
    assert weight.shape == (8, 3) and weight.eq(0).all() and weight.param_group == "decoder"
    found = model.log_likelihood(tokens, z)
    assert torch.equal(found, plain.log_likelihood(tokens, z))
    found.sum().backward()
    assert weight.grad.abs().sum() > 1e-3


@pytest.mark.parametrize("kind, scale", [("lstm", 0.3), ("lstm", 1.0), ("transformer", 1.0)])
def test_logits_are_those_of_the_decoder_and_w_z(kind, scale):
    """Written out from the decoder's logits without the connection; z is scaled as everywhere in the decoder."""
    model, plain, weight, tokens = pair(kind, **({"latent_scale": scale} if kind == "lstm" else {}))
    torch.nn.init.normal_(weight)
    z = torch.randn(3, 3).double()
    with torch.no_grad():
        logits = plain.decoder(plain.previous_tokens(tokens), encoder_out=plain.condition(z))[0]
        logits = logits + torch.stack([weight @ (scale * row) for row in z]).unsqueeze(1)
        each = torch.log_softmax(logits, 2).gather(2, tokens.unsqueeze(2)).squeeze(2) * tokens.ne(1)
        torch.testing.assert_close(model.log_likelihood(tokens, z), each.sum(1))
        assert (plain.log_likelihood(tokens, z) - each.sum(1)).abs().min() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_incremental_decoding_is_the_full_pass(kind):
    """Also of rows in another order, as the sampler and the beam select them."""
    model, _, weight, _ = pair(kind)
    torch.nn.init.normal_(weight)
    model.eval()
    z, previous = torch.randn(3, 3).double(), torch.tensor([[2, 4, 6], [2, 7, 7], [2, 5, 5]])
    full, order, state = model.decoder(previous, encoder_out=model.condition(z))[0], torch.tensor([2, 0]), {}
    out = model.decoder(previous[:, :1], encoder_out=model.condition(z), incremental_state=state)[0]
    torch.testing.assert_close(out[:, -1], full[:, 0])
    model.decoder.reorder_incremental_state_scripting(state, order)
    conditions = model.decoder.reorder_condition(model.condition(z), order)
    out = model.decoder(previous[order, :2], encoder_out=conditions, incremental_state=state)[0]
    torch.testing.assert_close(out[:, -1], full[order, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_start_is_the_language_model_bit_for_bit(dtype, tmp_path):
    """At the paper's sizes, whatever z is: each sentence's likelihood has the very bits of the language model's."""
    task, path = SimpleNamespace(dictionary=dictionary(500)), str(tmp_path / "lm.pt")
    torch.manual_seed(2)
    language_model = TextLMLSTM.build_model(TextLMLSTMConfig(), task)
    cfg = {"_name": "text_lm_lstm", "latent_dim": 0}
    torch.save({"cfg": {"model": cfg}, "model": language_model.state_dict()}, path)
    model = TextVAELSTM.build_model(TextVAELSTMConfig(latent_skip=True, latent_scale=0.3), task)
    torch.nn.init.normal_(model.decoder.latent_skip.weight)  # what is there before is overwritten
    start_from_language_model(model, path)
    tokens = torch.randint(4, 504, (8, 12))
    tokens[:, -1] = task.dictionary.eos()
    language_model, model = language_model.to(dtype).eval(), model.to(dtype).eval()
    with torch.no_grad():
        expected = language_model.log_likelihood(tokens)
        assert torch.equal(model.log_likelihood(tokens, 3 * torch.randn(8, 64)), expected)
        model.decoder.latent_skip.weight[7, 0] = 0.1  # it is not that nothing is ever added
        assert not torch.equal(model.log_likelihood(tokens, 3 * torch.randn(8, 64)), expected)


def test_not_for_a_language_model():
    with pytest.raises(AMIError, match="--latent-skip needs a latent variable"):
        make_vae(latent_dim=0, latent_skip=True)
