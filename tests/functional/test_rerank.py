"""``fairseq-ami rerank`` against what stock ``fairseq-generate`` prints for the same networks."""

import json
import math
import re

import numpy as np
import pytest
import sacrebleu
import torch
from functional.commands import PLUGIN, run
from functional.corpus import pairs, write_pairs

from fairseq_ami import cli
from fairseq_ami.tools.reranking.ctranslate2_decoder import CTranslate2Decoder
from fairseq_ami.tools.reranking.decoder import MMIDecoder
from fairseq_ami.tools.sharing.bundle import export

BEAM = 4
ALL_SENTENCES = ["--required-batch-size-multiple", 1, "--num-workers", 0]
SEARCH = ["--beam", BEAM, "--nbest", BEAM, "--max-len-b", 8]


def rerank(data, output, *options):
    """Runs the verb in this process; returns its exit code."""
    argv = ["rerank", data, "--cpu", "--max-tokens", 40, *SEARCH, "--output", output, *options]
    return cli.main([str(arg) for arg in argv])


@pytest.fixture(scope="module")
def generate(home, data, trained):
    """What fairseq-generate prints for a subset."""
    texts = {}

    def text(subset):
        if subset not in texts:
            argv = [data, "--user-dir", PLUGIN, "--path", trained, "--gen-subset", subset, *SEARCH, "--cpu"]
            argv += ALL_SENTENCES
            texts[subset] = run("generate", argv, home / f"generate-{subset}.log").text
        return texts[subset]

    return text


def hypotheses_of(text):
    """(score in base 2, words) of every H- line, by sentence."""
    found = {}
    for index, score, words in re.findall(r"^H-(\d+)\t(\S+)\t(.*)$", text, re.MULTILINE):
        found.setdefault(int(index), []).append((float(score), words))
    return [found[index] for index in range(len(found))]


@pytest.fixture(scope="module")
def scored(data, trained, tmp_path_factory):
    """The test set with everything that the command computes."""
    from fairseq_ami.cli import rerank as verb

    parser = cli.build_parser("rerank")
    argv = ["rerank", data, "--path", trained, "--cpu", "--max-tokens", 40, *SEARCH, "--output", "-"]
    decoder = MMIDecoder(verb.configuration(parser.parse_args([str(arg) for arg in argv])), None, "per-token", "13a")
    return decoder.score("test")


def test_the_lists_are_those_of_fairseq_generate(scored, generate):
    expected = hypotheses_of(generate("test"))
    assert len(expected) == 12
    for entry, wanted in zip(scored.lists, expected):
        assert [h.text for h in entry.hypotheses] == [words for _, words in wanted]
        scores = [h.score / math.log(2) for h in entry.hypotheses]
        assert scores == pytest.approx([score for score, _ in wanted], abs=1e-4)
    assert [entry.reference for entry in scored.lists] == [target for _, target in pairs(12, 102)]


def test_backward_scores_are_those_of_the_stock_scorer(scored, stock, dictionaries, tmp_path):
    """The same pairs the other way round, through fairseq-generate --score-reference and a plain checkpoint."""
    sources = [source for source, _ in pairs(12, 102)]
    lines = [(source, h.text) for source, entry in zip(sources, scored.lists) for h in entry.hypotheses]
    prefix = write_pairs(tmp_path, "test", lines)
    options = ["-s", "de", "-t", "en", "--srcdict", dictionaries["de"], "--tgtdict", dictionaries["en"]]
    run("preprocess", ["--testpref", prefix, *options, "--destdir", tmp_path / "bin"], tmp_path / "preprocess.log")
    argv = [tmp_path / "bin", "--path", stock["backward"], "-s", "de", "-t", "en", "--score-reference", "--cpu"]
    argv += ["--user-dir", PLUGIN]  # lets torch read the settings in the checkpoint; everything used is stock
    text = run("generate", [*argv, *ALL_SENTENCES], tmp_path / "generate.log").text
    expected = [float(rows[0][0]) * math.log(2) for rows in hypotheses_of(text)]
    ours = np.concatenate([log_q / len(entry.source) for log_q, entry in zip(scored.log_q, scored.lists)])
    assert len(expected) == 12 * BEAM
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_lambda_0_writes_the_first_hypotheses(data, trained, generate, tmp_path, capsys):
    assert rerank(data, tmp_path / "out", "--path", trained, "--lambda", "0") == 0
    assert (tmp_path / "out").read_text().splitlines() == [rows[0][1] for rows in hypotheses_of(generate("test"))]
    none_changed = r"^test +12 +reranked .* 0  \+0\.00 to \+0\.00$"
    assert re.search(none_changed, capsys.readouterr().out, re.MULTILINE)


