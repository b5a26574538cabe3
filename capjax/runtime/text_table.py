"""Tables as text, for every command that prints one."""

from collections.abc import Sequence


def format_table(rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """Rows with their columns lined up, two spaces apart, one line a row.

    Args:
      rows: cells of each row, as many in every one; what is no text is shown by `str`.
      left: how many columns, from the first on, are flush left; the others are flush right.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    aligned = [
        [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in texts
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned)
