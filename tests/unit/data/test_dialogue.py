"""Histories, separators, and what the backward network reads and writes, on a dialogue written out."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_REGISTRY
from fairseq.optim import build_optimizer
from fairseq.optim.lr_scheduler import build_lr_scheduler
from unit.tiny import make_criterion, make_pair

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.data.dialogue import SEPARATOR, Dialogue, DialogueDataset, Example, examples, joined
from fairseq_ami.generation.rollout import backward_log_likelihood, roll_out
from fairseq_ami.models.pair_latent import LSTMLatent
from fairseq_ami.optim.inner import player_config

ARCHS = ["ami_transformer", "ami_lstm"]
PAD, EOS = 1, 2
SEP, A, B, C, D, E, F = range(4, 11)  # symbols of the dictionary below
# (history, reply): three utterances, one, two with an empty last one, two
PAIRS = [
    ([A, B, SEP, C, SEP, D, E], [F, A]),
    ([B, C, D], [E]),
    ([F, SEP], [A, B, C]),
    ([A, SEP, B], [D]),
]


def dictionary():
    words = Dictionary()
    for word in (SEPARATOR, *"abcdef"):
        words.add_symbol(word)
    return words


def make_dataset(pairs=PAIRS, limit=20, backward_limits=(20, 20)):
    words = dictionary()
    sides = [[torch.tensor([*pair[side], EOS]) for pair in pairs] for side in (0, 1)]
    sizes = [[len(tokens) for tokens in side] for side in sides]
    stock = LanguagePairDataset(sides[0], sizes[0], words, sides[1], sizes[1], words, shuffle=False)
    return DialogueDataset(stock, SEP, limit, backward_limits)


def make_batch(**limits):
    """fairseq's collation, which sorts by the length of the history: rows 0, 1, 3, 2 (equal lengths in any order)."""
    data = make_dataset(**limits)
    batch = data.collater([data[i] for i in range(len(data))])
    return batch, batch["id"].tolist()


def dialogue_task():
    words = dictionary()
    cfg = SimpleNamespace(source_lang="hist", target_lang="reply")
    return SimpleNamespace(source_dictionary=words, target_dictionary=words, cfg=cfg, separators=(SEP,),
                           backward_languages=("context", "last"))  # fmt: skip


# ---------------------------------------------------------------------- histories


def test_histories_of_a_dialogue():
    """The last utterances before each reply; a silence is not one of them."""
    talk = Dialogue(("a", "b", "", "c", "d"), (1, 2, 3, 4))
    assert list(examples(talk, 2)) == [
        Example(("a",), "b"),
        Example(("a", "b"), ""),
        Example(("a", "b"), "c"),
        Example(("b", "c"), "d"),
    ]
    assert list(examples(talk, 1))[-1] == Example(("c",), "d")
    assert list(examples(talk, 9))[-1] == Example(("a", "b", "c"), "d")


def test_persona_stands_before_the_history_and_does_not_count():
    talk = Dialogue(("", "b", "c", "d"), (1, 3), ("p", "q"))
    assert list(examples(talk, 1)) == [Example((), "b"), Example(("p", "q", "c"), "d")]
    assert joined(("p", "q", "c")) == "p <sep> q <sep> c"


# ---------------------------------------------------------------------- batches


def test_reversed_batch_written_out():
    """Context before the reply, padded on the left; the last utterance, padded on the right."""
    batch, order = make_batch()
    assert order == [0, 1, 3, 2]
    assert batch["net_input"]["src_tokens"].tolist() == [
        [A, B, SEP, C, SEP, D, E, EOS],
        [PAD] * 4 + [B, C, D, EOS],
        [PAD] * 4 + [A, SEP, B, EOS],
        [PAD] * 5 + [F, SEP, EOS],
    ]
    got = batch["reverse"]
    assert got["net_input"]["src_tokens"].tolist() == [
        [A, B, SEP, C, SEP, F, A, EOS],
        [PAD] * 6 + [E, EOS],
        [PAD] * 4 + [A, SEP, D, EOS],
        [PAD] * 2 + [F, SEP, A, B, C, EOS],
    ]
    assert got["net_input"]["src_lengths"].tolist() == [8, 2, 4, 6]
    assert got["target"].tolist() == [[D, E, EOS, PAD], [B, C, D, EOS], [B, EOS, PAD, PAD], [EOS, PAD, PAD, PAD]]
    assert got["net_input"]["prev_output_tokens"].tolist() == [
        [EOS, D, E, PAD],
        [EOS, B, C, D],
        [EOS, B, PAD, PAD],
        [EOS, PAD, PAD, PAD],
    ]
    assert got["context"].tolist() == [[A, B, SEP, C, SEP], [PAD] * 5, [PAD] * 3 + [A, SEP], [PAD] * 3 + [F, SEP]]
    assert got["ntokens"] == 3 + 4 + 2 + 1 and got["nsentences"] == 4
    assert got["id"].tolist() == order


