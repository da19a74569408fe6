"""InfoMax-GAN's regulariser in ``ami_minimax``: recomputed a sentence at a time; who learns from it; bad settings."""

import math

import pytest
import torch
from unit.tiny import make_batch, make_criterion, make_pair, make_task

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.rollout import roll_out

ARCHS = ["ami_transformer", "ami_lstm"]
PAD, EOS = 1, 2
PAIRS = [([0, 2, 1, 1], [0, 2]), ([1], [0, 1, 1]), ([2, 0], [1])]


@pytest.fixture(scope="module")
def task():
    return make_task(source_words=3, target_words=3)


def features(model, arch, words):
    """Projected features of the words, and of the sentence, of one sentence without padding."""
    network, heads = model.backward_model, model.infomax
    out = network.encoder(torch.tensor([words + [EOS]]), src_lengths=torch.tensor([len(words) + 1]))
    z = out["encoder_out"][0][:, 0] if arch == "ami_transformer" else torch.cat([out[1], out[2]])[:, 0]
    local = [heads.word.weight @ network.encoder.embed_tokens.weight[word] + heads.word.bias for word in words]
    return local, heads.sentence.weight @ z.mean(0) + heads.sentence.bias


def by_hand(model, arch, sentences):
    """The terms of the words of each sentence: itself against the words of the others, under its own sentence."""
    found = [features(model, arch, words) for words in sentences]
    terms = []
    for i, (local, whole) in enumerate(found):
        others = [(whole @ word).item() for j, (words, _) in enumerate(found) if j != i for word in words]
        terms.append([])
        for word in local:
            own = (whole @ word).item()
            total = math.log(math.exp(own) + sum(map(math.exp, others)))
            terms[-1].append(own - total + math.log(1 + len(others)))
    return terms


def pair_of(task, arch, **settings):
    return make_pair(task, arch=arch, infomax_dim=5, **settings)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("phase", ["backward", "pretrain"])
def test_the_critic_ascends_the_bound_on_real_text(task, arch, phase):
    """What the weight adds to the loss: - weight * nats a word * tokens of S. P does not move by it."""
    model = pair_of(task, arch)
    batch = make_batch(task, PAIRS)
    step = Step(phase, 3)
    without, size, _ = make_criterion(task)(model, batch, step)
    loss, same, log = make_criterion(task, infomax_weight=0.3)(model, batch, step)
    with torch.no_grad():
        terms = [term for words in by_hand(model, arch, [[4, 6], [4, 5, 5], [5]]) for term in words]
    source_tokens = 5 + 2 + 3
    assert size == same
    assert (loss - without).item() == pytest.approx(-0.3 * source_tokens * sum(terms) / 6, rel=1e-4)
    assert float(log["infomax_real_sum"]) == pytest.approx(sum(terms), rel=1e-4) and log["infomax_real_words"] == 6
    (loss - without).backward()
    assert all(p.grad.abs().sum() > 0 for p in (model.infomax.word.weight, model.infomax.sentence.weight))
    assert all(p.grad is None or not p.grad.abs().sum() > 1e-5 for p in model.forward_model.parameters())


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("phase", ["forward", "noise"])
def test_samples_are_rewarded(task, arch, phase):
    """Nats a word of each sample, against the samples of the other sources that have the same number."""
    model = pair_of(task, arch, noise_scale=0.5)
    batch = make_batch(task, PAIRS)
    plain, weighed = make_criterion(task, num_samples=2), make_criterion(task, num_samples=2, infomax_weight=0.3)
    without = plain(model, batch, Step(phase, 4))[2]
    loss, _, log = weighed(model, batch, Step(phase, 4))
    tokens = roll_out(model, batch, plain.sampling, 4, True, score=False).samples.tokens
    expected, words = 0.0, 0
    with torch.no_grad():
        for number in range(2):
            sentences = [[t for t in row.tolist() if t > 2] for row in tokens[number::2]]
            assert sum(map(bool, sentences)) >= 2
            terms = by_hand(model, arch, sentences)
            expected += sum(sum(sentence) / len(sentence) for sentence in terms if sentence)
            words += sum(map(len, sentences))
    assert (log["reward_sum"] - without["reward_sum"]).item() == pytest.approx(0.3 * expected, rel=1e-4)
    assert log["infomax_fake_words"] == words
    loss.backward()
    assert all(parameter.grad is None for parameter in model.infomax.parameters())


@pytest.mark.parametrize("phase", ["forward", "noise"])
def test_both_parts_of_the_reward_are_of_a_sentence(task, phase):
    """--reward-per sentence: |S| times all of it, by hand, so that the part of InfoMax keeps its weight."""
    model, batch = pair_of(task, "ami_transformer", noise_scale=0.5), make_batch(task, PAIRS)
    settings = {"num_samples": 2, "reward_per": "sentence", "cosine_multiplier": "none"}
    plain, weighed = (make_criterion(task, infomax_weight=w, **settings) for w in (0.0, 0.3))
    without, log = (criterion(model, batch, Step(phase, 4))[2] for criterion in (plain, weighed))
    tokens = roll_out(model, batch, plain.sampling, 4, True, score=False).samples.tokens
    expected = 0.0
    with torch.no_grad():
        for number in range(2):
            terms = by_hand(model, "ami_transformer", [[t for t in row.tolist() if t > 2] for row in tokens[number::2]])
            sizes = batch["net_input"]["src_lengths"].tolist()
            expected += sum(size * sum(terms) / len(terms) for size, terms in zip(sizes, terms) if terms)
    assert without["reward_sum"].item() == pytest.approx(without["log_q_sum"].item(), rel=1e-6)
    assert (log["reward_sum"] - without["reward_sum"]).item() == pytest.approx(0.3 * expected, rel=1e-3)


@pytest.mark.parametrize("arch", ARCHS)
def test_one_sentence_has_nothing_to_be_contrasted_with(task, arch):
    """The last batch of an epoch may be one sentence: the rest of the objective goes on."""
    model, batch = pair_of(task, arch), make_batch(task, PAIRS[:1])
    for phase in ("backward", "forward"):
        loss, _, _ = make_criterion(task, infomax_weight=0.3)(model, batch, Step(phase, 3))
        expected, _, _ = make_criterion(task)(model, batch, Step(phase, 3))
        assert loss.item() == pytest.approx(expected.item())
        loss.backward()


def test_heads_belong_to_the_critic(task):
    model = pair_of(task, "ami_transformer")
    assert {p.param_group for p in model.infomax.parameters()} == {"backward"}
    model.set_players({"forward"})
    assert not any(p.requires_grad for p in model.infomax.parameters())
    model.set_players({"backward"})
    assert all(p.requires_grad for p in model.infomax.parameters())
    assert make_pair(task).infomax is None


def test_bad_settings(task):
    for objective in ("mle", "mmi-fixed"):
        with pytest.raises(AMIError, match=f"no effect with --objective {objective}"):
            make_criterion(task, infomax_weight=0.1, objective=objective)
    with pytest.raises(AMIError, match="--infomax-dim"):
        make_criterion(task, infomax_weight=0.1).check_model(make_pair(task))
    with pytest.raises(AMIError, match="must not be negative"):
        make_pair(task, infomax_dim=-1)
