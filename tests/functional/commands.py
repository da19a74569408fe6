"""Runs fairseq's commands as they are, each in a fresh process, without paying for the imports each time.

A server process imports fairseq once and forks for every command (multiprocessing's ``forkserver``). The plugin
is not imported there: each command does it through ``--user-dir``, as on the command line.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = str(ROOT / "fairseq_ami")
TIMEOUT = 240

MODULES = {
    name: f"fairseq_cli.{name.replace('-', '_')}"
    for name in ("train", "validate", "generate", "interactive", "preprocess")
}
MODULES["hydra-train"] = "fairseq_cli.hydra_train"

_context = multiprocessing.get_context("forkserver")
_SLOW_IMPORTS = ["fairseq.trainer", "sacrebleu", "tensorboardX", "torch._dynamo", "torch.distributed.fsdp"]
_context.set_forkserver_preload([*MODULES.values(), *_SLOW_IMPORTS])


@dataclass
class Result:
    """How a command ended: its exit code and everything it printed."""

    code: int
    text: str

    def logs(self, kind: str) -> List[Dict[str, Any]]:
        """The JSON lines of fairseq-train or fairseq-hydra-train of *kind* (``train_inner``, ``train``, ``valid``)."""
        prefix = rf"(?:\| {kind} \||\[{kind}\]\[INFO\] -)"
        return [json.loads(line) for line in re.findall(prefix + r" (\{.*\})", self.text)]


@dataclass
class Running:
    process: Any
    log: Path

    def wait(self) -> Result:
        self.process.join(TIMEOUT)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"the command did not end:\n{self.log.read_text()[-3000:]}")
        return Result(self.process.exitcode, self.log.read_text())

    def kill(self) -> None:
        """SIGKILL: nothing is cleaned up."""
        self.process.kill()
        self.process.join()

    def kill_when(self, path: Path) -> None:
        """SIGKILL as soon as *path* is there."""
        end = time.monotonic() + TIMEOUT
        while not path.exists() and self.process.is_alive() and time.monotonic() < end:
            time.sleep(0.005)
        assert path.exists(), self.log.read_text()[-3000:]
        self.kill()


def _child(command: str, argv: List[str], log: str, cwd: Optional[str], hook: Optional[Callable[[], None]]) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    if cwd:
        os.chdir(cwd)
    sys.argv = [f"fairseq-{command}", *argv]
    try:
        if hook is not None:
            hook()
        importlib.import_module(MODULES[command]).cli_main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # as the interpreter does at the end of a program
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def start(command: str, argv: Sequence[Any], log: Path, cwd: Optional[Path] = None, hook: Any = None) -> Running:
    """Start ``fairseq-<command>``; *hook*, if any, is called in its process first."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    args = (command, [str(a) for a in argv], str(log), str(cwd) if cwd else None, hook)
    process = _context.Process(target=_child, args=args, daemon=True)
    process.start()
    return Running(process, log)


def run(command: str, argv: Sequence[Any], log: Path, check: bool = True, **kwargs: Any) -> Result:
    """Run ``fairseq-<command>`` to its end; with *check* it has to succeed."""
    result = start(command, argv, log, **kwargs).wait()
    if check:
        assert result.code == 0, result.text[-4000:]
    return result
