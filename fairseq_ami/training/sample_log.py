"""Samples and their rewards, to look at while a run trains: in the log, TensorBoard, Weights & Biases and a file."""

import html
import json
import logging
import os
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Deque, Dict, List, Optional, Tuple

from fairseq.distributed import utils as distributed_utils
from fairseq.logging import progress_bar

from fairseq_ami.errors import AMIError
from fairseq_ami.files import write_text

logger = logging.getLogger(__name__)

FILE = "samples.jsonl"
WAITING = 20  # texts at most, until TensorBoard has its first scalars and with them a place to write to

Shown = Dict[str, Any]  # a source, its reference and its samples with their rewards


@dataclass
class SampleLogSettings:
    log_samples: int = field(
        default=0,
        metadata={
            "help": "every so many updates, show a few sources with their samples and rewards in the log, in "
            f"TensorBoard's text tab, in Weights & Biases and in SAVE_DIR/{FILE}; 0: never"
        },
    )


class SampleLog:
    """Shows samples of one batch in every *every*-th update with a reward, or the next one that has some.

    Args:
        every: updates from one showing to the next.
        folder: where the file is kept.

    Raises:
        AMIError: *every* is negative.
    """

    def __init__(self, every: int, folder: str):
        if every < 0:
            raise AMIError("--log-samples must not be negative")
        self.every, self.path = every, os.path.join(folder, FILE)
        self._next = self._update = 0
        self._rows: List[Shown] = []
        self._begun = False
        self._texts: Deque[Tuple[str, str, int]] = deque(maxlen=WAITING)  # not yet in TensorBoard

    def collect(self, update: int) -> Optional[List[Shown]]:
        """A list for the samples of this update; None where none are to be shown, as on all workers but the first.

        Raises:
            AMIError: the file that a resumed run goes on with cannot be read.
        """
        if self.every < 1 or distributed_utils.get_global_rank() != 0:
            return None
        if not self._begun:
            self._resume(update)
        self._rows, self._update = [], update
        return self._rows if self._next <= update else None

    def flush(self, phase: str) -> None:
        """Show what was collected; nothing in a phase without rewards.

        Raises:
            AMIError: the file cannot be written.
        """
        if not self._rows:
            return
        update = self._update
        self._next = self._after(update)
        rows = [{"update": update, "phase": phase, **row} for row in self._rows]
        self._rows = []
        text = "\n\n".join(as_text(row) for row in rows)
        logger.info("samples of update %d (%s):\n%s", update, phase, text)
        self._append(rows)
        tag = f"samples_{phase}"
        self._texts.append((tag, text.replace("\n", "  \n"), update))
        writers = [writer for name, writer in progress_bar._tensorboard_writers.items() if name.startswith("train")]
        while writers and self._texts:
            writers[0].add_text(*self._texts.popleft())
        wandb = progress_bar.wandb  # None where the package is not installed
        if wandb is not None and wandb.run is not None:  # fairseq starts the run of --wandb-project
            wandb.log({tag: wandb.Html(f"<pre>{html.escape(text)}</pre>")}, step=update)

    def _after(self, update: int) -> int:
        """The next update of which samples are wanted, where those of *update* were shown."""
        return (update // self.every + 1) * self.every

    def _resume(self, update: int) -> None:
        """A run that is resumed writes its updates again: what the file has of them goes. It goes on as if it had never
        stopped."""
        self._begun = True
        if not os.path.exists(self.path):
            return
        try:
            with open(self.path, encoding="utf-8") as file:
                rows = [(json.loads(line)["update"], line) for line in file if line.endswith("\n")]
            kept = [(number, line) for number, line in rows if number < update]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AMIError(
                f"--log-samples: {self.path} was not written by this option ({type(error).__name__}): move it away"
            ) from error
        write_text(self.path, "".join(line for _, line in kept))
        if kept:
            self._next = self._after(kept[-1][0])

    def _append(self, rows: List[Shown]) -> None:
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        except OSError as error:
            raise AMIError(f"--log-samples cannot write {self.path}: {error}") from error


def as_text(row: Shown) -> str:
    """A source, its reference and its samples, one per line, each with its rewards."""
    lines = [f"source     {row['source']}"]
    if row["reference"] is not None:
        lines.append(f"reference  {row['reference']}")
    for sample in row["samples"]:
        values = "  ".join(f"{name} {value:.3f}" for name, value in sample.items() if name != "text")
        lines.append(f"sample     {sample['text']}   [{values}]")
    return "\n".join(lines)