def test_histories_without_context():
    """Every history is one utterance: plain pairs, exchanged."""
    data = make_dataset([([A, B], [C]), ([D], [E, F])])
    got = data.collater([data[0], data[1]])["reverse"]
    assert got["net_input"]["src_tokens"].tolist() == [[PAD, C, EOS], [E, F, EOS]]
    assert got["target"].tolist() == [[A, B, EOS], [D, EOS, PAD]]


class Recorder:
    """In a pair's place: notes what the backward network is given."""

    backward_model = None

    def log_likelihood(self, network, net_input, target):
        self.inputs = net_input
        return -target.ne(PAD).float()


SAMPLES = torch.tensor([  # two for each row; the second one of row 0 is empty, the first of row 1 is the longest
    [B, EOS, PAD], [EOS, PAD, PAD], [F, F, EOS], [C, EOS, PAD],
    [A, B, EOS], [EOS, PAD, PAD], [EOS, PAD, PAD], [D, EOS, PAD],
])  # fmt: skip


def test_samples_after_their_contexts():
    """Sources of the backward network for sampled replies, and its targets once for each sample."""
    batch, _ = make_batch()
    model = Recorder()
    log_q = backward_log_likelihood(model, SAMPLES, batch["reverse"], PAD)
    assert model.inputs["src_tokens"].tolist() == [
        [A, B, SEP, C, SEP, B, EOS],
        [PAD, A, B, SEP, C, SEP, EOS],
        [PAD] * 4 + [F, F, EOS],
        [PAD] * 5 + [C, EOS],
        [PAD] * 2 + [A, SEP, A, B, EOS],
        [PAD] * 4 + [A, SEP, EOS],
        [PAD] * 4 + [F, SEP, EOS],
        [PAD] * 3 + [F, SEP, D, EOS],
    ]
    assert model.inputs["src_lengths"].tolist() == [7, 6, 3, 2, 5, 3, 3, 4]
    assert model.inputs["prev_output_tokens"][[1, 3]].tolist() == [[EOS, D, E, PAD], [EOS, B, C, D]]
    assert log_q.ne(0).sum(1).tolist() == [3, 3, 4, 4, 2, 2, 1, 1]


def test_long_histories_lose_their_oldest_words():
    """On both networks' sides; a separator that would stand first goes as well."""
    batch, order = make_batch(limit=5, backward_limits=(4, 20))
    rows = {number: row[row.ne(PAD)].tolist() for number, row in zip(order, batch["net_input"]["src_tokens"])}
    assert rows == {0: [C, SEP, D, E, EOS], 1: [B, C, D, EOS], 3: [A, SEP, B, EOS], 2: [F, SEP, EOS]}
    got = batch["reverse"]
    rows = {number: row[row.ne(PAD)].tolist() for number, row in zip(order, got["net_input"]["src_tokens"])}
    assert rows == {0: [SEP, F, A, EOS], 1: [E, EOS], 3: [A, SEP, D, EOS], 2: [A, B, C, EOS]}
    assert got["net_input"]["src_lengths"].tolist() == [len(rows[number]) for number in order]
    assert make_dataset(limit=4)[0]["source"].tolist() == [D, E, EOS]
    data = make_dataset(limit=5)
    assert data.src.cut == 1 and data.src_sizes.tolist() == [5, 4, 3, 4]


