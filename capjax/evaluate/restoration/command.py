"""`python -m capjax.inpaint evaluate`: how well each fill restores what holes hide."""

import argparse
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tqdm

from capjax.data.pictures.finding import drawn, find_images
from capjax.data.pictures.images import UnreadableFileError, load_prepared
from capjax.evaluate.restoration.measuring import KINDS, Example, Photographs, Trial, table_of
from capjax.evaluate.restoration.table import as_table, as_text, summaries
from capjax.folder.filling.choosing import chosen_fills, fill_names
from capjax.inpaint.masks import RELEASED_SIDE
from capjax.metrics.pictures.restoration import REACH
from capjax.runtime import locks
from capjax.runtime.command_line import at_least_one
from capjax.runtime.files import check_writable, counted, local_path, printable, replacing
from capjax.runtime.version import code_version
from capjax.studies.results import write_results
from capjax.types import Preprocessing
from capjax.viz.inpaint.triptych import fills_sheet, stacked

NAME, SHEET = "restoration", "examples.png"
MULTIPLE = 8
"""Of sides, so that every network takes them."""
DESCRIPTION = (
    "Cuts squares out of photographs, makes holes in them, fills these, and compares with what was "
    "there: PSNR, SSIM and L1 inside the hole and over the whole picture, with bootstrap intervals "
    "over photographs. Writes restoration.csv, restoration.json and examples.png. Exit codes: 0 "
    "done, 1 --out takes no more, 2 wrong usage."
)


def add_options(add: Callable[..., Any]) -> None:
    """Adds the options of the command, but for those of fills."""
    add("--images", nargs="+", required=True, help="folders, files, or quoted patterns")
    add("--out", required=True, help="folder of the results")
    add(locks.BREAK, action="store_true", help="a process of another machine is dead: go on")
    add(
        "--holes",
        default=",".join(KINDS),
        help=f"comma-separated, of: {', '.join(KINDS)} (default all)",
    )
    add("--count", type=at_least_one, help="take so many of the photographs, drawn by --seed")
    add("--seed", type=int, default=0, help="of photographs and holes (default 0)")
    add(
        "--side",
        type=at_least_one,
        default=RELEASED_SIDE,
        help=f"of the squares, in pixels (default {RELEASED_SIDE}): the shorter side is brought to "
        "it, and the middle is taken; holes are up to half as wide",
    )
    add("--batch-size", type=at_least_one, default=16, help="photographs at once (default 16)")
    add(
        "--against",
        metavar="FILL",
        help="also say how much better than this fill the others are, photograph by photograph",
    )
    add("--examples", type=at_least_one, default=3, help="photographs that are drawn (default 3)")


def evaluate(options: argparse.Namespace, tell: Callable[[str], None]) -> str:
    """Measures, writes results, and returns the table as text.

    Args:
      options: of the command line.
      tell: takes a line on what is left out.

    Raises:
      ValueError, OSError: wrong usage.
    """
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    names = fill_names(options.fills, weights=options.model is not None)
    fills, _ = chosen_fills(names, options.set, options.model)
    if options.against not in (None, *fills):
        raise ValueError(
            f"got --against={options.against}, which is not among the fills {', '.join(fills)}"
        )
    trial = Trial(fills, _kinds(options.holes), options.seed)
    _check_side(options.side)
    root, files = find_images(options.images, exclude=out, tell=tell)
    files = drawn(files, options.count, options.seed)
    unreadable: dict[str, str] = {}
    stored: list[dict[str, Any]] = []
    shown: dict[str, list[Example]] = {kind: [] for kind in trial.kinds}
    with locks.held(out / locks.FILE, break_lock=options.break_lock):
        batches = _read(root, files, options.side, options.batch_size, unreadable)
        total = len(files) * len(trial.kinds)
        for example in tqdm.tqdm(
            trial.run(batches, options.batch_size), total=total, desc="filled", unit="hole"
        ):
            if len(own := shown[example.kind]) < options.examples:
                own.append(example)
            stored.append(
                {"file": example.file, "kind": example.kind, "scores": dict(example.scores)}
            )
        if not stored:
            raise ValueError(f"none of {counted(len(files), 'photograph')} can be read")
        found = summaries(table_of(stored), options.against)
        results = {
            "side": options.side,
            "seed": options.seed,
            "fills": {name: fill.describe() for name, fill in fills.items()},
            "against": options.against,
            "unreadable": unreadable,
            "code_version": code_version(),
            "table": found,
            "photographs": stored,
        }
        write_results(out, NAME, as_table(found), results)
        _draw([one for own in shown.values() for one in own], out / SHEET)
    for file, reason in unreadable.items():
        tell(f"left out: {printable(file)}: {reason}")
    return as_text(found, options.against)


def _kinds(names: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(name for name in names.split(",") if name))
    unknown = [name for name in kinds if name not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"got --holes={names}; choose from: {', '.join(KINDS)}")
    return kinds


def _check_side(side: int) -> None:
    if side % MULTIPLE or side <= 2 * REACH:
        raise ValueError(f"got --side={side}; expected a multiple of {MULTIPLE}, 16 or more")


def _read(
    root: pathlib.Path,
    files: Sequence[str],
    side: int,
    rows: int,
    unreadable: dict[str, str],
) -> Iterator[tuple[list[str], Photographs]]:
    """Batches of files and squares of their photographs; those that cannot be read are noted."""
    preprocessing = Preprocessing((side, side), "crop", shorter=side, resample="bicubic")
    names, squares = list[str](), list[np.ndarray]()
    for file in files:
        try:
            squares.append(load_prepared(root / file, preprocessing)[0])
            names.append(file)
        except (UnreadableFileError, OSError) as error:
            unreadable[file] = str(error)
        if len(names) == rows:
            yield names, np.stack(squares)
            names, squares = [], []
    if names:
        yield names, np.stack(squares)


def _draw(examples: Sequence[Example], path: pathlib.Path) -> None:
    sheets = []
    for example in examples:
        notes = {
            name: f"PSNR {own['psnr_hole']:.1f}, SSIM {own['ssim_hole']:.2f}"
            for name, own in example.scores.items()
        }
        sheets.append(fills_sheet(example.image, example.mask, example.filled, notes))
    with replacing(path) as stream:
        stacked(sheets).save(stream, "PNG")
