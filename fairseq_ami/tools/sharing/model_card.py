"""The page that goes with an exported model."""

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats import ctranslate2_writer, huggingface_writer
from fairseq_ami.tools.formats.record import Record
from fairseq_ami.tools.sharing.vae_states import TASK

CARD = "model_card.md"
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
    if state["cfg"]["task"]["_name"] == TASK:
        return _vae_card(state, name)
    cfg = state["cfg"]
    source, target = cfg["task"]["source_lang"], cfg["task"]["target_lang"]
    arch = cfg["model"]["_name"]
    paired = arch not in _STOCK
    arrow = "<->" if paired else "->"
    lines = [
        f"# {name}: {source} {arrow} {target}",
        "",
        f"- architecture: `{arch}`" + (" (both directions and latent noise)" if paired else " of stock fairseq"),
        *_facts(state),
        "",
        "```python",
        *(_pair_usage(name) if paired else _plain_usage(arch, name)),
        "```",
        "",
    ]
    return "\n".join(lines)


def _vae_card(state: Dict[str, Any], name: str) -> str:
    lines = [
        f"# {name}: sentences from a latent variable",
        "",
        f"- architecture: `{state['cfg']['model']['_name']}`",
        *_facts(state),
        "",
        "```python",
        "from fairseq_ami.hub import text_vae",
        "",
        f'model = text_vae("./{name}")',
        'print(model.interpolate("one sentence", "another one", steps=5))',
        "print(model.sample(5))",
        "```",
        "",
    ]
    return "\n".join(lines)


def read_notes(path: Optional[str]) -> str:
    """What the file *path* adds to a card; nothing without one.

    Raises:
        AMIError: it cannot be read.
    """
    if path is None:
        return ""
    try:
        return "\n" + Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AMIError(f"--notes: {path} cannot be read ({error})") from error


def _facts(state: Dict[str, Any]) -> List[str]:
    types = {str(tensor.dtype).split(".")[-1] for tensor in state["model"].values() if tensor.is_floating_point()}
    return [
        f"- parameters: {_count(state['model']):,}, stored as {' and '.join(sorted(types))}",
        f"- updates: {state['optimizer_history'][-1]['num_updates']:,}",
        f"- input: {_input(state['cfg'])}",
    ]


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


# ---------------------------------------------------------------------- other formats

_LIBRARIES = {ctranslate2_writer.NAME: "CTranslate2", huggingface_writer.NAME: "Hugging Face transformers"}


def converted_card(state: Dict[str, Any], name: str, record: Record, files: Sequence[str]) -> str:
    """The page of a network in another library's format, with a script that needs neither fairseq nor this package.

    Args:
        state: the plain checkpoint that was converted.
        name: of the folder.
        record: of the folder.
        files: names of what lies in the folder.
    """
    source, target = record.languages
    script = _ctranslate2_script if record.format == ctranslate2_writer.NAME else _huggingface_script
    lines = [
        f"# {name}: {source} -> {target}",
        "",
        f"- format: {_LIBRARIES[record.format]}, weights in {record.quantization or 'float32'}",
        f"- parameters: {_count(state['model']):,}",
        f"- updates: {state['optimizer_history'][-1]['num_updates']:,}",
        f"- input: {_converted_input(record)}",
        f"- longest source and target: {record.limits[0]} and {record.limits[1]} symbols, end symbols included",
        "- left out: the latent-noise network of the pair, if it had one",
        "",
        "```python",
        *script(name, record, huggingface_writer.TARGET_TOKENIZER in files),
        "```",
        "",
    ]
    return "\n".join(lines)


def _converted_input(record: Record) -> str:
    steps = [part["_name"] for part in (record.tokenizer, record.bpe) if part]
    if not steps:
        return "symbols of the dictionary, separated by spaces"
    return "text after " + ", then ".join(f"`{step}`" for step in steps) + "; the script below applies them"


def _text_steps(name: str, record: Record) -> "tuple[List[str], List[str], List[str], List[str]]":
    """Lines of the script: imports, preparations, from text to a list of symbols, and back from `symbols` to `text`."""
    source, target = record.languages
    imports, prepared, there, back = [], [], [], ['    text = " ".join(symbols)']
    moses = record.tokenizer is not None and record.tokenizer["_name"] == "moses"
    if moses:
        imports.append("from sacremoses import MosesDetokenizer, MosesTokenizer")
        prepared.append(f'tokenizer, detokenizer = MosesTokenizer("{source}"), MosesDetokenizer("{target}")')
        there.append("    text = tokenizer.tokenize(text, aggressive_dash_splits=True, return_str=True)")
    if record.bpe:
        imports.append("from subword_nmt.apply_bpe import BPE")
        prepared.append(f'bpe = BPE(open("{name}/{record.bpe["bpe_codes"]}", encoding="utf-8"))')
        there.append("    text = bpe.process_line(text)")
        back.append('    text = (text + " ").replace("@@ ", "").rstrip()')
    if moses:
        back.append("    text = detokenizer.detokenize(text.split())")
    return imports, prepared, there, back


def _ctranslate2_script(name: str, record: Record, two_tokenizers: bool) -> List[str]:
    imports, prepared, there, back = _text_steps(name, record)
    longest = min(200, record.limits[1] - 1)
    return [
        "import ctranslate2",
        *imports,
        "",
        f'translator = ctranslate2.Translator("{name}")',
        *prepared,
        "",
        "",
        "def translate(text):",
        *there,
        "    found = translator.translate_batch(",
        f"        [text.split()], beam_size=5, max_input_length=0, max_decoding_length={longest}",
        "    )",
        "    symbols = found[0].hypotheses[0]",
        *back,
        "    return text",
        "",
        "",
        'print(translate("..."))',
    ]


def _huggingface_script(name: str, record: Record, two_tokenizers: bool) -> List[str]:
    imports, prepared, there, back = _text_steps(name, record)
    written = f'"{name}", subfolder="{huggingface_writer.TARGET_TOKENIZER}"' if two_tokenizers else f'"{name}"'
    return [
        *imports,
        "from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast",
        "",
        f'model = AutoModelForSeq2SeqLM.from_pretrained("{name}")',
        f'reads = PreTrainedTokenizerFast.from_pretrained("{name}")',
        f"writes = PreTrainedTokenizerFast.from_pretrained({written})",
        *prepared,
        "",
        "",
        "def translate(text):",
        *there,
        '    inputs = reads(text, return_tensors="pt", return_token_type_ids=False)',
        "    found = model.generate(**inputs)[0]",
        "    symbols = writes.decode(found, skip_special_tokens=True).split()",
        *back,
        "    return text",
        "",
        "",
        'print(translate("..."))',
    ]