def test_last_utterances_that_are_too_long():
    """Their first words are the target, without an end that they do not have there. What is read stays as it is."""
    batch, order = make_batch(backward_limits=(20, 2))
    whole, _ = make_batch()
    got = batch["reverse"]
    rows = {number: row[row.ne(PAD)].tolist() for number, row in zip(order, got["target"])}
    assert rows == {0: [D, E], 1: [B, C], 3: [B, EOS], 2: [EOS]}
    previous = {n: row[row.ne(PAD)].tolist() for n, row in zip(order, got["net_input"]["prev_output_tokens"])}
    assert previous == {0: [EOS, D], 1: [EOS, B], 3: [EOS, B], 2: [EOS]}
    assert got["ntokens"] == 2 + 2 + 2 + 1
    assert torch.equal(got["context"], whole["reverse"]["context"])
    assert torch.equal(got["net_input"]["src_tokens"], whole["reverse"]["net_input"]["src_tokens"])
    assert [make_dataset(backward_limits=(20, limit)).unfinished for limit in (1, 2, 3, 4)] == [3, 2, 1, 0]


def test_samples_too_long_with_their_context():
    batch, order = make_batch(backward_limits=(4, 20))
    model = Recorder()
    backward_log_likelihood(model, SAMPLES, batch["reverse"], PAD)
    rows = [row[row.ne(PAD)].tolist() for row in model.inputs["src_tokens"]]
    assert rows[:2] == [[C, SEP, B, EOS], [SEP, C, SEP, EOS]] and rows[4] == [SEP, A, B, EOS]
    assert model.inputs["src_lengths"].tolist() == [len(row) for row in rows]


# ---------------------------------------------------------------------- networks


def stock_log_q(network, source, target):
    """log probability of *target* by a stock network, one unpadded sentence."""
    with torch.no_grad():
        logits = network(torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([[EOS] + target[:-1]]))[0][0]
    return sum(torch.log_softmax(logits[i], -1)[t].item() for i, t in enumerate(target))


def by_hand(pair, reply):
    """Source and target of the backward network for a history and a reply with its end symbol."""
    history = list(pair[0])
    cut = max((i for i, word in enumerate(history) if word == SEP), default=-1) + 1
    return history[:cut] + reply, [*history[cut:], EOS]


