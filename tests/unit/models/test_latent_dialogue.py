"""VHRED, Dir-VHRED and VHCR against exact likelihoods by quadrature, torch's divergences, and other batches."""

import math

import pytest
import torch
from torch.distributions import Dirichlet, Independent, Normal, kl_divergence
from torch.nn.functional import softplus
from unit.models.test_hred import PAIRS
from unit.tiny_hred import (
    PAD,
    context_loop,
    copied_cell,
    decoder_steps,
    make_batch,
    make_model,
    make_task,
    utterance_loop,
)
from unit.tiny_latent import (
    HISTORY,
    KINDS,
    REPLY,
    contexts,
    exact_log_likelihood,
    gaussian,
    head_output,
    make_keys,
    make_latent,
    make_world,
    repeated_batch,
    simplex,
    terms,
)

from fairseq_ami.errors import AMIError
from fairseq_ami.models.hred import History
from fairseq_ami.random_streams import normal

ROWS = 5000


@torch.no_grad()
def log_weights(model, task):
    found = terms(model.eval(), repeated_batch(task, ROWS))
    return found, found["weight_sentence"] + found.get("weight_conversation", 0.0) - found["reconstruction"]


@pytest.mark.parametrize("name", KINDS)
def test_bounds_and_the_exact_likelihood(name):
    """ELBO <= IW-5 <= IW-50 <= exact, and the mean of all weights is the likelihood."""
    task, model = make_world(name)
    exact = exact_log_likelihood(model)
    assert exact == pytest.approx(exact_log_likelihood(model, 130), abs=1e-5)  # the quadrature has converged
    found, weights = log_weights(model, task)
    divergence = found["kl_sentence"] + found.get("kl_conversation", 0.0)
    elbo = float((-found["reconstruction"] - divergence).mean())
    five, fifty = (
        float((weights.view(-1, k).logsumexp(1) - math.log(k)).mean()) for k in (5, 50)
    )  # fmt: skip
    assert elbo < five < fifty <= exact + 0.01
    ratio = (weights - exact).exp()
    assert abs(float(ratio.mean()) - 1) < 3 * float(ratio.std()) / ROWS**0.5
    assert exact - elbo > 0.02  # the bounds are apart


@torch.no_grad()
def test_the_printed_estimate_of_dir_vhred_is_no_bound():
    """Its released code prints log E_q p(x | z) - KL(q || p): above log p(x) where q is the true posterior."""
    task, model = make_world("dir_vhred", told=20.0)
    words, c = ids(REPLY), contexts(model, HISTORY)
    z, log_prior = simplex(head_output(model.encoder.prior, c), 40)
    log_likelihood = decoder_steps(model, torch.cat([c.expand(len(z), -1), z], 1), words)
    exact = float((log_likelihood + log_prior).logsumexp(0))
    assert exact == pytest.approx(exact_log_likelihood(model), abs=1e-9)
    posterior = log_likelihood + log_prior - exact
    divergence = float((posterior.exp() * (posterior - log_prior)).sum())
    assert float((posterior + log_likelihood).logsumexp(0)) - divergence > exact + 0.03
    found, weights = log_weights(model, task)
    assert float((-found["reconstruction"] - found["kl_sentence"]).mean()) < exact  # ours is one


@pytest.mark.parametrize("name", KINDS)
def test_divergences_of_a_batch(name):
    """Those of torch between what the heads say, and for each row alone."""
    task = make_task()
    model = make_latent(name, task)
    found = terms(model, make_batch(task, PAIRS))
    for row, (history, reply) in enumerate(PAIRS):
        alone = terms(model, make_batch(task, [(history, reply)], ids=[row]))
        for key in found:
            torch.testing.assert_close(alone[key][0], found[key][row], msg=f"{key} of row {row}")
        if name != "vhcr":
            assert found["kl_sentence"][row].item() == pytest.approx(expected_kl(model, history, reply), abs=1e-9)