def test_a_detokeniser_works_on_text_alone(data, trained, tmp_path):
    texts = []
    for options in ([], ["--tokenizer", "moses"], ["--tokenizer", "moses", "-s", "en", "-t", "de", "--remove-bpe"]):
        assert rerank(data, tmp_path / "out", "--path", trained, "--lambda", "0.5", *options) == 0
        texts.append((tmp_path / "out").read_text())
    assert texts[0] == texts[1] == texts[2]  # words like t1 are left as they are


def test_tuning_reports_what_it_did(data, trained, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--lambda-grid", "0.5,1,5", "--length-grid=-0.3,0.3", "--json", report]
    assert rerank(data, tmp_path / "out", "--path", trained, *options) == 0
    found = json.loads(report.read_text())
    points = {(row["lambda"], row["length_weight"]): row["bleu"] for row in found["grid"]}
    assert set(points) == {(lam, gamma) for lam in (0, 0.5, 1, 5) for gamma in (-0.3, 0, 0.3)}
    before, tuned, _, test = found["results"]
    assert [row["subset"] for row in found["results"]] == ["valid", "valid", "test", "test"]
    assert before["bleu"] == points[0, 0]
    assert tuned["bleu"] == max(points.values()) == points[found["lambda"], found["length_weight"]] >= before["bleu"]
    lines = (tmp_path / "out").read_text().splitlines()
    references = [target for _, target in pairs(12, 102)]
    assert test["bleu"] == pytest.approx(sacrebleu.corpus_bleu(lines, [references]).score, abs=1e-9)
    screen = capsys.readouterr().out
    assert f"{test['bleu']:.2f}" in screen and found["signature"] in screen and "tuned on valid" in screen


def test_files_of_fairseq_generate_give_the_same(data, trained, stock, generate, tmp_path):
    names = {}
    for subset in ("valid", "test"):
        names[subset] = tmp_path / f"{subset}.txt"
        names[subset].write_text(generate(subset))
    files = ["--tune-nbest-file", names["valid"], "--nbest-file", names["test"]]
    for name, options in {
        "own": ["--path", trained],
        "files": ["--path", trained, *files],
        "no-forward": ["--backward-path", stock["backward"], *files],
    }.items():
        for scores in ("per-token", "sum"):
            output = tmp_path / f"{name}-{scores}"
            grids = ["--lambda-grid", "0.2,1", "--scores", scores, "--json", f"{output}.json"]
            assert rerank(data, output, *options, *grids) == 0
    for scores in ("per-token", "sum"):
        texts = {name: (tmp_path / f"{name}-{scores}").read_text() for name in ("own", "files", "no-forward")}
        results = {name: json.loads((tmp_path / f"{name}-{scores}.json").read_text()) for name in texts}
        assert texts["own"] == texts["files"] == texts["no-forward"]
        assert results["own"]["grid"] == results["files"]["grid"] == results["no-forward"]["grid"]


def test_single_networks_and_both_directions(data, trained, stock, tmp_path):
    """The pair's networks are the stock ones: whoever brings them, the result is the same."""
    ways = {
        "en-de": {
            "pair": ["--path", trained],
            "pair and single": ["--path", trained, "--backward-path", stock["backward"]],
            "singles": ["--path", stock["forward"], "--backward-path", stock["backward"]],
            "single and pair": ["--path", stock["forward"], "--backward-path", trained],
        },
        "de-en": {
            "pair": ["--path", trained],
            "singles": ["--path", stock["backward"], "--backward-path", stock["forward"]],
        },
    }
    for languages, options in ways.items():
        source, target = languages.split("-")
        texts = set()
        for name, extra in options.items():
            output = tmp_path / f"{languages} {name}"
            assert rerank(data, output, "-s", source, "-t", target, "--lambda", "0.7", *extra) == 0
            texts.add(output.read_text())
        assert len(texts) == 1


def test_noise_and_sampling_give_lists_too(data, trained, tmp_path):
    for name, options in {
        "noise": ["--latent-noise-draws", "3"],
        "sampling": ["--sampling", "--sampling-topk", "5"],
    }.items():
        outputs = []
        for turn in range(2):  # the seed decides
            outputs.append(tmp_path / f"{name}{turn}")
            assert rerank(data, outputs[-1], "--path", trained, "--lambda", "1", *options) == 0
        assert outputs[0].read_text() == outputs[1].read_text()
        assert len(outputs[0].read_text().splitlines()) == 12


def test_the_network_that_scores_is_not_the_one_that_searches(data, trained, tmp_path):
    """A large lambda follows Q alone: its mean log Q is the highest that the lists hold."""
    values = []
    for lam in (0, 1000):
        report = tmp_path / "report.json"
        assert rerank(data, tmp_path / "out", "--path", trained, "--lambda", lam, "--json", report) == 0
        values.append(json.loads(report.read_text())["results"][1]["log_q"])
    assert values[1] > values[0]


# ---------------------------------------------------------------------- minimum Bayes risk


def least_risk(rows, weigh):
    """Of (score in base 2, words) the words of highest weighted mean chrF against the others, by a double loop."""
    utilities = []
    for at, (_, words) in enumerate(rows):
        others = [row for place, row in enumerate(rows) if place != at]
        weights = [weigh(*row) for row in others]
        scores = [sacrebleu.sentence_chrf(words, [other]).score for _, other in others]
        utilities.append(sum(w * score for w, score in zip(weights, scores)) / sum(weights))
    return rows[max(range(len(rows)), key=lambda at: (round(utilities[at], 7), -at))][1]


def test_minimum_bayes_risk(data, trained, stock, generate, tmp_path, capsys):
    """With a pair, with one network, and with a file and no network at all: the same choice, that of a double loop."""
    lists = tmp_path / "lists.txt"
    lists.write_text(generate("test"))
    expected = [least_risk(rows, lambda score, words: 1.0) for rows in hypotheses_of(generate("test"))]
    assert expected != [rows[0][1] for rows in hypotheses_of(generate("test"))]
    for name, options in {
        "pair": ["--path", trained],
        "network": ["--path", stock["forward"]],
        "file": ["--nbest-file", lists],
        "file-q": ["--nbest-file", lists, "--backward-path", stock["backward"]],
    }.items():
        assert rerank(data, tmp_path / name, *options, "--mbr", "--json", tmp_path / f"{name}.json") == 0
        assert (tmp_path / name).read_text().splitlines() == expected
        first, found = json.loads((tmp_path / f"{name}.json").read_text())["results"]
        assert (first["system"], found["system"], found["sentences"]) == ("1-best", "mbr", 12)
        assert (found["log_q"] is not None) == (name in ("pair", "file-q"))
        references = [target for _, target in pairs(12, 102)]
        assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(expected, [references]).score, abs=1e-9)
        screen = capsys.readouterr().out
        assert "all count equally" in screen and "lambda" not in screen


