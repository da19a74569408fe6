"""How the command starts: without torch where it can, and with the plugin registered where it must."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fairseq_ami
from fairseq_ami import choices, cli

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ["fairseq", "gensim", "matplotlib", "scipy", "sklearn", "torch"]
# Runs the command as its console script does, once for each line of arguments, and tells which modules are there.
SCRIPT = """
import contextlib, io, json, sys
from fairseq_ami.cli import main

printed = io.StringIO()
for line in json.loads(sys.stdin.read()):
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(line)
print(json.dumps([len(printed.getvalue()), sorted(sys.modules)]))
"""


def run(command, folder, **options):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return done


def test_the_command_does_not_wait_for_torch(tmp_path):
    """`user-dir`, `--help`, and the help of every verb but `rerank`, whose options are those of fairseq-generate."""
    script = tmp_path / "fairseq-ami"
    script.write_text(SCRIPT)
    verbs = [verb for verb in cli.VERBS if verb != "rerank"]
    lines = [["user-dir"], ["--help"], *([verb, "--help"] for verb in verbs)]
    printed, modules = json.loads(run([sys.executable, script], tmp_path, input=json.dumps(lines)).stdout)
    assert printed > 1000
    assert "fairseq_ami.cli.options.vae_sample" in modules and "fairseq_ami.cli.user_dir" in modules
    assert not set(HEAVY) & set(modules)


@pytest.mark.parametrize("module", [["-m", "fairseq_ami.cli"], ["-mfairseq_ami.cli"]], ids=" ".join)
def test_neither_does_the_module(tmp_path, module):
    done = run([sys.executable, "-X", "importtime", *module, "user-dir"], tmp_path)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "fairseq_ami.version" in imported
    assert not set(HEAVY) & imported


@pytest.mark.parametrize(
    "argv, original, own",
    [
        (["/usr/bin/fairseq-ami", "bound"], ["python", "/usr/bin/fairseq-ami", "bound"], True),
        (["fairseq-ami.exe"], ["fairseq-ami.exe"], True),
        (["-m", "user-dir"], ["python", "-m", "fairseq_ami.cli", "user-dir"], True),
        (["-m"], ["python", "-X", "dev", "-mfairseq_ami.cli"], True),
        (["-m", "fairseq_ami.cli"], ["python", "-m", "pytest", "fairseq_ami.cli"], False),
        (["-c"], ["python", "-c", "import fairseq_ami"], False),
        ([""], ["python"], False),
        (["/usr/bin/fairseq-train", "fairseq-ami"], ["python", "/usr/bin/fairseq-train", "fairseq-ami"], False),
    ],
)
def test_the_command_is_known_by_its_name(argv, original, own, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert fairseq_ami._is_own_command() is own


# One command line for each place that reads checkpoints.
READERS = {
    "average": ("average", "--inputs a.pt --output b.pt"),
    "bound": ("bound", "data --path a.pt"),
    "export": ("export", "a.pt b.pt"),
    "rerank": ("rerank", "data --path a.pt --output out.txt"),
    "vae-eval": ("text_vae", "a.pt --data ."),
    "vae-sample": ("text_vae", "a.pt --data . --prior 1"),
    "plot": ("text_vae", "latent a.pt --data . --table"),
}


@pytest.mark.parametrize("verb", READERS)
def test_verbs_register_before_they_read_a_checkpoint(verb, monkeypatch, tmp_path):
    """In the command's own process nobody else does. There is no a.pt: who read it first would end with an AMIError."""

    class Registered(Exception):
        pass

    def register():
        raise Registered

    module, arguments = READERS[verb]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module(f"fairseq_ami.cli.{module}"), "register", register)
    with pytest.raises(Registered):
        cli.main([verb, *arguments.split()])


def test_names_of_choices_are_those_of_the_registers():
    """Help texts and registers name the same things, in the same order."""
    from fairseq_ami.criterions.vae_config import MI_ESTIMATORS
    from fairseq_ami.modules.critics import CRITICS
    from fairseq_ami.objectives.estimators import ESTIMATORS
    from fairseq_ami.tools.replies.readers import FORMATS

    assert choices.CRITICS == tuple(CRITICS)
    assert choices.DIALOGUE_FORMATS == tuple(FORMATS)
    assert choices.MI_ESTIMATORS == tuple(name for name in ESTIMATORS if name != "tangent")
    assert set(MI_ESTIMATORS) <= set(ESTIMATORS)
    assert set(choices.JUDGED_DECODINGS.values()) <= set(choices.DECODINGS)
