"""The ancestral sampler against enumeration, and against a naive loop."""

import itertools
from dataclasses import replace

import pytest
import torch
from scipy import stats
from unit.tiny import make_batch, make_criterion, make_pair, make_task

from fairseq_ami.generation import rollout as rollouts
from fairseq_ami.generation.policy import Policy, draw
from fairseq_ami.generation.rollout import roll_out
from fairseq_ami.generation.sampler import previous_outputs, sample
from fairseq_ami.random_streams import Stream, stream_keys, uniform

BOS, PAD, EOS = 0, 1, 2
ARCHS = ["ami_transformer", "ami_lstm", "ami_hred"]


def draw_all(model, batch, policy, limits, update=0, k=1, seed=3):
    """Samples of the forward network without noise, as the criterion draws them."""
    net, ids = model.forward_model, batch["id"]
    out = model.encode(net, batch["net_input"]["src_tokens"], batch["net_input"]["src_lengths"])
    keys = stream_keys(seed, update, Stream.TOKENS, ids, k)
    return sample(net.decoder, out, net.encoder.reorder_encoder_out, policy, keys, limits, PAD, EOS)


def limit(batch, length):
    return torch.full((len(batch["id"]),), length)


def sentence(row):
    return tuple(row[row.ne(PAD)].tolist())


def truncated_probabilities(model, source, max_len, next_probs):
    """Every T' of at most *max_len* symbols and its probability, by prefix recursion with the stock decoder."""
    net = model.forward_model
    out = model.encode(net, source, torch.tensor([source.size(1)]))
    found, open_prefixes = {}, {(): 1.0}
    for length in range(1, max_len + 1):
        following = {}
        for prefix, probability in open_prefixes.items():
            if length == max_len:
                found[(*prefix, EOS)] = probability
                continue
            with torch.no_grad():
                logits = net.decoder(torch.tensor([[EOS, *prefix]]), encoder_out=out)[0][0, -1]
            for symbol, p in next_probs(logits).items():
                (found if symbol == EOS else following)[(*prefix, symbol)] = probability * p
        open_prefixes = following
    return found


def allowed(logits, temperature=1.0):
    """Softmax over the symbols that a text can hold, by hand."""
    weights = {s: float((logits[s] / temperature).exp()) for s in range(2, len(logits))}
    total = sum(weights.values())
    return {s: w / total for s, w in weights.items()}


def top_k(logits, k):
    kept = dict(sorted(allowed(logits).items(), key=lambda item: -item[1])[:k])
    return {s: p / sum(kept.values()) for s, p in kept.items()}


def top_p(logits, limit):
    kept, mass = {}, 0.0
    for s, p in sorted(allowed(logits).items(), key=lambda item: -item[1]):
        if mass < limit:
            kept[s], mass = p, mass + p
    return {s: p / mass for s, p in kept.items()}


POLICIES = {
    "plain": (Policy((PAD, BOS)), allowed),
    "temperature": (Policy((PAD, BOS), temperature=2.0), lambda logits: allowed(logits, 2.0)),
    "top-k": (Policy((PAD, BOS), topk=2), lambda logits: top_k(logits, 2)),
    "top-p": (Policy((PAD, BOS), topp=0.7), lambda logits: top_p(logits, 0.7)),
}


@pytest.mark.parametrize("name", POLICIES)
def test_frequencies_are_the_enumerated_probabilities(task, pair, name):
    """Chi-square of 6000 samples against the distribution of the truncated policy."""
    policy, next_probs = POLICIES[name]
    batch = make_batch(task, [([0, 2], [0])] * 6000)
    drawn = draw_all(pair, batch, policy, limit(batch, 3))
    expected = truncated_probabilities(pair, batch["net_input"]["src_tokens"][:1], 3, next_probs)
    counts = dict.fromkeys(expected, 0)
    for row in drawn.tokens:
        counts[sentence(row)] += 1  # a KeyError is a sentence that the policy cannot draw
    rare = [s for s, p in expected.items() if p * 6000 < 5]
    cells = [([s], expected[s]) for s in expected if s not in rare] + [(rare, sum(expected[s] for s in rare))]
    observed = [sum(counts[s] for s in group) for group, p in cells if p > 0]
    wanted = [6000 * p for _, p in cells if p > 0]
    assert sum(wanted) == pytest.approx(6000, rel=1e-4)
    scale = sum(observed) / sum(wanted)
    assert stats.chisquare(observed, [w * scale for w in wanted]).pvalue > 0.001


