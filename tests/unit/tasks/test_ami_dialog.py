"""What the dialogue task makes of histories that are too long, on text files written out."""

import logging
from argparse import Namespace

import pytest
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY
from unit.tiny import SIZES

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.tasks.ami_dialog import AMIDialog, AMIDialogConfig

HISTORY = "old old old old old <sep> mid mid mid mid <sep> last last last"


@pytest.fixture
def words():
    result = Dictionary()
    for word in (SEPARATOR, "old", "mid", "last", "yes"):
        result.add_symbol(word)
    return result


def load(folder, words, history=HISTORY, reply="yes", arch="ami_transformer", **limits):
    """The task with a pair of untrained networks, and its only pair of history and reply as text, both ways."""
    (folder / "test.hist-reply.hist").write_text(history + "\n")
    (folder / "test.hist-reply.reply").write_text(reply + "\n")
    cfg = AMIDialogConfig(data=str(folder), source_lang="hist", target_lang="reply", dataset_impl="raw", **limits)
    cfg.seed = cfg.required_seq_len_multiple = 1  # interpolated from other parts of fairseq's configuration
    task = AMIDialog(cfg, words, words)
    sizes = {"max_source_positions": cfg.max_source_positions, "max_target_positions": cfg.max_target_positions}
    args = Namespace(arch=arch, **SIZES[arch], **sizes)
    ARCH_CONFIG_REGISTRY[arch](args)
    model = task.build_model(args, from_checkpoint=True)
    task.load_dataset("test")
    data = task.dataset("test")
    batch = data.collater([data[0]])
    texts = [batch["net_input"]["src_tokens"], batch["reverse"]["net_input"]["src_tokens"], batch["reverse"]["target"]]
    return task, model, [words.string(row) for (row,) in texts]


@pytest.mark.parametrize("arch", SIZES)
def test_a_target_limit_leaves_the_history_alone(arch, tmp_path, words):
    """It bounds replies and last utterances, which are written, and not what is read."""
    limits = {"max_source_positions": 30, "max_target_positions": 5}
    _, model, texts = load(tmp_path, words, arch=arch, **limits)
    assert texts == [HISTORY, "old old old old old <sep> mid mid mid mid <sep> yes", "last last last"]
    assert model.max_positions() == (30, 5)


def test_each_network_has_its_own_limit(tmp_path, words, caplog):
    """Both sources lose their oldest words; the last utterance is as long as the backward network can write."""
    with caplog.at_level(logging.INFO):
        _, _, texts = load(tmp_path, words, max_source_positions=10, max_target_positions=2)
    assert texts[0] == "mid mid mid mid <sep> last last last"
    assert texts[1:] == ["mid mid mid mid <sep> yes", "last last"]
    assert "1 of 1 histories are longer than 10 symbols" in caplog.text
    assert "1 of 1 last utterances are longer than 2 symbols" in caplog.text


def test_fairseqs_truncation_is_ignored(tmp_path, words, caplog):
    """It would keep the first words, and the utterance to answer is the last."""
    task, _, texts = load(tmp_path, words, max_source_positions=10, truncate_source=True)
    assert texts[0].endswith("last last last") and texts[2] == "last last last"
    assert "--truncate-source is ignored" in caplog.text and not task.cfg.truncate_source


def test_text_of_cut_histories(tmp_path, words):
    """--replace-unk copies the words of the source that the network has read, by their places."""
    history = HISTORY.replace("mid mid <sep>", "mid never-seen <sep>")
    task, _, texts = load(tmp_path, words, history, max_source_positions=10)
    data = task.dataset("test")
    assert texts[0] == "mid mid mid <unk> <sep> last last last"
    assert data.src.get_original_text(0) == "mid mid mid never-seen <sep> last last last"
    assert data.tgt.get_original_text(0) == "yes"
    assert load(tmp_path, words, "")[0].dataset("test").src.get_original_text(0) == ""
