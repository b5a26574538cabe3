"""What a run that is under way, or was killed, has recorded so far."""

import contextlib
import json
from pathlib import Path


def recorded(out: Path) -> list[str]:
    """The images of whole lines, in the order in which they were recorded."""
    with contextlib.suppress(FileNotFoundError):
        whole = (out / "results.jsonl").read_bytes().rpartition(b"\n")[0]
        return [json.loads(line)["file"] for line in whole.splitlines()]
    return []
