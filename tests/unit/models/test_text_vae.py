"""The text VAEs against step-by-step loops, fairseq's own language model, and numerical integrals over z."""

import math

import pytest
import torch
from fairseq.models.lstm import LSTMDecoder
from torch.distributions import Normal
from unit.tiny_vae import KINDS, LSTM_SIZES, make_batch, make_criterion, make_task, make_vae

from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae_lstm import TextLMLSTM, TextLMLSTMConfig
from fairseq_ami.random_streams import stream_keys, uniform

PAD, EOS, UNK = 1, 2, 3
SENTENCES = [[0, 2, 1, 3], [3], [1, 1, 0]]


def make_z(rows, size=3):
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(9)).double()


def log_softmax(logits):
    return logits - logits.exp().sum(-1, keepdim=True).log()


@torch.no_grad()
def lstm_loop(model, words, z=None):
    """log p(x|z) of one sentence, word by word, with torch's cell; the end symbol is the last word."""
    decoder = model.decoder
    cell = torch.nn.LSTMCell(decoder.lstm.input_size, decoder.lstm.hidden_size).double()
    for name, value in cell.named_parameters():
        value.copy_(getattr(decoder.lstm, f"{name}_l0"))
    h = c = torch.zeros(1, decoder.lstm.hidden_size).double()
    z = torch.zeros(1, 0).double() if z is None else z.unsqueeze(0)
    if model.latent_dim:
        h, c = torch.tanh(z @ decoder.first_state.weight.T + decoder.first_state.bias).chunk(2, 1)
    total, previous = 0.0, EOS
    for word in [*(4 + w for w in words), EOS]:
        h, c = cell(torch.cat([decoder.embed_tokens.weight[[previous]], z], 1), (h, c))
        logits = h @ decoder.output_projection.weight.T + decoder.output_projection.bias
        total += float(log_softmax(logits)[0, word])
        previous = word
    return total


