"""Sums and scores of sacreBLEU's metrics against its public functions."""

import numpy as np
import pytest
import sacrebleu

from fairseq_ami.choices import CORPUS_METRICS
from fairseq_ami.metrics.corpus import LOWER_IS_BETTER, corpus_metric, scores_of_sums, sentence_sums

OUTPUTS = ["the cat sat on a mat", "yes , no .", "", "a b c d e f"]
REFERENCES = ["the cat sat on the mat", "yes .", "no", "f a b c d e"]
PUBLIC = {"bleu": sacrebleu.corpus_bleu, "chrf": sacrebleu.corpus_chrf, "ter": sacrebleu.corpus_ter}


@pytest.mark.parametrize("name", CORPUS_METRICS)
def test_scores_of_resampled_sentences(name):
    """Sentences that stand several times, or not at all."""
    times = np.array([[1, 1, 1, 1], [2, 0, 1, 3], [0, 4, 0, 0]])
    found = scores_of_sums(corpus_metric(name), times @ sentence_sums(corpus_metric(name), OUTPUTS, REFERENCES))
    for score, counts in zip(found, times.tolist()):
        outputs, references = (
            [text for text, count in zip(texts, counts) for _ in range(count)] for texts in (OUTPUTS, REFERENCES)
        )
        assert score == pytest.approx(PUBLIC[name](outputs, [references]).score, abs=1e-9)


def test_the_tokenizer_is_bleus():
    """The same sentences under another tokenizer: characters match where words do not."""
    metric = corpus_metric("bleu", "char")
    (found,) = scores_of_sums(metric, sentence_sums(metric, OUTPUTS, REFERENCES).sum(axis=0)[None])
    assert found == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES], tokenize="char").score)
    assert found > PUBLIC["bleu"](OUTPUTS, [REFERENCES]).score


def test_what_is_better():
    """An output equal to its reference has the best score of all."""
    for name in CORPUS_METRICS:
        best, worse = (PUBLIC[name](texts, [REFERENCES]).score for texts in (REFERENCES, OUTPUTS))
        assert (best < worse) == (name in LOWER_IS_BETTER)
