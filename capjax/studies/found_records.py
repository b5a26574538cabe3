"""What a study's command keeps of every picture as it goes, so that a run that was stopped goes on.

<name>.jsonl      one line a picture, see `FoundRecord`
<name>.run.json   what all of these depend on
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from capjax.runtime.fingerprint import Fingerprint
from capjax.runtime.record_file import RecordFile, read_description, write_description
from capjax.studies.contract import Finding, Table


@dataclasses.dataclass(frozen=True)
class FoundRecord:
    """What a study found out about one picture.

    Attributes:
      file: name of the picture.
      known: its content; None of a picture that is no file.
      tables, numbers, refused: as `Finding`.
      drawn: whether pictures of it were drawn.
    """

    file: str
    known: Fingerprint | None = None
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    refused: str | None = None
    drawn: bool = False

    @classmethod
    def of(cls, finding: Finding, known: Fingerprint | None, *, drawn: bool) -> "FoundRecord":
        """That of a finding."""
        told = finding.tables, finding.numbers, finding.refused
        return cls(finding.name, known, *told, drawn)

    @property
    def finding(self) -> Finding:
        """The finding, without pictures."""
        return Finding(self.file, {}, self.tables, self.numbers, self.refused)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "file": self.file,
            "tables": {title: table.to_json() for title, table in self.tables.items()},
            "numbers": dict(self.numbers),
            "refused": self.refused,
            "drawn": self.drawn,
            **({} if self.known is None else self.known.to_json()),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FoundRecord":
        """The inverse of `to_json`."""
        tables = {title: Table.from_json(table) for title, table in value["tables"].items()}
        told = tables, value["numbers"], value["refused"], value["drawn"]
        return cls(value["file"], Fingerprint.from_json(value), *told)


def open_records(out: pathlib.Path, name: str, run: Mapping[str, Any]) -> RecordFile[FoundRecord]:
    """The records of a folder, which is made where missing.

    Args:
      out: that no other process writes into.
      name: of the study.
      run: what findings depend on, as plain JSON values.

    Raises:
      ValueError: the folder holds findings of another run, or is damaged.
    """
    described, lines = f"{name}.run.json", f"{name}.jsonl"
    there = read_description(out, described, lines)
    differ = [
        f"{entry} is {run.get(entry)!r}, there it is {there.get(entry)!r}"
        for entry in dict.fromkeys((*run, *there))
        if there and run.get(entry) != there.get(entry)
    ]
    if differ:
        raise ValueError(
            f"{out} holds findings of another run: {'; '.join(differ)}. Choose another --out, or "
            "give the same model, pictures and options"
        )
    if not there:
        write_description(out, described, run)
    return RecordFile(out / lines, FoundRecord.from_json)
