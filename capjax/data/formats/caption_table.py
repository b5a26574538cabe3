"""Caption tables: CSV and its dialects, with a header of any common names, or without one."""

from capjax.data.captions.records import CaptionSet, is_clip_name, is_image_name
from capjax.data.formats.columns import IMAGE, Columns, captions_in, find_columns, plain_name
from capjax.data.formats.gathering import Gathering
from capjax.data.formats.separated import SEPARATORS, Row, parse_rows

FORMAT = "table (CSV, or with tabs, semicolons or bars) with columns such as image and caption"
_LOOKED_AT = 50
"""Rows that decide which of several columns names images."""


def find_separator(text: str) -> tuple[str, Columns] | None:
    """The separator with which a text is a table of captions, and what its columns hold.

    Without a header, the first column must name images or clips, and the others are captions.
    """
    for separator in SEPARATORS:
        header = _header(text, separator)
        columns = None if header is None else find_columns(_distinct(header.cells))
        if columns is not None:
            return separator, columns
    for separator in ("\t", "|", ";", ","):
        header = _header(text, separator)
        if header is not None and len(header.cells) > 1 and _is_file_name(header.cells[0]):
            return separator, Columns((), (), None)
    return None


def _header(text: str, separator: str) -> Row | None:
    """The first row; None where it cannot be one, as it is not parsed."""
    try:
        rows = parse_rows(text, separator, limit=1)
    except ValueError:
        return None
    return rows[0] if rows else None


def _distinct(header: tuple[str, ...]) -> tuple[str, ...]:
    """A header's names, repeated ones with a number: `caption`, `caption 2`."""
    return tuple(
        f"{name} {count}" if (count := header[: place + 1].count(name)) > 1 else name
        for place, name in enumerate(header)
    )


def describe(text: str) -> str | None:
    """What such a table lacks, where a text's first line looks like a table's header."""
    for separator, kind in SEPARATORS.items():
        header = _header(text, separator)
        if header is None or len(header.cells) < 2:
            continue
        known = [name for name in header.cells if plain_name(name) in IMAGE]
        lacking = "captions" if known else "image names"
        return f"a table with {kind} and the columns {', '.join(header.cells)}, none of {lacking}"
    return None


def parse(text: str, separator: str, columns: Columns, gathering: Gathering) -> CaptionSet:
    """Records of the images or clips in the table, in order of first appearance.

    Raises:
      ValueError: a row with another number of columns than the header, or a quote that swallows
        rows; the line is named.
    """
    rows = parse_rows(text, separator)
    if columns.images:
        header, rows = _distinct(rows[0].cells), rows[1:]
    else:
        names = (f"caption{number}" for number in range(1, len(rows[0].cells)))
        header = ("image", *names)
        columns = Columns(("image",), header[1:], None)
    lines = text.split("\n")
    image = header.index(_image_column(rows, header, columns))
    captions = [header.index(name) for name in columns.captions]
    split = None if columns.split is None else header.index(columns.split)
    for row in rows:
        cells = _fitted(row, header, captions[0], gathering)
        if row.last > row.line:
            _refuse_swallowed(row, lines, separator, image, header)
        own = [cells[column] for column in captions if cells[column] or len(captions) == 1]
        gathering.add(
            cells[image],
            [each for cell in own for each in captions_in(cell)],
            where=f"line {row.line}",
            split=None if split is None else cells[split],
        )
    kind = "CSV table" if separator == "," else f"table with {SEPARATORS[separator]}"
    return gathering.finish(f"{kind} ({columns})")


def _image_column(rows: list[Row], header: tuple[str, ...], columns: Columns) -> str:
    """The candidate that holds the most names of images or clips, the likeliest of equals."""

    def named(column: str) -> int:
        place = header.index(column)
        seen = (row.cells[place] for row in rows[:_LOOKED_AT] if place < len(row.cells))
        return sum(map(_is_file_name, seen))

    return max(columns.images, key=named)


def _is_file_name(text: str) -> bool:
    return is_image_name(text) or is_clip_name(text)


def _fitted(
    row: Row, header: tuple[str, ...], caption: int, gathering: Gathering
) -> tuple[str, ...]:
    """The cells of a row, as many as the header has.

    Empty ones at the end may be too many. One row of the Flickr30k table lacks the separator
    between the caption's number and the caption, which is put there, and noted.
    """
    cells = row.cells
    while len(cells) > len(header) and not cells[-1]:
        cells = cells[:-1]
    numbered = caption and "number" in plain_name(header[caption - 1])
    if numbered and len(cells) == len(header) - 1 == caption:
        number, _, text = cells[-1].partition(" ")
        if number.isdigit() and text.strip():
            gathering.notes.append(
                f"line {row.line}: no separator between the number {number} and the caption "
                f"{text.strip()!r}; read as if it were there"
            )
            return (*cells[:-1], number, text.strip())
    if len(cells) != len(header):
        raise ValueError(
            f"line {row.line}: expected {len(header)} columns ({', '.join(header)}), got "
            f"{len(cells)}; put captions that hold the separator in double quotes"
        )
    return cells


def _refuse_swallowed(
    row: Row, lines: list[str], separator: str, image: int, header: tuple[str, ...]
) -> None:
    """Raises ValueError where a line within a quoted cell is a row of its own."""
    for number in range(row.line + 1, row.last + 1):
        cells = lines[number - 1].split(separator)
        name = cells[image].strip() if len(cells) >= len(header) else ""
        if _is_file_name(name) and not (number == row.last and name == row.cells[image]):
            raise ValueError(
                f"line {row.line}: a quote opens in this row and closes only in line {row.last}, "
                f"though line {number} is a row of its own; close the quote where its caption ends"
            )
