"""The latent noise network: closed forms, padding, gradients; and the single noisy Transformer."""

import math
from argparse import Namespace

import numpy as np
import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.transformer import TransformerModel
from unit.tiny import SIZES, make_batch, make_pair

from fairseq_ami.models.noisy_transformer import NoisyTransformer
from fairseq_ami.models.pair_latent import noise_draws
from fairseq_ami.modules import LatentNoise, root_mean_square
from fairseq_ami.random_streams import stream_keys


def softplus(x):
    return math.log1p(math.exp(x))


@pytest.fixture
def small():
    """Two channels: hidden = relu(z1 - z2 + 1), mu = (2 hidden, -hidden); scale 0.5."""
    noise = LatentNoise(2, 1, 0.5)
    with torch.no_grad():
        noise.hidden.weight.copy_(torch.tensor([[1.0, -1.0]]))
        noise.hidden.bias.fill_(1.0)
        noise.out.weight.copy_(torch.tensor([[2.0], [-1.0]]))
    return noise


def test_mean_std_and_noise_by_hand(small):
    """mu = W2 relu(W1 z + b1), sigma = softplus(mu), delta = scale (mu + eps sigma)."""
    z = torch.tensor([[[1.5, 0.5]], [[0.0, 3.0]]])  # hidden: 2 and relu(-2) = 0
    eps = torch.tensor([[[1.0, -2.0]], [[0.5, 1.0]]])
    mean, std = small.mean_and_std(z)
    assert mean.flatten().tolist() == [4.0, -2.0, 0.0, 0.0]
    assert std.flatten().tolist() == pytest.approx([softplus(4), softplus(-2), LOG2, LOG2])
    want = [0.5 * (4 + softplus(4)), 0.5 * (-2 - 2 * softplus(-2)), 0.25 * LOG2, 0.5 * LOG2]
    assert small(z, eps).flatten().tolist() == pytest.approx(want)


LOG2 = math.log(2.0)


def test_no_second_bias_and_no_noise_at_padding(small):
    """Equation 17 has no second bias; a padded position gets exactly zero."""
    assert small.out.bias is None
    mask = torch.tensor([[True, False], [False, False]])
    delta = small(torch.randn(2, 2, 2), torch.randn(2, 2, 2), mask)
    assert delta[0, 0].tolist() == [0.0, 0.0]
    assert (delta[1] != 0).all() and (delta[0, 1] != 0).all()


def test_smallest_noise_of_the_printed_formula():
    """min over mu of sqrt(E delta^2) = sqrt(mu^2 + softplus(mu)^2) is 0.63, near mu = -0.28; 0.69 at mu = 0."""
    grid = np.linspace(-5, 5, 100001)
    size = np.sqrt(grid**2 + np.log1p(np.exp(grid)) ** 2)
    assert size.min() == pytest.approx(0.63, abs=0.005)
    noise = LatentNoise(400, 4, 1.0)
    with torch.no_grad():
        noise.out.weight.zero_()
    delta = noise(torch.randn(100, 5, 400), torch.randn(100, 5, 400))
    assert root_mean_square(delta).mean().item() == pytest.approx(LOG2, rel=0.02)
    noise.scale = 0.1
    assert root_mean_square(noise(torch.randn(100, 5, 400), torch.randn(100, 5, 400))).max() < 0.08


def test_half_precision_neither_overflows_nor_changes_type(small):
    """softplus in float32, the noise in the type of z."""
    delta = small.half()(torch.full((1, 1, 2), 20.0).half() * torch.tensor([1.0, -1.0]).half(), torch.ones(1, 1, 2))
    assert delta.dtype == torch.float16 and torch.isfinite(delta).all()


def test_gradient_by_finite_differences(small):
    """Of the size of the noise with respect to every weight."""
    z, eps = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    mask = torch.zeros(4, 3, dtype=torch.bool)
    mask[1, 0] = True
    value = lambda: root_mean_square(small(z, eps, mask), mask).sum()  # noqa: E731
    value().backward()
    for weight in small.parameters():
        for place in range(weight.numel()):
            values = []
            for step in (1e-3, -1e-3):
                with torch.no_grad():
                    weight.view(-1)[place] += step
                    values.append(value().item())
                    weight.view(-1)[place] -= step
            slope = (values[0] - values[1]) / 2e-3
            assert weight.grad.view(-1)[place].item() == pytest.approx(slope, rel=0.02, abs=0.01)


