"""Lists of words beside captioners that were trained in Keras, such as `vocab.txt`."""

import ast
import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

PADS = ("<pad>", "pad", "[pad]")
STARTS = ("<start>", "startseq", "<startseq>", "start", "<s>", "<sos>", "sos", "<bos>", "bos")
ENDS = ("<end>", "endseq", "<endseq>", "end", "</s>", "<eos>", "eos")
UNKNOWNS = ("<unk>", "unk", "<oov>", "oov", "[unk]")


@dataclasses.dataclass(frozen=True)
class WordIds:
    """Words by their row of the embedding.

    Attributes:
      ids: all words, special ones included.
      start, end: rows of the two that begin and end a caption.
      pad: row 0, where it is no word of the language; None otherwise.
      unknown: row that stands for all other words, or None.
    """

    ids: Mapping[str, int]
    start: int
    end: int
    pad: int | None
    unknown: int | None


def read_word_ids(path: str | os.PathLike[str], *, entries: int) -> WordIds:
    """The words of a file in one of the forms in use.

    One word a line, in the order of the rows, from row 0 or, where one line is lacking, from row 1;
    a word and its row on every line, in any order, with space, tab, comma or colon between; or a
    JSON or Python dictionary of words and rows. The names of the special words are recognised by
    `STARTS`, `ENDS`, `PADS` and `UNKNOWNS`, whatever their case.

    Args:
      path: of the file, in UTF-8.
      entries: rows of the embedding.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the words do not fit the rows; the text says how.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no list of words at {path}; it comes with the Keras model")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8 ({error}); save it as UTF-8 again") from error
    ids = _dictionary(text, path) if text.lstrip().startswith("{") else _lines(text, entries, path)
    outside = {word: row for word, row in ids.items() if not 0 <= row < entries}
    if outside or len(set(ids.values())) != len(ids):
        raise ValueError(
            f"{path}: expected {entries} rows, 0 to {entries - 1}, each of one word; "
            f"got {len(ids)} words on {len(set(ids.values()))} rows, of them outside: "
            f"{dict(list(outside.items())[:5])}"
        )
    lacking = sorted(set(range(1, entries)) - set(ids.values()))
    if lacking:
        raise ValueError(f"{path} has no word for the rows {lacking[:5]} (of {len(lacking)})")
    start, end = _special(ids, STARTS), _special(ids, ENDS)
    if start is None or end is None:
        name, names = ("begins", STARTS) if start is None else ("ends", ENDS)
        raise ValueError(f"{path} has no word that {name} a caption; known: {', '.join(names)}")
    zero = next((word for word, row in ids.items() if row == 0), None)
    if zero is not None and zero.lower() not in PADS:
        raise ValueError(
            f"{path} gives row 0 to {zero!r}; Keras pads captions with 0 and skips it, so that row "
            "is of no word: expected the first word in row 1"
        )
    return WordIds(ids, start=start, end=end, pad=0, unknown=_special(ids, UNKNOWNS))


def _special(ids: Mapping[str, int], names: Sequence[str]) -> int | None:
    """The row of the first name that is there."""
    lower = {word.lower(): row for word, row in ids.items()}
    return next((lower[name] for name in names if name in lower), None)


def _dictionary(text: str, path: pathlib.Path) -> dict[str, int]:
    try:
        stored = ast.literal_eval(text)  # data alone: no name, no call
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot read {path} as a dictionary ({error})") from error
    if isinstance(stored, dict) and all(isinstance(row, int) for row in stored.values()):
        return {str(word): row for word, row in stored.items()}
    if isinstance(stored, dict) and all(isinstance(row, int) for row in stored):
        return {str(word): row for row, word in stored.items()}
    raise ValueError(f"{path} is no dictionary of words and row numbers")


def _lines(text: str, entries: int, path: pathlib.Path) -> dict[str, int]:
    # Blanks of other scripts and other ends of lines may stand inside words: Keras cuts at " ".
    lines = [line.strip(" \t\r") for line in text.split("\n") if line.strip(" \t\r")]
    pairs = [re.fullmatch(r"([^ \t]+?)[ \t,:]+([0-9]+)", line) for line in lines]
    if lines and all(pairs):
        return {pair[1]: int(pair[2]) for pair in pairs if pair}
    first = entries - len(lines)
    if first not in (0, 1) or len(set(lines)) != len(lines):
        raise ValueError(
            f"{path} holds {len(lines)} lines, {len(set(lines))} of them different; expected one "
            f"word for each of {entries} rows, or for all but row 0"
        )
    return {line: first + number for number, line in enumerate(lines)}
