"""What validation logs of a text VAE against torch.distributions and plain sums, and settings that are refused."""

import math

import pytest
import torch
from fairseq.logging import metrics
from torch.distributions import Independent, Normal
from unit.tiny_vae import make_batch, make_criterion, make_task, make_vae
from unit.vae_pieces import SENTENCES, negative_scores, pieces, setting

from fairseq_ami.criterions.vae_mine_elbo import VAEMineELBO
from fairseq_ami.errors import AMIError


def log_density(q, rows, columns, z):
    """log q(z_i | x_j) for i in rows and j in columns."""
    normals = [Independent(Normal(q.mean[j], q.log_variance[j].exp().sqrt()), 1) for j in columns]
    return torch.stack([torch.stack([normal.log_prob(z[i]) for normal in normals]) for i in rows])


def validate(criterion, model, batches):
    """What fairseq logs after validating *batches*."""
    with metrics.aggregate(new_root=True) as found, torch.no_grad():
        for batch in batches:
            VAEMineELBO.reduce_metrics([criterion(model.eval(), batch)[2]])
    return found.get_smoothed_values()


def test_validation_is_the_elbo_at_weight_one(noise):
    """Whatever training weighs and adds; PPL counts end symbols and no first symbols."""
    model, criterion, batch = setting(
        kl_weight=0.2, mi_weight=3.0, free_bits=2.0, bow_weight=1.0, mmd_weight=5.0, model={"word_dropout": 0.4}
    )
    values = validate(criterion, model, [batch])
    reconstruction, kl, _, _ = pieces(model, batch, noise[0])
    total = float(reconstruction + kl.sum())
    assert values["loss"] == pytest.approx(total / 5 / math.log(2), abs=1e-3)
    assert values["nll"] == pytest.approx(total / 5, abs=1e-3)
    assert values["ppl"] == pytest.approx(math.exp(total / 17), rel=2e-3)
    assert values["kl"] == pytest.approx(float(kl.sum()) / 5, abs=1e-4)


def test_information_by_batches_of_the_given_size(noise):
    """Mean of log q(z|x) - log (1/B) sum_b q(z|x_b) over batches of two; the fifth sentence has no company."""
    model, criterion, batch = setting(mi_batch=2)
    values = validate(criterion, model, [batch])
    q, features = model.posterior(batch["target"])
    z = q.mean + noise[0] * q.log_variance.exp().sqrt()
    parts, bounds = [], []
    for rows in ((0, 1), (2, 3)):
        table = log_density(q, rows, rows, z)
        parts += (table.diagonal() - table.exp().mean(1).log()).tolist()
        joint, marginal = negative_scores(model, features[list(rows)], z[list(rows)])
        bounds.append(float((joint.mean() - marginal.exp().mean().log()).detach()))
    assert values["mi"] == pytest.approx(sum(parts) / 4, abs=1e-4)
    assert values["bound"] == pytest.approx(sum(bounds) / 2, abs=1e-4)


def test_information_has_the_expectation_of_its_definition():
    """He et al. take the posterior's entropy in closed form: over many draws of z the mean is the same."""
    task = make_task()
    model, criterion = make_vae("lstm", task).eval(), make_criterion(task)
    found, defined = [], []
    with torch.no_grad():
        for first in range(0, 5 * 150, 5):
            log = criterion(model, make_batch(task, SENTENCES, list(range(first, first + 5))))[2]
            found.append(log["information"] / 5)
        q = model.posterior(make_batch(task, SENTENCES)["target"])[0]
        normal = Normal(q.mean, q.log_variance.exp().sqrt())
        for _ in range(150):
            density = log_density(q, range(5), range(5), normal.sample())
            defined.append(float(-normal.entropy().sum(1).mean() - density.exp().mean(1).log().mean()))
    error = math.hypot(*(torch.tensor(values).std() / math.sqrt(150) for values in (found, defined)))
    assert sum(found) / 150 == pytest.approx(sum(defined) / 150, abs=4 * float(error))