# ---------------------------------------------------------------------- likelihood


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_lstm_likelihood_is_the_step_by_step_loop(scale):
    """z, scaled, beside every word and in the first state; the end symbol counts, padding does not."""
    task = make_task()
    model, z = make_vae("lstm", task, latent_scale=scale), make_z(3)
    found = model.log_likelihood(make_batch(task, SENTENCES)["target"], z)
    expected = [lstm_loop(model, s, scale * z[i]) for i, s in enumerate(SENTENCES)]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_language_model_is_the_decoder_without_z():
    """And fairseq's own LSTM language model, given the same weights."""
    task = make_task()
    torch.manual_seed(2)
    model = TextLMLSTM.build_model(TextLMLSTMConfig(**LSTM_SIZES), task).double()
    assert model.encoder is None and set(model.players()) == {"decoder"}
    tokens = make_batch(task, SENTENCES)["target"]
    found = model.log_likelihood(tokens)
    assert found.tolist() == pytest.approx([lstm_loop(model, s) for s in SENTENCES], abs=1e-9)
    stock = LSTMDecoder(task.dictionary, 5, 6, 6, 1, 0.0, 0.0, attention=False, encoder_output_units=0).double()
    ours = dict(model.decoder.named_parameters())
    with torch.no_grad():
        for name, value in stock.named_parameters():
            if name.startswith("layers"):
                value.copy_(ours[f"lstm.{name.split('.')[-1]}_l0"])
            else:
                value.copy_(ours[name.replace("fc_out", "output_projection")])
    log_probs = log_softmax(stock(model.previous_tokens(tokens))[0]).gather(2, tokens.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(found, (log_probs * tokens.ne(PAD)).sum(1))


def test_two_layers_start_from_z():
    """Each layer has its own first hidden and cell state."""
    model = make_vae("lstm", num_layers=2)
    h, c = model.decoder._first(make_z(2))
    assert h.shape == c.shape == (2, 2, 6)
    states = torch.tanh(model.decoder.first_state(make_z(2)))
    torch.testing.assert_close(h[1, 0], states[0, 6:12])
    torch.testing.assert_close(c[0, 1], states[1, 12:18])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_matter(kind):
    """Posterior, likelihood and gradient of a row alone are those of the row in a padded batch."""
    task = make_task()
    model, z = make_vae(kind, task), make_z(3)
    together = make_batch(task, SENTENCES)["target"]
    together = torch.cat([together, torch.full((3, 4), PAD)], 1)
    posterior, features = model.posterior(together)
    likelihood = model.log_likelihood(together, z)
    for row, sentence in enumerate(SENTENCES):
        tokens = make_batch(task, [sentence])["target"]
        alone, own = model.posterior(tokens)
        torch.testing.assert_close(alone.mean[0], posterior.mean[row])
        torch.testing.assert_close(alone.log_variance[0], posterior.log_variance[row])
        torch.testing.assert_close(own[0], features[row])
        torch.testing.assert_close(model.log_likelihood(tokens, z[row : row + 1])[0], likelihood[row])
    weights = [p for p in model.parameters() if p.requires_grad]

    def gradient(value):
        found = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        return torch.cat([g.flatten() for g in found if g is not None])

    tokens = make_batch(task, SENTENCES[1:2])["target"]
    alone = gradient(model.log_likelihood(tokens, z[1:2]).sum() + model.posterior(tokens)[0].kl().sum())
    torch.testing.assert_close(gradient(likelihood[1] + posterior.kl()[1]), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_posterior_reads_every_word_and_gives_mean_and_log_variance(kind):
    """Two sentences that differ in one word anywhere have different posteriors; the heads are a linear map."""
    task = make_task()
    model = make_vae(kind, task)
    tokens = make_batch(task, [[0, 1, 2], [3, 1, 2], [0, 3, 2], [0, 1, 3]])["target"]
    q, features = model.posterior(tokens)
    assert torch.cdist(q.mean, q.mean).add(torch.eye(4)).min() > 1e-3
    both = features @ model.posterior_heads.weight.T + model.posterior_heads.bias
    torch.testing.assert_close(torch.cat([q.mean, q.log_variance], 1), both)


@pytest.mark.parametrize("kind", KINDS)
def test_z_enters_at_every_step_and_no_word_is_seen_before_its_turn(kind):
    task = make_task()
    model = make_vae(kind, task)
    tokens = make_batch(task, [[0, 2, 1, 3]])["target"]

    def features(tokens, z):
        return model.decoder.extract_features(model.previous_tokens(tokens), encoder_out=model.condition(z))[0][0]

    one, other = features(tokens, make_z(1)), features(tokens, 2 * make_z(1))
    assert (one - other).abs().amax(1).min() > 1e-4
    changed = tokens.clone()
    changed[0, 2] = 7
    difference = (features(changed, make_z(1)) - one).abs().amax(1)
    assert difference[:3].max() == 0 and difference[3] > 1e-4
    if kind == "lstm":  # beside the words as well as in the first state
        model.decoder.first_state.weight.data.zero_()
        assert (features(tokens, make_z(1)) - features(tokens, 2 * make_z(1))).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_incremental_decoding_is_the_full_pass(kind):
    task = make_task()
    model, z = make_vae(kind, task).eval(), make_z(3)
    previous = model.previous_tokens(make_batch(task, [[0, 2, 1], [3, 3, 0], [1, 1, 0]])["target"])
    state, full = {}, model.decoder(previous, encoder_out=model.condition(z))[0]
    for step in range(1, previous.size(1) + 1):
        out = model.decoder(previous[:, :step], encoder_out=model.condition(z), incremental_state=state)[0]
        torch.testing.assert_close(out[:, -1], full[:, step - 1])
    # reordered rows go on as those rows
    order, state = torch.tensor([2, 0]), {}
    model.decoder(previous[:, :1], encoder_out=model.condition(z), incremental_state=state)
    model.decoder.reorder_incremental_state_scripting(state, order)
    conditions = model.decoder.reorder_condition(model.condition(z), order)
    out = model.decoder(previous[order, :2], encoder_out=conditions, incremental_state=state)[0]
    torch.testing.assert_close(out[:, -1], full[order, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_stock_forward(kind):
    """fairseq's signature; the posterior's mean in evaluation, a sample in training."""
    task = make_task()
    model, batch = make_vae(kind, task).eval(), make_batch(task, SENTENCES)
    out = model(**batch["net_input"])
    log_probs = model.get_normalized_probs(out, log_probs=True).gather(2, batch["target"].unsqueeze(2)).squeeze(2)
    mean = model.posterior(batch["target"])[0].mean
    expected = model.log_likelihood(batch["target"], mean)
    torch.testing.assert_close((log_probs * batch["target"].ne(PAD)).sum(1).double(), expected, rtol=1e-5, atol=1e-5)
    assert not torch.equal(model.train()(**batch["net_input"])[0], out[0])
    assert model.max_positions() >= 30


# ---------------------------------------------------------------------- word dropout and bag of words


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_words_are_replaced_in_the_input_only(kind):
    """hide[i] hides word i where the decoder reads it, one step later; the target stays, the first symbol as well."""
    task = make_task()
    model, z = make_vae(kind, task), make_z(2)
    tokens = make_batch(task, [[0, 2, 1], [3]])["target"]
    hide = torch.tensor([[True, False, True, True], [False, True, True, True]])
    previous = torch.tensor([[EOS, UNK, 6, UNK], [EOS, 7, UNK, PAD]])
    logits = model.decoder(previous, encoder_out=model.condition(z))[0]
    expected = log_softmax(logits.detach()).gather(2, tokens.unsqueeze(2)).squeeze(2) * tokens.ne(PAD)
    torch.testing.assert_close(model.log_likelihood(tokens, z, hide).detach(), expected.sum(1))


def test_hidden_words_follow_the_sentence():
    """The same words whatever the batch, with the given probability, in training only."""
    model = make_vae(word_dropout=0.3)
    keys = stream_keys(1, 2, 3, torch.arange(2000), 1)
    wide, narrow = (model.hidden_words(torch.zeros(2000, n), keys) for n in (11, 5))
    assert torch.equal(wide[:, :5], narrow) and torch.equal(wide, uniform(keys, 11) < 0.3)
    assert float(wide.float().mean()) == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 22000))
    assert torch.equal(model.hidden_words(torch.zeros(1, 11), keys[7:8]), wide[7:8])
    assert model.eval().hidden_words(torch.zeros(2000, 5), keys) is None
    assert make_vae().hidden_words(torch.zeros(2000, 5), keys) is None


def test_bag_of_words():
    """Sum over the words, repeated ones as often as they occur, without end symbol and padding; float64 stays."""
    task = make_task()
    model, z = make_vae("lstm", task, bow_hidden=4), make_z(2)
    found = model.bow_log_likelihood(make_batch(task, [[0, 2, 2], [1]])["target"], z)
    first, _, second = model.bow
    logits = torch.tanh(z @ first.weight.T + first.bias) @ second.weight.T + second.bias
    log_probs = log_softmax(logits)
    expected = torch.stack([log_probs[0, 4] + 2 * log_probs[0, 6], log_probs[1, 5]])
    torch.testing.assert_close(found, expected)
    assert "bow.0.weight" in dict(model.named_parameters()) and model.bow[0].weight.param_group == "critic"


# ---------------------------------------------------------------------- the objective as a whole


@pytest.mark.parametrize("latent_dim, points", [(1, 4001), (2, 161)])
def test_elbo_is_below_the_evidence_by_the_posteriors_error(latent_dim, points):
    """log p(x) and KL(q(z|x) || p(z|x)) by a fine grid over z; the criterion's mean over many draws is -ELBO."""
    task = make_task()
    model = make_vae("lstm", task, latent_dim=latent_dim, spread=2.0).eval()
    model.posterior_heads.weight.data.mul_(0.5)
    axis = torch.linspace(-12, 12, points, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * latent_dim).view(-1, latent_dim)
    log_cell = latent_dim * math.log(float(axis[1] - axis[0]))
    sentence = [0, 2, 1]
    with torch.no_grad():
        tokens = make_batch(task, [sentence])["target"]
        likelihood = model.log_likelihood(tokens.expand(len(grid), -1), grid)
        joint = likelihood + Normal(0.0, 1.0).log_prob(grid).sum(1) + log_cell
        evidence = joint.logsumexp(0)
        q = model.posterior(tokens)[0]
        log_q = Normal(q.mean, q.log_variance.exp().sqrt()).log_prob(grid).sum(1) + log_cell
        assert float(log_q.logsumexp(0)) == pytest.approx(0, abs=1e-6)
        gap = (log_q.exp() * (log_q - (joint - evidence))).sum()
        elbo = (log_q.exp() * likelihood).sum() - q.kl()[0]
        assert float(gap) > 1e-3 and float(evidence - elbo) == pytest.approx(float(gap), abs=1e-6)
        count = 4000
        loss, size, _ = make_criterion(task)(model, make_batch(task, [sentence] * count))
        spread = math.sqrt(float((log_q.exp() * likelihood**2).sum() - (log_q.exp() * likelihood).sum() ** 2))
    assert size == count and float(loss) / count == pytest.approx(-float(elbo), abs=4 * spread / math.sqrt(count))


# ---------------------------------------------------------------------- players and settings


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_has_one_player(kind):
    model = make_vae(kind, bow_hidden=4, critic="concat")
    owners = {name: p.param_group for name, p in model.named_parameters()}
    first = {"encoder": "encoder", "posterior_heads": "encoder", "decoder": "decoder"}
    assert owners == {name: first.get(name.split(".")[0], "critic") for name in owners}
    assert sum(len(p) for p in model.players().values()) == len(owners)
    model.set_players({"encoder", "critic"})
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        name for name, owner in owners.items() if owner != "decoder"
    }


@pytest.mark.parametrize("kind", KINDS)
def test_critic_on_words(kind):
    """It reads the mean of its own word vectors, end symbol included, padding left out; the posterior is unchanged."""
    task = make_task()
    batch = make_batch(task, [[0, 1, 1, 3], [2]])["target"]
    plain, model = (make_vae(kind, task, critic="bilinear", critic_features=name) for name in ("encoder", "words"))
    posterior, features = model.posterior(batch)
    table, eos = model.critic_words.weight, task.dictionary.eos()
    rows = [[4, 5, 5, 7, eos], [6, eos]]
    torch.testing.assert_close(features, torch.stack([sum(table[i] for i in row) / len(row) for row in rows]))
    assert features.shape == plain.posterior(batch)[1].shape and features.requires_grad
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "critic_words" not in name})
    torch.testing.assert_close(posterior.mean, plain.posterior(batch)[0].mean)
    assert {p.param_group for p in model.critic_words.parameters()} == {"critic"}
    score = model.critic(features, posterior.mean.detach()).sum()
    grads = torch.autograd.grad(score, [*model.encoder.parameters(), table], allow_unused=True)
    assert all(grad is None for grad in grads[:-1]) and grads[-1].ne(0).any()  # the encoder is moved through z alone


