"""Captions as JSON objects, one an image or caption: lists, JSON Lines, and names with captions."""

from collections.abc import Mapping, Sequence
from typing import Any

from capjax.data.captions.records import CaptionSet, is_clip_name, is_image_name
from capjax.data.formats.columns import Columns, find_columns
from capjax.data.formats.fields import Entry, load_json, objects, shown
from capjax.data.formats.gathering import Gathering

LIST, LINES, NAMES = "JSON list", "JSON Lines", "JSON of captions by name"
FORMATS = (
    f"{LIST} of objects such as {{image, caption}}",
    f"{LINES} such as {{file_name, text}} (metadata.jsonl)",
    NAMES,
)
_SOURCE = "Each entry needs the name of its image (file_name, image, …) and its caption or captions"


def read_lines(text: str) -> list[Entry] | None:
    """Entries of JSON Lines; None where there are no two lines, or the first is no whole object.

    Raises:
      ValueError: a damaged line, by its number.
    """
    entries: list[Entry] = []
    if "\n" not in text.strip():
        return None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = load_json(line)
        except ValueError as error:
            if not entries:
                return None
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(value, Mapping):
            if not entries:
                return None
            raise ValueError(f"line {number} is {shown(value)}; expected an object")
        entries.append(Entry(f"line {number}", value, _SOURCE))
    return entries


def find_entries(body: Any) -> list[Entry] | None:
    """The entries of parsed JSON: a list of objects, also as the one list in an object."""
    if isinstance(body, list):
        return [Entry(each.where, each.fields, _SOURCE) for each in objects(body, "entry") or ()]
    if isinstance(body, Mapping):
        if columns_of([Entry("", body)]) and not _is_list_of_objects(body):
            return [Entry("the one entry", body, _SOURCE)]
        lists = [value for value in body.values() if _are_objects(value)]
        if len(lists) == 1:
            return find_entries(lists[0])
    return None


def _is_list_of_objects(body: Mapping[str, Any]) -> bool:
    return any(map(_are_objects, body.values()))


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def columns_of(entries: Sequence[Entry]) -> Columns | None:
    """The fields that are read; None unless some entry has an image's name and captions."""
    return find_columns(list(dict.fromkeys(name for each in entries for name in each.fields)))


def names_captions(body: Any) -> bool:
    """Whether parsed JSON is an object whose names are those of images or clips."""
    return (
        isinstance(body, Mapping)
        and bool(body)
        and all(is_image_name(name) or is_clip_name(name) for name in body)
    )


def parse_names(body: Mapping[str, Any], gathering: Gathering) -> CaptionSet:
    """Records of `{name: caption}` or `{name: [captions]}`."""
    entry = Entry("the file", body, "Each name needs its caption or captions")
    for name in body:
        gathering.add(name, entry.captions(name), where=f"entry {name!r}")
    return gathering.finish(NAMES)


def parse(
    entries: Sequence[Entry], columns: Columns, gathering: Gathering, *, format: str
) -> CaptionSet:
    """Records of the images or clips of the entries, in order of first appearance.

    A caption that is null is an empty one.

    Raises:
      ValueError: an entry without a name or a field of captions, or with something else in them.
    """
    for entry in entries:
        present = [name for name in columns.captions if entry.has(name)]
        null = [name for name in columns.captions if name in entry.fields]
        chosen = present or (null or columns.captions)[:1]
        captions = [text for name in chosen for text in _captions(entry, name)]
        gathering.add(
            _name(entry, columns),
            captions,
            where=entry.where,
            split=None if columns.split is None else entry.text(columns.split),
        )
    return gathering.finish(f"{format} ({columns})")


def _name(entry: Entry, columns: Columns) -> str:
    """The first field that names an image or clip; else the likeliest one."""
    for field in columns.images:
        value = entry.fields.get(field)
        if isinstance(value, str) and (is_image_name(value) or is_clip_name(value)):
            return value
    there = next((field for field in columns.images if entry.has(field)), columns.images[0])
    return entry.text(there)


def _captions(entry: Entry, name: str) -> list[str]:
    """Captions of a field: text, a list of texts, or of objects that hold a text each."""
    value = entry.fields.get(name)
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        inner = entry.entries(name, "caption")
        columns = find_columns(["image", *inner[0].fields])
        if columns is not None:
            return [each.caption(columns.captions[0]) for each in inner]
    return entry.captions(name)
