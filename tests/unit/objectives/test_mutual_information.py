"""Mutual information from score matrices against closed forms, plain loops and finite differences."""

import math
from functools import partial

import pytest
import torch
from torch.autograd import gradcheck

from fairseq_ami.objectives import (
    donsker_varadhan,
    info_nce,
    info_nce_terms,
    jensen_shannon,
    log_mean_exp_negatives,
    mine,
    nwj,
    optimal_log_xi,
    smile,
    tangent_bound,
    tuba,
)

DIM, ROWS = 20, 3000
BASELINE = [0.3, -0.2, 0.9, 0.0, -1.1]
# every bound as a function of one matrix (of 5 rows, for TUBA) and the kind of negatives
BOUNDS = {
    "dv": donsker_varadhan,
    "nwj": nwj,
    "tuba": lambda scores, negatives="all": tuba(scores, torch.tensor(BASELINE).double(), negatives),
    "tangent": lambda scores, negatives="all": tangent_bound(scores, -0.7, negatives),
    "js": lambda scores, negatives="all": jensen_shannon(scores, negatives)[0],
    "js value": lambda scores, negatives="all": jensen_shannon(scores, negatives)[1],
    "smile": lambda scores, negatives="all": smile(scores, 1.5, negatives),
    "mine": lambda scores, negatives="all": mine(scores, 0.4, 0.9, negatives)[0],
    "log mean": log_mean_exp_negatives,
}


def gaussian(information, rows=ROWS, dtype=torch.float32):
    """x and z, correlated in each of DIM dimensions such that I(x, z) = -DIM / 2 log(1 - rho^2) = *information*."""
    rho = math.sqrt(-math.expm1(-2.0 * information / DIM))
    generator = torch.Generator().manual_seed(7)
    x, noise = torch.randn(2, rows, DIM, generator=generator, dtype=dtype)
    return x, rho * x + math.sqrt(1.0 - rho * rho) * noise, rho


def optimal_scores(x, z, rho):
    """log p(x_i, z_j) / p(x_i) p(z_j) in closed form."""
    squares = x.pow(2).sum(1)[:, None] + z.pow(2).sum(1)[None, :]
    quadratic = (2.0 * rho * x @ z.t() - rho**2 * squares) / (2.0 * (1.0 - rho**2))
    return quadratic - DIM / 2 * math.log(1.0 - rho**2)


def by_loops(name, s, negatives):
    """The definitions as printed, in plain floats."""
    n = len(s)
    off = [(i, j) for i in range(n) for j in range(n) if (i != j if negatives == "all" else j == (i + 1) % n)]

    def joint(g):
        return sum(g(s[i][i], i) for i in range(n)) / n

    def marginal(g):
        return sum(g(s[i][j], i) for i, j in off) / len(off)

    exp, log = math.exp, math.log
    first, partition = joint(lambda f, i: f), marginal(lambda f, i: exp(f))
    return {
        "dv": lambda: first - log(partition),
        "mine": lambda: first - log(partition),
        "nwj": lambda: first - marginal(lambda f, i: exp(f - 1)),
        "tuba": lambda: joint(lambda f, i: f - BASELINE[i]) - marginal(lambda f, i: exp(f) / exp(BASELINE[i])) + 1,
        "tangent": lambda: first - exp(-0.7) * partition - 0.7 + 1,
        "js": lambda: -joint(lambda f, i: log(1 + exp(-f))) - marginal(lambda f, i: log(1 + exp(f))),
        "js value": lambda: first - partition + 1,
        "smile": lambda: first - log(marginal(lambda f, i: min(max(exp(f), exp(-1.5)), exp(1.5)))),
        "log mean": lambda: log(partition),
    }[name]()


def random_scores(n=5):
    return torch.randn(n, n, dtype=torch.float64) * 2


# ------------------------------------------------------------------ the definitions


@pytest.mark.parametrize("negatives", ["all", "roll"])
@pytest.mark.parametrize("name", BOUNDS)
def test_definition(name, negatives):
    scores = random_scores()
    assert BOUNDS[name](scores, negatives).item() == pytest.approx(by_loops(name, scores.tolist(), negatives))


def test_info_nce_definition():
    """Rows are x: each x has one softmax over the z's. A lopsided matrix tells rows from columns."""
    s = random_scores().tolist()
    expected = sum(math.log(math.exp(s[i][i]) * 5 / sum(map(math.exp, s[i]))) for i in range(5)) / 5
    assert info_nce(torch.tensor(s)).item() == pytest.approx(expected)
    assert info_nce(torch.tensor(s).t()).item() != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("negatives", ["all", "roll"])
@pytest.mark.parametrize("name", sorted(set(BOUNDS) - {"mine"}))
def test_gradient(name, negatives):
    """Against finite differences; the clip of SMILE has no kink at these scores."""
    assert gradcheck(partial(BOUNDS[name], negatives=negatives), random_scores().requires_grad_())


