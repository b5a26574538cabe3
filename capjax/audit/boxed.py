"""Where the words of images point, against boxes of what they name."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from capjax.audit.contract import SeenImage
from capjax.data.boxes.grounded import BoxSource
from capjax.data.boxes.instances import read_instances
from capjax.data.boxes.object_words import read_object_words
from capjax.data.captions.records import Record
from capjax.metrics.grounding import centre_hit, pointing_game, uniform_correctness
from capjax.ops.boxes import Box
from capjax.runtime.files import local_path


@dataclasses.dataclass(frozen=True)
class Pointed:
    """Where the map of one phrase points.

    Attributes:
      method: whose map it is.
      phrase: the words, in lower case.
      hit: 1 where the largest value lies in a box; of several largest ones the share that does.
      random, centre: the same of a random pixel, and of the middle of the image.
    """

    method: str
    phrase: str
    hit: float
    random: float
    centre: float


class Boxed:
    """Boxes of the objects of images, and which words name them.

    Args:
      path: of a COCO instances JSON.
      files: names of the images of a run.

    Attributes:
      notes: sentences on what the file leaves out.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it has another form, or boxes of none of these images.
    """

    def __init__(self, path: str, files: Sequence[str]) -> None:
        images = read_instances(local_path(path, "--boxes"))
        classes = {item.category for image in images.values() for item in image.instances}
        self._source = BoxSource(images, read_object_words().including(classes))
        known = sum(self._source.size(_record(file)) is not None for file in files)
        if not known:
            raise ValueError(
                f"--boxes={path} has no boxes of these images: it names "
                f"{next(iter(images), 'none')!r}, the run has {files[0]!r}"
            )
        self.notes = [f"of {path}: {note}" for note in images.left_out]
        if known < len(files):
            self.notes.append(f"{len(files) - known:,} of {len(files):,} images are not in {path}")
        self._last: tuple[int, list[Pointed]] = (-1, [])

    def pointed(self, image: SeenImage) -> list[Pointed]:
        """Every object word of every sentence and method; none for a clip, or without its box."""
        if self._last[0] != image.number:
            self._last = image.number, self._pointed(image)
        return self._last[1]

    def _pointed(self, image: SeenImage) -> list[Pointed]:
        record = _record(image.result.file)
        stated = self._source.size(record)
        if stated is None or image.result.record.frames > 1:
            return []
        found = []
        for answer, explanations in zip(image.result.answers, image.result.sentences, strict=True):
            for phrase in self._source.phrases(record, answer.words):
                text = " ".join(answer.words[phrase.start : phrase.end]).lower()
                for method, own in explanations.items():
                    whole = own.maps[phrase.start : phrase.end].sum(axis=(0, 1))
                    if np.isnan(whole).all():
                        continue
                    size = own.geometry.original
                    boxes = _scaled(phrase.boxes, stated, size)
                    hit = pointing_game(whole, boxes, geometry=own.geometry, ties="mean")
                    chance = uniform_correctness(size, boxes), centre_hit(size, boxes)
                    found.append(Pointed(method, text, hit, *chance))
        return found


def _scaled(boxes: Sequence[Box], stated: tuple[int, int], size: tuple[int, int]) -> list[Box]:
    """Boxes of an image of a stated size on a copy of another size; every pixel that they touch."""
    if stated == size:
        return list(boxes)
    down, across = size[0] / stated[0], size[1] / stated[1]
    return [
        (
            math.floor(x0 * across),
            math.floor(y0 * down),
            math.ceil((x1 + 1) * across) - 1,
            math.ceil((y1 + 1) * down) - 1,
        )
        for x0, y0, x1, y1 in boxes
    ]


def _record(file: str) -> Record:
    return Record(file, pathlib.Path(file), (), "", file)
