"""Reranking: terms, choices and tuning on hand-made lists; backward scores against a loop over single tokens."""

from types import SimpleNamespace

import numpy as np
import pytest
import sacrebleu
import torch
from unit.tiny import make_pair, make_task

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.reranking.nbest import Candidates, Hypothesis
from fairseq_ami.tools.reranking.scores import (
    Features,
    backward_log_probs,
    bleu_counts,
    features,
    picked,
    tune,
)

GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def hypothesis(text="x", score=-1.0, length=2, log_prob=None):
    return Hypothesis(torch.arange(length), score, log_prob, text)


def entry(*hypotheses, reference=None, source_length=4):
    return Candidates(torch.arange(source_length), reference, hypotheses)


# ---------------------------------------------------------------------- terms


def test_terms_per_token():
    lists = [entry(hypothesis(score=-0.5, length=6, log_prob=-3.0), hypothesis(score=-0.75, length=2), source_length=4)]
    found = features(lists, [np.array([-8.0, -2.0])], "per-token")
    np.testing.assert_array_equal(found.forward, [[-0.5, -0.75]])
    np.testing.assert_array_equal(found.backward, [[-2.0, -0.5]])
    np.testing.assert_array_equal(found.length, [[1.5, 0.5]])


def test_terms_as_sums():
    lists = [entry(hypothesis(score=-0.5, length=6, log_prob=-3.0), source_length=4)]
    found = features(lists, [np.array([-8.0])], "sum")
    assert (found.forward, found.backward, found.length) == ([[-3.0]], [[-8.0]], [[6.0]])


def test_sums_need_the_log_probability():
    with pytest.raises(AMIError, match="P- lines"):
        features([entry(hypothesis(log_prob=None))], [np.array([-1.0])], "sum")