def test_gradient_of_the_other_arguments_and_info_nce():
    """xi and the baseline can be learned."""
    scores = random_scores().requires_grad_()
    assert gradcheck(info_nce, scores)
    assert gradcheck(tangent_bound, (scores, torch.tensor(0.3, dtype=torch.float64, requires_grad=True)))
    assert gradcheck(tuba, (scores, torch.tensor(BASELINE, dtype=torch.float64, requires_grad=True)))


@pytest.mark.parametrize("negatives", ["all", "roll"])
@pytest.mark.parametrize("name", BOUNDS)
def test_negatives_hold_no_true_pair(name, negatives):
    """A huge diagonal reaches the joint term alone."""
    scores = random_scores()
    inflated = scores + torch.eye(5, dtype=torch.float64) * 1e6
    assert log_mean_exp_negatives(inflated, negatives) == log_mean_exp_negatives(scores, negatives)
    if name not in ("js", "log mean"):  # whose joint term is not linear, or absent
        assert (BOUNDS[name](inflated, negatives) - BOUNDS[name](scores, negatives)).item() == pytest.approx(1e6)


def test_roll_reads_no_other_entry():
    scores = random_scores()
    used = torch.eye(5, dtype=torch.bool) | torch.eye(5, dtype=torch.bool).roll(1, 1)
    for bound in BOUNDS.values():
        assert bound(scores.masked_fill(~used, math.nan), "roll") == bound(scores, "roll")
        assert bound(scores.masked_fill(~used, math.nan), "all").isnan()


@pytest.mark.parametrize("bound", [*BOUNDS.values(), info_nce])
def test_refused_matrices(bound):
    with pytest.raises(ValueError, match="two rows"):
        bound(torch.zeros(1, 1))
    with pytest.raises(ValueError, match="square"):
        bound(torch.zeros(5, 4))


def test_refused_settings():
    with pytest.raises(ValueError, match="unknown negatives 'shuffle'"):
        nwj(torch.zeros(2, 2), "shuffle")
    with pytest.raises(ValueError, match="clip"):
        smile(torch.zeros(2, 2), 0.0)
    for decay in (0.0, 1.0):
        with pytest.raises(ValueError, match="decay"):
            mine(torch.zeros(2, 2), decay=decay)


# ------------------------------------------------------------------ correlated Gaussians


@pytest.mark.parametrize("information", [2.0, 4.0])
def test_optimal_critic_gives_the_information(information):
    """All bounds are tight at their optimal scores, up to the sampling error (about 0.05 in the joint term)."""
    scores = optimal_scores(*gaussian(information))
    near = partial(pytest.approx, abs=0.2)
    assert donsker_varadhan(scores).item() == near(information)
    assert nwj(scores + 1.0).item() == near(information)
    assert tangent_bound(scores, 0.0).item() == near(information)
    assert tuba(scores, torch.zeros(ROWS)).item() == near(information)
    assert jensen_shannon(scores)[1].item() == near(information)
    assert smile(scores, 20.0).item() == near(information)
    assert info_nce(scores).item() == near(information)


@pytest.mark.parametrize("information", [2.0, 6.0, 10.0])
def test_given_critic_gives_its_own_bound(information):
    """f = c x.z: E_joint[f] = c d rho, E_marginal[e^f] = (1 - c^2)^(-d/2), E_z[e^f] = e^(c^2 |x|^2 / 2), all exact."""
    c = 0.3
    x, z, rho = gaussian(information)
    scores = c * x @ z.t()
    joint, log_partition = c * DIM * rho, -DIM / 2 * math.log(1.0 - c * c)
    near = partial(pytest.approx, abs=0.12)
    assert donsker_varadhan(scores).item() == near(joint - log_partition)
    assert log_mean_exp_negatives(scores).item() == near(log_partition)
    assert nwj(scores).item() == near(joint - math.exp(log_partition - 1.0))
    assert tangent_bound(scores, -3.0).item() == near(joint - math.exp(log_partition - 3.0) - 3.0 + 1.0)
    conditional = joint - c * c * DIM / 2
    assert tuba(scores, c * c * x.pow(2).sum(1) / 2).item() == near(conditional)
    assert info_nce(scores).item() == near(conditional)
    for bound in (donsker_varadhan, nwj, info_nce, lambda s: jensen_shannon(s)[1]):
        assert bound(scores).item() < information


@pytest.mark.parametrize("rows", [2, 8, 64])
def test_info_nce_never_passes_log_n(rows):
    """10 nats cannot be seen with few rows, nor with the highest scores."""
    x, z, rho = gaussian(10.0, rows)
    assert math.log(rows) - 0.5 < info_nce(optimal_scores(x, z, rho)).item() <= math.log(rows) + 1e-6
    assert info_nce(torch.eye(rows) * 1e4).item() == pytest.approx(math.log(rows))


