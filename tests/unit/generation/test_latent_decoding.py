"""Decoding from z against loops that read the whole prefix anew for each word, and against enumeration."""

import math
from types import SimpleNamespace

import pytest
import torch
from scipy import stats
from unit.tiny import dictionary

from fairseq_ami.errors import AMIError
from fairseq_ami.generation import latent_decoding
from fairseq_ami.generation.latent_decoding import DecodingOptions, generate
from fairseq_ami.models.text_vae_lstm import TextLMLSTM, TextLMLSTMConfig, TextVAELSTM, TextVAELSTMConfig
from fairseq_ami.models.text_vae_transformer import TextVAETransformer, TextVAETransformerConfig
from fairseq_ami.random_streams import stream_keys

BOS, PAD, EOS, UNK = range(4)
SIZES = {"embed_dim": 5, "hidden_size": 6, "num_layers": 2, "dropout": 0.0, "max_target_positions": 30}
TRANSFORMER_SIZES = {"embed_dim": 6, "ffn_dim": 8, "attention_heads": 2, "max_target_positions": 30, "dropout": 0.0}


def make_model(words=3, kind="vae", spread=6.0, **settings):
    """An untrained model whose distributions are far from uniform and depend on z."""
    torch.manual_seed(4)
    task = SimpleNamespace(dictionary=dictionary(words))
    if kind == "lm":
        model = TextLMLSTM.build_model(TextLMLSTMConfig(**{**SIZES, **settings}), task)
    elif kind == "transformer":
        cfg = TextVAETransformerConfig(latent_dim=3, **{**TRANSFORMER_SIZES, **settings})
        model = TextVAETransformer.build_model(cfg, task)
    else:
        model = TextVAELSTM.build_model(TextVAELSTMConfig(latent_dim=3, **{**SIZES, **settings}), task)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(spread if kind != "transformer" else 2.0)
        if kind != "transformer":
            model.decoder.output_projection.bias.uniform_(-1, 1)
    return model.eval()


def draw_z(model, rows):
    torch.manual_seed(5)
    return 2 * torch.randn(rows, model.latent_dim)


@torch.no_grad()
def next_logits(model, z, prefix):
    """Of one row, by one pass over the whole prefix: no incremental state."""
    tokens = torch.tensor([[EOS, *prefix]])
    features, _ = model.decoder.extract_features(tokens, encoder_out=model.condition(z.unsqueeze(0)))
    return model.decoder.output_layer(features)[0, -1].double()


def next_log_probs(model, z, prefix, banned=(BOS, PAD), temperature=1.0, topk=None):
    """{symbol: log-probability}, by hand."""
    logits = {s: float(x) / temperature for s, x in enumerate(next_logits(model, z, prefix)) if s not in banned}
    kept = sorted(logits, key=logits.get)[-topk:] if topk else list(logits)
    total = math.log(sum(math.exp(logits[s]) for s in kept))
    return {s: logits[s] - total for s in kept}


def enumerate_all(model, z, max_len, forced, **settings):
    """{sentence: log-probability} for all of at most *max_len* words; the last end symbol counts unless *forced*."""
    found, prefixes = {}, {(): 0.0}
    for length in range(max_len + 1):
        following = {}
        for prefix, so_far in prefixes.items():
            log_probs = next_log_probs(model, z, prefix, **settings)
            if length == max_len:
                found[prefix] = so_far + (0.0 if forced else log_probs[EOS])
                continue
            for symbol, value in log_probs.items():
                target, key = (found, prefix) if symbol == EOS else (following, (*prefix, symbol))
                target[key] = so_far + value
        prefixes = following
    return found


@pytest.mark.parametrize("kind", ["vae", "lm", "transformer"])
@pytest.mark.parametrize("unk", [True, False])
def test_greedy_is_the_likeliest_next_word_each_time(kind, unk):
    model = make_model(12, kind)
    z = draw_z(model, 2 if kind == "lm" else 25)
    banned = (BOS, PAD) if unk else (BOS, PAD, UNK)
    found = generate(model, z, 9, options=DecodingOptions(unk=unk), batch_size=10)
    for row, tokens in zip(z, found):
        expected = []
        while len(expected) < 9:
            log_probs = next_log_probs(model, row, expected, banned)
            best = max(log_probs, key=log_probs.get)
            if best == EOS:
                break
            expected.append(best)
        assert tokens.tolist() == expected
    lengths = {len(tokens) for tokens in found}
    assert kind != "vae" or (len(lengths) > 3 and 9 in lengths), "rows must end at different steps, some at the limit"


@pytest.mark.parametrize("lenpen", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["vae", "lm"])
def test_beam_finds_the_best_of_all_sentences(kind, lenpen):
    """A beam that holds all prefixes is exact. Impossible words only make the dictionary large enough for it."""
    model = make_model(20, kind, spread=4.0)
    model.decoder.output_projection.bias.data[6:] = -1e4
    model.decoder.output_projection.bias.data[EOS] -= 2.0  # or the empty sentence wins
    z = draw_z(model, 12 if kind == "vae" else 1)
    options = DecodingOptions(unk=False, beam=16, lenpen=lenpen)
    found, winners = generate(model, z, 3, "beam", options, batch_size=80), set()
    for row, tokens in zip(z, found):
        scores = enumerate_all(model, row, 3, False, banned=(BOS, PAD, UNK, *range(6, 24)))
        scores = {s: value / (len(s) + 1) ** lenpen for s, value in scores.items()}
        assert len(scores) == 1 + 2 + 4 + 8
        best = max(scores, key=scores.get)
        assert tuple(tokens.tolist()) == best
        winners.add(best)
    assert kind == "lm" or (len(winners) > 1 and (lenpen == 0 or max(map(len, winners)) == 3))


