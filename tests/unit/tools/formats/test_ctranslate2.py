"""Networks converted for CTranslate2, against stock fairseq's search and scorer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from unit.tiny import make_pair, make_task
from unit.tools.formats import networks
from unit.tools.formats.networks import LONGEST, PRE_NORM, SHARED, load, save_checkpoint, save_pair, sentences

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats import ctranslate2_writer, optional
from fairseq_ami.tools.formats.ctranslate2_network import CTranslate2Network, folder_between, network_folder
from fairseq_ami.tools.formats.search import Search
from fairseq_ami.tools.sharing.bundle import export

ctranslate2 = pytest.importorskip("ctranslate2")
BATCH = 60


def convert(checkpoint: Path, **options):
    """The converted network of a stock checkpoint."""
    out = str(checkpoint.parent / "converted")
    return CTranslate2Network(export(str(checkpoint), out, format="ctranslate2", **options), threads=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("ctranslate2")


@pytest.fixture(scope="module")
def small(home):
    """An untrained pre-norm network with separate embeddings, by fairseq and converted."""
    checkpoint = save_checkpoint(home / "small", **PRE_NORM)
    return (*load(checkpoint), convert(checkpoint))


@pytest.fixture(scope="module")
def trained(home):
    """A trained pre-norm network with separate embeddings, by fairseq and converted."""
    checkpoint = save_checkpoint(home / "pre-norm-separate", updates=100, **PRE_NORM)
    return (*load(checkpoint), convert(checkpoint))


NORMS = {"post-norm": {}, "pre-norm": PRE_NORM}
TABLES = {"separate": {}, "shared": SHARED}


@pytest.mark.parametrize("tables", TABLES)
@pytest.mark.parametrize("norm", NORMS)
def test_beam_5_finds_what_fairseq_finds(home, trained, norm, tables):
    """200 sentences whose search does not run into the length limit, where the two libraries go on differently."""
    if (norm, tables) == ("pre-norm", "separate"):
        module, source, target, network = trained
    else:
        checkpoint = save_checkpoint(home / f"{norm}-{tables}", updates=100, **NORMS[norm], **TABLES[tables])
        module, source, target = load(checkpoint)
        network = convert(checkpoint)
    rows = sentences(source, 240)
    wanted = networks.stock_search(module, source, target, rows, beam_size=5)
    ended = [i for i, found in enumerate(wanted) if max(len(one["tokens"]) for one in found) <= LONGEST][:200]
    assert len(ended) == 200
    found = network.search([rows[i] for i in ended], Search(max_len_b=LONGEST))
    for i, (best,) in zip(ended, found):
        assert best.tokens.tolist() == wanted[i][0]["tokens"].tolist()
        assert best.score == pytest.approx(float(wanted[i][0]["score"]), abs=1e-4)
        assert best.log_prob == pytest.approx(float(wanted[i][0]["positional_scores"].sum()), abs=1e-4)


@pytest.mark.parametrize(
    "given",
    [
        {**PRE_NORM, "layernorm_embedding": True},
        {"encoder_learned_pos": True, "decoder_learned_pos": True},
        {"encoder_embed_dim": 24, "no_scale_embedding": True},
        {"activation_fn": "gelu", "target_words": 7, **PRE_NORM},
        {"activation_fn": "gelu_accurate", "share_decoder_input_output_embed": True},
    ],
    ids=lambda given: list(given)[-1],
)
def test_other_settings_score_as_fairseq_does(tmp_path, given):
    checkpoint = save_checkpoint(tmp_path / "stock", **given)
    module, source, target = load(checkpoint)
    pairs = list(zip(sentences(source, 20), sentences(target, 20, seed=6)))
    found = convert(checkpoint).log_probs(*zip(*pairs))
    assert found == pytest.approx(networks.stock_scores(module, source, target, pairs), abs=1e-4)


def test_lengths_and_penalties_mean_what_they_mean_in_fairseq(small):
    """The longest hypothesis, and its score under another exponent of the length."""
    module, source, target, network = small
    rows = sentences(source, 20)
    found = network.search(rows, Search(nbest=3, max_len_b=4, lenpen=0.5))
    assert max(len(one.tokens) for row in found for one in row) == 4 + 1
    pairs = [(row, one.tokens) for row, hypotheses in zip(rows, found) for one in hypotheses]
    log_probs = iter(networks.stock_scores(module, source, target, pairs))
    for hypotheses in found:
        assert [one.score for one in hypotheses] == sorted((one.score for one in hypotheses), reverse=True)
        for one in hypotheses:
            log_prob = next(log_probs)
            assert one.log_prob == pytest.approx(log_prob, abs=1e-4)
            assert one.score == pytest.approx(log_prob / len(one.tokens) ** 0.5, abs=1e-4)


def test_the_shortest_length_means_what_it_means_in_fairseq(trained):
    """One-word sentences, of which fairseq makes sentences of three words and more."""
    module, source, target, network = trained
    rows = [torch.tensor([word, source.eos()]) for word in range(4, 12)]
    wanted = [one[0]["tokens"] for one in networks.stock_search(module, source, target, rows, beam_size=5, min_len=3)]
    found = [one.tokens for (one,) in network.search(rows, Search(max_len_b=LONGEST, min_len=3))]
    assert min(map(len, found)) == min(map(len, wanted)) == 3 + 1
    free = [one.tokens for (one,) in network.search(rows, Search(max_len_b=LONGEST))]
    assert min(map(len, free)) < 3 + 1


def test_a_search_that_runs_into_the_length_limit(trained):
    """It ends with the forced end symbol that fairseq counts; nearly always with the same hypothesis."""
    module, source, target, network = trained
    rows = sentences(source, 60)
    wanted = networks.stock_search(module, source, target, rows, longest=2, beam_size=5)
    same = 0
    for (best,), (stock, *_) in zip(network.search(rows, Search(max_len_b=2)), wanted):
        if best.tokens.tolist() == stock["tokens"].tolist():
            assert best.score == pytest.approx(float(stock["score"]), abs=1e-4)
            same += 1
    assert same >= 57


def test_samples_follow_the_distribution(small):
    """The first word of 1,000 samples against the softmax; the same seed gives the same samples."""
    module, source, target, network = small
    row = sentences(source, 1)
    how = Search(sampling=True, nbest=1000, max_len_b=2, seed=4)
    (drawn,) = network.search(row, how)
    inputs = {**networks.batch(row, source), "prev_output_tokens": torch.tensor([[target.eos()]])}
    logits = module(**inputs)[0][0, 0].detach().double()
    logits[[target.pad(), target.eos()]] = -torch.inf  # no padding, and one word at least
    expected = logits.softmax(-1)
    shares = torch.bincount(torch.tensor([int(one.tokens[0]) for one in drawn]), minlength=len(target)) / 1000
    usual = expected > 0.01
    error = (expected * (1 - expected) / 1000).sqrt()
    assert usual.sum() >= 5 and torch.all(((shares - expected).abs() < 4.5 * error)[usual])
    assert shares[[target.pad(), target.eos()]].tolist() == [0, 0]
    again, other = network.search(row, how)[0], network.search(row, Search(sampling=True, nbest=1000, seed=5))[0]
    assert [one.tokens.tolist() for one in again] == [one.tokens.tolist() for one in drawn]
    assert [one.tokens.tolist() for one in other] != [one.tokens.tolist() for one in drawn]
    sharp = network.search(row, Search(sampling=True, nbest=50, topk=2, max_len_b=1))[0]
    assert {int(one.tokens[0]) for one in sharp} == set(expected.topk(2).indices.tolist())


def test_quantized_weights_are_smaller_and_nearly_the_same(tmp_path, small):
    module, source, target, network = small
    sizes = {"float32": Path(network.folder, "model.bin").stat().st_size}
    pairs = list(zip(sentences(source, 20), sentences(target, 20, seed=6)))
    for name in ("int8", "float16"):
        checkpoint = save_checkpoint(tmp_path / name, **PRE_NORM)
        quantized = convert(checkpoint, quantization=name)
        sizes[name] = Path(quantized.folder, "model.bin").stat().st_size
        assert quantized.record.quantization == name
        found, wanted = quantized.log_probs(*zip(*pairs)), networks.stock_scores(module, source, target, pairs)
        assert found == pytest.approx(wanted, rel=0.1) and found != pytest.approx(wanted, abs=1e-5)
    assert sizes["int8"] < 0.8 * sizes["float32"] and sizes["float16"] < 0.8 * sizes["float32"]


# ---------------------------------------------------------------------- pairs


def test_either_direction_of_a_pair(tmp_path, caplog):
    """The scores are those of the pair's own networks, and the noise network is left out with a word about it."""
    checkpoint = save_pair(tmp_path / "pair")
    with caplog.at_level("INFO"):
        folder = export(str(checkpoint), str(tmp_path / "out"), pair=True, format="ctranslate2")
    assert "noise network is left out" in caplog.text
    task = make_task()
    model = make_pair(task).eval()
    directions = {"forward": (model.forward_model, "en", "de"), "backward": (model.backward_model, "de", "en")}
    words = {"en": task.source_dictionary, "de": task.target_dictionary}
    for name, (module, read, written) in directions.items():
        single = export(str(checkpoint), str(tmp_path / name), direction=name, format="ctranslate2")
        pairs = list(zip(sentences(words[read], 9, 5), sentences(words[written], 9, 5, seed=6)))
        wanted = networks.stock_scores(module, words[read], words[written], pairs)
        for path in (network_folder(folder, name), single, folder_between(folder, (read, written), "--path")):
            network = CTranslate2Network(path, threads=1)
            assert network.record.direction == name and network.record.languages == (read, written)
            assert network.log_probs(*zip(*pairs)) == pytest.approx(wanted, abs=1e-4)
    assert network_folder(folder, None) == network_folder(folder, "forward")
    with pytest.raises(AMIError, match="forward network of a pair alone"):
        network_folder(str(tmp_path / "forward"), "backward")
    with pytest.raises(AMIError, match="holds no network for en -> fr"):
        folder_between(folder, ("en", "fr"), "--path")
    with pytest.raises(AMIError, match="holds a pair"):
        CTranslate2Network(folder)


