"""Networks converted for Hugging Face transformers, against fairseq's own logits."""

import json
from pathlib import Path

import pytest
import torch
from unit.tools.formats import networks
from unit.tools.formats.networks import PRE_NORM, SHARED, load, save_checkpoint, save_pair, sentences

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats import huggingface_writer
from fairseq_ami.tools.formats.optional import transformers_for_text
from fairseq_ami.tools.sharing.bundle import export

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def transformers():
    return transformers_for_text("the test")


def convert(checkpoint: Path) -> str:
    return export(str(checkpoint), str(checkpoint.parent / "converted"), format="huggingface")


def padded(rows, pad):
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)


SETTINGS = {
    "pre-norm, one table": {**PRE_NORM, **SHARED},
    "pre-norm, three tables": PRE_NORM,
    "pre-norm, larger target": {**PRE_NORM, "source_words": 7, "share_decoder_input_output_embed": True},
    "post-norm, one table": SHARED,
    "post-norm, three tables": {"target_words": 7},
    "post-norm, two tables": {"target_words": 20, "share_decoder_input_output_embed": True},
    "other sizes": {**PRE_NORM, "decoder_attention_heads": 4, "activation_fn": "gelu", "no_scale_embedding": True},
}


@pytest.mark.parametrize("name", SETTINGS)
@torch.no_grad()
def test_logits_are_those_of_fairseq(tmp_path, transformers, name):
    """In a padded batch, and of the architecture that the norm asks for."""
    checkpoint = save_checkpoint(tmp_path / "stock", **SETTINGS[name])
    module, source, target = load(checkpoint)
    folder = convert(checkpoint)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    assert type(model).__name__.startswith("M2M100" if SETTINGS[name].get("encoder_normalize_before") else "FSMT")
    rows, written = sentences(source, 12), sentences(target, 12, seed=6)
    previous = [torch.cat([row[-1:], row[:-1]]) for row in written]
    inputs = padded(rows, source.pad())
    mask = inputs.ne(source.pad()).long()
    found = model(
        input_ids=inputs, attention_mask=mask, decoder_input_ids=padded(previous, target.pad()), use_cache=False
    )
    for row, before, logits in zip(rows, previous, found.logits):
        expected = module(**networks.batch([row], source), prev_output_tokens=before[None])[0][0]
        assert logits.shape[-1] == len(target)
        torch.testing.assert_close(logits[: len(before)], expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.5  # a network that says something


def test_generation_with_the_folder_alone(tmp_path, transformers):
    """Text to text: fairseq's beam 5 of the same sentences, through the tokenizers of both languages."""
    checkpoint = save_checkpoint(tmp_path / "stock", updates=100, **PRE_NORM)
    module, source, target = load(checkpoint)
    folder = convert(checkpoint)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    reads = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    writes = transformers.PreTrainedTokenizerFast.from_pretrained(folder, subfolder="target_tokenizer")
    rows = sentences(source, 12, longest=4)
    texts = [source.string(row) for row in rows]
    inputs = reads(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
    assert [row[row.ne(source.pad())].tolist() for row in inputs["input_ids"]] == [row.tolist() for row in rows]
    assert reads("w0 never w1")["input_ids"] == source.encode_line("w0 never w1", add_if_not_exist=False).tolist()
    found = writes.batch_decode(model.generate(**inputs), skip_special_tokens=True)
    wanted = networks.stock_search(module, source, target, rows, beam_size=5)
    same = sum(text == target.string(best[0]["tokens"]) for text, best in zip(found, wanted))
    assert same >= 11  # the two searches stop by different rules


@pytest.mark.parametrize("direction", ["forward", "backward"])
@torch.no_grad()
def test_either_direction_of_a_pair(tmp_path, transformers, direction):
    checkpoint = save_pair(tmp_path / "pair")
    if direction == "backward":  # it reads five words and writes seven; M2M100 and FSMT are both asked
        checkpoint = save_pair(tmp_path / "pre-norm", **PRE_NORM)
    folder = export(str(checkpoint), str(tmp_path / "out"), direction=direction, format="huggingface")
    names = {"forward": "en de", "backward": "de en"}[direction].split()
    record = json.loads((Path(folder) / "fairseq_ami.json").read_text())
    assert record["direction"] == direction and record["languages"] == names
    assert {f"dict.{name}.txt" for name in names} < set(record["files"])
    assert sorted(record["files"]) == sorted(
        str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()
    )
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert type(model).__name__.startswith("FSMT" if direction == "forward" else "M2M100")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"encoder_normalize_before": True}, "normalises before its layers and the decoder after"),
        ({"encoder_learned_pos": True}, "positions are learnt"),
        ({"layernorm_embedding": True}, "--layernorm-embedding"),
        ({"encoder_embed_dim": 24}, "size 24 and the decoder's 16"),
        ({"activation_fn": "tanh"}, "activation 'tanh'"),
        ({**PRE_NORM, "target_words": 7}, "source dictionary is larger"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_that_do_not_fit_are_refused(tmp_path, given, message):
    checkpoint = save_checkpoint(tmp_path / "stock", **given)
    with pytest.raises(AMIError, match=message):
        export(str(checkpoint), str(tmp_path / "out"), format="huggingface")
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_lstms_are_refused(tmp_path):
    checkpoint = save_pair(tmp_path / "pair", "ami_lstm")
    with pytest.raises(AMIError, match="takes Transformers"):
        export(str(checkpoint), str(tmp_path / "out"), direction="backward", format="huggingface")


@pytest.mark.parametrize("given", [{}, PRE_NORM], ids=["post-norm", "pre-norm"])
def test_the_wrong_architecture_would_not_be_written(tmp_path, monkeypatch, given):
    """The public converter makes a post-norm network of a pre-norm one without a word; here the logits are compared."""
    checkpoint = save_checkpoint(tmp_path / "stock", **given)
    module = huggingface_writer
    m2m100, fsmt = module._m2m100, module._fsmt
    monkeypatch.setattr(
        module, "_filled", lambda model, weights: model.load_state_dict(weights, strict=False) and model
    )
    monkeypatch.setattr(module, "_m2m100", fsmt)
    monkeypatch.setattr(module, "_fsmt", m2m100)
    with pytest.raises(AMIError, match="differ from fairseq's"):
        export(str(checkpoint), str(tmp_path / "out"), format="huggingface")
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]
