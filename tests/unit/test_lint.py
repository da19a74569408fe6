"""`make lint` and the CI: every tool has its say, and the tests' summary is the last line."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALL = ["ruff check .", "ruff format --check .", "mypy", "shellcheck"]
pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")


def stub(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def lint(folder, missing=(), failing=()):
    """What `scripts/lint.sh` calls, with stubs for the tools; its exit status and messages."""
    log, tools = folder / "log", folder / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "find", "sort"):
        (tools / name).symlink_to(shutil.which(name))
    answer = f'case " {" ".join(missing)} " in *" $tool "*) exit 127;; esac\n[ "$1" != --version ] || exit 0\n'
    answer += f'echo "$tool $*" >> {log}\ncase " {" ".join(failing)} " in *" $tool "*) exit 1;; esac'
    stub(tools / "python", f"shift; tool=$1; shift\n{answer}")
    stub(tools / "shellcheck", f"tool=shellcheck\n{answer}")
    done = subprocess.run(
        [ROOT / "scripts" / "lint.sh", "python"], env={"PATH": str(tools)}, cwd=folder, capture_output=True, text=True
    )
    return [line.strip() for line in log.read_text().splitlines()], done


def names(calls):
    return [call if not call.startswith("shellcheck") else "shellcheck" for call in calls]


def test_all_tools_run(tmp_path):
    calls, done = lint(tmp_path)
    assert names(calls) == ALL and done.returncode == 0
    scripts = {
        str(path.relative_to(ROOT)) for place in ("examples", "scripts") for path in (ROOT / place).rglob("*.sh")
    }
    assert set(calls[-1].split()[1:]) == scripts | {".ci/run"}


@pytest.mark.parametrize("tool", ["ruff", "mypy", "shellcheck"])
def test_one_that_fails_does_not_hide_the_others(tmp_path, tool):
    calls, done = lint(tmp_path, failing=[tool])
    assert names(calls) == ALL
    assert done.returncode == 1 and f"lint: {tool}" in done.stderr


def test_what_is_not_installed_is_left_out(tmp_path):
    calls, done = lint(tmp_path, missing=["mypy", "shellcheck"])
    assert names(calls) == ALL[:2] and done.returncode == 0
    assert "mypy: left out, mypy is not installed" in done.stdout


@pytest.mark.parametrize("failing, status", [("", 0), ("lint", 2), ("test", 3)])
def test_the_ci_ends_with_the_tests(tmp_path, failing, status):
    """Also after a complaint of the linters, which makes it fail all the same."""
    stub(tmp_path / "make", f'for goal; do :; done; echo "$goal"; [ "$goal" != "{failing}" ] || exit {status}')
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([ROOT / ".ci" / "run"], env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["lint", "test"] and done.returncode == status
