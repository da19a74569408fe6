"""Critics against a double loop over explicit pairs."""

import pytest
import torch

from fairseq_ami.errors import AMIError
from fairseq_ami.modules.critics import CRITICS, build_critic, rolled_scores
from fairseq_ami.objectives import donsker_varadhan

N, M, X_DIM, Z_DIM = 4, 3, 5, 2


def one_score(name, critic, x, z):
    """f of a single pair, from the weights."""
    if name == "separable":
        return critic.x_net(x) @ critic.z_net(z)
    if name == "bilinear":
        return z @ critic.map.weight @ x
    return critic.net(torch.cat([x, z])).squeeze()


@pytest.mark.parametrize("name", CRITICS)
def test_scores_equal_a_double_loop(name):
    """Rows are x and columns are z; `pairs` is the diagonal; every parameter takes part."""
    critic = build_critic(name, X_DIM, Z_DIM, hidden=8).double()
    x, z = torch.randn(N, X_DIM).double(), torch.randn(M, Z_DIM).double()
    expected = torch.stack([torch.stack([one_score(name, critic, a, b) for b in z]) for a in x])
    scores = critic(x, z)
    assert scores.shape == (N, M) and torch.allclose(scores, expected, atol=1e-12)
    assert torch.allclose(critic.pairs(x[:M], z), expected[:M].diagonal(), atol=1e-12)
    scores.pow(2).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in critic.parameters())


@pytest.mark.parametrize("name", CRITICS)
def test_rolled_scores(name):
    """The joint and the rolled entries of the whole matrix with the same gradient, and nothing else."""
    critic = build_critic(name, X_DIM, Z_DIM, hidden=8).double()
    x, z = torch.randn(N, X_DIM).double(), torch.randn(N, Z_DIM).double()
    whole, rolled = critic(x, z), rolled_scores(critic, x, z)
    known = ~rolled.isnan()
    assert known.sum() == 2 * N and torch.allclose(rolled[known], whole[known])
    values = [donsker_varadhan(scores, "roll") for scores in (whole, rolled)]
    assert torch.allclose(*values)
    for a, b in zip(*(torch.autograd.grad(value, list(critic.parameters())) for value in values)):
        assert torch.allclose(a, b, atol=1e-12)


def test_energy_function_of_the_paper():
    """Two hidden layers of 512 ReLU units on [x; z]."""
    net = build_critic("concat", 64, 32).net
    linear = [(layer.in_features, layer.out_features) for layer in net if isinstance(layer, torch.nn.Linear)]
    assert linear == [(96, 512), (512, 512), (512, 1)] and len(net) == 5


def test_refused():
    with pytest.raises(AMIError, match="no critic 'cosine'.*separable, bilinear, concat"):
        build_critic("cosine", 2, 2)
    with pytest.raises(AMIError, match="at least one hidden layer"):
        build_critic("concat", 2, 2, layers=0)
