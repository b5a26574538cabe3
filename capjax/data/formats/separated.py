"""Rows of delimited text: CSV and its dialects, with the line of every row and of every fault."""

import dataclasses
import re

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
_BLANKS = re.compile(r"[ \u00a0]*")
_HINT = re.compile(r"sep=(.)\n")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
      line, last: numbers of its first and last line, from 1.
      cells: without quotes and outer blanks.
    """

    line: int
    last: int
    cells: tuple[str, ...]


def parse_rows(text: str, separator: str, *, limit: int = 0) -> list[Row]:
    """Rows of the text, blank ones left out.

    A cell in double quotes may hold separators, line ends and, written twice, quotes. In files of
    tabs and bars, which many programs write without quoting, a quote that begins no whole quoted
    cell is a letter like any other.

    Args:
      text: with `\\n` as line ends.
      separator: key of `SEPARATORS`.
      limit: rows to read, 0 for all.

    Raises:
      ValueError: a quote that is never closed, or closed within a cell; the line where it opened
        is named.
    """
    rows: list[Row] = []
    plain = re.compile(f"[^{re.escape(separator)}\n]*+")
    hint = _HINT.match(text)  # a first line of Excel's
    position = hint.end() if hint else 0
    line = 2 if hint else 1
    while position < len(text) and not (limit and len(rows) == limit):
        first, cells = line, []
        while True:
            cell, end = _cell(text, position, separator, plain, line)
            line += text.count("\n", position, end)
            cells.append(cell)
            position = end + 1
            if end == len(text) or text[end] == "\n":
                break
        if any(cells):
            rows.append(Row(first, line, tuple(cells)))
        line += 1
    return rows


def _cell(
    text: str, position: int, separator: str, plain: re.Pattern[str], line: int
) -> tuple[str, int]:
    """A cell and the place of the separator, line end or end of text after it."""
    blanks = _BLANKS.match(text, position)
    begin = blanks.end() if blanks else position
    if text.startswith('"', begin):
        quoted = _QUOTED.match(text, begin)
        if quoted is not None:
            after = _BLANKS.match(text, quoted.end())
            end = after.end() if after else quoted.end()
            if end == len(text) or text[end] in (separator, "\n"):
                return quoted[1].replace('""', '"').strip(), end
        if not _may_be_a_letter(begin, position, separator, quoted):
            raise ValueError(_fault(text, begin, line, quoted))
    found = plain.match(text, position)
    end = found.end() if found else position
    return text[position:end].strip(), end


def _may_be_a_letter(
    begin: int, position: int, separator: str, quoted: re.Match[str] | None
) -> bool:
    """Whether a quote that begins no whole quoted cell may be part of the cell's text."""
    if separator in ",;":
        return False
    closes_in_line = quoted is not None and "\n" not in quoted[0]
    return closes_in_line or begin > position


def _fault(text: str, begin: int, line: int, quoted: re.Match[str] | None) -> str:
    start = text[begin : begin + 40].split("\n")[0]
    if quoted is None:
        what = "is never closed, so that the rows after it would vanish"
    elif "\n" in quoted[0]:
        what = f"closes only in line {line + quoted[0].count(chr(10))}, before other text"
    else:
        what = "closes before the end of its cell"
    return (
        f"line {line}: the quote that opens at {start!r} {what}; close it at the end of the cell, "
        "and write a quote within quotes twice"
    )