@pytest.mark.parametrize("arch", ARCHS)
def test_log_q_of_samples_and_of_real_replies(arch):
    """What the criterion adds up is what the stock network says of sources put together by hand."""
    task = dialogue_task()
    model = make_pair(task, arch=arch)
    criterion = make_criterion(task, num_samples=3, sample_max_len_b=6)
    batch, order = make_batch()
    rollout = roll_out(model, batch, criterion.sampling, 4, True, score=False)
    samples = [row[row.ne(PAD)].tolist() for row in rollout.samples.tokens]
    assert len({tuple(sample) for sample in samples}) > 3
    fake = [stock_log_q(model.backward_model, *by_hand(PAIRS[order[i // 3]], s)) for i, s in enumerate(samples)]
    real = [stock_log_q(model.backward_model, *by_hand(PAIRS[n], [*PAIRS[n][1], EOS])) for n in order]
    _, _, log = criterion(model, batch, Step("forward", 4))
    assert float(log["log_q_sum"]) == pytest.approx(sum(fake), rel=1e-4)
    lengths = [len(by_hand(PAIRS[n], [])[1]) for n in order]
    multipliers = criterion.multiplier(model, batch, rollout).tolist()
    rewards = [k * q / lengths[i // 3] for i, (k, q) in enumerate(zip(multipliers, fake))]
    assert float(log["reward_sum"]) == pytest.approx(sum(rewards), rel=1e-4)
    _, size, log = criterion(model, batch, Step("backward", 4))
    assert size == log["source_tokens"] == sum(lengths)
    assert float(log["backward_nll_real"]) == pytest.approx(-sum(real), rel=1e-4)
    _, _, log = criterion(model.eval(), batch)
    assert float(log["backward_nll_real"]) == pytest.approx(-sum(real), rel=1e-4)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_separator_is_never_drawn(arch):
    """However likely the network finds it; the rest of the distribution adds up to one."""
    task = dialogue_task()
    model = make_pair(task, arch=arch)
    settings = make_criterion(task, num_samples=50, sample_max_len_b=6).sampling
    decoder = model.forward_model.decoder
    batch, _ = make_batch()
    normal = roll_out(model, batch, settings, 1, False, score=True)
    assert not normal.samples.tokens.eq(SEP).any()
    last = decoder.fc_out if arch == "ami_lstm" else decoder.output_projection
    last.register_forward_hook(lambda module, inputs, out: out + 50.0 * torch.eye(11)[SEP])
    again = roll_out(model, batch, settings, 1, False, score=True)
    assert torch.equal(again.samples.tokens, normal.samples.tokens)
    torch.testing.assert_close(again.log_prob, normal.log_prob, rtol=1e-4, atol=1e-4)


def test_teacher_forced_samples_that_all_end_early():
    """No column of padding alone is left: fairseq's LSTM takes none."""
    model = make_pair(dialogue_task(), arch="ami_lstm")
    batch, _ = make_batch()
    tokens = torch.full((4, 6), PAD)
    tokens[:, 0] = EOS
    plain = {key: value for key, value in batch["reverse"].items() if key != "context"}
    log_q = backward_log_likelihood(model, tokens, plain, PAD)
    want = [stock_log_q(model.backward_model, [EOS], row[row.ne(PAD)].tolist()) for row in plain["target"]]
    assert log_q.sum(1).tolist() == pytest.approx(want, rel=1e-4)


# ---------------------------------------------------------------------- ami_lstm


def test_latent_of_the_lstm_is_both_directions_final_states():
    """Hidden and cell states, forward direction first, by torch's own LSTM on each sentence alone."""
    model = make_pair(dialogue_task(), arch="ami_lstm", encoder_layers=2, decoder_layers=2).eval()
    encoder = model.forward_model.encoder
    batch, _ = make_batch()
    tokens, lengths = batch["net_input"]["src_tokens"], batch["net_input"]["src_lengths"]
    z, mask = LSTMLatent.get(model.encode(model.forward_model, tokens, lengths))
    assert mask is None and z.shape == (4, 4, 8)
    for row, sentence in enumerate(tokens):
        words = sentence[sentence.ne(PAD)].unsqueeze(1)
        _, states = encoder.lstm(encoder.embed_tokens(words))
        # torch: (layers * directions, batch, hidden)
        want = torch.cat([state.view(2, 2, 4).flatten(1) for state in states])
        torch.testing.assert_close(z[:, row], want)


def test_lengths_in_any_order():
    """Logits of each row, whatever the order of the rows."""
    model = make_pair(dialogue_task(), arch="ami_lstm").eval()
    batch, _ = make_batch()
    reverse = batch["reverse"]["net_input"]
    assert reverse["src_lengths"].tolist() != sorted(reverse["src_lengths"].tolist(), reverse=True)
    order = reverse["src_lengths"].argsort(descending=True)
    logits = model.run(model.backward_model, reverse)
    ordered = model.run(model.backward_model, {key: value[order] for key, value in reverse.items()})
    torch.testing.assert_close(ordered, logits[order])


def test_learning_rate_of_the_paper():
    """1.0, from update 15000 on times 0.95 every 5000 updates (appendix B.1), by fairseq's step scheduler."""
    args = '{"warmup_updates": 10000, "warmup_init_lr": 1.0, "lr_deacy_period": 5000, "lr_decay": 0.95}'
    cfg = SimpleNamespace(
        forward_lr=1.0, lr=[0.25], inner_optimizer="sgd", inner_optimizer_args="{}", inner_lr_scheduler="step",
        inner_lr_scheduler_args=args,
    )  # fmt: skip
    config = player_config(cfg, "forward")
    optimizer = build_optimizer(config.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    scheduler = build_lr_scheduler(config.lr_scheduler, optimizer)
    want = {0: 1.0, 9999: 1.0, 14999: 1.0, 15000: 0.95, 19999: 0.95, 20000: 0.95**2, 100000: 0.95**18}
    for update, rate in want.items():
        scheduler.step_update(update)
        assert optimizer.get_lr() == pytest.approx(rate)


def test_sizes_of_the_paper():
    """Two layers of 500, dropout 0.3, bi-directional encoder (appendix B.1)."""
    args = Namespace(arch="ami_lstm_dialog")
    ARCH_CONFIG_REGISTRY["ami_lstm_dialog"](args)
    model = MODEL_REGISTRY["ami_lstm"].build_model(args, dialogue_task())
    for network in (model.forward_model, model.backward_model):
        assert network.encoder.lstm.bidirectional and network.encoder.lstm.num_layers == 2
        assert network.encoder.lstm.hidden_size == 500 and network.encoder.output_units == 1000
        assert len(network.decoder.layers) == 2 and network.decoder.layers[0].hidden_size == 500
        assert network.encoder.dropout_in_module.p == network.decoder.dropout_out_module.p == 0.3
