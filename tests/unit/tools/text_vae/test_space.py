"""Points of the latent space: reading sentences, posteriors, interpolation, neighbours."""

import logging

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from unit.tiny_vae import make_task, make_vae

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.text_vae.space import interpolate, nearest, posteriors, read_sentences
from fairseq_ami.tools.text_vae.studies import LatentStudies


def test_neighbours_are_those_of_scipy_s_cosine_distance(monkeypatch):
    monkeypatch.setattr("fairseq_ami.tools.text_vae.space._ROWS", 7)
    torch.manual_seed(3)
    queries, means = torch.randn(4, 5) * 10, torch.randn(50, 5)
    distances = cdist(queries.double().numpy(), means.double().numpy(), "cosine")
    found = nearest(queries, means, 6)
    assert found.rows.tolist() == distances.argsort(1)[:, :6].tolist()
    np.testing.assert_allclose(found.cosine.numpy(), 1 - np.sort(distances, 1)[:, :6], atol=1e-12)


def test_the_query_itself_does_not_count_and_ties_keep_their_order():
    means = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [3.0, 0.0]])
    assert nearest(means[:1], means, 2).rows.tolist() == [[0, 2]]
    assert nearest(means[:1], means, 2, same=lambda query: [query, 2]).rows.tolist() == [[3, 1]]


def test_interpolation_by_hand():
    first, last = torch.tensor([0.1, -4.0]), torch.tensor([1.1, 4.0])
    points = interpolate(first, last, 5)
    assert torch.equal(points[0], first) and torch.equal(points[-1], last)
    torch.testing.assert_close(points[1:4], torch.tensor([[0.35, -2.0], [0.6, 0.0], [0.85, 2.0]]))


def test_posteriors_of_a_set_are_those_of_its_sentences_alone():
    task = make_task()
    model = make_vae(task=task).float().eval()
    lines = ["w0 w1 w2", "w3", "w1 w1 w1 w0 w2", "w2 w3", "w0"]
    dataset = read_sentences(lines, task.dictionary, 30, "here")
    whole = posteriors(model, dataset, 8)
    for row, line in enumerate(lines):
        tokens = torch.tensor([[4 + int(word[1]) for word in line.split()] + [2]])
        alone, _ = model.posterior(tokens)
        torch.testing.assert_close(whole.mean[row], alone.mean[0].detach())
        torch.testing.assert_close(whole.log_variance[row], alone.log_variance[0].detach())


def test_unknown_words_are_named_once(caplog):
    with caplog.at_level(logging.WARNING):
        dataset = read_sentences(["w0 blorf", "zzz blorf <unk>"], make_task().dictionary, 30, "here")
    assert dataset[1]["target"].tolist() == [3, 3, 3, 2]
    assert "here: 2 words are not in the dictionary and read as <unk>: blorf, zzz" in caplog.text


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "here: there is no sentence"),
        (["w0", " "], "here, line 2: the line is empty"),
        (["w0 w1 w2"], "here: 3 words and the end symbol are more than the 3 that the model reads"),
    ],
)
def test_sentences_that_cannot_be_read(lines, message):
    with pytest.raises(AMIError, match=message):
        read_sentences(lines, make_task().dictionary, 3, "here")


def test_results_do_not_depend_on_the_batches():
    """Samples of the posterior and of the words; more of them begin with the same ones."""
    task = make_task(9)
    model = make_vae(task=task, latent_dim=4).float().eval()
    studies = [LatentStudies(model, 8, "sample", batch_size=size, max_tokens=size) for size in (3, 100)]
    assert studies[0].prior(20) == studies[1].prior(25)[:20]
    lines = ["w0 w8 w2", "w3", "w7 w1"]
    few, many = studies[0].reconstruct(lines, 4, "here"), studies[1].reconstruct(lines, 6, "here")
    assert [e["mean"] for e in few] == [e["mean"] for e in many]
    assert [e["samples"] for e in few] == [e["samples"][:4] for e in many]
    assert LatentStudies(model, 8, "sample", seed=2).prior(20) != studies[0].prior(20)


def test_the_ends_of_an_interpolation_are_the_reconstructions():
    task = make_task(9)
    model = make_vae(task=task, latent_dim=4, spread=8.0).float().eval()
    pair = ["w0 w8 w2 w2", "w3"]
    studies = LatentStudies(model, 8)
    steps = studies.interpolate([pair, pair[::-1]], 4, "here")
    ends = [entry["mean"] for entry in studies.reconstruct(pair, 0, "here")]
    assert ends[0] != ends[1]
    assert [steps[0]["steps"][i]["sentence"] for i in (0, -1)] == ends
    assert [point["sentence"] for point in steps[1]["steps"]] == [p["sentence"] for p in steps[0]["steps"]][::-1]
