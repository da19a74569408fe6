"""The `fairseq-ami` command itself: choice of the verb, exit codes, messages."""

import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from fairseq_ami import cli
from fairseq_ami.errors import AMIError
from fairseq_ami.version import __version__

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def fake_verb(monkeypatch):
    """Puts a verb `fake-verb` in place whose `run` is the given function."""

    def install(run):
        options = types.ModuleType("fairseq_ami.cli.options.fake_verb")
        options.add_arguments = lambda parser: parser.add_argument("--number", type=int, default=0)
        module = types.ModuleType("fairseq_ami.cli.fake_verb")
        module.run = run
        for part in (options, module):
            monkeypatch.setitem(sys.modules, part.__name__, part)
        monkeypatch.setitem(cli.VERBS, "fake-verb", "a verb of the tests")

    return install


def raise_(error):
    raise error


def test_user_dir_prints_the_package_folder(capsys):
    assert cli.main(["user-dir"]) == 0
    out = capsys.readouterr().out
    folder = Path(out.strip())
    assert out.count("\n") == 1
    assert folder.is_absolute() and folder.name == "fairseq_ami"
    assert (folder / "__init__.py").is_file()


def test_user_dir_as_a_process_prints_nothing_else_on_stdout(tmp_path):
    """Its output is meant for $(...): logs and warnings of the imports must not get into it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "fairseq_ami.cli", "user-dir"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ROOT / 'fairseq_ami'}\n"


def test_unknown_verb_names_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["no-such-verb"])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "no-such-verb" in message and all(verb in message for verb in cli.VERBS)


def test_no_verb_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 2
    assert "verb" in capsys.readouterr().err


def test_help_lists_every_verb_without_importing_one(capsys, monkeypatch):
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_listed_verb_has_its_modules(verb, capsys):
    assert callable(importlib.import_module(f"fairseq_ami.cli.{verb.replace('-', '_')}").run)
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    assert verb in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fairseq-ami {__version__}\n"


def test_arguments_and_exit_code_pass_through(fake_verb):
    fake_verb(lambda args: args.number)
    assert cli.main(["fake-verb", "--number", "3"]) == 3
    assert cli.main(["fake-verb"]) == 0


def test_user_error_is_one_line_and_exit_code_2(fake_verb, capsys):
    fake_verb(lambda args: raise_(AMIError("the file is missing; pass another one")))
    assert cli.main(["fake-verb"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "fairseq-ami: error: the file is missing; pass another one\n"


def test_our_own_mistakes_keep_their_traceback(fake_verb):
    fake_verb(lambda args: raise_(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["fake-verb"])


def test_interrupt_gives_130(fake_verb):
    fake_verb(lambda args: raise_(KeyboardInterrupt()))
    assert cli.main(["fake-verb"]) == 130


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path):
    """As in `fairseq-ami rerank ... | head -1`, with far more output than a pipe holds."""
    script = tmp_path / "flood.py"
    script.write_text(
        "import sys, types\n"
        "from fairseq_ami import cli\n"
        "verb = types.SimpleNamespace(add_arguments=lambda parser: None, run=lambda args: print('x' * 1_000_000))\n"
        "sys.modules.update({'fairseq_ami.cli.flood': verb, 'fairseq_ami.cli.options.flood': verb})\n"
        "cli.VERBS['flood'] = 'writes a lot'\n"
        "sys.exit(cli.main(['flood']))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    )
    process.stdout.read(1)
    process.stdout.close()
    message = process.stderr.read()
    assert process.wait(timeout=120) == 141
    assert "Traceback" not in message and "BrokenPipeError" not in message
