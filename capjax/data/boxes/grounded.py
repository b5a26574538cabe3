"""Captions whose phrases are known to speak of certain boxes, from every source that says so.

A phrase is a span of words and the boxes of what it names. Who wrote the words, people or the
captioner, makes a difference: people's may come with exact pairs (scenes, Flickr30k Entities),
the captioner's are matched to the objects of the image by their words.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from capjax.data.boxes.entities import EntityImage, read_entities
from capjax.data.boxes.instances import AnnotatedImage, Instance
from capjax.data.boxes.object_words import ObjectWords
from capjax.data.captions.records import Record, clean
from capjax.data.formats import coco
from capjax.data.formats.encoded import decode_text
from capjax.data.formats.entries import read_lines
from capjax.data.formats.fields import load_json
from capjax.data.pictures.frame_times import frame_indices
from capjax.data.pictures.opening import ImageFile
from capjax.data.pictures.stated_sizes import Stated, check_sizes
from capjax.data.sources.sources import caption_files
from capjax.ops.boxes import Box
from capjax.text.ptb_lite import tokenize

PERSON = "person"
_Annotation = tuple[tuple[str, str], Mapping[str, Any], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class GroundedPhrase:
    """Words of a caption, and where in the image what they name is.

    Attributes:
      start, end: words [start, end) of the caption.
      boxes: of all that it names, in pixels of the photograph.
      categories: what kind of thing it is; one or more.
    """

    start: int
    end: int
    boxes: tuple[Box, ...]
    categories: tuple[str, ...]


class GroundedCaption(NamedTuple):
    """The words of a sentence, as its source separates them, and its phrases."""

    words: tuple[str, ...]
    phrases: tuple[GroundedPhrase, ...]


class GroundedEvent(NamedTuple):
    """Words [start, end) of a caption, and the frames [first, last) in which it happens."""

    start: int
    end: int
    first: int
    last: int


class Timeline(NamedTuple):
    """A caption of a clip: its words and its events, in frames of the whole clip."""

    words: tuple[str, ...]
    events: tuple[GroundedEvent, ...]
    frames: int

    def sampled(self, count: int) -> "Timeline":
        """The timeline in a model's `count` frames, without the events that none of them shows."""
        shown = frame_indices(self.frames, count)
        kept = []
        for event in self.events:
            inside = [i for i, frame in enumerate(shown) if event.first <= frame < event.last]
            if inside:
                kept.append(event._replace(first=inside[0], last=inside[-1] + 1))
        return Timeline(self.words, tuple(kept), count)


class Source(Protocol):
    """What says where the words of an image's captions point."""

    def size(self, record: Record) -> tuple[int, int] | None:
        """(height, width) of the photograph that the boxes are in; None for unknown images."""
        ...

    def boxes(self, record: Record) -> list[Box]:
        """Every box of an image, whatever speaks of it."""
        ...

    def captions(self, record: Record) -> list[GroundedCaption]:
        """People's captions of an image."""
        ...

    def phrases(self, record: Record, words: Sequence[str]) -> tuple[GroundedPhrase, ...]:
        """Of any other sentence about the image: its words that name something with boxes."""
        ...


@dataclasses.dataclass(frozen=True)
class BoxSource:
    """Objects of COCO instances; captions paired with them by class words, or exactly.

    Attributes:
      images: by file name.
      words: which words name which class.
      mentions: (file name, caption) -> [first word, end word, id of the instance] for captions
        that say exactly what they speak of. Of such a phrase its last word is taken, the noun.
    """

    images: Mapping[str, AnnotatedImage]
    words: ObjectWords
    mentions: Mapping[tuple[str, str], Sequence[Sequence[int]]] = dataclasses.field(
        default_factory=dict
    )

    def size(self, record: Record) -> tuple[int, int] | None:
        """See `Source`."""
        image = self._image(record)
        return None if image is None else (image.height, image.width)

    def boxes(self, record: Record) -> list[Box]:
        """See `Source`."""
        image = self._image(record)
        return [] if image is None else [instance.pixels() for instance in image.instances]

    def classes(self, record: Record) -> frozenset[str]:
        """What the image shows: classes of its boxes, and those that people's captions name."""
        image = self._image(record)
        shown = {self._class(instance) for instance in (() if image is None else image.instances)}
        return self.words.named(record.captions) | shown

    def captions(self, record: Record) -> list[GroundedCaption]:
        """See `Source`."""
        found = []
        for caption in record.captions:
            mentions = self.mentions.get((record.key, caption))
            if mentions is None:
                words = tuple(tokenize(caption))
                phrases = self.phrases(record, words)
            else:
                words = tuple(caption.split())
                phrases = tuple(self._mention(record, end, of) for _, end, of in mentions)
            found.append(GroundedCaption(words, phrases))
        return found

    def phrases(self, record: Record, words: Sequence[str]) -> tuple[GroundedPhrase, ...]:
        """See `Source`: words that name a class, with the boxes of all its objects."""
        image = self._image(record)
        boxes: dict[str, list[Box]] = {}
        for instance in () if image is None else image.instances:
            boxes.setdefault(self._class(instance), []).append(instance.pixels())
        found = []
        for start, end, classes in self.words.find(words):
            here = tuple(name for name in classes if name in boxes)
            if here:
                own = tuple(box for name in here for box in boxes[name])
                found.append(GroundedPhrase(start, end, own, here))
        return tuple(found)

    def _mention(self, record: Record, end: int, instance_id: int) -> GroundedPhrase:
        image = self._image(record)
        for instance in () if image is None else image.instances:
            if instance.id == instance_id:
                return GroundedPhrase(end - 1, end, (instance.pixels(),), (self._class(instance),))
        raise ValueError(
            f"a caption of {record.key} mentions instance {instance_id}, which the file of boxes "
            "does not have for this image; pass the two files that belong together"
        )

    def _class(self, instance: Instance) -> str:
        return self.words.aliases.get(instance.category, instance.category)

    def _image(self, record: Record) -> AnnotatedImage | None:
        return self.images.get(record.key) or self.images.get(Path(record.key).name)


