"""Sentences from a text VAE for given z: greedy, sampled, or by beam search."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq.data import Dictionary
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from torch import Tensor

from fairseq_ami.choices import DECODINGS
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.policy import Policy, symbols
from fairseq_ami.generation.sampler import sample
from fairseq_ami.models.text_vae import TextVAE

# rows that the softmax works on at a time: on a CPU their logits stay in the cache
_ROWS = 256


@dataclass(frozen=True)
class DecodingOptions:
    """How words are chosen. BOS and padding never are.

    Attributes:
        unk: allow ``<unk>``; without it the other words share its probability.
        temperature, topk, topp: of ``sample`` (:class:`fairseq_ami.generation.policy.Policy`).
        beam: hypotheses of ``beam``; fairseq keeps at most as many as the dictionary has symbols, less one.
        lenpen: ``beam`` compares log p(x|z) / tokens^lenpen, the end symbol counted; 0 compares log p(x|z) itself.
    """

    unk: bool = True
    temperature: float = 1.0
    topk: int = 0
    topp: float = 1.0
    beam: int = 5
    lenpen: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise AMIError("the temperature must be positive (greedy decoding is a method of its own)")
        if self.topk < 0 or not 0 < self.topp <= 1:
            raise AMIError("top-k must not be negative (0: all words), and top-p must lie in (0, 1]")
        if self.beam < 1:
            raise AMIError("the beam must be at least 1")

    def banned(self, dictionary: Dictionary) -> Tuple[int, ...]:
        """Symbols that are never generated."""
        symbols = (dictionary.bos(), dictionary.pad())
        return symbols if self.unk else (*symbols, dictionary.unk())


@torch.no_grad()
def generate(
    model: TextVAE,
    z: Tensor,
    max_len: int,
    method: str = "greedy",
    options: DecodingOptions = DecodingOptions(),
    keys: Optional[Tensor] = None,
    batch_size: int = 1024,
) -> List[Tensor]:
    """One sentence for each z, in order; the decoder's dropout is off.

    Args:
        model: a :class:`fairseq_ami.models.text_vae.TextVAE`; a language model has z of size 0.
        z: shape (rows, latent).
        max_len: the most words in a sentence, the end symbol not counted; a longer one is cut.
        method: ``greedy``, ``sample`` or ``beam``.
        keys: of the rows' random streams (:func:`fairseq_ami.random_streams.stream_keys`), shape (rows,):
            a row's sample depends on its z and key alone. Without them they are drawn from torch's generator.
        batch_size: sentences (``beam``: hypotheses) that are decoded at a time.

    Returns:
        word ids without the end symbol, on the CPU, each of shape (length,).

    Raises:
        AMIError: an unknown method, or a *max_len* that the model does not reach.
    """
    if method not in DECODINGS:
        raise AMIError(f"unknown decoding {method!r}: choose from {', '.join(DECODINGS)}")
    if not 1 <= max_len < model.max_decoder_positions():
        raise AMIError(f"sentences of {max_len} words: this model makes 1 to {model.max_decoder_positions() - 1}")
    if keys is None:
        keys = torch.randint(-(2**63), 2**63 - 1, (len(z),))
    device = next(model.parameters()).device
    rows = max(1, batch_size // options.beam) if method == "beam" else batch_size
    training = model.training
    model.eval()
    try:
        found: List[Tensor] = []
        for part, part_keys in zip(z.to(device).split(rows), keys.to(device).split(rows)) if len(z) else ():
            if method == "beam":
                found.extend(_beam(model, part, max_len, options))
            else:
                found.extend(_ancestral(model, part, max_len, method, options, part_keys))
        return found
    finally:
        model.train(training)


class _Sampled(Policy):
    """The policy, a few rows at a time."""

    def choose(self, logits: Tensor, uniform: Tensor) -> Tensor:
        parts = zip(logits.split(_ROWS), uniform.split(_ROWS))
        return torch.cat([Policy.choose(self, *part) for part in parts])


class _Greedy(Policy):
    """The likeliest symbol, the first one of several."""

    def choose(self, logits: Tensor, uniform: Tensor) -> Tensor:
        logits = logits.float()  # torch's argmax of half precision is slow on a CPU
        return logits.index_fill(1, symbols(self.banned, logits.device), float("-inf")).argmax(1)


def _ancestral(
    model: TextVAE, z: Tensor, max_len: int, method: str, options: DecodingOptions, keys: Tensor
) -> List[Tensor]:
    """Greedy or sampled sentences of one batch."""
    banned, eos = options.banned(model.dictionary), model.dictionary.eos()
    if method == "greedy":
        policy: Policy = _Greedy(banned)
    else:
        policy = _Sampled(banned, options.temperature, options.topk, options.topp)
    limits = torch.full((len(z),), max_len + 1, device=z.device)
    decoder = model.decoder
    drawn = sample(decoder, model.condition(z), decoder.reorder_condition, policy, keys, limits, model.pad, eos)
    tokens = drawn.tokens.cpu()
    lengths = tokens.ne(model.pad).sum(1) - 1
    return [row[:length] for row, length in zip(tokens, lengths.tolist())]


class _LatentEnsemble(EnsembleModel):
    """What fairseq's search calls the source is z."""

    def __init__(self, model: TextVAE, policy: Policy):
        super().__init__([model])
        self.policy = policy

    def has_encoder(self) -> bool:
        return True  # a language model conditions on nothing, but has a state to reorder

    def forward_encoder(self, net_input: Dict[str, Tensor]) -> List[Any]:
        return [self.single_model.condition(net_input["z"])]

    def forward_decoder(
        self, tokens: Tensor, encoder_outs: List[Any], incremental_states: List[Any], temperature: float = 1.0
    ) -> Tuple[Tensor, None]:
        decoder = self.single_model.decoder
        out = decoder(tokens, encoder_out=encoder_outs[0], incremental_state=incremental_states[0])
        return self.policy.log_probs(out[0][:, -1]), None

    def reorder_encoder_out(self, encoder_outs: List[Any], new_order: Tensor) -> List[Any]:
        return [self.single_model.decoder.reorder_condition(encoder_outs[0], new_order)]


def _beam(model: TextVAE, z: Tensor, max_len: int, options: DecodingOptions) -> List[Tensor]:
    """The best hypothesis of fairseq's beam search for each z of one batch."""
    ensemble = _LatentEnsemble(model, Policy(options.banned(model.dictionary)))
    generator = SequenceGenerator(
        ensemble, model.dictionary, options.beam, max_len_b=max_len, min_len=0, len_penalty=options.lenpen
    )
    source = torch.zeros(len(z), 1, dtype=torch.long, device=z.device)  # only its size is looked at
    found = generator.generate([model], {"net_input": {"src_tokens": source, "z": z}})
    return [hypotheses[0]["tokens"][:-1].cpu() for hypotheses in found]
