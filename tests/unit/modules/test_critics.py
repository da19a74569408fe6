"""Critics against a double loop over explicit pairs."""

import pytest
import torch

from fairseq_ami.errors import AMIError
from fairseq_ami.modules.critics import CRITICS, build_critic

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
    """Rows are x and columns are z; every parameter takes part."""
    critic = build_critic(name, X_DIM, Z_DIM, hidden=8).double()
    x, z = torch.randn(N, X_DIM).double(), torch.randn(M, Z_DIM).double()
    expected = torch.stack([torch.stack([one_score(name, critic, a, b) for b in z]) for a in x])
    scores = critic(x, z)
    assert scores.shape == (N, M) and torch.allclose(scores, expected, atol=1e-12)
    scores.pow(2).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in critic.parameters())


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