@pytest.mark.parametrize("weight", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("broken", [float("nan"), float("-inf")])
def test_a_score_that_is_no_number_never_wins(broken, weight):
    lists = [entry(hypothesis(score=broken), hypothesis(score=-9.0)), entry(hypothesis(), hypothesis(score=-9.0))]
    found = features(lists, [np.array([-1.0, -1.0]), np.array([broken, -1.0])])
    np.testing.assert_array_equal(found.choose(weight, 0.0), [1, 1])


def test_an_empty_hypothesis_and_a_shorter_list_are_ranked_like_others():
    empty = hypothesis(text="", score=-0.1, length=1)
    lists = [entry(hypothesis(score=-0.2), empty), entry(hypothesis(score=-5.0))]
    found = features(lists, [np.array([-4.0, -40.0]), np.array([-4.0])])
    assert picked(lists, found.choose(0.0, 0.0)) == ["", "x"]
    assert picked(lists, found.choose(1.0, 0.0)) == ["x", "x"]


# ---------------------------------------------------------------------- choices


def test_each_weight_moves_the_choice_where_arithmetic_says():
    # forward -1 and -2, backward -4 and -2: equal at lambda 0.5; lengths 2 and 5: equal at gamma 1/3
    found = Features(np.array([[-1.0, -2.0]]), np.array([[-4.0, -2.0]]), np.array([[2.0, 5.0]]))
    assert [int(found.choose(lam, 0.0)[0]) for lam in (0.0, 0.49, 0.51)] == [0, 0, 1]
    assert [int(found.choose(0.0, gamma)[0]) for gamma in (0.0, 0.33, 0.34)] == [0, 0, 1]
    np.testing.assert_array_equal(found.choose_each(np.array([0.0, 0.49, 0.51]), 0.0), [[0], [0], [1]])


def test_the_first_of_equals_wins():
    found = Features(np.zeros((2, 3)), np.array([[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), np.zeros((2, 3)))
    np.testing.assert_array_equal(found.choose(1.0, 0.0), [0, 1])


# ---------------------------------------------------------------------- tuning


def known_optimum():
    """Only 0.4 < lambda < 0.6 picks both references: 0.5 of the grid."""
    good, bad = "a b c d e", "v w x y z"
    first = entry(hypothesis(bad, -1.0), hypothesis(good, -1.4), reference=good, source_length=1)
    second = entry(hypothesis(good, -1.0), hypothesis(bad, -1.6), reference=good, source_length=1)
    lists = [first, second]
    return lists, features(lists, [np.array([-2.0, -1.0])] * 2), bleu_counts(lists)


def test_tuning_finds_the_known_lambda():
    lists, found, counts = known_optimum()
    tuned = tune(found, counts, GRID, (0.0,))
    assert (tuned.weight, tuned.length_weight) == (0.5, 0.0)
    assert tuned.bleu == pytest.approx(100.0)
    # elsewhere one of two sentences of five words matches, so half of the n-grams of each order
    assert [bleu for _, _, bleu in tuned.grid] == pytest.approx([50.0, 50.0, 100.0, 50.0, 50.0])
    assert picked(lists, found.choose(0.5, 0.0)) == ["a b c d e"] * 2


def test_equal_bleu_takes_the_weights_nearest_to_zero():
    lists = [entry(hypothesis("a b c d"), hypothesis("a b c d", -2.0), reference="a b c d")]
    found, counts = features(lists, [np.array([-1.0, -1.0])]), bleu_counts(lists)
    tuned = tune(found, counts, (-0.5, 0.0, 0.5), (-1.0, 0.0, 1.0))
    assert (tuned.weight, tuned.length_weight) == (0.0, 0.0)
    tuned = tune(found, counts, (-0.5, 0.5), (-1.0, 1.0))
    assert (tuned.weight, tuned.length_weight) == (0.5, 1.0)


def random_lists(seed, sources=30):
    rng = np.random.default_rng(seed)
    words = np.array(["a", "b", "c", "d"])
    lists, backward = [], []
    for _ in range(sources):
        texts = [" ".join(rng.choice(words, rng.integers(0, 8))) for _ in range(rng.integers(1, 6))]
        hypotheses = [hypothesis(text, -rng.random(), len(text.split()) + 1) for text in texts]
        hypotheses.sort(key=lambda h: -h.score)
        lists.append(entry(*hypotheses, reference=" ".join(rng.choice(words, 6))))
        backward.append(-10 * rng.random(len(texts)))
    return lists, backward


@pytest.mark.parametrize("seed", range(5))
def test_tuned_is_never_worse_than_no_reranking(seed):
    lists, backward = random_lists(seed)
    found, counts = features(lists, backward), bleu_counts(lists)
    tuned = tune(found, counts, GRID, (-0.1, 0.0, 0.1))
    assert tuned.bleu >= counts.bleu(np.zeros(len(lists), dtype=int)).score
    assert tuned.bleu == max(bleu for _, _, bleu in tuned.grid)
    assert tuned == tune(found, counts, GRID, (-0.1, 0.0, 0.1))


def test_counts_give_the_bleu_of_sacrebleu():
    lists, _ = random_lists(7)
    counts = bleu_counts(lists)
    choice = np.array([len(one.hypotheses) - 1 for one in lists])
    references = [one.reference for one in lists]
    expected = sacrebleu.corpus_bleu(picked(lists, choice), [references], force=True)
    assert counts.bleu(choice).score == expected.score
    assert counts.bleu(choice).bp == expected.bp
    assert counts.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")


def test_the_interval_of_the_gain():
    lists, found, counts = known_optimum()
    first, best = np.array([0, 0]), np.array([1, 0])
    assert counts.gain_interval(first, first) == (0.0, 0.0)
    # a resampled corpus has 0, 1 or 2 of the sentence that was mended: BLEU 0, 50 or 100 more
    assert counts.gain_interval(first, best) == pytest.approx((0.0, 100.0))
    assert counts.gain_interval(best, first) == pytest.approx((-100.0, 0.0))


def test_bleu_without_references_is_refused():
    with pytest.raises(AMIError, match="references"):
        bleu_counts([entry(hypothesis())])


# ---------------------------------------------------------------------- log Q(S|T')


class ScoringTask(SimpleNamespace):
    """The part of a translation task that batching asks for."""

    def max_positions(self):
        return 20, 20

    def get_batch_iterator(self, **settings):
        from fairseq.tasks import FairseqTask

        return FairseqTask.get_batch_iterator(self, **settings)

    can_reuse_epoch_itr = staticmethod(lambda dataset: False)

    def filter_indices_by_size(self, *args):
        from fairseq.tasks import FairseqTask

        return FairseqTask.filter_indices_by_size(self, *args)


def scoring(arch, max_tokens):
    forward = make_task()
    pair = make_pair(forward, arch).eval()
    task = ScoringTask(
        source_dictionary=forward.target_dictionary,
        target_dictionary=forward.source_dictionary,
        cfg=SimpleNamespace(left_pad_source=True, left_pad_target=False),
    )
    cfg = SimpleNamespace(
        dataset=SimpleNamespace(max_tokens=max_tokens, batch_size=None, num_workers=0, data_buffer_size=0),
        common=SimpleNamespace(seed=1, log_format="none", log_interval=1, no_progress_bar=True),
    )
    return task, pair.backward_model, cfg


def words(*indices):
    return torch.tensor([4 + index for index in indices] + [2])


@torch.no_grad()
def one_by_one(network, hypothesis_tokens, source):
    """log Q(S|T') from one unpadded sentence and one prefix at a time."""
    encoder_out = network.encoder(hypothesis_tokens[None], src_lengths=torch.tensor([len(hypothesis_tokens)]))
    prefix, total = [2], 0.0
    for token in source.tolist():
        logits = network.decoder(torch.tensor([prefix]), encoder_out=encoder_out)[0][0, -1].double()
        total += float(logits[token] - logits.logsumexp(0))
        prefix.append(token)
    return total


@pytest.mark.parametrize("max_tokens", [6, 1000])  # many batches, or one with all the padding
@pytest.mark.parametrize("arch", ["ami_transformer", "ami_lstm"])
def test_backward_scores_in_the_order_of_the_lists(arch, max_tokens):
    task, network, cfg = scoring(arch, max_tokens)
    first = [words(0, 1, 1, 0), words(1), words()]  # the last one is an empty hypothesis
    second = [words(1, 1), words(0, 1, 0)]
    sources = [words(2, 0), words(1, 2, 0, 0, 1)]
    lists = [
        Candidates(source, None, tuple(Hypothesis(tokens, -1.0, None, "") for tokens in group))
        for source, group in zip(sources, (first, second))
    ]
    found = backward_log_probs(lists, task, [network], cfg, "test")
    assert [len(scores) for scores in found] == [3, 2]
    for scores, source, group in zip(found, sources, (first, second)):
        expected = [one_by_one(network, tokens, source) for tokens in group]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_hypothesis_that_the_backward_network_cannot_read():
    task, network, cfg = scoring("ami_transformer", 1000)
    lists = [Candidates(words(0), None, (Hypothesis(words(*[1] * 25), -1.0, None, ""),))]
    with pytest.raises(AMIError, match="26 symbols.*--max-len-b"):
        backward_log_probs(lists, task, [network], cfg, "test")
