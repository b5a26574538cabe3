"""Photographs of a command one by one, and whether they are still what a record is of."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from capjax.data.pictures.given import shown
from capjax.data.pictures.images import UnreadableFileError
from capjax.data.scenes.still import Scenes
from capjax.runtime.fingerprint import Fingerprint, fingerprint, still
from capjax.studies.adversarial.pictures import Tell
from capjax.studies.found_records import FoundRecord

Named = tuple[str, UInt8[np.ndarray, "H W 3"]]
"""A photograph's name, and the photograph, upright and whole."""


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """Photographs in files.

    Attributes:
      root: what names start from.
      names: of all.
      tell: takes a line on each that cannot be read.
      known: contents of those that were read.
    """

    root: pathlib.Path
    names: Sequence[str]
    tell: Tell
    known: dict[str, Fingerprint] = dataclasses.field(default_factory=dict)

    def still(self, record: FoundRecord) -> bool:
        """Whether the file has the content that a record is of."""
        return record.known is not None and bool(still(self.root / record.file, record.known))

    def read(self, names: Sequence[str]) -> Iterator[Named]:
        """Those of some names that can be read."""
        for name in names:
            try:
                known = fingerprint(self.root / name)
                image = shown(self.root / name, 0)[0]
            except (UnreadableFileError, OSError) as error:
                self.tell(f"left out: {name}: {error}")
            else:
                self.known[name] = known
                yield name, image


class DrawnScenes:
    """Scenes as photographs, "scene 0" and so on: never others, for nobody writes them.

    Args:
      scenes: which.

    Attributes:
      names: of all.
      known: empty.
    """

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes
        self._numbers = {f"scene {number}": number for number in range(len(scenes))}
        self.names, self.known = [*self._numbers], dict[str, Fingerprint]()

    def still(self, record: FoundRecord) -> bool:
        """See `Files`."""
        return True

    def read(self, names: Sequence[str]) -> Iterator[Named]:
        """See `Files`."""
        for name in names:
            yield name, self._scenes[self._numbers[name]].image