def test_minimum_bayes_risk_by_probability(data, trained, generate, tmp_path):
    def probability(score, words):  # what is printed is log2 P per symbol, the end symbol among them
        return 2 ** (score * (len(words.split()) + 1))

    expected = [least_risk(rows, probability) for rows in hypotheses_of(generate("test"))]
    assert rerank(data, tmp_path / "out", "--path", trained, "--mbr", "probability") == 0
    assert (tmp_path / "out").read_text().splitlines() == expected


def test_minimum_bayes_risk_of_samples(data, stock, tmp_path):
    outputs = []
    for turn in range(2):
        outputs.append(tmp_path / f"out{turn}")
        assert rerank(data, outputs[-1], "--path", stock["forward"], "--mbr", "--sampling") == 0
    assert outputs[0].read_text() == outputs[1].read_text() and len(outputs[0].read_text().splitlines()) == 12


# ---------------------------------------------------------------------- bad input


@pytest.fixture
def refused(data, trained, stock, generate, tmp_path, capsys):
    """Runs the command, which must end with one message and leave nothing behind."""

    def check(message, *options, output=None):
        before = sorted(tmp_path.iterdir())
        assert rerank(data, output or tmp_path / "out", *options) == 2
        captured = capsys.readouterr()
        error = captured.err.splitlines()[-1]
        assert error.startswith("fairseq-ami: error: ") and re.search(message, error), error
        assert "Traceback" not in captured.err
        assert sorted(tmp_path.iterdir()) == before

    return check


