"""What was measured of each image, a line each, so that a run that ended goes on where it was."""

import dataclasses
import itertools
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capjax.runtime.files import counted, printable, replacing


@dataclasses.dataclass
class Kept:
    """A file of records: its first line says what they were measured with.

    Attributes:
      path: of the file; made at the first record.
      made_from: digests and settings; a file of others is put aside.
    """

    path: Path
    made_from: Mapping[str, Any]

    def load(self) -> dict[str, dict[str, Any]]:
        """Image -> its record, of those in the file; a line that a dying run left half is dropped.

        Records of other settings stay beside the file under a name of their own, which is logged.
        """
        lines = self.path.read_text().split("\n") if self.path.exists() else []
        if lines[:1] != [self._header()]:
            if len(lines) > 2:
                self._put_aside(len(lines) - 2)
            lines = []
        records = lines[1:-1]  # the last line ends in nothing, or in the middle
        if not lines or lines[-1]:
            with replacing(self.path) as stream:
                stream.write("".join(f"{line}\n" for line in [self._header(), *records]).encode())
        return {record["image"]: record for record in map(json.loads, records)}

    def add(self, record: Mapping[str, Any]) -> None:
        """Writes one more image."""
        with self.path.open("a") as stream:
            stream.write(f"{json.dumps(record)}\n")

    def _put_aside(self, images: int) -> None:
        names = (self.path.with_name(f"{self.path.name}.{n}") for n in itertools.count(1))
        old = next(name for name in names if not name.exists())
        os.replace(self.path, old)
        logging.warning(
            "%s measured with other settings, boxes or code do not count; they are kept as %s",
            counted(images, "image"),
            printable(old),
        )

    def _header(self) -> str:
        return json.dumps(self.made_from, sort_keys=True)