def ids(words):
    return [*(4 + word for word in words), 2]


@torch.no_grad()
def expected_kl(model, history, reply):
    encoder = model.encoder
    c = context_loop(model, [ids(words) for words in history])[-1]
    vector = utterance_loop(encoder.utterances.gru, encoder.embed_tokens.weight, ids(reply))
    both = torch.cat([c, vector], 1)
    if encoder.prior.kind == "dirichlet":
        q, p = (
            Dirichlet(softplus(head_output(h, x)) + 1e-3) for h, x in ((encoder.posterior, both), (encoder.prior, c))
        )
        return float(kl_divergence(q, p))
    q, p = (Independent(Normal(*gaussian(h, x)), 1) for h, x in ((encoder.posterior, both), (encoder.prior, c)))
    return float(kl_divergence(q, p))


@pytest.mark.parametrize("name", ["vhred", "dir_vhred"])
def test_no_divergence_where_the_posterior_is_the_prior(name):
    task = make_task()
    model = make_latent(name, task)
    with torch.no_grad():
        theirs = model.encoder.prior.state_dict()
        first = model.encoder.posterior.body[0]
        weight = theirs.pop("body.0.weight")
        first.weight.zero_()[:, : weight.size(1)] = weight
        model.encoder.posterior.load_state_dict(theirs, strict=False)
    found = terms(model, make_batch(task, PAIRS))
    torch.testing.assert_close(found["kl_sentence"], torch.zeros(4).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_the_reconstruction_is_the_loop(name):
    """Given the z that the stream draws: mean plus the row's normal numbers times the standard deviation."""
    task = make_task()
    model = make_latent(name, task, condition="all")
    batch = make_batch(task, PAIRS[:1])
    keys, (history, reply) = make_keys(batch["id"]), PAIRS[0]
    found = terms(model, batch)
    encoder, last = model.encoder, {}
    vectors = [utterance_loop(encoder.utterances.gru, encoder.embed_tokens.weight, ids(words))
               for words in [*history, reply]]  # fmt: skip
    with torch.no_grad():
        if name == "vhcr":
            size, states = encoder.conversation.hidden_size, []
            for suffix, order in (("_l0", vectors), ("_l0_reverse", vectors[::-1])):
                cell, h = copied_cell(encoder.conversation, suffix), torch.zeros(1, size).double()
                for vector in order:
                    h = cell(vector, h)
                states.append(h)
            mean, deviation = gaussian(encoder.conversation_posterior, torch.cat(states, 1))
            zc = mean + deviation * normal(keys.conversation, 1, 2)[:, 0]
            first = torch.tanh(zc @ encoder.first_context.weight.T + encoder.first_context.bias)
            c, last = contexts(model, history, first, zc), {"beside": zc}
        else:
            c = contexts(model, history)
        beside = [last["beside"]] if last else []
        known = torch.cat([c, vectors[-1], *beside], 1)
        if name == "dir_vhred":
            z = encoder.posterior(known).draw(keys.sentence).exp()
        else:
            mean, deviation = gaussian(encoder.posterior, known)
            z = mean + deviation * normal(keys.sentence, 1, 2)[:, 0]
        expected = decoder_steps(model, torch.cat([c, z, *beside], 1), ids(reply))
    assert found["reconstruction"].item() == pytest.approx(-float(expected), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", KINDS)
def test_half_precision(name, dtype):
    """Divergences, weights and likelihoods are those of single precision, to its rounding; gradients are finite."""
    task = make_task()
    model, batch = make_latent(name, task, scale=1.0, bow_hidden=5).float(), make_batch(task, PAIRS)
    want = terms(model, batch)
    found = terms(model.to(dtype), batch)
    assert {value.dtype for value in found.values()} == {torch.float32}
    for key, value in want.items():
        torch.testing.assert_close(found[key], value, atol=0.15, rtol=0.05, msg=lambda text, key=key: key + text)
    sum(value.sum() for value in found.values() if value.requires_grad).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# ---------------------------------------------------------------------- decoding


@pytest.mark.parametrize("name", KINDS)
def test_decoding_reads_no_reply(name):
    """The condition of a history is the same whatever stands in the batch besides; NaN weights would show."""
    task = make_task()
    model = make_latent(name, task).eval()
    batch = make_batch(task, PAIRS)
    want = model.encoder(batch["net_input"]["src_tokens"])["z"]
    with torch.no_grad():
        for parameter in model.encoder.posterior.parameters():
            parameter.fill_(math.nan)
    batch["target"].fill_(10**6)
    batch["net_input"]["prev_output_tokens"].fill_(10**6)
    encoder_input = {k: v for k, v in batch["net_input"].items() if k != "prev_output_tokens"}
    assert torch.equal(model.encoder(**encoder_input)["z"], want) and want.isfinite().all()


@pytest.mark.parametrize("name", KINDS)
def test_z_follows_from_seed_history_and_draw(name):
    task = make_task()
    model = make_latent(name, task).eval()
    tokens = make_batch(task, PAIRS)["net_input"]["src_tokens"]

    def draw(tokens, seed=1, number=0):
        model.encoder.latent_seed, model.encoder.draw = seed, number
        return model.encoder(tokens)["z"]

    want = draw(tokens)
    torch.testing.assert_close(draw(tokens[2:3]), want[2:3])
    torch.testing.assert_close(draw(torch.cat([torch.full_like(tokens, PAD), tokens], 1)), want)
    torch.testing.assert_close(draw(tokens.flip(0)), want.flip(0))
    latent = slice(5, 7)  # behind the five numbers of the context
    for other in (draw(tokens, seed=2), draw(tokens, number=1)):
        assert ((other - want)[:, latent].abs() > 1e-6).all()


@pytest.mark.parametrize("name", ["vhred", "dir_vhred"])
def test_z_of_a_reply_comes_from_the_prior(name):
    """Over many seeds its mean is that of the prior's distribution."""
    task = make_task()
    model = make_latent(name, task).eval()
    tokens = make_batch(task, PAIRS[:1])["net_input"]["src_tokens"]
    found = []
    for seed in range(400):
        model.encoder.latent_seed = seed
        found.append(model.encoder(tokens)["z"][0, 5:].detach())
    found = torch.stack(found)
    c = context_loop(model, [ids(words) for words in PAIRS[0][0]])[-1]
    if name == "vhred":
        mean = gaussian(model.encoder.prior, c)[0][0]
    else:
        mean = Dirichlet(softplus(head_output(model.encoder.prior, c)) + 1e-3).mean[0]
    assert ((found.mean(0) - mean).abs() < 3.5 * found.std(0) / 20).all()


@pytest.mark.parametrize("name", KINDS)
def test_training_by_the_likelihood_is_refused(name):
    task = make_task()
    model = make_latent(name, task)
    batch = make_batch(task, PAIRS)
    with pytest.raises(AMIError, match="--criterion dialog_elbo"):
        model(**batch["net_input"])
    assert model.eval()(**batch["net_input"])[0].shape == (4, 5, 9)


# ---------------------------------------------------------------------- what is hidden in training


@pytest.mark.parametrize("name", ["hred", *KINDS])
def test_word_drop(name):
    """The share, independent over rows and places, never the first symbol, nothing in eval mode."""
    task = make_task()
    model = make_model(task, word_dropout=0.3) if name == "hred" else make_latent(name, task, word_dropout=0.3)
    rows = 600
    batch = make_batch(task, [([[0]], [1, 2, 3, 1])] * rows, ids=list(range(rows)))
    seen = []
    model.decoder.embed_tokens.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    terms(model, batch)
    hidden = seen[-1].eq(3)
    share = hidden[:, 1:].double().mean().item()
    assert abs(share - 0.3) < 3 * (0.21 / (4 * rows)) ** 0.5 and not hidden[:, 0].any()
    assert len({tuple(row) for row in hidden.tolist()}) == 16  # every pattern of four words
    both = (hidden[:, 1] & hidden[:, 2]).double().mean().item()
    assert abs(both - 0.09) < 3.5 * (0.09 * 0.91 / rows) ** 0.5
    terms(model.eval(), batch)
    assert not seen[-1].eq(3).any()


# ---------------------------------------------------------------------- VHCR


def test_utterance_drop():
    """The share, independent over dialogues and turns, nothing in eval mode; the posterior sees all."""
    task = make_task()
    model = make_latent("vhcr", task, utterance_drop=0.3)
    encoder, rows = model.encoder, 600
    keys = make_keys(list(range(rows)))
    vectors = torch.ones(rows, 3, 6).double()
    hidden = (encoder.dropped(vectors, keys.utterances) == encoder.unknown_utterance).all(2)
    share = hidden.double().mean().item()
    assert abs(share - 0.3) < 3 * (0.21 / (3 * rows)) ** 0.5
    assert len({tuple(row) for row in hidden.tolist()}) == 8
    assert torch.equal(encoder.dropped(vectors[:5], keys.utterances[:5]), encoder.dropped(vectors, keys.utterances)[:5])
    batch = make_batch(task, PAIRS)
    assert torch.equal(terms(model, batch)["kl_conversation"], terms(model.eval(), batch)["kl_conversation"])
    assert torch.equal(encoder.dropped(vectors, keys.utterances), vectors)
    assert not torch.equal(terms(model.train(), batch)["kl_sentence"], terms(model.eval(), batch)["kl_sentence"])


@pytest.mark.parametrize("drop", [0.0, 1.0])
def test_what_the_context_reads_of_the_utterances(drop):
    """With every utterance hidden the decoder learns of them through the posterior of z alone."""
    task = make_task()
    model = make_latent("vhcr", task, utterance_drop=drop)
    vectors = torch.randn(1, 2, 6).double().requires_grad_()
    reply = torch.randn(1, 6).double()
    history = History(vectors, torch.tensor([2]))
    replies = model.encoder.replies(history, None, None)
    keys = make_keys([3])
    context, found = model.encoder.context_to_learn(history, replies, reply, keys)
    (through_both,) = torch.autograd.grad(context.state.sum(), vectors, retain_graph=True)
    assert through_both.abs().sum() > 0 and found["kl_conversation"].requires_grad
    fixed = context.beside.detach()
    direct = model.encoder._context(model.encoder.dropped(vectors, keys.utterances), replies, fixed).state
    if drop == 1.0:
        assert not torch.autograd.grad(direct.sum(), vectors, allow_unused=True)[0].abs().sum() > 0
    else:
        assert torch.autograd.grad(direct.sum(), vectors)[0].abs().sum() > 0


def test_a_dialogue_with_several_replies():
    """One z of the conversation from all its utterances, one KL of it, and a z for each reply."""
    task = make_task()
    model = make_latent("vhcr", task)
    src = make_batch(task, [([[0, 1], [2], [3]], [1])])["net_input"]["src_tokens"]
    target = torch.tensor([[6, 2, PAD], [7, 2, PAD], [5, 4, 2]])
    owner, turn = torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3])
    keys = make_keys([10, 11, 12], [4])
    found = model(src, None, None, owner=owner, turn=turn, target=target, keys=keys)
    assert found["kl_conversation"].shape == (1,) and found["kl_sentence"].shape == (3,)
    last = make_batch(task, [([[0, 1], [2], [3]], [1, 0])])  # the last reply alone: the same conversation
    alone = model(**last["net_input"], target=last["target"], keys=make_keys([12], [4]))
    for key in ("kl_conversation", "weight_conversation"):
        torch.testing.assert_close(alone[key], found[key])
    for key in ("kl_sentence", "reconstruction"):
        torch.testing.assert_close(alone[key][0], found[key][2])
