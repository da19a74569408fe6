"""An evaluation of LSTM text VAEs of its own: plain PyTorch from the papers, with nothing of the package in it.

It reads weights and sizes from a checkpoint, and sentences from text. One sentence at a time, LSTMs gate by gate.

* -ELBO, KL: Kingma and Welling 2014. * Importance-weighted likelihood: Burda et al. 2016.
* Mutual information by the aggregated posterior: Hoffman and Johnson 2016. * Active units: Burda et al. 2016.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import torch
from torch import Tensor

EOS, UNK, FIRST_WORD = 2, 3, 4  # fairseq's special symbols stand before the words of dict.txt


@dataclass(frozen=True)
class Estimate:
    """A mean over sentences, with the standard error that one draw of its samples has."""

    value: float
    error: float


@dataclass(frozen=True)
class Evaluation:
    nll: Estimate  # -ELBO with one z per sentence
    kl: float
    mi: Estimate  # over the whole set, with one z per sentence
    iw_nll: Estimate
    active_units: int


class PlainVAE:
    """The networks of a checkpoint, in float64."""

    def __init__(self, path: Path):
        state = torch.load(path, map_location="cpu", weights_only=False)
        self.weights: Dict[str, Tensor] = {name: value.double() for name, value in state["model"].items()}
        settings = state["cfg"]["model"]
        self.settings: Dict[str, Any] = settings if isinstance(settings, dict) else vars(settings)

    def lstm(self, name: str, inputs: List[Tensor], state: Tuple[Tensor, Tensor], suffix: str = "") -> List[Tensor]:
        """Hidden states of one layer, each of shape (rows, hidden), for inputs of shape (rows, size)."""
        w_in, w_state = (self.weights[f"{name}.weight_{kind}_l0{suffix}"] for kind in ("ih", "hh"))
        bias = self.weights[f"{name}.bias_ih_l0{suffix}"] + self.weights[f"{name}.bias_hh_l0{suffix}"]
        h, c = state
        found = []
        for x in inputs:
            i, f, g, o = (x @ w_in.T + h @ w_state.T + bias).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            found.append(h)
        return found

    def posterior(self, words: List[int]) -> Tuple[Tensor, Tensor]:
        """Mean and standard deviation, each of shape (latent,)."""
        table = self.weights["encoder.embed_tokens.weight"]
        inputs = [table[[word]] for word in words]
        nothing = torch.zeros(1, self.settings["hidden_size"]).double()
        directions = [self.lstm("encoder.lstm", inputs, (nothing, nothing))]
        if self.settings["encoder_bidirectional"]:
            directions.append(self.lstm("encoder.lstm", inputs[::-1], (nothing, nothing), "_reverse"))
        pooled = self.settings["encoder_max_pooling"]
        parts = [torch.stack(states).amax(0) if pooled else states[-1] for states in directions]
        both = torch.cat(parts, 1) @ self.weights["posterior_heads.weight"].T + self.weights["posterior_heads.bias"]
        mean, log_variance = both[0].chunk(2)
        return mean, log_variance.exp().sqrt()

    def log_likelihood(self, words: List[int], z: Tensor) -> Tensor:
        """log p(x|z) for each row of z (rows, latent); shape (rows,)."""
        z = self.settings["latent_scale"] * z
        first = torch.tanh(z @ self.weights["decoder.first_state.weight"].T + self.weights["decoder.first_state.bias"])
        h, c = first.chunk(2, 1)
        table = self.weights["decoder.embed_tokens.weight"]
        inputs = [torch.cat([table[[word]].expand(len(z), -1), z], 1) for word in [EOS, *words[:-1]]]
        total = torch.zeros(len(z)).double()
        for word, state in zip(words, self.lstm("decoder.lstm", inputs, (h, c))):
            logits = state @ self.weights["decoder.output_projection.weight"].T
            logits = logits + self.weights["decoder.output_projection.bias"]
            if self.settings["latent_skip"]:
                logits = logits + z @ self.weights["decoder.latent_skip.weight"].T
            total += logits[:, word] - logits.logsumexp(1)
        return total


def read(text: Path, dictionary: Path) -> List[List[int]]:
    """Word numbers of each line, the end symbol behind the last."""
    words = [line.split()[0] for line in dictionary.read_text().splitlines()]
    numbers = {word: FIRST_WORD + place for place, word in enumerate(words)}
    return [[*(numbers.get(word, UNK) for word in line.split()), EOS] for line in text.read_text().splitlines()]


def log_normal(x: Tensor, mean: Any, deviation: Any) -> Tensor:
    """Density of a diagonal Gaussian; the last dimension is summed."""
    deviation = torch.as_tensor(deviation).double()
    return (-0.5 * ((x - mean) / deviation) ** 2 - deviation.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


@torch.no_grad()
def evaluate(model: PlainVAE, sentences: List[List[int]], samples: int, repeats: int) -> Evaluation:
    """All figures with *repeats* draws of *samples* values of z per sentence.

    Args:
        samples: K of the importance-weighted bound.
        repeats: by which means and their errors are estimated.
    """
    posteriors = [model.posterior(words) for words in sentences]
    means, deviations = (torch.stack(part) for part in zip(*posteriors))
    kl = 0.5 * (means**2 + deviations**2 - 2 * deviations.log() - 1).sum(1)
    elbo, bound, information = [], [], []
    for row, words in enumerate(sentences):
        z = means[row] + deviations[row] * torch.randn(repeats * samples, means.size(1)).double()
        likelihood, own = model.log_likelihood(words, z), log_normal(z, means[row], deviations[row])
        elbo.append(likelihood - kl[row])
        weights = (likelihood + log_normal(z, 0.0, torch.ones(1)) - own).view(repeats, samples)
        bound.append(weights.logsumexp(1) - math.log(samples))
        aggregated = log_normal(z.unsqueeze(1), means, deviations).logsumexp(1) - math.log(len(sentences))
        information.append(own - aggregated)
    variance = ((means - means.mean(0)) ** 2).sum(0) / (len(means) - 1)
    return Evaluation(
        nll=_mean([-values for values in elbo]),
        kl=float(kl.mean()),
        mi=_mean(information),
        iw_nll=_mean([-values for values in bound]),
        active_units=int((variance >= 0.01).sum()),
    )


def _mean(values: List[Tensor]) -> Estimate:
    """Of each sentence's draws: the mean, and the error of a figure with one draw per sentence beside it."""
    table = torch.stack(values)
    one, all_of_them = table.var(1), table.var(1) / table.size(1)
    return Estimate(float(table.mean()), math.sqrt(float((one + all_of_them).sum())) / len(table))