@pytest.mark.parametrize("kind", ["vae", "transformer"])
def test_beam_of_one_is_greedy_and_every_batch_gives_the_same(kind):
    model = make_model(12, kind)
    z = draw_z(model, 20)
    greedy = [tokens.tolist() for tokens in generate(model, z, 8)]
    assert [t.tolist() for t in generate(model, z, 8, "beam", DecodingOptions(beam=1))] == greedy
    beams = [[t.tolist() for t in generate(model, z, 8, "beam", batch_size=size)] for size in (5, 512)]
    assert beams[0] == beams[1]


@pytest.mark.parametrize(
    "kind, given",
    [("vae", {}), ("lm", {}), ("transformer", {}), ("vae", {"temperature": 0.6, "topk": 3})],
)
def test_sampled_frequencies_are_the_exact_probabilities(kind, given, monkeypatch):
    """Chi-square over all sentences of at most two words; a small block of rows crosses its borders."""
    monkeypatch.setattr(latent_decoding, "_ROWS", 700)
    model = make_model(2, kind, spread=4.0)
    z = draw_z(model, 1)
    count = 20000
    keys = stream_keys(1, 0, 0, torch.arange(count), 1)
    drawn = generate(model, z.expand(count, -1), 2, "sample", DecodingOptions(**given), keys, batch_size=6000)
    counts = {}
    for tokens in drawn:
        sentence = tuple(tokens.tolist())
        counts[sentence] = counts.get(sentence, 0) + 1
    exact = {s: math.exp(v) for s, v in enumerate_all(model, z[0], 2, True, **given).items()}
    assert sum(exact.values()) == pytest.approx(1.0)
    assert set(counts) <= set(exact)
    likely = [s for s, p in exact.items() if count * p >= 5]
    observed = [counts.get(s, 0) for s in likely]
    expected = [count * exact[s] for s in likely]
    rest = count - sum(expected)
    if rest > 1:
        observed, expected = [*observed, count - sum(observed)], [*expected, rest]
    assert len(likely) > 4
    assert stats.chisquare(observed, [e * sum(observed) / sum(expected) for e in expected]).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["vae", "transformer"])
def test_a_sample_depends_on_its_z_and_key_alone(kind):
    model = make_model(12, kind)
    z, keys = draw_z(model, 60), stream_keys(3, 0, 0, torch.arange(60), 1)
    whole = [tokens.tolist() for tokens in generate(model, z, 9, "sample", keys=keys)]
    assert [t.tolist() for t in generate(model, z, 9, "sample", keys=keys, batch_size=7)] == whole
    order = torch.randperm(60)
    again = generate(model, z[order], 9, "sample", keys=keys[order])
    assert [again[i].tolist() for i in order.argsort()] == whole
    assert [t.tolist() for t in generate(model, z, 9, "sample", keys=keys + 1)] != whole


def test_without_keys_torch_s_generator_decides():
    model = make_model(12)
    z = draw_z(model, 30)
    torch.manual_seed(7)
    first, second = ([t.tolist() for t in generate(model, z, 9, "sample")] for _ in range(2))
    torch.manual_seed(7)
    assert [t.tolist() for t in generate(model, z, 9, "sample")] == first != second


@pytest.mark.parametrize("kind", ["vae", "transformer"])
def test_incremental_decoding_equals_one_pass(kind):
    """Step by step; rows are dropped and exchanged in between."""
    model = make_model(12, kind).double()
    z = draw_z(model, 4).double()
    tokens = torch.randint(3, 16, (4, 6))
    tokens[:, 0] = EOS
    order = torch.tensor([3, 0, 2])
    with torch.no_grad():
        whole = model.decoder(tokens, encoder_out=model.condition(z))[0]
        state, condition = {}, model.condition(z)
        for length in range(1, 7):
            if length == 4:
                tokens, whole = tokens[order], whole[order]
                condition = model.decoder.reorder_condition(condition, order)
                model.decoder.reorder_incremental_state_scripting(state, order)
            step = model.decoder(tokens[:, :length], encoder_out=condition, incremental_state=state)[0]
            # the Transformer's positions are in float32
            torch.testing.assert_close(step[:, -1], whole[:, length - 1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_special_symbols_are_never_generated(method):
    """Even where they are by far the likeliest."""
    model = make_model(5)
    model.decoder.output_projection.bias.data[[BOS, PAD, UNK]] = 50.0
    z = draw_z(model, 40)
    assert {UNK} == set(torch.cat(generate(model, z, 4, method)).tolist())
    words = set(torch.cat(generate(model, z, 4, method, DecodingOptions(unk=False))).tolist())
    assert words and words <= set(range(4, 9))


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_dropout_is_off_and_training_goes_on(method):
    model = make_model(12, dropout=0.9).train()
    z, keys = draw_z(model, 20), torch.arange(20)
    during = [t.tolist() for t in generate(model, z, 6, method, keys=keys)]
    assert model.training and model.decoder.dropout_in.training
    assert [t.tolist() for t in generate(model.eval(), z, 6, method, keys=keys)] == during
    assert not model.training


def test_nothing_in_nothing_out():
    assert generate(make_model(), torch.zeros(0, 3), 5) == []


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: generate(m, draw_z(m, 1), 5, "best"), "unknown decoding 'best'"),
        (lambda m: generate(m, draw_z(m, 1), 30), "sentences of 30 words: this model makes 1 to 29"),
        (lambda m: DecodingOptions(temperature=0.0), "temperature"),
        (lambda m: DecodingOptions(topp=0.0), "top-p"),
        (lambda m: DecodingOptions(beam=0), "beam"),
    ],
)
def test_what_cannot_work_is_refused(call, message):
    with pytest.raises(AMIError, match=message):
        call(make_model())