@pytest.mark.parametrize("information", [2.0, 6.0, 10.0])
def test_xi_is_best_at_the_inverse(information):
    """The tangent bound touches Donsker-Varadhan at xi = 1 / E[e^f] and is below it elsewhere; so NWJ is, too."""
    scores = optimal_scores(*gaussian(information, 300, torch.float64)) - 2.0
    best, dv = optimal_log_xi(scores), donsker_varadhan(scores).item()
    assert best.item() == pytest.approx(-math.log(scores[~torch.eye(300, dtype=torch.bool)].exp().mean()))
    assert tangent_bound(scores, best).item() == pytest.approx(dv, abs=1e-10)
    for step in (-2.0, -0.1, 0.1, 2.0):  # -xi' + log xi' + 1 at xi' = e^step times the best
        assert tangent_bound(scores, best + step).item() == pytest.approx(dv + 1.0 + step - math.exp(step))
    assert nwj(scores).item() < dv
    printed_in_the_paper = -best
    assert tangent_bound(scores, printed_in_the_paper).item() < dv - 1.0


# ------------------------------------------------------------------ types


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("negatives", ["all", "roll"])
def test_half_precision(dtype, negatives):
    """Scores up to +-60: the float32 result equals the one in float64 of the same rounded scores."""
    scores = torch.linspace(-60, 60, 25).view(5, 5).flip(1).to(dtype)
    for bound in (*BOUNDS.values(), lambda s, _: info_nce(s)):
        got, exact = bound(scores, negatives), bound(scores.double(), negatives)
        assert got.dtype == torch.float32 and exact.dtype == torch.float64
        assert got.isfinite() and got.item() == pytest.approx(exact.item(), rel=1e-4)
    leaf = scores.clone().requires_grad_()
    tangent_bound(leaf, optimal_log_xi(leaf, negatives).detach(), negatives).backward()
    assert leaf.grad.dtype == dtype and leaf.grad.isfinite().all() and leaf.grad.abs().max() <= 1.0


# ------------------------------------------------------------------ MINE


def test_mine_with_the_batch_itself_as_average_is_donsker_varadhan():
    """Also on the first call, which starts the average."""
    scores = random_scores().requires_grad_()
    (expected,) = torch.autograd.grad(donsker_varadhan(scores), scores)
    for start in (None, log_mean_exp_negatives(scores)):
        value, average = mine(scores, start)
        assert torch.allclose(torch.autograd.grad(value, scores)[0], expected)
        assert average.item() == pytest.approx(log_mean_exp_negatives(scores).item()) and not average.requires_grad


def test_mine_divides_by_the_moving_average():
    """New average 0.9 * 3 + 0.1 * E; joint gradient 1/5, marginal gradient -e^f / (20 * average)."""
    scores = random_scores().requires_grad_()
    value, log_average = mine(scores, math.log(3.0), 0.9)
    off = ~torch.eye(5, dtype=torch.bool)
    average = 0.9 * 3.0 + 0.1 * scores.detach()[off].exp().mean()
    assert log_average.exp().item() == pytest.approx(average.item())
    assert value.item() == pytest.approx(donsker_varadhan(scores).item())
    (gradient,) = torch.autograd.grad(value, scores)
    assert torch.allclose(gradient.diagonal(), torch.full((5,), 0.2, dtype=torch.float64))
    assert torch.allclose(gradient[off], -scores.detach()[off].exp() / 20 / average)


# ------------------------------------------------------------------ local and global features


def mean_term(local, whole, mask):
    """Over the tokens, whose terms are at most log(1 + tokens of the other sentences)."""
    return info_nce_terms(local, whole, mask)[mask].mean()


def test_local_to_global():
    """By hand: a token against itself and all tokens of the other sentences, each under its own sentence's feature."""
    local, whole = torch.randn(3, 4, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    terms = []
    for i, t in mask.nonzero().tolist():
        others = [math.exp(whole[i] @ local[j, u]) for j, u in mask.nonzero().tolist() if j != i]
        own = math.exp(whole[i] @ local[i, t])
        terms.append(math.log((1 + len(others)) * own / (own + sum(others))))
    assert mean_term(local, whole, mask).item() == pytest.approx(sum(terms) / 6)
    assert gradcheck(mean_term, (local.requires_grad_(), whole.requires_grad_(), mask))


def test_local_to_global_reads_no_padding():
    """Nor does an empty sentence matter, but one sentence alone is refused."""
    local, whole = torch.randn(3, 2, 4), torch.randn(3, 4)
    mask = torch.tensor([[1, 1], [1, 0], [0, 0]]).bool()
    changed = local.masked_fill(~mask.unsqueeze(-1), 1e3)
    assert mean_term(changed, whole, mask) == mean_term(local, whole, mask)
    expected = mean_term(local[:2], whole[:2], mask[:2])
    assert torch.allclose(mean_term(local, whole, mask), expected)
    with pytest.raises(ValueError, match="two sentences"):
        mean_term(local, whole, mask & torch.tensor([[True], [False], [False]]))
