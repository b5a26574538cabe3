"""Boxes of what the words of a sentence name, for the panels of its figure."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Sequence

from capjax.data.boxes.grounded import BoxSource, check_source
from capjax.data.boxes.instances import read_instances
from capjax.data.boxes.object_words import read_object_words
from capjax.data.captions.records import Record
from capjax.data.stores.contract import Store
from capjax.runtime.files import local_path
from capjax.viz.paper import Box

Panels = dict[int, list[Box]]
"""Panel number -> boxes, (x0, y0, x1, y1) in pixels of the photograph."""


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Objects of photographs, and which words name them.

    Attributes:
      source: says what is where.
      root: folder that file names start from.
    """

    source: BoxSource
    root: pathlib.Path

    @classmethod
    def read(
        cls, path: str, store: Store, files: Sequence[str], tell: Callable[[str], None]
    ) -> "Boxes":
        """Those of a COCO instances JSON.

        Args:
          path: of the JSON.
          store: holds the photographs.
          files: photographs to be drawn.
          tell: takes a sentence on what is left out or in doubt.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it has another form, or boxes of other pictures, or of none of these.
        """
        images = read_instances(local_path(path, "--boxes"))
        for note in images.left_out:
            tell(f"of {path}: {note}")
        classes = {item.category for image in images.values() for item in image.instances}
        boxes = cls(BoxSource(images, read_object_words().including(classes)), store.root)
        records = [boxes._record(file) for file in files]
        known = [record for record in records if boxes.source.size(record) is not None]
        if not known:
            raise ValueError(
                f"{path} has no boxes of these images: it names "
                f"{next(iter(images), 'none')!r}, here is {files[0]!r}"
            )
        check_source(boxes.source, known, tell, lambda record: store.open(record.key))
        if len(known) < len(files):
            tell(f"{len(files) - len(known)} of {len(files)} images are not in {path}: no boxes")
        return boxes

    def of(
        self,
        file: str,
        words: Sequence[str],
        panels: Sequence[tuple[int, int]],
        size: tuple[int, int],
    ) -> Panels:
        """Boxes of what the words of each panel name; panels that name nothing here are left out.

        Args:
          file: name of the photograph.
          words: of the sentence.
          panels: (first word, last word + 1) of each.
          size: (height, width) of the photograph, to which boxes of a copy of another size are
            brought.
        """
        record = self._record(file)
        stated = self.source.size(record)
        if stated is None:
            return {}
        down, across = size[0] / stated[0], size[1] / stated[1]
        named = self.source.phrases(record, words)
        found: Panels = {}
        for number, (start, end) in enumerate(panels):
            inside = [phrase for phrase in named if phrase.start < end and phrase.end > start]
            # The file's boxes end with their last pixel, a drawn one at its far side.
            own = [
                (x0 * across, y0 * down, (x1 + 1) * across, (y1 + 1) * down)
                for phrase in inside
                for x0, y0, x1, y1 in phrase.boxes
            ]
            if own:
                found[number] = list(dict.fromkeys(own))
        return found

    def digest(self, file: str, words: Sequence[str]) -> str:
        """That of the boxes of what the words of a sentence name."""
        record = self._record(file)
        named = self.source.phrases(record, words) if self.source.size(record) else ()
        text = json.dumps([self.source.size(record), *map(dataclasses.astuple, named)])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _record(self, file: str) -> Record:
        return Record(file, self.root / file, (), "", file)
