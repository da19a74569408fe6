"""n-best lists over z: each hypothesis is that of a search under one draw."""

import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator
from unit.models.test_hred import PAIRS
from unit.tiny_hred import make_batch, make_model, make_task
from unit.tiny_latent import KINDS, make_latent

from fairseq_ami.errors import AMIError
from fairseq_ami.generation.latent_search import LatentSearch, with_latent_draws


def search(task, model):
    return SequenceGenerator([model], task.target_dictionary, 2, max_len_b=4)


@pytest.mark.parametrize("name", KINDS)
def test_one_hypothesis_a_draw(name):
    task = make_task()
    model = make_latent(name, task, scale=6.0).eval()
    batch = make_batch(task, PAIRS)
    found = LatentSearch(search(task, model), [model], 3).generate([model], batch)
    expected = [[] for _ in PAIRS]
    for draw in range(3):
        model.encoder.draw = draw
        for row, hypotheses in enumerate(search(task, model).generate([model], batch)):
            expected[row].append(hypotheses[0])
    for got, want in zip(found, expected):
        scores = sorted((float(hypothesis["score"]) for hypothesis in want), reverse=True)
        assert [float(hypothesis["score"]) for hypothesis in got] == pytest.approx(scores, abs=1e-6)
        assert {tuple(h["tokens"].tolist()) for h in got} == {tuple(h["tokens"].tolist()) for h in want}
    assert len({float(hypothesis["score"]) for hypothesis in found[0]}) == 3  # three z


def test_the_first_draw_is_that_of_a_plain_search():
    """Also after a search under several draws; the seed is the task's."""
    task = make_task()
    model = make_latent("vhred", task).eval()
    batch = make_batch(task, PAIRS)
    z = [model.encoder(batch["net_input"]["src_tokens"])["z"]]
    with_latent_draws(search(task, model), [model], 2, 1).generate([model], batch)
    z.append(model.encoder(batch["net_input"]["src_tokens"])["z"])
    torch.testing.assert_close(z[0], z[1])
    plain = search(task, model)
    assert with_latent_draws(plain, [model], 0, 9) is plain and model.encoder.latent_seed == 9


def test_refused():
    task = make_task()
    hred = make_model(task)
    with pytest.raises(AMIError, match="vhred, dir_vhred or vhcr"):
        with_latent_draws(search(task, hred), [hred], 2, 1)
    with pytest.raises(AMIError, match="must not be negative"):
        with_latent_draws(search(task, hred), [hred], -1, 1)