def test_checkpoints_that_cannot_serve(refused, stock, trained, tmp_path):
    refused("--path: there is no file none.pt", "--path", "none.pt")
    refused("--backward-path: there is no file none.pt", "--path", trained, "--backward-path", "none.pt")
    refused("no backward network.*--backward-path", "--path", stock["forward"])
    refused("translates en -> de; needed is .* de -> en", "--path", trained, "--backward-path", stock["forward"])
    refused("--path names the checkpoint")
    half = tmp_path / "half.pt"
    half.write_bytes(trained.read_bytes()[:5000])
    refused("half.pt.*(truncated|damaged)", "--path", half)


def test_a_checkpoint_of_another_dictionary(refused, stock, tmp_path):
    state = torch.load(stock["backward"])
    state["model"]["encoder.embed_tokens.weight"] = torch.zeros(99, 16)
    torch.save(state, tmp_path / "other.pt")
    refused("--backward-path .*other.pt does not fit the dictionaries", "--path", stock["forward"],
            "--backward-path", tmp_path / "other.pt")  # fmt: skip


def test_files_that_do_not_fit(refused, trained, generate, tmp_path):
    lists = tmp_path / "lists.txt"
    lists.write_text("\n".join(line for line in generate("test").splitlines() if not line.startswith("H-3\t")
                               and not line.startswith("P-3\t")))  # fmt: skip
    fixed = ["--path", trained, "--lambda", "1"]
    refused("11 sources, test has 12 sentences.*number 3", *fixed, "--nbest-file", lists)
    lists.write_text(generate("valid"))
    refused("but this sentence of test is", *fixed, "--nbest-file", lists)
    refused("cannot be read", *fixed, "--nbest-file", tmp_path / "none.txt")
    refused("--tune-nbest-file", "--path", trained, "--nbest-file", lists)
    refused("both lists", "--path", trained, "--tune-nbest-file", lists)


def test_settings_that_cannot_work(refused, trained, tmp_path):
    refused("no subset nowhere", "--path", trained, "--lambda", "1", "--gen-subset", "nowhere")
    refused("cannot write", "--path", trained, output=tmp_path / "missing" / "out")
    refused("cannot write", "--path", trained, "--json", tmp_path)
    refused("--score-reference", "--path", trained, "--score-reference")
    refused("translates en -> de and back", "--path", trained, "-s", "en", "-t", "en")


