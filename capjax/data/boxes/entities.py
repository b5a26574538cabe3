"""Flickr30k Entities: which words of a caption name which boxes (Plummer et al. 2015).

A folder with `Sentences/<id>.txt`, a caption a line with its noun phrases in brackets, and
`Annotations/<id>.xml`, the boxes of each chain of phrases that speak of the same thing.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from capjax.data.formats.encoded import decode_text
from capjax.ops.boxes import Box

TYPES = (
    "bodyparts", "animals", "people", "instruments", "vehicles", "scene", "other", "clothing",
)  # fmt: skip
"""The types of phrases that have boxes, in the order of the published tables."""

NOT_VISUAL = "0"
"""The chain of phrases that name nothing one could see; never annotated."""

_OPENING = re.compile(r"^\[/EN#(?P<chain>[^/\s]+)/(?P<types>\S+)$")


@dataclasses.dataclass(frozen=True)
class EntityPhrase:
    """A noun phrase of a caption.

    Attributes:
      chain: what it speaks of; phrases of one chain, in all captions of an image, mean the same.
      types: one or more of `TYPES`, or "notvisual".
      start, end: its words, [start, end), in the caption without brackets.
    """

    chain: str
    types: tuple[str, ...]
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class EntitySentence:
    """A caption: its words as the file separates them, punctuation included, and its phrases."""

    words: tuple[str, ...]
    phrases: tuple[EntityPhrase, ...]


@dataclasses.dataclass(frozen=True)
class EntityImage:
    """Captions of an image and the boxes of what they speak of.

    Attributes:
      height, width: in pixels.
      sentences: in the order of the file.
      boxes: chain -> (x0, y0, x1, y1), 0-based, both ends inclusive; chains without are absent.
    """

    height: int
    width: int
    sentences: tuple[EntitySentence, ...]
    boxes: Mapping[str, Sequence[Box]]

    def with_boxes(self, sentence: EntitySentence) -> list[EntityPhrase]:
        """The phrases of a caption that can be evaluated: those of a chain that has boxes."""
        return [phrase for phrase in sentence.phrases if phrase.chain in self.boxes]


def read_entities(folder: str | Path, name: str) -> EntityImage:
    """Captions and boxes of the image with the id `name`.

    Raises:
      FileNotFoundError: the folder lacks one of its two files.
      ValueError: one that is damaged; the text names it.
    """
    folder = Path(folder)
    sentences = folder / "Sentences" / f"{name}.txt"
    annotations = folder / "Annotations" / f"{name}.xml"
    for path in (sentences, annotations):
        if not path.is_file():
            raise FileNotFoundError(
                f"no {path}; expected a folder with Sentences/<id>.txt and Annotations/<id>.xml"
            )
    try:
        lines = decode_text(sentences.read_bytes()).split("\n")
        parsed = tuple(parse_sentence(line) for line in lines if line.strip())
    except ValueError as error:
        raise ValueError(f"{sentences}: {error}") from error
    try:
        height, width, boxes = _read_boxes(annotations)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(
            f"{annotations} is no annotation of Flickr30k Entities ({error}); fetch the file again"
        ) from error
    return EntityImage(height, width, parsed, boxes)


def parse_sentence(line: str) -> EntitySentence:
    """A line such as `[/EN#1/people A man] sees [/EN#3/animals/other two dogs] .`.

    Only `[/EN#` opens a phrase: any other bracket is a word of the caption.

    Raises:
      ValueError: a phrase that is not closed, or one within another.
    """
    words: list[str] = []
    phrases: list[EntityPhrase] = []
    opened: re.Match[str] | None = None
    start = 0
    for token in line.split():
        if opening := _OPENING.match(token):
            if opened is not None:
                raise ValueError(f"a phrase begins before the last one ended, in {line!r}")
            opened, start = opening, len(words)
            continue
        closes = opened is not None and token.endswith("]")
        word = token[:-1] if closes else token
        if word:
            words.append(word)
        if opened is not None and closes:
            types = tuple(opened["types"].split("/"))
            phrases.append(EntityPhrase(opened["chain"], types, start, len(words)))
            opened = None
    if opened is not None:
        raise ValueError(f"the phrase {opened[0]!r} is never closed, in {line!r}")
    return EntitySentence(tuple(words), tuple(phrases))


def _read_boxes(path: Path) -> tuple[int, int, dict[str, list[Box]]]:
    """Height, width and the boxes of each chain; objects may carry several names, or no box."""
    root = ElementTree.parse(path).getroot()
    size = root.find("size")
    height, width = (_number(size, side, "size") for side in ("height", "width"))
    boxes: dict[str, list[Box]] = {}
    for number, item in enumerate(root.findall("object")):
        place = item.find("bndbox")
        if place is None:  # nobndbox: not in the picture; scene: all of it. Neither has a box.
            continue
        # The file counts pixels from 1.
        x0, y0, x1, y1 = (
            _number(place, end, f"object {number}") - 1 for end in ("xmin", "ymin", "xmax", "ymax")
        )
        if x1 < x0 or y1 < y0:
            raise ValueError(
                f"object {number}: the box ends at {(x1 + 1, y1 + 1)} before it begins at "
                f"{(x0 + 1, y0 + 1)}"
            )
        for name in item.findall("name"):
            chain = (name.text or "").strip()
            if chain != NOT_VISUAL:
                boxes.setdefault(chain, []).append((x0, y0, x1, y1))
    return height, width, boxes


def _number(parent: ElementTree.Element | None, name: str, where: str) -> int:
    text = None if parent is None else parent.findtext(name)
    if text is None:
        raise ValueError(f"{where} lacks <{name}>")
    try:
        return int(text.strip().removesuffix(".0"))
    except ValueError as error:
        raise ValueError(f"{where}: <{name}> is {text!r}; expected a whole number") from error
