"""Results as tables of pyarrow, streamed in record batches: one row a word, or one an image."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from capjax.folder.maps.arrow import import_pyarrow, unicode
from capjax.folder.opened.image import DamagedMapsError, ImageResult
from capjax.folder.records import Answer, StoredMaps
from capjax.types import Explanation

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 4096
"""Of a record batch, at most; of words, those of one image more."""
Damaged = Literal["raise", "mark"]
Row = dict[str, Any]


def image_reader(images: Iterable[ImageResult], methods: Sequence[str]) -> "pa.RecordBatchReader":
    """One row an image, those with an error too; see `Results.images_table`."""
    pa = import_pyarrow()
    text, number = pa.string(), pa.float64()
    fields = {
        "file": text,
        "caption": text,
        "score": number,
        "finished": pa.bool_(),
        "words": pa.list_(text),
        "sentences": pa.int32(),
        "most_doubtful": number,
        "frames": pa.int32(),
        "bytes": pa.int64(),
        "sha256": text,
        "metadata": text,
        "error": text,
    }
    for method in methods:
        fields[f"{method}.flags"] = pa.list_(text)
    return _reader(pa, fields, ([_image_row(image)] for image in images))


def _image_row(image: ImageResult) -> Row:
    record = image.record
    content = {
        "file": image.file,
        "bytes": record.bytes,
        "sha256": None if record.known is None else record.known.sha256,
        "metadata": json.dumps(dict(record.metadata)) if record.metadata else None,
        "error": record.error,
    }
    if not image.answers:
        return content
    first = image.answers[0]
    doubts = [doubt.hallucinated for doubt in record.doubts or ()]
    flags = {f"{name}.flags": _flags(own, None) for name, own in first.methods.items()}
    return {
        **content,
        **flags,
        "caption": record.caption,
        "score": record.score,
        "finished": record.finished,
        "words": list(first.words),
        "sentences": len(image.answers),
        "most_doubtful": max(doubts, default=None),
        "frames": record.frames,
    }


def word_reader(
    images: Iterable[ImageResult],
    methods: Sequence[str],
    *,
    maps: bool,
    damaged: Damaged,
) -> "pa.RecordBatchReader":
    """One row a word; see `Results.words_table`."""
    pa = import_pyarrow()
    text, number, count = pa.string(), pa.float32(), pa.int32()
    fields = {
        "file": text,
        "sentence": count,
        "query": text,
        "position": count,
        "word": text,
        "log_probability": number,
        "visual_bits": number,
        "doubt": number,
    }
    for method in methods:
        fields[f"{method}.flags"] = pa.list_(text)
        fields[f"{method}.entropy"] = number
        if maps:
            fields |= {f"{method}.{name}": number for name in ("peak", "x", "y", "mass")}
            fields[f"{method}.frame"] = count
    if maps and damaged == "mark":
        fields["damaged"] = text

    def rows(image: ImageResult) -> list[Row]:
        found: Sequence[Mapping[str, Explanation]] = ()
        problem = None
        if maps:
            try:
                found = image.sentences
            except DamagedMapsError as error:
                if damaged == "raise":
                    raise
                problem = str(error)
        own = []
        for number, answer in enumerate(image.answers):
            measured = found[number] if found else {}
            for row in _word_rows(image, answer, measured):
                own.append({**row, "sentence": number, "damaged": problem})
        return own

    return _reader(pa, fields, map(rows, images))


def _word_rows(
    image: ImageResult, answer: Answer, found: Mapping[str, Explanation]
) -> Iterator[Row]:
    visual = answer.visual_information
    bits = None if visual is None else visual.bits
    score = answer.score
    places = {method: _places(explanation) for method, explanation in found.items()}
    doubts = {
        position: doubt.hallucinated
        for doubt in (image.doubts or () if answer.query is None else ())
        for position in range(doubt.start, doubt.end)
    }
    for position, word in enumerate(answer.words):
        row: Row = {
            "file": image.file,
            "query": answer.query,
            "position": position,
            "word": word,
            "log_probability": _number(score[position]),
            "visual_bits": None if bits is None else _number(bits[position]),
            "doubt": doubts.get(position),
        }
        for method, stored in answer.methods.items():
            entropy = stored.flags.get("entropy", ())
            row[f"{method}.flags"] = _flags(stored, position)
            row[f"{method}.entropy"] = entropy[position] if position < len(entropy) else None
            for name, value in places[method][position].items() if method in places else ():
                row[f"{method}.{name}"] = value
        yield row


def _flags(stored: StoredMaps, position: int | None) -> list[str]:
    """Names of the flags that hold of a whole sentence, and of one word of it where it is given.

    Flags named `<flag>_words` list the words that they hold of.
    """
    held = [name for name, value in stored.flags.items() if value is True]
    if position is None:
        return held
    listed = {
        name.removesuffix("_words"): value
        for name, value in stored.flags.items()
        if name.endswith("_words") and isinstance(value, list)
    }
    held = [name for name in held if name not in listed]
    return held + [name for name, words in listed.items() if position in words]


def _places(explanation: Explanation) -> list[Row]:
    """Of each map its largest value, where that lies on the photograph, and what it sums to."""
    found: list[Row] = []
    for word in np.asarray(explanation.maps, np.float64):
        seen = ~np.isnan(word)
        if not seen.any():
            found.append({})
            continue
        frame, row, column = np.unravel_index(
            int(np.argmax(np.where(seen, word, -np.inf))), word.shape
        )
        x0, y0, x1, y1 = explanation.geometry.cell_box(int(row), int(column))
        with np.errstate(over="ignore"):
            values = np.exp(word) if explanation.unit else word
        found.append(
            {
                "peak": float(word[frame, row, column]),
                "frame": int(frame),
                "x": (x0 + x1) / 2,
                "y": (y0 + y1) / 2,
                "mass": float(np.sum(values, where=seen)),
            }
        )
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _reader(
    pa: Any, fields: Mapping[str, Any], images: Iterable[list[Row]]
) -> "pa.RecordBatchReader":
    """Streams rows; a value that is not there is null."""
    schema = pa.schema(list(fields.items()))

    def column(rows: Sequence[Row], name: str) -> Any:
        values = [row.get(name) for row in rows]
        if fields[name] == pa.string():
            values = [None if value is None else unicode(value) for value in values]
        return pa.array(values, fields[name])

    def batch(rows: Sequence[Row]) -> Any:
        return pa.record_batch([column(rows, name) for name in fields], schema=schema)

    def batches() -> Iterator[Any]:
        held: list[Row] = []
        for own in images:
            held += own
            if len(held) >= ROWS:
                yield batch(held)
                held = []
        if held:
            yield batch(held)

    return pa.RecordBatchReader.from_batches(schema, batches())
