"""K(T') from the similarity of texts, against sacreBLEU."""

import pytest
import sacrebleu
from unit.tiny import make_batch, make_criterion, make_pair, make_task

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.data import reverse_sample
from fairseq_ami.generation.rollout import backward_log_likelihood, roll_out

PAIRS = [([0, 2], [0, 1, 2, 1]), ([1], [1, 2]), ([2, 0], [2])]
SCORES = {
    "bleu": lambda fake, real: sacrebleu.sentence_bleu(fake, [real], use_effective_order=True).score,
    "chrf": lambda fake, real: sacrebleu.sentence_chrf(fake, [real]).score,
}
SETTINGS = {"num_samples": 3, "sample_max_len_b": 5, "real_weight": 0.0, "adversarial_weight": 1.0, "mle_weight": 0.0}


@pytest.mark.parametrize("name", list(SCORES))
@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_similarity_of_texts(name, phase):
    task = make_task(target_words=3)
    model, batch = make_pair(task, noise_scale=0.5), make_batch(task, PAIRS)
    criterion = make_criterion(task, multiplier_similarity=name, **SETTINGS)
    rollout = roll_out(model, batch, criterion.sampling, 4, True, score=False)
    text = task.target_dictionary.string
    found = []
    for row, tokens in enumerate(rollout.samples.tokens):
        real, fake = (text([t for t in side if t > 2]) for side in (batch["target"][row // 3], tokens))
        found.append(1 - SCORES[name](fake, real) / 100)
    assert len(set(found)) > 2
    loss, _, log = criterion(model, batch, Step(phase, 4))
    reverse = reverse_sample(batch, 1, 2)
    log_q = backward_log_likelihood(model, rollout.samples.tokens, reverse, 1).sum(1)
    if phase == "backward":  # it descends K log Q of the samples
        assert loss.item() == pytest.approx(sum(k * float(q.detach()) for k, q in zip(found, log_q)) / 3, rel=1e-4)
        return
    lengths = [int(row.ne(1).sum()) for row in reverse["target"] for _ in range(3)]
    rewards = [k * float(q.detach()) / n for k, q, n in zip(found, log_q, lengths)]
    assert float(log["multiplier_sum"]) == pytest.approx(sum(found), rel=1e-5)
    assert float(log["reward_sum"]) == pytest.approx(sum(rewards), rel=1e-4)