def test_root_mean_square_is_numpys():
    """Over unpadded positions and channels of each sentence; never over the batch."""
    delta = torch.randn(4, 3, 5)
    mask = torch.tensor([[True, True, False, False], [False] * 4, [True, False, False, False]])
    want = [np.sqrt(np.mean(delta[~mask[row], row].numpy() ** 2)) for row in range(3)]
    got = root_mean_square(delta.masked_fill(mask.t().unsqueeze(-1), 0.0), mask)
    assert got.tolist() == pytest.approx(want, rel=1e-5)
    assert root_mean_square(delta).tolist() == pytest.approx(
        np.sqrt((delta.numpy() ** 2).mean((0, 2))).tolist(), rel=1e-5
    )


def test_size_of_no_noise_has_a_finite_gradient():
    """The square root has none at zero."""
    delta = torch.zeros(2, 1, 3, requires_grad=True)
    root_mean_square(delta).sum().backward()
    assert torch.isfinite(delta.grad).all()


def test_draws_follow_the_words_not_the_padding():
    """Left padding moves the words; each keeps the number it has without padding."""
    keys = stream_keys(1, 0, 1, torch.tensor([4, 9]), 1)
    alone = noise_draws(keys[1:], torch.zeros(2, 1, 6), None)
    padded = noise_draws(keys, torch.zeros(5, 2, 6), torch.tensor([[False] * 5, [True, True, True, False, False]]))
    assert torch.equal(padded[3:, 1], alone[:, 0])


@pytest.mark.parametrize("arch", ["ami_transformer", "ami_lstm", "ami_hred"])
def test_noise_of_a_sentence_is_the_same_in_any_batch(task, arch):
    """Perturbed decoder outputs alone = those beside a longer sentence."""
    model = make_pair(task, arch=arch, noise_scale=0.7)

    def logits(pairs, ids):
        batch = make_batch(task, pairs, ids)
        inputs, net = batch["net_input"], model.forward_model
        out = model.encode(net, inputs["src_tokens"], inputs["src_lengths"])
        out, norm = model.perturb(out, stream_keys(1, 4, 1, batch["id"], 1))
        row = batch["id"].tolist().index(8)
        return net.decoder(inputs["prev_output_tokens"], encoder_out=out)[0][row, :2], norm[row]

    alone = logits([([1], [0])], [8])
    together = logits([([0, 1, 2, 0, 1], [0, 1]), ([1], [0])], [3, 8])
    assert torch.allclose(alone[0], together[0], atol=1e-5)
    assert alone[1].item() == pytest.approx(together[1].item(), rel=1e-5)


# ------------------------------------------------------------------ noisy_transformer


@pytest.fixture
def noisy(task):
    args = Namespace(arch="noisy_transformer", max_source_positions=20, max_target_positions=20, dropout=0.0)
    vars(args).update(SIZES["ami_transformer"], noise_scale=0.5)
    ARCH_CONFIG_REGISTRY["noisy_transformer"](args)
    return NoisyTransformer.build_model(args, task), args


def test_noisy_transformer_without_noise_is_the_stock_one(task, noisy):
    """Bit for bit in eval mode; other outputs in train mode, and in eval mode when the noise is kept on."""
    model, args = noisy
    stock = TransformerModel.build_model(args, task)
    weights = {k: v for k, v in model.state_dict().items() if "latent_noise" not in k}
    stock.load_state_dict(weights)
    inputs = make_batch(task, [([0, 1], [0]), ([2], [1])])["net_input"]
    want = stock.eval()(**inputs)[0]
    assert torch.equal(model.eval()(**inputs)[0], want)
    assert not torch.equal(model.train()(**inputs)[0], want)
    model.eval().encoder.always_noisy = True
    assert not torch.equal(model(**inputs)[0], want)


def test_noisy_transformer_trains_its_noise(task, noisy):
    """Any criterion's gradient reaches the noise network."""
    model, _ = noisy
    model.train()(**make_batch(task, [([0, 1], [0])])["net_input"])[0].logsumexp(-1).sum().backward()
    assert model.encoder.latent_noise.out.weight.grad.abs().sum() > 0


def test_noisy_transformer_remembers_noise_at_generation(task, noisy):
    """The setting of the command line or of --model-overrides reaches the encoder."""
    args = Namespace(**{**vars(noisy[1]), "noise_at_generation": True})
    assert NoisyTransformer.build_model(args, task).encoder.always_noisy