@dataclasses.dataclass(frozen=True)
class EntitySource:
    """Flickr30k Entities: noun phrases with types and boxes, by the image's number.

    Attributes:
      folder: with `Sentences/` and `Annotations/`.
    """

    folder: Path
    _read: dict[str, EntityImage] = dataclasses.field(default_factory=dict, repr=False)

    def size(self, record: Record) -> tuple[int, int] | None:
        """See `Source`."""
        name = Path(record.key).stem
        if not (self.folder / "Annotations" / f"{name}.xml").is_file():
            return None
        image = self._image(record)
        return image.height, image.width

    def boxes(self, record: Record) -> list[Box]:
        """See `Source`."""
        return [box for chain in self._image(record).boxes.values() for box in chain]

    def captions(self, record: Record) -> list[GroundedCaption]:
        """See `Source`: the captions of the folder, not those of the record."""
        image = self._image(record)
        return [
            GroundedCaption(
                own.words,
                tuple(
                    GroundedPhrase(p.start, p.end, tuple(image.boxes[p.chain]), p.types)
                    for p in image.with_boxes(own)
                ),
            )
            for own in image.sentences
        ]

    def phrases(self, record: Record, words: Sequence[str]) -> tuple[GroundedPhrase, ...]:
        """See `Source`: words that end a phrase of people's captions, with all it spoke of.

        The last word of an English noun phrase is its noun: "dogs" of "two brown dogs".
        """
        named: dict[str, list[GroundedPhrase]] = {}
        for caption in self.captions(record):
            for phrase in caption.phrases:
                noun = caption.words[phrase.end - 1].lower()
                named.setdefault(noun, []).append(phrase)
        found = []
        for index, word in enumerate(words):
            own = named.get(word.lower(), ())
            if own:
                boxes = dict.fromkeys(box for phrase in own for box in phrase.boxes)
                types = dict.fromkeys(kind for phrase in own for kind in phrase.categories)
                found.append(GroundedPhrase(index, index + 1, tuple(boxes), tuple(types)))
        return tuple(found)

    def _image(self, record: Record) -> EntityImage:
        name = Path(record.key).stem
        if name not in self._read:
            self._read[name] = read_entities(self.folder, name)
        return self._read[name]


def check_source(
    source: Source,
    records: Sequence[Record],
    tell: Callable[[str], None],
    file: Callable[[Record], ImageFile] = lambda record: record.image,
) -> None:
    """`stated_sizes.check_sizes` of all images that a source knows."""
    known = ((record, source.size(record)) for record in records)
    check_sizes(
        [Stated(record, size, source.boxes(record)) for record, size in known if size is not None],
        tell,
        file,
    )


def read_mentions(path: str | Path) -> dict[tuple[str, str], Sequence[Sequence[int]]]:
    """`mentions` of a COCO captions file's annotations by (file name, caption); empty without."""
    return {key: entry["mentions"] for key, entry, _ in _annotations(path) if "mentions" in entry}


def read_timelines(path: str | Path) -> dict[tuple[str, str], Timeline]:
    """`events` of a COCO captions file's annotations by (file name, caption); empty without.

    Each is [first word, end word, id of what acts, first frame, end frame], ends exclusive, in
    the clip's own `frames`.
    """
    found = {}
    for key, entry, image in _annotations(path):
        if "events" in entry:
            events = tuple(
                GroundedEvent(start, end, first, last)
                for start, end, _, first, last in entry["events"]
            )
            found[key] = Timeline(tuple(key[1].split()), events, int(image["frames"]))
    return found


def _annotations(path: str | Path) -> list[_Annotation]:
    """(file name, caption), annotation and image of each annotation; none in other formats."""
    found: list[_Annotation] = []
    for file in caption_files(path):
        text = decode_text(file.read_bytes())
        if not text.lstrip().startswith("{") or read_lines(text) is not None:
            continue
        body = load_json(text)
        if coco.matches(body):
            for entry, image in coco.captioned(body):
                key = image.text("file_name"), clean(entry.caption("caption"))
                found.append((key, entry.fields, image.fields))
    return found


def source_words(words: Sequence[str], source: Sequence[str]) -> list[int | None]:
    """The index in `source` of the word that each of a captioner's words was read from.

    Tokenizers drop punctuation, split "man's" and lower-case. Words are looked for after the last
    one found; a word that is not there gets None.
    """
    text, owner = "", []
    for index, word in enumerate(source):
        text += f"{word.lower()} "
        owner += [index] * (len(word.lower()) + 1)
    found: list[int | None] = []
    place = 0
    for word in words:
        at = text.find(word.lower(), place)
        found.append(None if at < 0 else owner[at])
        place = place if at < 0 else at + len(word)
    return found


def moved_span(span: tuple[int, int], owner: Sequence[int | None]) -> tuple[int, int] | None:
    """A span of source words as a span of the captioner's words; None where nothing is left.

    Args:
      span: [start, end) in the source.
      owner: from `source_words`.
    """
    inside = [i for i, own in enumerate(owner) if own is not None and span[0] <= own < span[1]]
    return (inside[0], inside[-1] + 1) if inside else None