def test_a_noisy_transformer_is_exported_without_its_noise(tmp_path):
    """As it decodes by default."""
    checkpoint = save_checkpoint(tmp_path / "stock", **PRE_NORM)
    module, source, target = load(checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    state["cfg"]["model"].update(_name="noisy_transformer", arch="noisy_transformer", noise_scale=1.0)
    state["model"]["encoder.latent_noise.weight"] = torch.ones(3)
    torch.save(state, checkpoint)
    pairs = list(zip(sentences(source, 9), sentences(target, 9, seed=6)))
    found = convert(checkpoint).log_probs(*zip(*pairs))
    assert found == pytest.approx(networks.stock_scores(module, source, target, pairs), abs=1e-4)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "given, message",
    [
        ({"encoder_normalize_before": True}, "normalises before its layers and the decoder after"),
        ({"decoder_normalize_before": True}, "normalises after its layers and the decoder before"),
        ({"encoder_attention_heads": 4}, "4 attention heads and the decoder 2"),
        ({"activation_fn": "tanh"}, "activation 'tanh'"),
        ({"no_token_positional_embeddings": True}, "no position embeddings"),
        ({**PRE_NORM, "no_decoder_final_norm": True}, "--no-decoder-final-norm"),
        ({"scale_fc": True}, "--scale-fc"),
        ({"decoder_output_dim": 8}, "--decoder-output-dim"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_that_do_not_fit_are_refused(tmp_path, given, message):
    checkpoint = save_checkpoint(tmp_path / "stock", **given)
    with pytest.raises(AMIError, match=message):
        export(str(checkpoint), str(tmp_path / "out"), format="ctranslate2")
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_lstms_are_refused(tmp_path):
    checkpoint = save_pair(tmp_path / "pair", "ami_lstm")
    with pytest.raises(AMIError, match="takes Transformers, and this network is fairseq's 'lstm'"):
        export(str(checkpoint), str(tmp_path / "out"), direction="forward", format="ctranslate2")
    assert [path.name for path in tmp_path.iterdir()] == ["pair"]


def test_a_conversion_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    """As a later version of CTranslate2 might."""
    checkpoint = save_checkpoint(tmp_path / "stock")
    real = ctranslate2_writer._specification

    def wrong(network):
        spec = real(network)
        spec.decoder.scale_embeddings = 1.0
        return spec

    monkeypatch.setattr(ctranslate2_writer, "_specification", wrong)
    with pytest.raises(AMIError, match="gives a sentence the log-probability"):
        export(str(checkpoint), str(tmp_path / "out"), format="ctranslate2")
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    checkpoint = save_checkpoint(tmp_path / "stock")
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(AMIError, match=r"pip install 'fairseq_ami\[ctranslate2\]'"):
        export(str(checkpoint), str(tmp_path / "out"), format="ctranslate2")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AMIError, match=r"pip install 'fairseq_ami\[huggingface\]'"):
        export(str(checkpoint), str(tmp_path / "out"), format="huggingface")
    assert set(optional.EXTRAS) == {"ctranslate2", "transformers", "tokenizers"}


def test_options_that_do_not_fit(tmp_path):
    checkpoint, pair = save_checkpoint(tmp_path / "stock"), save_pair(tmp_path / "pair")
    out = str(tmp_path / "out")
    for path, target, options, message in (
        (
            checkpoint,
            out,
            {"quantization": "int8", "direction": "forward"},
            "--quantization int8 belongs to --format ctranslate2",
        ),
        (checkpoint, out + ".pt", {"format": "ctranslate2"}, "writes a folder"),
        (checkpoint, out, {"format": "ctranslate2", "direction": "forward"}, "holds one network"),
        (pair, out, {"format": "ctranslate2"}, "--direction forward or backward"),
        (pair, out, {"format": "huggingface", "pair": True}, "holds one network"),
    ):
        with pytest.raises(AMIError, match=message):
            export(str(path), target, **options)
    assert not Path(out).exists()


# ---------------------------------------------------------------------- folders


def test_an_earlier_export_is_replaced_on_request_and_other_files_never(tmp_path):
    checkpoint, pair = save_checkpoint(tmp_path / "stock"), save_pair(tmp_path / "pair")
    out = export(str(checkpoint), str(tmp_path / "out"), format="ctranslate2")
    with pytest.raises(AMIError, match="--overwrite"):
        export(str(checkpoint), out, format="ctranslate2")
    export(str(pair), out, pair=True, format="ctranslate2", overwrite=True)
    assert sorted(path.name for path in Path(out).iterdir()) == ["backward", "fairseq_ami.json", "forward"]
    (Path(out) / "forward" / "notes.txt").write_text("mine")
    with pytest.raises(AMIError, match="notes.txt"):
        export(str(pair), out, pair=True, format="ctranslate2", overwrite=True)
    assert (Path(out) / "forward" / "notes.txt").read_text() == "mine"


def test_an_exported_folder_keeps_its_text_processing(tmp_path):
    """Dictionaries, codes and tokenisation of the folder of a pair, or of one of its networks."""
    checkpoint, codes = save_pair(tmp_path / "pair"), tmp_path / "codes.txt"
    codes.write_text("#version: 0.2\nw 0</w>\n")
    text = {"bpe_codes": str(codes), "tokenizer": "moses"}
    for name, options in (("both", {"pair": True}), ("one", {"direction": "backward"})):
        folder = export(str(checkpoint), str(tmp_path / name), **options, **text)
        again = {} if name == "one" else {"direction": "backward"}
        out = export(folder, str(tmp_path / f"{name}.converted"), format="ctranslate2", **again)
        record = CTranslate2Network(out).record
        assert record.tokenizer["_name"] == "moses" and record.tokenizer["source_lang"] == "de"
        assert Path(out, record.bpe["bpe_codes"]).read_text() == codes.read_text()


def test_damaged_folders_are_explained(tmp_path, small):
    record = Path(small[3].folder, "fairseq_ami.json").read_text()
    folder = tmp_path / "folder"
    with pytest.raises(AMIError, match="is none"):
        CTranslate2Network(str(folder))
    folder.mkdir()
    with pytest.raises(AMIError, match="it has no fairseq_ami.json"):
        CTranslate2Network(str(folder))
    for text in ("{", "[]", "{}"):
        (folder / "fairseq_ami.json").write_text(text)
        with pytest.raises(AMIError, match="damaged"):
            CTranslate2Network(str(folder))
    (folder / "fairseq_ami.json").write_text(json.dumps({**json.loads(record), "format": "huggingface"}))
    with pytest.raises(AMIError, match="exported for huggingface"):
        CTranslate2Network(str(folder))
    (folder / "fairseq_ami.json").write_text(record)
    with pytest.raises(AMIError, match="there is no .*dict.en.txt"):
        CTranslate2Network(str(folder))
    for language in ("en", "de"):
        (folder / f"dict.{language}.txt").write_text("w0 1\n")
    with pytest.raises(AMIError, match="cannot load"):
        CTranslate2Network(str(folder))


def test_what_the_network_cannot_do(small):
    network, source = small[3], small[1]
    rows = sentences(source, 1)
    for how, message in (
        (Search(noise=True, sampling=True), "--noise"),
        (Search(max_len_a=1.5), "--max-len-a"),
        (Search(beam=2, nbest=3), "--nbest 3 is more than --beam 2"),
    ):
        with pytest.raises(AMIError, match=message):
            network.search(rows, how)
    long = [torch.tensor([4] * 60 + [source.eos()])]
    with pytest.raises(AMIError, match="sentence 1 has 61 symbols, the network reads 40"):
        network.search(long, Search())
    with pytest.raises(AMIError, match="written has 61 symbols"):
        network.log_probs(rows, long)
    assert network.search([], Search()) == network.log_probs([], []) == []


def test_the_script_of_the_card_needs_neither_fairseq_nor_torch(tmp_path, home, trained):
    checkpoint = home / "pre-norm-separate" / "model.pt"
    export(str(checkpoint), str(tmp_path / "out"), format="ctranslate2", tokenizer="moses")
    card = (tmp_path / "out" / "model_card.md").read_text()
    script = card.split("```python\n")[1].split("```")[0].replace('"..."', '"w3 w5 w1"')
    blocked = "import sys\nfor name in ('torch', 'fairseq', 'fairseq_ami'): sys.modules[name] = None\n"
    paths = f"sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + paths + script], cwd=tmp_path, capture_output=True, text=True
    )
    module, source, target, _ = trained
    row = source.encode_line("w3 w5 w1", add_if_not_exist=False).long()
    wanted = networks.stock_search(module, source, target, [row], beam_size=5)[0][0]["tokens"]
    assert done.stdout.strip() == target.string(wanted), done.stderr