@pytest.mark.parametrize("scale, at_least", [(9.0, 1), (2.0, 65), (0.1, 513)])
def test_nucleus_of_a_large_vocabulary(scale, at_least):
    """Few, many or nearly all of 800 symbols: the rule by hand, row by row, whichever row needs most."""
    rows = torch.randn(3, 800, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale
    rows[1] *= 5
    got = Policy((PAD, BOS), topp=0.9).log_probs(rows).exp()
    want = [top_p(row, 0.9) for row in rows]
    assert [set(row.nonzero().flatten().tolist()) for row in got] == [set(kept) for kept in want]
    assert len(want[0]) >= at_least
    assert all(got[i][s] == pytest.approx(p, rel=1e-4) for i, kept in enumerate(want) for s, p in kept.items())


@pytest.mark.parametrize("name", POLICIES)
def test_policy_is_what_the_hand_written_rule_says(name):
    """log_probs of one logit vector: same support, same numbers."""
    policy, next_probs = POLICIES[name]
    logits = torch.tensor([9.0, 9.0, 0.3, -1.0, 1.2, 0.9])
    got = policy.log_probs(logits).exp()
    want = next_probs(logits)
    assert {s for s in range(6) if got[s] > 0} == set(want)
    for symbol, probability in want.items():
        assert float(got[symbol]) == pytest.approx(probability, rel=1e-5)


def test_draw_inverts_the_distribution_function():
    """A number below the first probability gives the first symbol with one, the last number the last such symbol."""
    log_probs = torch.tensor([[0.0, 0.25, 0.5, 0.0, 0.25, 0.0]]).log().expand(6, -1)
    numbers = torch.tensor([1e-7, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2.0**-24])
    assert draw(log_probs, numbers).tolist() == [1, 1, 2, 2, 4, 4]


@pytest.mark.parametrize("arch", ARCHS)
def test_equals_a_naive_loop_with_the_same_numbers(task, arch):
    """No cache, no dropping of finished rows, one sentence at a time: the same samples."""
    model = make_pair(task, arch=arch)
    batch = make_batch(task, [([0, 2, 1], [0]), ([1], [0]), ([2, 2], [1])] * 10)
    policy = Policy((PAD, BOS))
    drawn = draw_all(model, batch, policy, limit(batch, 6))
    keys = stream_keys(3, 0, Stream.TOKENS, batch["id"], 1)
    net = model.forward_model
    for row, tokens in enumerate(drawn.tokens):
        source = batch["net_input"]["src_tokens"][row]
        source = source[source.ne(PAD)].unsqueeze(0)
        prefix, chosen = [EOS], 0
        while len(prefix) < 6:
            out = model.encode(net, source, torch.tensor([source.size(1)]))
            with torch.no_grad():
                logits = net.decoder(torch.tensor([prefix]), encoder_out=out)[0][:, -1]
            number = uniform(keys[row : row + 1], 6)[:, len(prefix) - 1]
            prefix.append(int(draw(policy.log_probs(logits), number)))
            chosen += 1
            if prefix[-1] == EOS:
                break
        else:
            prefix.append(EOS)  # the limit
        assert sentence(tokens) == tuple(prefix[1:])
        assert int(drawn.actions[row].sum()) == chosen


def test_after_the_end_everything_is_padding(task, pair):
    """One end symbol a row, the last; only symbols that the policy chose are actions."""
    batch = make_batch(task, [([0, 2], [0])] * 300)
    drawn = draw_all(pair, batch, Policy((PAD, BOS)), limit(batch, 4))
    assert drawn.tokens.shape == drawn.actions.shape == (300, 4)
    forced = 0
    for tokens, actions in zip(drawn.tokens.tolist(), drawn.actions.tolist()):
        end = tokens.index(EOS)
        assert set(tokens[end + 1 :]) <= {PAD} and not set(tokens[:end]) & {PAD, BOS, EOS}
        assert actions == [place < 3 and place <= end for place in range(4)]
        forced += end == 3
    assert 0 < forced < 300


def test_all_samples_empty(task, pair):
    """A network that ends at once: one column, all of it chosen."""
    with torch.no_grad():
        pair.forward_model.decoder.output_projection.weight.zero_()
    batch = make_batch(task, [([0], [0])] * 4)
    drawn = draw_all(pair, batch, Policy((PAD, BOS, 3, 4, 5)), limit(batch, 5))
    assert drawn.tokens.tolist() == [[EOS]] * 4 and drawn.actions.all()


def test_length_limit_of_one_leaves_only_the_forced_end(task, pair):
    """Nothing is chosen, so nothing has a gradient."""
    batch = make_batch(task, [([0], [0])] * 4)
    drawn = draw_all(pair, batch, Policy((PAD, BOS)), limit(batch, 1))
    assert drawn.tokens.tolist() == [[EOS]] * 4 and not drawn.actions.any()


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("arch", ARCHS)
def test_rescored_log_prob_is_that_of_the_draws(task, arch, noise):
    """log P(T') recomputed in one pass = sum of log-probabilities of the chosen symbols, step by step."""
    model = make_pair(task, arch=arch, noise_scale=0.5)
    settings = replace(make_criterion(task, sample_topk=3, sample_temperature=1.3).sampling, max_len_b=5)
    batch = make_batch(task, [([0, 2, 1], [0]), ([1], [0, 1])])
    steps, policy = [], settings.policy

    class Spy(Policy):
        def log_probs(self, logits, drawn=None):
            steps.append(policy.log_probs(logits, drawn))
            return steps[-1]

    spy = Spy(policy.banned, policy.temperature, policy.topk, policy.topp)
    rollout = roll_out(model, batch, replace(settings, policy=spy), 0, noise, score=True)
    incremental = steps[:-1]  # the last call is that of the scoring pass
    totals, alive = torch.zeros(4), torch.arange(4)
    for place, log_probs in enumerate(incremental):
        chosen = rollout.samples.tokens[alive, place]
        totals[alive] += log_probs.gather(1, chosen.unsqueeze(1)).squeeze(1)
        alive = alive[chosen.ne(EOS)]
    assert torch.allclose(rollout.log_prob.flatten(), totals, atol=1e-5)


@pytest.mark.parametrize("policy", [Policy((PAD, BOS), topk=2), Policy((PAD, BOS), topp=0.7)], ids=str)
def test_a_drawn_symbol_outside_is_kept_beside_the_others(policy):
    """By hand: its weight joins the sum; one inside changes no bit; a banned symbol stays out."""
    logits = torch.tensor([9.0, 9.0, 2.0, 1.0, 0.5, -1.0]).expand(5, -1)
    drawn = torch.arange(1, 6)
    found = policy.log_probs(logits, drawn)
    plain = policy.log_probs(logits[0])
    assert plain[[2, 3]].isfinite().all() and plain[[4, 5]].isinf().all()
    assert all(torch.equal(row, plain) for row in found[:3])
    for row, symbol in zip(found[3:], (4, 5)):
        weights = torch.tensor([2.0, 1.0, logits[0, symbol]]).exp()
        assert torch.allclose(row[[2, 3, symbol]].exp(), weights / weights.sum())
        assert row.exp().sum().item() == pytest.approx(1.0)


def test_noise_and_words_are_drawn_independently(task, pair, monkeypatch):
    """Every sample has its own noise and its own words, and the two never share random numbers: the score function
    of the noise needs that. New ones at every update."""
    seen = []
    monkeypatch.setattr(rollouts, "sample", lambda *a: seen.append(a[4]) or sample(*a))
    monkeypatch.setattr(pair, "perturb", lambda out, keys: seen.append(keys) or type(pair).perturb(pair, out, keys))
    batch = make_batch(task, [([0, 2], [0]), ([1], [1])])
    for update in range(3):
        roll_out(pair, batch, make_criterion(task, num_samples=4).sampling, update, True, score=False)
    assert len(torch.cat(seen).unique()) == 3 * 2 * 2 * 4


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("noise", [False, True])
def test_samples_do_not_depend_on_the_batch(task, arch, noise):
    """The same T', log P and noise for a sentence alone, in company, with padding, and in another order; the
    length limit is that of its own source."""
    model = make_pair(task, arch=arch, noise_scale=0.5)
    pairs = [([0, 2, 1, 0, 0, 2, 1], [0]), ([1], [0, 1]), ([2, 2, 0], [1]), ([0], [1])]
    ids = [10, 11, 12, 13]
    criterion = make_criterion(task, sample_max_len_a=1.0, sample_max_len_b=1, num_samples=8)

    def drawn(rows):
        batch = make_batch(task, [pairs[r] for r in rows], [ids[r] for r in rows])
        rollout = roll_out(model, batch, criterion.sampling, 5, noise, score=True)
        found = {}
        for row, name in enumerate(batch["id"].tolist()):
            own = slice(row * 8, row * 8 + 8)
            tokens = [sentence(t) for t in rollout.samples.tokens[own]]
            found[name] = (tokens, rollout.log_prob[row].detach(), rollout.samples.actions[own].sum(1))
        return found

    together = drawn([0, 1, 2, 3])
    for rows in ([0], [1], [2], [3], [3, 1], [2, 0]):
        for name, (tokens, log_prob, actions) in drawn(rows).items():
            assert tokens == together[name][0]
            assert torch.allclose(log_prob, together[name][1], atol=1e-5)
            assert actions.tolist() == together[name][2].tolist()
    assert max(len(t) for t in together[11][0]) <= 3  # 1.0 * 2 source symbols + 1


def test_previous_outputs_shift_behind_the_end_symbol():
    """A written-out example: padding stays where the next symbol is padding."""
    tokens = torch.tensor([[5, 4, EOS], [4, EOS, PAD], [EOS, PAD, PAD]])
    assert previous_outputs(tokens, PAD, EOS).tolist() == [[EOS, 5, 4], [EOS, 4, PAD], [EOS, PAD, PAD]]


@pytest.mark.parametrize("arch", ARCHS)
def test_teacher_forced_takes_the_likeliest_word_after_each_gold_prefix(arch):
    """By hand: argmax after each prefix of T, cut at the first end; a forced end is no action."""
    task = make_task(target_words=4)
    model = make_pair(task, arch=arch)
    pairs = [([0, 2], list(t)) for t in itertools.product(range(4), repeat=2)] + [([1], [3])]
    batch = make_batch(task, pairs)
    settings = make_criterion(task, sampler="teacher-forced", num_samples=1, baseline="running-mean").sampling
    rollout = roll_out(model, batch, settings, 0, False, score=True)
    for row, name in enumerate(batch["id"].tolist()):
        source, target = ([4 + w for w in side] + [EOS] for side in pairs[name])
        previous = torch.tensor([[EOS] + target[:-1]])
        out = model.forward_model(torch.tensor([source]), torch.tensor([len(source)]), previous)
        best = out[0][0].clone()
        best[:, [BOS, PAD]] = float("-inf")
        best = best.argmax(-1).tolist()
        end = best.index(EOS) if EOS in best else len(best) - 1
        assert sentence(rollout.samples.tokens[row]) == (*best[:end], EOS)
        assert int(rollout.samples.actions[row].sum()) == end + (EOS in best)