@pytest.mark.parametrize(
    "kind, settings, message",
    [
        ("lstm", {"hidden_size": 0}, "--hidden-size must be at least 1"),
        ("lstm", {"max_target_positions": 0}, "--max-target-positions"),
        ("lstm", {"latent_scale": 0.0}, "--latent-scale must be positive"),
        ("lstm", {"latent_dim": -1}, "--latent-dim must not be negative"),
        ("lstm", {"word_dropout": 1.0}, "--word-dropout"),
        ("lstm", {"latent_dim": 0, "critic": "concat"}, "--critic needs a latent variable"),
        ("lstm", {"latent_dim": 0, "bow_hidden": 3}, "--bow-hidden needs a latent variable"),
        ("lstm", {"critic_features": "words"}, "pass --critic bilinear"),
        ("lstm", {"critic": "concat", "critic_layers": 0}, "at least one hidden layer"),
        ("transformer", {"attention_heads": 4}, "--embed-dim 6 must be a multiple of --attention-heads 4"),
        ("transformer", {"ffn_dim": 0}, "--ffn-dim"),
    ],
)
def test_bad_settings(kind, settings, message):
    with pytest.raises(AMIError, match=message):
        make_vae(kind, **settings)


def test_transformer_without_z_is_a_language_model():
    task = make_task()
    model = make_vae("transformer", task, latent_dim=0)
    assert set(model.players()) == {"decoder"} and not any("encoder_attn" in n for n, _ in model.named_parameters())
    tokens = make_batch(task, SENTENCES)["target"]
    out = log_softmax(model.decoder(model.previous_tokens(tokens), encoder_out=model.condition(make_z(3, 0)))[0])
    expected = (out.gather(2, tokens.unsqueeze(2)).squeeze(2) * tokens.ne(PAD)).sum(1)
    torch.testing.assert_close(model.log_likelihood(tokens), expected)
