"""MSVD, the Microsoft video description corpus: `video_corpus.csv` with one sentence a row.

Also the list that the authors give beside it, `AllVideoDescriptions.txt`: English sentences only,
`VideoID_Start_End sentence` a line, and comments that begin with #.
"""

import math
import re
from pathlib import Path

from capjax.data.captions.records import CaptionSet, Record, clean, clip_files
from capjax.data.captions.splits import UNSPLIT
from capjax.data.formats.columns import plain_name
from capjax.data.formats.encoded import decode_text
from capjax.data.formats.separated import SEPARATORS, Row, parse_rows

FORMAT = "MSVD table"
LIST_FORMAT = "MSVD list"
HEADER = ("VideoID", "Start", "End", "Language", "Description")
MAPPING = "youtube_mapping.txt"
LANGUAGE = "English"
SPLITS = ((1200, "train"), (1300, "val"), (1970, "test"))
"""Last number of each split in the order of the mapping, vid1 … vid1970 (Venugopalan et al. 2015):
1,200, 100 and 670 clips."""
_LINE = re.compile(r"(?P<clip>\S+)\s+vid(?P<number>\d+)")
_SENTENCE = re.compile(r"(?P<clip>\S+_\d+_\d+)\s+(?P<sentence>\S.*)")


def find_separator(text: str) -> str | None:
    """The separator with which a text is such a table; None where it is none."""
    for separator in SEPARATORS:
        try:
            header = parse_rows(text, separator, limit=1)
        except ValueError:
            continue
        if header and set(map(plain_name, HEADER)) <= set(map(plain_name, header[0].cells)):
            return separator
    return None


def is_list(text: str) -> bool:
    """Whether every line is a comment or names a clip and says a sentence of it."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    return bool(lines) and all(map(_SENTENCE.fullmatch, lines))


def parse_list(text: str, clips: Path, *, mapping: Path | None) -> CaptionSet:
    """Records of the clips of `AllVideoDescriptions.txt`; see `parse`."""
    captions: dict[str, list[str]] = {}
    for line in text.split("\n"):
        match = None if line.startswith("#") else _SENTENCE.fullmatch(line)
        if match is not None:
            key = _key(*clip_parts(match["clip"]))
            captions.setdefault(key, []).append(clean(match["sentence"]))
    return _records(captions, [], clips, mapping, LIST_FORMAT)


def parse(text: str, separator: str, clips: Path, *, mapping: Path | None) -> CaptionSet:
    """Records of the clips with English sentences; rows without a sentence are left out.

    A clip's key is `VideoID_Start_End`, its file that name with any suffix of a clip.

    Args:
      text: of the table.
      separator: of its columns.
      clips: folder of the clips.
      mapping: file with a line `VideoID_Start_End vidN` for each clip, whose numbers decide splits
        and order; clips it does not name are left out. None: clips come in the table's order and
        have no splits, so that scores do not compare with published ones; a note says so.

    Raises:
      ValueError: a row or a line that cannot be read, by its number.
    """
    captions, rejected = _sentences(parse_rows(text, separator))
    return _records(captions, rejected, clips, mapping, FORMAT)


def _records(
    captions: dict[str, list[str]],
    rejected: list[str],
    clips: Path,
    mapping: Path | None,
    format: str,
) -> CaptionSet:
    number_of = None if mapping is None else read_mapping(mapping)
    files = clip_files(clips)
    records, unlisted = [], []
    for place, (key, sentences) in enumerate(captions.items(), start=1):
        number = place if number_of is None else number_of.pop(key, None)
        if number is None:
            unlisted.append(key)
            continue
        _, start, end = clip_parts(key)
        records.append(
            Record(
                key=key,
                image=files.get(key, clips / f"{key}.avi"),
                captions=tuple(sentences),
                split=UNSPLIT if number_of is None else _split(number),
                image_id=number,
                interval=(start, end),
            )
        )
    if unlisted:
        rejected.append(f"{len(unlisted)} clips are not in {MAPPING}, e.g. {unlisted[0]}")
    if number_of:
        rejected.append(
            f"{len(number_of)} clips of {MAPPING} have no sentence, e.g. {next(iter(number_of))}"
        )
    records.sort(key=lambda record: int(record.image_id))
    notes = (
        []
        if number_of is not None
        else [f"no {MAPPING} beside it, so the published splits are not known"]
    )
    return CaptionSet(tuple(records), format, tuple(rejected), tuple(notes))


def find_mapping(folder: Path) -> Path | None:
    """`youtube_mapping.txt` in a folder, if it is there."""
    path = folder / MAPPING
    return path if path.is_file() else None


def read_mapping(path: Path) -> dict[str, int]:
    """Number of each clip, 1 … 1970, by `VideoID_Start_End`."""
    found: dict[str, int] = {}
    lines = decode_text(path.read_bytes()).split("\n")
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(
                f"{path} line {line_number}: expected VideoID_Start_End vidN, got {line[:60]!r}"
            )
        name = match["clip"]
        key = _key(*clip_parts(name.rsplit(".", 1)[0] if name.endswith(".avi") else name))
        number = int(match["number"])
        if not 1 <= number <= SPLITS[-1][0]:
            raise ValueError(f"{path} line {line_number}: vid{number} is not in 1 … 1970")
        if found.setdefault(key, number) != number:
            raise ValueError(f"{path} line {line_number}: {key} is vid{found[key]} already")
    return found


def clip_parts(key: str) -> tuple[str, float, float]:
    """(VideoID, start, end) of `VideoID_Start_End`, in seconds; a VideoID may hold `_` and `-`."""
    try:
        video, start, end = key.rsplit("_", 2)
        return video, float(start), float(end)
    except ValueError as error:
        raise ValueError(f"got {key!r}; expected VideoID_Start_End, such as mv89_33_46") from error


def _sentences(rows: list[Row]) -> tuple[dict[str, list[str]], list[str]]:
    """The sentences of each clip, and what was left out."""
    header = rows[0].cells
    places = {plain_name(name): place for place, name in enumerate(header)}
    columns = [places[plain_name(name)] for name in HEADER]
    captions: dict[str, list[str]] = {}
    foreign = empty = 0
    for row in rows[1:]:
        if len(row.cells) != len(header):
            raise ValueError(
                f"line {row.line}: expected {len(header)} columns ({', '.join(header)}), got "
                f"{len(row.cells)}; fetch the file again"
            )
        video, start, end, language, sentence = (row.cells[column] for column in columns)
        if language != LANGUAGE:
            foreign += 1
        elif not sentence:
            empty += 1
        else:
            try:
                key = _key(video, float(start), float(end))
            except ValueError as error:
                raise ValueError(
                    f"line {row.line}: Start and End are {start!r} and {end!r}; expected seconds"
                ) from error
            captions.setdefault(key, []).append(clean(sentence))
    rejected = []
    if foreign:
        rejected.append(f"{foreign} sentences in other languages than {LANGUAGE}")
    if empty:
        rejected.append(f"{empty} rows without a sentence")
    return captions, rejected


def _key(video: str, start: float, end: float) -> str:
    """`VideoID_Start_End` with whole seconds written as such: copies hold `10` or `10.0`."""
    if not (math.isfinite(start) and math.isfinite(end)):
        raise ValueError("not a number of seconds")
    return f"{video}_{start:g}_{end:g}"


def _split(number: int) -> str:
    return next(name for last, name in SPLITS if number <= last)
