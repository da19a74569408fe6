"""The page that goes with an exported model."""

from typing import Any, Dict

_STOCK = {
    "transformer": ("fairseq.models.transformer", "TransformerModel"),
    "lstm": ("fairseq.models.lstm", "LSTMModel"),
}


def model_card(state: Dict[str, Any], name: str) -> str:
    """A short page in Markdown: what the model is, and how it is used.

    Args:
        state: the exported checkpoint.
        name: of the folder.
    """
    cfg = state["cfg"]
    source, target = cfg["task"]["source_lang"], cfg["task"]["target_lang"]
    arch = cfg["model"]["_name"]
    paired = arch not in _STOCK
    arrow = "<->" if paired else "->"
    lines = [
        f"# {name}: {source} {arrow} {target}",
        "",
        f"- architecture: `{arch}`" + (" (both directions and latent noise)" if paired else " of stock fairseq"),
        f"- parameters: {_count(state['model']):,}",
        f"- updates: {state['optimizer_history'][-1]['num_updates']:,}",
        f"- input: {_input(cfg)}",
        "",
        "```python",
        *(_pair_usage(name) if paired else _plain_usage(arch, name)),
        "```",
        "",
    ]
    return "\n".join(lines)


def _count(weights: Dict[str, Any]) -> int:
    """Numbers in the tensors, those that share memory counted once."""
    return sum({(tensor.data_ptr(), tensor.numel()): tensor.numel() for tensor in weights.values()}.values())


def _input(cfg: Dict[str, Any]) -> str:
    steps = [part["_name"] for part in (cfg["tokenizer"], cfg["bpe"]) if part]
    if not steps:
        return "symbols of the dictionary, separated by spaces"
    return "raw text (" + ", then ".join(f"`{step}`" for step in steps) + ", applied by the interface)"


def _plain_usage(arch: str, name: str) -> "list[str]":
    module, cls = _STOCK[arch]
    return [
        f"from {module} import {cls}  # stock fairseq, no plugin",
        "",
        f'model = {cls}.from_pretrained("./{name}")',
        'print(model.translate("..."))',
    ]


def _pair_usage(name: str) -> "list[str]":
    return [
        "from fairseq_ami.hub import from_pretrained",
        "",
        f'model = from_pretrained("./{name}")',
        'print(model.translate(["..."]), model.backtranslate(["..."]))',
        'print(model.score(["source"], ["target"], direction="forward"))',
        'print(model.sample(["..."], num_samples=4, noise=True))',
    ]
