"""Expressions, and the rows of a table of four samples that can be judged by hand."""

from types import SimpleNamespace

import pytest
import sacrebleu
import torch
from scipy.stats import spearmanr

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.ceiling.drawing import Drawn, Told
from fairseq_ami.tools.ceiling.expressions import check_networks, names_of, parse_expressions, usual, weighted
from fairseq_ami.tools.ceiling.table import BEAM, CHANCE, LENGTHS, table

REFERENCE = "the small dog runs home ."
TEXTS = ["the small dog runs home !", "a dog runs", "the small dog", "cats"]


def test_expressions():
    found = parse_expressions(["log-q=1,log-p=2", "k-log-q", "chrf", "k-log-q"])
    assert found == {"log-q=1,log-p=2": {"log-q": 1.0, "log-p": 2.0}, "k-log-q": {"k-log-q": 1.0}, "chrf": {"chrf": 1}}
    assert names_of(found) == ["log-q", "log-p", "k-log-q", "chrf"]
    parts = {"log-q": torch.tensor([[1.0, 2.0]]), "log-p": torch.tensor([[-1.0, 0.5]])}
    assert weighted(found["log-q=1,log-p=2"], parts).tolist() == [[-1.0, 3.0]]


def test_an_unknown_reward_is_told_all_names():
    with pytest.raises(
        AMIError, match="no reward 'log-r'; choose from .*bleu, log-p, k-log-q, k, length, or name a function"
    ):
        parse_expressions(["log-q", "log-r"])


def test_rewards_that_the_networks_cannot_give():
    alone, plain = SimpleNamespace(backward_model=None, infomax=None), SimpleNamespace(backward_model=1, infomax=None)
    for name in ("log-q", "k-log-q", "infomax"):
        with pytest.raises(AMIError, match=f"--reward {name} needs a backward network, and x.pt has none.*--backward"):
            check_networks(parse_expressions([f"chrf=1,{name}=2"]), alone, "x.pt")
    with pytest.raises(AMIError, match="--infomax-dim"):
        check_networks(parse_expressions(["infomax"]), plain, "x.pt")
    check_networks(usual(plain), plain, "x.pt")
    check_networks(usual(alone), alone, "x.pt")
    assert set(usual(plain)) > set(usual(alone)) == {"log-p", "chrf", "bleu"}


@pytest.fixture
def told():
    """One source; the reward ranks the samples as quality does, and a second one by length."""
    rewards = {"good": torch.tensor([[3.0, 1.0, 2.0, 0.0]]), "long": torch.tensor([[7.0, 4.0, 4.0, 2.0]])}
    drawn = Drawn([TEXTS], torch.tensor([[7, 4, 4, 2]]), torch.arange(4)[None], rewards)
    return Told(10, 2, [REFERENCE], ["the small dog runs home ."], {0.5: drawn})


def test_rows(told):
    found = table("x.pt", "valid", told, {"good": {"good": 1.0}, "long": {"long": 2.0}}, LENGTHS, "none")
    assert [(row.picked_by, row.reward_length) for row in found.rows] == [
        (BEAM, None), (CHANCE, None), ("good", "as-is"), ("good", "neutral"), ("long", "as-is"), ("long", "neutral"),
    ]  # fmt: skip
    beam, chance, good, _, long, neutral = found.rows
    score = sacrebleu.corpus_bleu([TEXTS[0]], [[REFERENCE]], tokenize="none", force=True)
    assert (beam.bleu, beam.length_ratio, beam.temperature) == (pytest.approx(100), 1.0, None)
    assert (good.rho_bleu, good.bleu, good.length_ratio) == (pytest.approx(1), pytest.approx(score.score), 1.0)
    assert (good.sources, good.samples, good.temperature, good.left_out_bleu) == (1, 4, 0.5, 0)
    # by hand: ranks 4, 2.5, 2.5, 1 of length against 4, 2, 3, 1 of quality
    assert long.rho_bleu == pytest.approx(4.5 / (4.5 * 5.0) ** 0.5)
    # nothing is left of it: no rank, and the pick is chance
    assert (neutral.rho_bleu, neutral.rho_chrf, neutral.left_out_bleu) == (None, None, 1)
    assert (neutral.bleu, neutral.length_ratio) == (chance.bleu, chance.length_ratio)
    assert "tok:none" in found.signature


def test_bleu_and_chrf_rank_the_samples(told):
    """Spearman of the reward with sacreBLEU's sentence scores, by hand: the two orders differ."""
    told.drawn[0.5].texts[0][:] = ["the small dog runs home !", "the small", "thesmall dogs running homes", "x"]
    told.drawn[0.5].rewards["good"][:] = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    scores = {
        "bleu": [sacrebleu.sentence_bleu(t, [REFERENCE], tokenize="none").score for t in told.drawn[0.5].texts[0]],
        "chrf": [sacrebleu.sentence_chrf(t, [REFERENCE]).score for t in told.drawn[0.5].texts[0]],
    }
    row = table("x.pt", "valid", told, {"good": {"good": 1.0}}, ("as-is",), "none").rows[2]
    wanted = {name: spearmanr(values, [3, 2, 1, 0]).statistic for name, values in scores.items()}
    assert row.rho_bleu == pytest.approx(wanted["bleu"]) and row.rho_chrf == pytest.approx(wanted["chrf"])
    assert abs(wanted["bleu"] - wanted["chrf"]) > 0.05
