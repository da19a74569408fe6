"""The objectives of the minimax as exact sums over every sentence that the truncated policy can draw.

A dictionary of two words (and the unknown word) and samples of at most three symbols give 13 sentences.
Written out with fairseq's own networks, one sentence at a time, no padding, independent of what is tested.
"""

import itertools
import math

import torch
import torch.nn.functional as F

PAD, EOS = 1, 2
ACTIONS = (EOS, 3, 4, 5)  # the end, the unknown word, two words; begin and padding are never drawn
WORDS = ACTIONS[1:]

EVERY_SAMPLE = [
    *[[EOS]],
    *[[a, EOS] for a in WORDS],
    *[[a, b, EOS] for a, b in itertools.product(WORDS, WORDS)],
]


class Exact:
    """The objective of each phase as a differentiable sum over all T', for one source and noise."""

    def __init__(self, model, source, target, eps, scale=0.8, temperature=1.0, topk=0):
        self.model, self.eps, self.scale = model, eps, scale
        self.temperature, self.topk = temperature, topk
        self.source = torch.tensor([[4 + w for w in source] + [EOS]])
        self.target = torch.tensor([[4 + w for w in target] + [EOS]])

    def delta(self, z):
        """Equations 14 to 19 by hand."""
        noise = self.model.latent_noise
        mean = F.relu(z @ noise.hidden.weight.t() + noise.hidden.bias) @ noise.out.weight.t()
        return self.scale * (mean + self.eps[: z.size(0)].unsqueeze(1) * torch.log1p(mean.exp()))

    def encode(self):
        """The stock encoder's output with noise, and the noise."""
        out = self.model.forward_model.encoder(self.source, src_lengths=torch.tensor([self.source.size(1)]))
        if isinstance(out, tuple):  # LSTM: outputs, final hidden states, final cells, mask
            z = torch.cat([out[1], out[2]])
            delta = self.delta(z)
            hidden, cell = (z + delta).chunk(2)
            return (out[0], hidden, cell, out[3]), delta
        if "z" in out:  # HRED: one vector a row
            delta = self.delta(out["z"].unsqueeze(0))
            return {"z": out["z"] + delta[0]}, delta
        delta = self.delta(out["encoder_out"][0])
        return {**out, "encoder_out": [out["encoder_out"][0] + delta]}, delta

    def log_p(self, tokens, encoder_out):
        """log of the probability with which the truncated policy draws *tokens*."""
        logits = self.model.forward_model.decoder(torch.tensor([[EOS] + tokens[:-1]]), encoder_out=encoder_out)[0][0]
        total = torch.zeros(())
        for place, symbol in enumerate(tokens[:2]):  # a third symbol is the forced end: probability one
            allowed = logits[place, list(ACTIONS)] / self.temperature
            if self.topk:
                allowed = allowed.masked_fill(allowed < allowed.sort().values[-self.topk], -math.inf)
            total = total + torch.log_softmax(allowed, dim=0)[ACTIONS.index(symbol)]
        return total

    def log_q(self, tokens):
        """log Q of each token of S, by the stock backward network."""
        net = self.model.backward_model
        previous = torch.cat([torch.tensor([[EOS]]), self.source[:, :-1]], dim=1)
        logits = net(torch.tensor([tokens]), torch.tensor([len(tokens)]), previous)[0][0]
        return torch.log_softmax(logits, dim=-1)[torch.arange(len(previous[0])), self.source[0]]

    def k(self, tokens):
        """Equation 11 by hand."""
        table = self.model.forward_model.decoder.embed_tokens.weight.detach()
        fake, real = ([t for t in side if t > EOS] for side in (tokens, self.target[0].tolist()))
        if not fake:
            return 1.0
        a, b = table[fake].mean(0), table[real].mean(0)
        return 1.0 - float(a @ b / (a.norm() * b.norm()))

    def expectation(self, value, encoder_out=None):
        """sum over T' of P(T') value(T')."""
        encoder_out = self.encode()[0] if encoder_out is None else encoder_out
        return sum(self.log_p(tokens, encoder_out).exp() * value(tokens) for tokens in EVERY_SAMPLE)

    def reward(self, tokens, use_k, per="token"):
        with torch.no_grad():
            log_q = self.log_q(tokens)
            reward = log_q.mean() if per == "token" else log_q.sum()
        return self.k(tokens) * reward if use_k else reward


def forward_loss(exact, use_k, per="token"):
    """-E[r] or -E[K r], summed over the sources."""
    return -sum(one.expectation(lambda tokens, one=one: one.reward(tokens, use_k, per)) for one in exact)


def noise_loss(exact, weight, per="token"):
    """-lambda ||delta|| - E[r], without K."""
    loss = 0.0
    for one in exact:
        encoder_out, delta = one.encode()
        reward = one.expectation(lambda tokens, one=one: one.reward(tokens, False, per), encoder_out)
        loss = loss - weight * delta.pow(2).mean().sqrt() - reward
    return loss