def test_active_units_over_the_whole_set():
    """Two passes over all means; each batch alone gives another number; batches of different sizes."""
    task = make_task()
    model, criterion = make_vae("lstm", task, spread=1.0), make_criterion(task)
    with torch.no_grad():
        model.posterior_heads.weight[0].mul_(30)
        model.posterior_heads.weight[1].mul_(0.01)
    batches = [make_batch(task, SENTENCES[:2]), make_batch(task, SENTENCES[2:]), make_batch(task, [[1] * 9] * 3)]
    means = torch.cat([model.posterior(batch["target"])[0].mean for batch in batches])
    centre = sum(means) / len(means)
    variance = sum((m - centre) ** 2 for m in means) / (len(means) - 1)
    expected = int((variance >= 0.01).sum())
    assert validate(criterion, model, batches)["au"] == expected and 0 < expected < 3
    assert validate(criterion, model, [make_batch(task, SENTENCES[:1])])["au"] == 0


def test_active_units_far_from_the_origin():
    """Sums of squares in float64: a variance of 0.02 is seen beside a mean of 100, and 0.00125 is not."""
    rows = torch.tensor([[100.0, 100.0], [100.2, 100.05]]).double()
    plain = {"loss": 0.0, "reconstruction": 0.0, "kl": 0.0, "nsentences": 1, "ntokens": 1}
    with metrics.aggregate(new_root=True) as found:
        for row in rows:
            VAEMineELBO.reduce_metrics([{**plain, "mean_sum": row, "mean_square": row**2}])
    assert found.get_smoothed_values()["au"] == 1


def test_workers_are_summed_before_the_ratios(noise):
    """Logs of two workers at once, one of them with a dummy batch, are one validation of both batches."""
    task = make_task()
    model, criterion = make_vae("lstm", task, critic="concat").eval(), make_criterion(task)
    with torch.no_grad():
        log = criterion(model, make_batch(task, SENTENCES))[2]
    nothing = {key: value * 0 for key, value in log.items()}
    values = []
    for logs in ([log], [nothing, log], [log, log]):
        with metrics.aggregate(new_root=True) as found:
            VAEMineELBO.reduce_metrics(logs)
        values.append(found.get_smoothed_values())
    assert values[0] == values[1] and values[0].keys() == values[2].keys()
    assert all(values[0][key] == values[2][key] for key in values[0] if key != "au")
    with metrics.aggregate(new_root=True) as found:
        VAEMineELBO.reduce_metrics([nothing])
    assert not found.get_smoothed_values()


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mi_weight": -1.0}, "--mi-weight must not be negative"),
        ({"free_bits": -1.0}, "--free-bits"),
        ({"xi": "fixed", "xi_value": 0.0}, "--xi-value must be positive"),
        ({"xi_decay": 1.0}, "--xi-decay"),
        ({"mi_batch": 1}, "--mi-batch must be at least 2"),
        ({"lagging_window": 0}, "--lagging-window"),
        ({"lagging_limit": 0}, "--lagging-limit"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(AMIError, match=message):
        make_criterion(make_task(), **settings)


@pytest.mark.parametrize(
    "model, settings, message",
    [
        ({}, {"mi_weight": 1.0}, "pass --critic concat"),
        ({}, {"bow_weight": 1.0}, "pass --bow-hidden"),
        ({"latent_dim": 0}, {"mmd_weight": 1.0}, "a language model has none"),
        ({"latent_dim": 0}, {"free_bits": 1.0}, "a language model has none"),
        ({"latent_dim": 0}, {"lagging": True}, "a language model has none"),
    ],
)
def test_settings_without_their_part_of_the_model(model, settings, message):
    with pytest.raises(AMIError, match=message):
        make_criterion(make_task(), **settings).check_model(make_vae(**model))
