"""What a study left on disk about one picture, as a typed record.

studies/<file>.<study>.<number>.png    the pictures of a finding, whole
results.jsonl                          `findings`: study -> {settings, pictures, tables, numbers,
                                       refused, spots}; pictures by title, paths below the folder
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from capjax.studies.contract import Finding, Spot, Table


@dataclasses.dataclass(frozen=True)
class StoredFinding:
    """What a study left on disk about one picture.

    Attributes:
      settings: of the study.
      pictures: title -> path below the folder of results.
      tables, numbers, refused, spots: as `Finding`.
    """

    settings: Mapping[str, Any]
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    refused: str | None = None
    spots: Mapping[str, Spot] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not there is left out."""
        optional = {
            "pictures": dict(self.pictures),
            "tables": {title: table.to_json() for title, table in self.tables.items()},
            "numbers": dict(self.numbers),
            "refused": self.refused,
            "spots": {title: spot.to_json() for title, spot in self.spots.items()},
        }
        return {
            "settings": dict(self.settings),
            **{name: value for name, value in optional.items() if value},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredFinding":
        """The inverse of `to_json`."""
        tables = value.get("tables", {}).items()
        return cls(
            value["settings"],
            value.get("pictures", {}),
            {title: Table.from_json(table) for title, table in tables},
            value.get("numbers", {}),
            value.get("refused"),
            {title: Spot.from_json(spot) for title, spot in value.get("spots", {}).items()},
        )

    def load(self, name: str, folder: pathlib.Path) -> Finding:
        """The finding, its pictures read."""
        pictures = {
            title: np.asarray(Image.open(folder / path)) for title, path in self.pictures.items()
        }
        return Finding(name, pictures, self.tables, self.numbers, self.refused, self.spots)
