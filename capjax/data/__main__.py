"""`python -m capjax.data check …` validates captions and files; `… where` says what to fetch."""

import argparse
import collections
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from capjax.data.captions.records import LISTED, CaptionSet, Record, is_clip_name, missing_images
from capjax.data.captions.splits import UNSPLIT, Draw
from capjax.data.pictures.clips import sample_clip
from capjax.data.pictures.images import load_image
from capjax.data.sources.datasets import (
    DATASETS,
    FILES,
    ROOT_VARIABLE,
    Dataset,
    Files,
    expected_files,
    find_dataset,
    read_dataset,
)
from capjax.data.sources.sources import read_captions, read_folder
from capjax.runtime.files import listed
from capjax.runtime.standard_streams import outlive_readers
from capjax.runtime.text_table import format_table
from capjax.text.ptb_lite import tokenize

OK, PROBLEMS, USAGE = 0, 1, 2
NEXT = "\n  "


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 fine, 1 problems found, 2 wrong usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "where":
        return _where(options.name)
    if bool(options.format) == bool(options.captions or options.images):
        parser.error("check needs either --format NAME or --captions FILE and/or --images FOLDER")
    if options.root and not options.format:
        parser.error("--root is of a known dataset: add --format NAME")
    if options.split and not (options.format or options.captions):
        parser.error("--split is of a dataset or of captions; a plain folder has none")
    try:
        return _check(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return PROBLEMS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m capjax.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check",
        help="validate a dataset and list the first missing files",
        description="Counts images and captions by split, and lists missing images, empty and\n"
        "repeated captions and lines left out. Exit code: 0 complete, 1 something is missing or\n"
        "unreadable, 2 wrong usage.",
        epilog="examples:\n  python -m capjax.data check --format=ucm --root=data\n"
        "  python -m capjax.data check --captions=captions.csv --images=photographs --decode",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "--format", "--dataset", choices=sorted(DATASETS), help="a known dataset, by name"
    )
    check.add_argument(
        "--root", help=f"data root or the dataset's folder (default: ${ROOT_VARIABLE}, else data/)"
    )
    check.add_argument(
        "--captions",
        help="caption file, several with commas, or a pattern: Karpathy's or COCO's JSON, JSON "
        "Lines or lists, CSV and other tables, Flickr token files, or those of MSVD and MSR-VTT",
    )
    check.add_argument(
        "--images",
        help="folder of its images or clips (default: images/ or clips/ beside it); alone: a plain "
        "folder",
    )
    check.add_argument("--split", help="only this split")
    check.add_argument(
        "--decode", action="store_true", help="open every image and clip too, to find damaged ones"
    )
    where = commands.add_parser(
        "where",
        help="print source, licence and expected files of the datasets and of what goes with them",
        description="Prints source, licence and expected files below the data root.",
    )
    where.add_argument("name", nargs="?", choices=[*DATASETS, *FILES], help="default: all")
    return parser


def _where(name: str | None) -> int:
    table: dict[str, Dataset | Files] = {**DATASETS, **FILES}
    for key in [name] if name else table:
        described = table[key]
        print(f"{key}: {described.title}")
        parts = {
            "source": described.source,
            "licence": [described.licence],
            "files": expected_files(described),
            "read by": [described.read_by] if isinstance(described, Files) else [],
        }
        rows = [
            ["", "" if number else label, line]
            for label, lines in parts.items()
            for number, line in enumerate(lines)
        ]
        print(format_table(rows, left=3))
    print(f"files lie below the data root: --config.data.root, else ${ROOT_VARIABLE}, else data/")
    return OK


def _check(options: argparse.Namespace) -> int:
    if options.format:
        folder, _ = find_dataset(options.format, options.root)
        found = read_dataset(options.format, options.root, split=options.split, check_images=False)
        place = str(folder)
    elif options.captions:
        found = read_captions(
            options.captions, options.images, split=options.split, check_images=False
        )
        place = options.captions
    else:
        found, place = read_folder(options.images), options.images
    print(f"{place}: {found.format}")
    _print_counts(found)
    if options.captions and options.images and options.split is None:
        _print_uncaptioned(found, options.images)
    missing = missing_images(found)
    print(f"image files missing: {len(missing)}")
    _print_first([str(path) for path in missing])
    damaged: list[str] = []
    if options.decode:
        damaged = _undecodable([r for r in found if r.image.is_file()])
        print(f"image files unreadable: {len(damaged)}")
        _print_first(damaged)
    if not found:
        print(f"error: no image below {place}", file=sys.stderr)
    return PROBLEMS if missing or damaged or not found else OK


def _print_counts(found: CaptionSet) -> None:
    counts = [[split, *own] for split, own in found.splits.items()]
    print(format_table([["split", "images", "captions"], *counts]))
    wordless = [r.key for r in found for caption in r.captions if not tokenize(caption)]
    repeated = [
        f"{record.key}: {caption}"
        for record in found
        for caption, count in collections.Counter(record.captions).items()
        if count > 1
    ]
    if set(found.splits) == {UNSPLIT} and any(record.captions for record in found):
        print(
            f"no splits are stated: training on this file holds {Draw.val_share:.0%} of the images "
            f"out for validation and {Draw.test_share:.0%} for tests, drawn by their names "
            "(data.val_share, data.test_share, data.split_seed)"
        )
    for label, lines in (
        ("read differently from how it is written", found.notes),
        ("left out", found.rejected),
        ("captions without a word", wordless),
        ("captions repeated for one image", repeated),
    ):
        print(f"{label}: {len(lines)}")
        _print_first(lines)


def _print_uncaptioned(found: CaptionSet, images: str) -> None:
    """Files of the folder that no caption speaks of, which nothing is learnt from."""
    described = {record.image for record in found}
    bare = [r.key for r in read_folder(images) if r.image not in described]
    print(f"images in {images} without a caption: {len(bare)}")
    _print_first(bare)


def _print_first(lines: Sequence[str]) -> None:
    if lines:
        print(f"  {listed(lines, most=LISTED, between=NEXT)}")


def _undecodable(records: Sequence[Record]) -> list[str]:
    def problem(record: Record) -> str | None:
        try:
            if is_clip_name(record.image.name):
                sample_clip(record.image, 1, keep=len)
            else:
                load_image(record.image)
        except (OSError, ValueError) as error:
            return f"{record.image}: {error}"
        return None

    with ThreadPoolExecutor() as pool:
        problems = tqdm(pool.map(problem, records), total=len(records), unit="file", disable=None)
        return [line for line in problems if line]


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
