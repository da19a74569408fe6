"""A generator and a discriminator small enough to be enumerated: 13 replies, as exact.py lists them."""

import math
from types import SimpleNamespace

import torch
from unit.exact import EOS, EVERY_SAMPLE, Exact
from unit.tiny import dictionary, make_batch, make_pair

from fairseq_ami.criterions.dialog_gan import DialogGANLoss
from fairseq_ami.criterions.dialog_gan_config import DialogGANLossConfig
from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.models.dialog_discriminator import DialogDiscriminator
from fairseq_ami.models.dialog_gan import DialogGAN

HISTORIES = [([0, 1], [0, 1]), ([1], [1])]  # with the human replies


def make_task(words=2, separator=False):
    """One dictionary for both sides."""
    symbols = dictionary(words)
    if separator:
        symbols.add_symbol(SEPARATOR)
    cfg = SimpleNamespace(source_lang="hist", target_lang="reply")
    separators = (symbols.index(SEPARATOR),) if separator else ()
    return SimpleNamespace(source_dictionary=symbols, target_dictionary=symbols, cfg=cfg, separators=separators)


def make_discriminator(task, seed=2, scale=3.0, hidden=5, dropout=0.0):
    """Untrained, with weights so large that it judges replies differently, and is undecided on average."""
    torch.manual_seed(seed)
    judge = DialogDiscriminator(task.target_dictionary, 4, hidden, dropout)
    with torch.no_grad():
        for parameter in judge.parameters():
            parameter.mul_(scale if parameter.dim() > 1 else 0.0)
        some = torch.cat([torch.randint(3, 6, (60, 2)), torch.full((60, 1), EOS)], 1)
        judge.out.weight.mul_(1.5 / judge.judge(judge.read(some), some).std())
        judge.out.bias.sub_(judge.judge(judge.read(some), some).mean())
    return judge


def make_gan(task, arch="ami_transformer", **settings):
    """In training mode."""
    generator = make_pair(task, arch=arch, **settings).forward_model
    return DialogGAN(generator, make_discriminator(task)).train()


def make_criterion(task, **settings):
    """Replies of at most three symbols, the last of them a forced end; rewards as they are."""
    given = {"seed": 3, "sample_max_len_a": 0.0, "sample_max_len_b": 3, "reward_scale": "none", **settings}
    return DialogGANLoss(DialogGANLossConfig(**given), task)


def make_histories(task, copies=1):
    return make_batch(task, HISTORIES * copies)


class ExactGame(Exact):
    """Probabilities and judgements of every reply to one history, one at a time and without padding."""

    def __init__(self, model, source, target):
        super().__init__(SimpleNamespace(forward_model=model.forward_model), source, target, None)
        self.judge = model.discriminator

    def encode(self):
        return self.model.forward_model.encoder(self.source, src_lengths=torch.tensor([self.source.size(1)])), None

    def human(self, tokens):
        """D(x, y): the probability that a human wrote *tokens*."""
        with torch.no_grad():
            return float(torch.sigmoid(self.judge.judge(self.judge.read(self.source), torch.tensor([tokens]))))

    def value(self, prefix):
        """Q(x, y_1..t): D of every reply that begins with *prefix*, weighted by its probability given the prefix."""
        out = self.encode()[0]
        with torch.no_grad():
            begin = [tokens for tokens in EVERY_SAMPLE if tokens[: len(prefix)] == prefix]
            log_p = torch.stack([self.log_p(tokens, out) for tokens in begin])
            weights = torch.softmax(log_p, 0).tolist()
        return math.fsum(w * self.human(tokens) for w, tokens in zip(weights, begin))

    def loss(self):
        """-E[D], with gradient."""
        return -self.expectation(self.human)

    @staticmethod
    def choices(tokens):
        """How many symbols of a reply the policy chose: a third one is the forced end."""
        return min(len(tokens), 2)


def exact_games(model):
    return [ExactGame(model, source, target) for source, target in HISTORIES]


__all__ = ["EOS", "EVERY_SAMPLE", "ExactGame", "exact_games", "make_criterion", "make_gan", "make_histories"]