def test_minimum_bayes_risk_has_no_weights(refused, trained, tmp_path):
    refused("--mbr .*leave out --lambda", "--path", trained, "--mbr", "--lambda", "0")
    refused("--mbr .*leave out --length-weight", "--path", trained, "--mbr", "--length-weight", "0.1")
    refused("--mbr .*leave out --tune-nbest-file", "--path", trained, "--mbr", "--tune-nbest-file", tmp_path / "x")
    refused("--path names the checkpoint .*--nbest-file", "--mbr")


def test_a_grid_of_words_is_refused_by_the_parser(data, tmp_path, capsys):
    for grid in ("a,b", "nan", "1,inf"):
        with pytest.raises(SystemExit) as end:
            rerank(data, tmp_path / "out", "--path", "x", "--lambda-grid", grid)
        assert end.value.code == 2
        assert "--lambda-grid" in capsys.readouterr().err


# ---------------------------------------------------------------------- CTranslate2


@pytest.fixture(scope="module")
def converted(trained, tmp_path_factory):
    """The pair for CTranslate2."""
    pytest.importorskip("ctranslate2")
    folder = tmp_path_factory.mktemp("converted") / "pair"
    return export(str(trained), str(folder), pair=True, format="ctranslate2")


def test_ctranslate2_scores_as_fairseq_does(scored, data, converted):
    """Hypotheses that both find have the same terms; the best is the same."""
    from fairseq_ami.cli import rerank as verb

    argv = ["rerank", data, "--engine", "ctranslate2", "--path", converted, "--cpu", *SEARCH, "--output", "-"]
    args = cli.build_parser("rerank").parse_args([str(arg) for arg in argv])
    other = CTranslate2Decoder(verb.configuration(args), None, "per-token", "13a").score("test")
    both = 0
    for ours, theirs, our_q, their_q in zip(scored.lists, other.lists, scored.log_q, other.log_q):
        assert torch.equal(ours.source, theirs.source) and ours.reference == theirs.reference
        assert torch.equal(ours.hypotheses[0].tokens, theirs.hypotheses[0].tokens)
        known = {hyp.text: (hyp.score, hyp.log_prob, q) for hyp, q in zip(ours.hypotheses, our_q)}
        for hyp, q in zip(theirs.hypotheses, their_q):
            if hyp.text in known:
                assert (hyp.score, hyp.log_prob, q) == pytest.approx(known[hyp.text], abs=1e-4)
                both += 1
    assert both >= 12 * BEAM * 0.7  # the two libraries stop searching by different rules


def test_the_verb_with_ctranslate2(data, trained, converted, tmp_path):
    """The file that is written, from the pair's folder and from those of its networks."""
    options = ["--lambda", "0"]
    assert rerank(data, tmp_path / "fairseq", "--path", trained, *options) == 0
    options += ["--engine", "ctranslate2"]
    assert rerank(data, tmp_path / "pair", "--path", converted, *options) == 0
    networks = ["--path", f"{converted}/forward", "--backward-path", f"{converted}/backward"]
    assert rerank(data, tmp_path / "networks", *networks, *options) == 0
    texts = [(tmp_path / name).read_text() for name in ("fairseq", "pair", "networks")]
    assert texts[0] == texts[1] == texts[2]


def test_what_ctranslate2_cannot_do(data, trained, converted, tmp_path, capsys):
    given = ["--engine", "ctranslate2", "--lambda", "0"]
    for options, message in (
        (["--path", trained], "is none"),
        (["--path", f"{converted}/forward"], "--backward-path"),
        (["--path", converted, "--diverse-beam-groups", "2"], "--diverse-beam-groups"),
        (["--path", converted, "--max-len-a", "1"], "--max-len-a"),
        (["--path", converted, "--latent-noise-draws", "2"], "no latent noise"),
        (["--path", converted, "--fp16"], "--fp16"),
    ):
        assert rerank(data, tmp_path / "out", *options, *given) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
