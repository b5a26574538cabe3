"""What was measured of each image, a line each, so that a run that ended goes on where it was."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Kept:
    """A file of records: its first line says what they were measured with.

    Attributes:
      path: of the file; made at the first record.
      made_from: digests and settings; records of others are dropped.
    """

    path: Path
    made_from: Mapping[str, Any]

    def load(self) -> dict[str, dict[str, Any]]:
        """Image -> its record, of those in the file; a line that a dying run left half is dropped.

        The file is written anew, so that what is added comes after a whole line.
        """
        found: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            lines = self.path.read_text().split("\n")
            if lines[0] == self._header():
                for line in lines[1:-1]:  # the last one ends in nothing, or in the middle
                    record = json.loads(line)
                    found[record["image"]] = record
        lines = [self._header(), *map(json.dumps, found.values())]
        self.path.write_text("".join(f"{line}\n" for line in lines))
        return found

    def add(self, record: Mapping[str, Any]) -> None:
        """Writes one more image."""
        with self.path.open("a") as stream:
            stream.write(f"{json.dumps(record)}\n")

    def _header(self) -> str:
        return json.dumps(self.made_from, sort_keys=True)
