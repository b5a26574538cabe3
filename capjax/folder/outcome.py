"""What explain.py says at its end, and its exit code."""

import collections
import sys
from collections.abc import Mapping, Sequence

from capjax.folder.results import ResultFolder, State
from capjax.runtime.files import counted, printable

SOME_FAILED = 3
AGAIN: dict[State, str] = {
    "changed": "files had changed",
    "missing": "results were missing",
    "asked": "captions by people had changed",
}
"""Why images that were explained are explained again."""


def tell(sentence: str) -> None:
    """Prints a sentence beside the results."""
    print(f"explain.py: {sentence}", file=sys.stderr)


def tell_outcome(
    folder: ResultFolder,
    files: Sequence[str],
    states: Mapping[str, State],
    report: str,
    notes: Sequence[str],
    noun: str,
) -> int:
    """Prints what came of a run; returns the exit code: 0, or 3 when an image failed.

    Args:
      folder: with a result for every file.
      files: of the run.
      states: what each file was before.
      report: where it is.
      notes: sentences on what was left out.
      noun: what the captioner explains.
    """
    failures = [(file, folder.read(file).error) for file in files if folder.lines[file].failed]
    explained = collections.Counter(states[file] for file in files if not folder.lines[file].failed)
    again = [f"{explained[why]} done again: {AGAIN[why]}" for why in AGAIN if explained[why]]
    done = counted(explained.total(), noun)
    remark = f" ({'; '.join(again)})" if again else ""
    print(f"{done} explained{remark}; report: {report}")
    for file, reason in failures:
        print(f"failed: {printable(file)}: {reason}", file=sys.stderr)
    if failures:
        everything = counted(len(files), noun)
        print(f"{len(failures)} of {everything} could not be read", file=sys.stderr)
    for note in notes:
        print(f"left out: {note}", file=sys.stderr)
    return SOME_FAILED if failures else 0
