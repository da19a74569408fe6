"""A smaller Transformer out of a trained one: the first merges of its subwords, and some of its layers.

The first N merges of subword-nmt's codes are what `learn-bpe -s N` gives on the same text.
So most subwords of the smaller vocabulary are among those of the larger one, and keep their vectors.
A new subword begins as the mean of the two that it is merged from.
The network is worse at first: train it on.
"""

import argparse
from typing import Any, Dict, List

import torch
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_ami.checkpoints import read_checkpoint

CONTINUED, LAST = "@@", "</w>"  # how the dictionary and the codes mark pieces inside and at the end of a word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="of stock fairseq's Transformer with --share-all-embeddings")
    parser.add_argument("out", help="checkpoint to write")
    parser.add_argument("--from-dict", required=True, metavar="FILE", help="joint dictionary of the checkpoint")
    parser.add_argument("--to-dict", required=True, metavar="FILE", help="joint dictionary of the smaller vocabulary")
    parser.add_argument("--codes", required=True, metavar="FILE", help="codes of the smaller vocabulary")
    parser.add_argument("--encoder-layers", required=True, metavar="I,J", help="encoder layers to keep, from 0")
    parser.add_argument("--decoder-layers", required=True, metavar="I,J", help="decoder layers to keep, from 0")
    args = parser.parse_args()
    state = read_checkpoint(args.checkpoint, "network")
    weights = state["model"]
    table = smaller_table(
        weights["encoder.embed_tokens.weight"],
        Dictionary.load(args.from_dict),
        Dictionary.load(args.to_dict),
        parents(args.codes),
    )
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "decoder.output_projection"):
        weights[f"{name}.weight"] = table
    for side in ("encoder", "decoder"):
        kept = [int(layer) for layer in getattr(args, f"{side}_layers").split(",")]
        weights = state["model"] = with_layers(weights, side, kept)
        set_option(state, f"{side}_layers", len(kept))
    state["last_optimizer_state"] = None
    torch.save(state, args.out)


def parents(path: str) -> Dict[str, List[str]]:
    """The two pieces of each merge, in the dictionary's spelling, by what they become."""
    with open(path, encoding="utf-8") as file:
        merges = [line.split() for line in file if not line.startswith("#version")]
    return {spelt(left + right): [spelt(left), spelt(right)] for left, right in merges}


def spelt(piece: str) -> str:
    return piece[: -len(LAST)] if piece.endswith(LAST) else piece + CONTINUED


def smaller_table(table: Tensor, old: Dictionary, new: Dictionary, made_of: Dict[str, List[str]]) -> Tensor:
    """Vectors of the new dictionary, shape (len(new), dimension)."""

    def vector(symbol: str) -> Tensor:
        if symbol in old.indices:
            return table[old.indices[symbol]]
        if symbol not in made_of:
            return table[old.unk()]
        return torch.stack([vector(part) for part in made_of[symbol]]).mean(0)

    return torch.stack([vector(symbol) for symbol in new.symbols])


def with_layers(weights: Dict[str, Tensor], side: str, kept: List[int]) -> Dict[str, Tensor]:
    """The weights with only the layers *kept* of the encoder or the decoder, numbered anew."""
    start = f"{side}.layers."
    result = {name: value for name, value in weights.items() if not name.startswith(start)}
    for number, layer in enumerate(kept):
        before = f"{start}{layer}."
        result.update({f"{start}{number}.{k[len(before) :]}": v for k, v in weights.items() if k.startswith(before)})
    return result


def set_option(state: Dict[str, Any], name: str, value: int) -> None:
    """In the form that fairseq keeps the settings of its Transformer in."""
    setattr(state["cfg"]["model"] if state.get("cfg") else state["args"], name, value)


if __name__ == "__main__":
    main()
