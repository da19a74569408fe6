"""Checkpoints of tiny Transformers, and what stock fairseq finds with them."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Tuple

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.transformer import TransformerModel
from fairseq.sequence_generator import SequenceGenerator
from fairseq.sequence_scorer import SequenceScorer
from torch import Tensor
from unit.tiny import make_pair, make_task

SIZES = {
    "encoder_embed_dim": 16,
    "decoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "decoder_ffn_embed_dim": 20,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "max_source_positions": 40,
    "max_target_positions": 50,
}
PRE_NORM = {"encoder_normalize_before": True, "decoder_normalize_before": True}
SHARED = {"share_all_embeddings": True, "share_decoder_input_output_embed": True}
WORDS = 12
LONGEST = 30  # of hypotheses: what a search of a peaked network never reaches


def dictionary(words: int, prefix: str) -> Dictionary:
    found = Dictionary()
    for index in range(words):
        found.add_symbol(f"{prefix}{index}")
    return found


def settings(**given: Any) -> Dict[str, Any]:
    """Complete settings of a network."""
    args = Namespace(**{**SIZES, **given})
    ARCH_CONFIG_REGISTRY["transformer"](args)
    return vars(args)


def save_checkpoint(
    folder: Path, seed: int = 1, target_words: int = WORDS, updates: int = 0, source_words: int = WORDS, **given: Any
) -> Path:
    """A stock checkpoint en -> de with dictionaries beside it.

    Embeddings that are shared have one dictionary.

    Args:
        updates: of training, which lets searches end by themselves; without any the weights are enlarged.
    """
    source = dictionary(source_words, "w")
    shared = given.get("share_all_embeddings")
    target = source if shared else dictionary(target_words, "v")
    args = settings(**given)
    torch.manual_seed(seed)
    view = SimpleNamespace(source_dictionary=source, target_dictionary=target)
    module = TransformerModel.build_model(Namespace(**args), view)
    with torch.no_grad():  # distributions that are far from uniform, and no bias of 0
        for parameter in () if updates else module.parameters():
            parameter.mul_(1.8) if parameter.dim() > 1 else parameter.add_(0.3 * torch.randn_like(parameter))
    train(module, source, target, updates)
    folder.mkdir(parents=True, exist_ok=True)
    for language, words in (("en", source), ("de", target)):
        words.save(str(folder / f"dict.{language}.txt"))
    model = {**args, "_name": "transformer", "arch": "transformer"}
    task = {"_name": "translation", "source_lang": "en", "target_lang": "de", "data": str(folder)}
    state = {"cfg": {"model": model, "task": task, "common": {"seed": 1}}, "model": module.state_dict()}
    torch.save({"args": None, **state, "optimizer_history": [{"num_updates": 7}]}, folder / "model.pt")
    return folder / "model.pt"


def train(module: Any, source: Dictionary, target: Dictionary, updates: int) -> None:
    """Teach the network to translate word by word, well enough for searches to end by themselves."""
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    first, last, count = source.nspecial, target.eos(), min(len(source), len(target)) - source.nspecial
    for _ in range(updates):
        length = int(torch.randint(1, 9, ()))
        words = torch.randint(0, count, (24, length)) + first
        tokens = torch.cat([words, torch.full((24, 1), last)], 1)
        previous = torch.cat([tokens[:, -1:], tokens[:, :-1]], 1)
        logits = module(tokens, torch.full((24,), length + 1), previous)[0]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()


def load(path: Path) -> Tuple[Any, Dictionary, Dictionary]:
    """The network of a stock checkpoint, by fairseq's own means."""
    state = torch.load(path, weights_only=True)
    source, target = (Dictionary.load(str(path.parent / f"dict.{language}.txt")) for language in ("en", "de"))
    view = SimpleNamespace(source_dictionary=source, target_dictionary=target)
    module = TransformerModel.build_model(Namespace(**state["cfg"]["model"]), view)
    module.load_state_dict(state["model"], strict=True)
    return module.eval(), source, target


def sentences(words: Dictionary, count: int, longest: int = 9, seed: int = 5) -> List[Tensor]:
    """Random ids with the end symbol."""
    draws = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        length = int(torch.randint(1, longest + 1, (), generator=draws))
        row = torch.randint(words.nspecial, len(words), (length,), generator=draws)
        found.append(torch.cat([row, torch.tensor([words.eos()])]))
    return found


def batch(rows: List[Tensor], words: Dictionary) -> Dict[str, Tensor]:
    """A left-padded batch, as fairseq's data sets make it."""
    width = max(map(len, rows))
    tokens = torch.stack([torch.cat([row.new_full((width - len(row),), words.pad()), row]) for row in rows])
    return {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}


@torch.no_grad()
def stock_search(
    module: Any, words: Dictionary, target: Dictionary, rows: List[Tensor], longest: int = LONGEST, **options: Any
) -> Any:
    """fairseq's SequenceGenerator; lists of its results."""
    generator = SequenceGenerator([module], target, max_len_a=0, max_len_b=longest, **options)
    return generator.generate([module], {"net_input": batch(rows, words)})


@torch.no_grad()
def stock_scores(module: Any, words: Dictionary, target: Dictionary, pairs: List[Tuple[Tensor, Tensor]]) -> List[float]:
    """log P of each pair by fairseq's SequenceScorer."""
    scorer, found = SequenceScorer(target), []
    for source, sentence in pairs:
        inputs = {**batch([source], words), "prev_output_tokens": torch.cat([sentence[-1:], sentence[:-1]])[None]}
        result = scorer.generate([module], {"net_input": inputs, "target": sentence[None]})
        found.append(float(result[0][0]["positional_scores"].sum()))
    return found


def save_pair(folder: Path, arch: str = "ami_transformer", updates: int = 0, words: Any = (3, 2), **given: Any) -> Path:
    """A checkpoint of a pair en <-> de with a noise network, untrained or with *updates* of both networks."""
    task = make_task(*words)
    model = make_pair(task, arch, **given)
    train(model.forward_model, task.source_dictionary, task.target_dictionary, updates)
    train(model.backward_model, task.target_dictionary, task.source_dictionary, updates)
    folder.mkdir(parents=True, exist_ok=True)
    task.source_dictionary.save(str(folder / "dict.en.txt"))
    task.target_dictionary.save(str(folder / "dict.de.txt"))
    cfg = {
        "model": {**vars(model.args_of_test), "_name": arch},
        "task": {"_name": "ami_translation", "data": str(folder)},
        "common": {"seed": 1},
        "criterion": {},
    }
    torch.save({"cfg": cfg, "args": None, "model": model.state_dict()}, folder / "pair.pt")
    return folder / "pair.pt"
