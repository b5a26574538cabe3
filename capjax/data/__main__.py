"""`python -m capjax.data check …` validates captions and files, `show` draws some of them, and
`where` says what to fetch.
"""

import argparse
import collections
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image
from tqdm import tqdm

from capjax.data.captions.records import LISTED, CaptionSet, Record, is_clip_name, missing_images
from capjax.data.captions.splits import UNSPLIT, Draw
from capjax.data.pictures.clips import sample_clip
from capjax.data.pictures.finding import drawn
from capjax.data.pictures.images import load_image
from capjax.data.scenes import Scenes
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
from capjax.runtime.files import check_writable, listed, local_path, replacing
from capjax.runtime.standard_streams import outlive_readers
from capjax.runtime.text_table import format_table
from capjax.text.ptb_lite import tokenize
from capjax.viz.scores.gallery import Shown, gallery

OK, PROBLEMS, USAGE = 0, 1, 2
NEXT = "\n  "
SCENES = "scenes"
"""What `show` calls the rendered pictures, which are nowhere on disk."""
ACROSS = 4
"""Pictures side by side."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 fine, 1 problems found, 2 wrong usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "where":
        return _where(options.name)
    known = "NAME" if options.command == "show" else "--format NAME"
    if bool(options.format) == bool(options.captions or options.images):
        parser.error(
            f"{options.command} needs either {known} or --captions FILE and/or --images FOLDER"
        )
    if options.root and not options.format:
        parser.error(f"--root is of a known dataset: add {known}")
    if options.split and not (options.format or options.captions):
        parser.error("--split is of a dataset or of captions; a plain folder has none")
    try:
        return _show(options) if options.command == "show" else _check(options)
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
    _add_sources(check)
    check.add_argument(
        "--decode", action="store_true", help="open every image and clip too, to find damaged ones"
    )
    show = commands.add_parser(
        "show",
        help="draw images with their captions",
        description="Draws images of a dataset with their captions into one picture, of a clip the "
        "frame in the middle. Exit code: 0 drawn, 1 nothing there or unreadable, 2 wrong usage.",
        epilog="examples:\n  python -m capjax.data show scenes --out=scenes.png\n"
        "  python -m capjax.data show ucm --root=data --split=val --count=8 --out=ucm.png\n"
        "  python -m capjax.data show --captions=captions.csv --images=photographs "
        "--image=beach.jpg --out=beach.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument(
        "format",
        nargs="?",
        metavar="NAME",
        choices=[*DATASETS, SCENES],
        help=f"a known dataset, or {SCENES}: {', '.join([*DATASETS, SCENES])}",
    )
    _add_sources(show)
    show.add_argument("--image", help="only this image, by its path below the folder of images")
    show.add_argument("--count", type=_positive, default=ACROSS, help="how many (default: 4)")
    show.add_argument("--seed", type=int, default=0, help="which ones are drawn (default: 0)")
    show.add_argument("--font", help="file of a font with letters that no font of this machine has")
    show.add_argument("--out", required=True, help="the picture to write, a PNG")
    where = commands.add_parser(
        "where",
        help="print source, licence and expected files of the datasets and of what goes with them",
        description="Prints source, licence and expected files below the data root.",
    )
    where.add_argument("name", nargs="?", choices=[*DATASETS, *FILES], help="default: all")
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", help=f"data root or the dataset's folder (default: ${ROOT_VARIABLE}, else data/)"
    )
    parser.add_argument(
        "--captions",
        help="caption file, several with commas, or a pattern: Karpathy's or COCO's JSON, JSON "
        "Lines or lists, CSV and other tables, Flickr token files, or those of MSVD and MSR-VTT",
    )
    parser.add_argument(
        "--images",
        help="folder of its images or clips (default: images/ or clips/ beside it); alone: a plain "
        "folder",
    )
    parser.add_argument("--split", help="only this split")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}; expected 1 or more")
    return value


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


def _read(options: argparse.Namespace) -> tuple[CaptionSet, str]:
    """What the options name, and where it is."""
    if options.format:
        folder, _ = find_dataset(options.format, options.root)
        found = read_dataset(options.format, options.root, split=options.split, check_images=False)
        return found, str(folder)
    if options.captions:
        found = read_captions(
            options.captions, options.images, split=options.split, check_images=False
        )
        return found, options.captions
    return read_folder(options.images), options.images


def _show(options: argparse.Namespace) -> int:
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=False)
    if options.format == SCENES:
        split = options.split or "test"
        described = f"rendered, split {split}"
        pictures = _scenes(split, options)
    else:
        found, place = _read(options)
        described = f"{place}: {found.format}, {len(found)} images"
        pictures = [_pictured(record) for record in _chosen(found, place, options)]
    title = options.format or options.captions or options.images
    sheet = gallery(_rows(pictures), title=title, about=described, font=options.font)
    with replacing(out) as stream:
        sheet.save(stream, "PNG")
    print(f"written: {out} ({', '.join(shown.name for shown in pictures)})")
    return OK


def _check(options: argparse.Namespace) -> int:
    found, place = _read(options)
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


def _scenes(split: str, options: argparse.Namespace) -> list[Shown]:
    """The first rendered scenes of a split, or the one of a number."""
    if options.image and not options.image.isdecimal():
        raise ValueError(f"got --image={options.image}; expected the number of a scene, such as 8")
    first, count = (int(options.image), 1) if options.image else (0, options.count)
    scenes = Scenes(split, first + count)
    return [
        _titled(str(index), Image.fromarray(scenes[index].image), scenes[index].captions)
        for index in range(first, first + count)
    ]


def _chosen(found: CaptionSet, place: str, options: argparse.Namespace) -> list[Record]:
    records = {record.key: record for record in found}
    if not records:
        raise ValueError(f"no image below {place}")
    if not options.image:
        return [records[key] for key in drawn(list(records), options.count, options.seed)]
    if options.image not in records:
        raise ValueError(
            f"no image {options.image!r} below {place}; the first are "
            f"{listed(list(records), most=LISTED)}"
        )
    return [records[options.image]]


def _pictured(record: Record) -> Shown:
    if is_clip_name(record.image.name):
        (frame,) = sample_clip(record.image, 1, keep=Image.fromarray).kept
    else:
        frame = Image.fromarray(load_image(record.image))
    return _titled(record.key, frame, record.captions)


def _titled(name: str, picture: Image.Image, captions: Sequence[str]) -> Shown:
    lines = tuple((f"caption {place + 1}", text, "") for place, text in enumerate(captions))
    return Shown(name, picture, lines)


def _rows(pictures: Sequence[Shown]) -> dict[str, Sequence[Shown]]:
    """Rows of a gallery, by the number of their first picture."""
    starts = range(0, len(pictures), ACROSS)
    return {f"{start + 1}": pictures[start : start + ACROSS] for start in starts}


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
