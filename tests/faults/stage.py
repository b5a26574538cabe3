"""Where faults happen, and what is said of each."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from tests.faults.kill_resume import compare
from tests.faults.runs import Processes, every_caption_once, read_records, trained_on

CAPTIONS = 240


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of a fault.

    Attributes:
      fault: its name.
      happened: in a few words.
      told: what the user reads.
      lost: "nothing", or what.
    """

    fault: str
    happened: str
    told: str
    lost: str


@dataclasses.dataclass(frozen=True)
class Stage:
    """Where faults happen.

    Attributes:
      folder: of all runs.
      arguments: of every run.
      steps: length of every run.
      quiet: the run that nothing disturbed.
      captions: that every run learns from.
    """

    folder: Path
    arguments: list[str]
    steps: int
    quiet: Path
    captions: int = CAPTIONS

    def start(self, name: str, *more: str, workdir: Path | None = None, **where) -> Processes:
        return Processes(workdir or self.folder / name, [*self.arguments, *more], **where)

    def lost(self, workdir: Path, *, exact: bool = True) -> str:
        """What a resumed run lacks that the quiet one has."""
        problems = []
        if exact:
            found = compare(self.quiet, workdir, self.steps)
            if found["differing"]:
                problems.append(f"{len(found['differing'])} arrays differ")
            problems += [] if found["same_records"] else ["metrics differ"]
        rows = [[r["loss"] for r in read_records(each)] for each in (self.quiet, workdir)]
        if len(rows[0]) != len(rows[1]) or not np.allclose(*rows, rtol=0, atol=1e-5):
            problems.append("losses differ")
        if [r["step"] for r in read_records(workdir)] != list(range(1, self.steps + 1)):
            problems.append("steps are missing or double in metrics.jsonl")
        if trained_on(workdir) != trained_on(self.quiet):
            problems.append("other captions")
        counted = every_caption_once(trained_on(workdir), captions=self.captions)
        if counted["twice"] or counted["missed"]:
            problems.append(f"captions seen twice or never: {counted}")
        return "; ".join(problems) or "nothing"


def said(run: Processes, pattern: str) -> str:
    """The line of the log that matches."""
    lines = [line for log in run.logs for line in log.read_text().splitlines()]
    found = [line for line in lines if re.search(pattern, line)]
    return found[-1] if found else f"NOTHING like {pattern!r}"
