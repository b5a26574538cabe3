"""The pages of a folder of filled pictures: index.html and, beyond 300 pictures, numbered ones."""

import pathlib
from collections.abc import Sequence

from capjax.folder.filling.results import FilledFolder, FilledRecord
from capjax.runtime.files import printable, replacing
from capjax.viz.inpaint.page import Shown, page_html
from capjax.viz.inpaint.triptych import OVERSIZE

PER_PAGE = 300
INDEX = "index.html"


def write_pages(folder: FilledFolder, files: Sequence[str], fill: str) -> pathlib.Path:
    """Writes the pages of `files`, one page in memory at a time; returns the first one's path.

    Args:
      folder: with a record of every file.
      files: of the run, in order.
      fill: name of what filled them.
    """
    good, failures = list[str](), list[tuple[str, str]]()
    for file in files:
        error = folder.records.read(file).error
        if error is None:
            good.append(file)
        else:
            failures.append((printable(file), error))
    parts = [good[start : start + PER_PAGE] for start in range(0, len(good), PER_PAGE)] or [[]]
    names = [INDEX, *(f"index-{number:04d}.html" for number in range(2, len(parts) + 1))]
    for here, (name, part) in enumerate(zip(names, parts, strict=True)):
        text = page_html(
            "Without what the masks remove",
            {"pictures": f"{len(good):,}", "fill": fill},
            [_shown(folder.records.read(file)) for file in part],
            failures=failures if here == 0 else (),
            pages=names,
            here=here,
        )
        with replacing(folder.path / name) as stream:
            stream.write(text.encode("utf-8", "xmlcharrefreplace"))
    for stale in folder.path.glob("index-*.html"):
        if stale.name not in names:
            stale.unlink()
    return folder.path / INDEX


def _shown(record: FilledRecord) -> Shown:
    height, width = record.size
    note = f"{width} x {height}, {100 * record.removed:.3g} % removed"
    mark = OVERSIZE if record.oversize else ""
    return Shown(printable(record.file), record.triptych, record.filled, note, mark)
