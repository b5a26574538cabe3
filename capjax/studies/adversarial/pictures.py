"""The pictures that a command names, as a captioner sees them, and what it says of them."""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capjax.captioner import Captioner
from capjax.data.pictures.finding import drawn, find_images
from capjax.data.pictures.given import prepared
from capjax.data.pictures.images import UnreadableFileError
from capjax.decoding.captions import caption_batch
from capjax.decoding.rules import default_decoding
from capjax.runtime import locks
from capjax.runtime.command_line import MODEL_HELP, at_least_one
from capjax.types import Caption

Tell = Callable[[str], None]
"""Takes a line on what is done, or on what is left out."""


def add_picture_options(add: Callable[..., Any], *, model: str = MODEL_HELP) -> None:
    """`--model`, `--images`, `--out`, `--break-lock`, `--count`, `--seed` and `--batch-size`.

    Args:
      add: `add_argument` of a parser.
      model: what `--model` is.
    """
    add("--model", required=True, help=model)
    add("--images", required=True, nargs="+", help="folders, files, or quoted patterns")
    add("--out", required=True, help="folder of the results")
    add(locks.BREAK, action="store_true", help="a process of another machine is dead: go on")
    add("--count", type=at_least_one, help="take so many of the photographs, drawn by --seed")
    add("--seed", type=int, default=0, help="of what is drawn (default 0)")
    add("--batch-size", type=at_least_one, default=8, help="photographs at once (default 8)")


def named_files(
    options: argparse.Namespace, captioner: Captioner, tell: Tell
) -> tuple[pathlib.Path, list[str]]:
    """(root, paths below it) of what `--images`, `--count` and `--seed` name.

    Raises:
      ValueError: there is nothing that the captioner reads.
    """
    clips = captioner.preprocessing.frames > 0
    root, names = find_images(
        options.images, exclude=pathlib.Path(options.out), clips=clips, tell=tell
    )
    return root, drawn(names, options.count, options.seed)


def read_pictures(
    root: pathlib.Path, names: Sequence[str], captioner: Captioner, tell: Tell
) -> tuple[list[str], list[UInt8[np.ndarray, "*F H W 3"]]]:
    """Files that can be read, and their pictures as the captioner sees them."""
    files, images = [], []
    for name in names:
        try:
            images.append(prepared(root / name, captioner.preprocessing)[0])
            files.append(name)
        except (UnreadableFileError, OSError) as error:
            tell(f"left out: {name}: {error}")
    return files, images


def some_pictures(
    options: argparse.Namespace, captioner: Captioner, tell: Tell
) -> tuple[pathlib.Path, list[str], UInt8[np.ndarray, "P *F H W 3"]]:
    """(root, files, pictures) of a command that holds all of them at once.

    Raises:
      ValueError: what `named_files` raises, or none of them can be read.
    """
    root, names = named_files(options, captioner, tell)
    files, images = read_pictures(root, names, captioner, tell)
    if not files:
        raise ValueError("none of the pictures can be read")
    return root, files, np.stack(images)


def full(images: UInt8[np.ndarray, "P *F H W 3"], size: int) -> UInt8[np.ndarray, "B *F H W 3"]:
    """A batch of full size, its last picture repeated, so that all batches run in one program."""
    missing = size - len(images)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])


def captions_of(
    captioner: Captioner, images: UInt8[np.ndarray, "P *F H W 3"], size: int
) -> list[Caption]:
    """What the captioner says of each picture, as it was validated; `size` of them at once."""
    decoding, max_len = default_decoding(captioner)
    captions: list[Caption] = []
    for start in range(0, len(images), size):
        own = images[start : start + size]
        batch = full(own, size)
        found = caption_batch(captioner, batch, decoding=decoding, max_len=max_len)[1]
        captions += found[: len(own)]
    return captions
