"""`python -m capjax.explainers.language` gives a saved captioner other pictures to compare with."""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from capjax.captioner import captioner_folder, load_captioner
from capjax.checkpoints.model_folder import add_others
from capjax.data.pictures.finding import find_images
from capjax.data.pictures.given import prepared
from capjax.explainers.language.others import PICTURES, chosen_others, with_others
from capjax.runtime import locks
from capjax.runtime.files import check_writable, local_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m capjax.explainers.language",
        description=f"Keeps the features of {PICTURES} pictures with a captioner, so that reports "
        "say how much more probable an image makes each word than other pictures do. The model's "
        "hash stays.",
    )
    parser.add_argument(
        "--model", required=True, help="folder of a saved captioner, a workdir, or a shipped name"
    )
    parser.add_argument(
        "--images",
        required=True,
        nargs="+",
        help=f"pictures of the kind that it captions: folders, files or patterns; of more than "
        f"{PICTURES} always the same are taken",
    )
    options = parser.parse_args(arguments)
    try:
        print_line(_add(options.model, options.images))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def _add(model: str, images: Sequence[str]) -> str:
    """Adds the features; returns a sentence on it."""
    folder = captioner_folder(local_path(model, "--model"))
    if folder is None:
        raise ValueError(f"{model} is no folder of a saved captioner; give one with a model.json")
    check_writable(folder, "--model", folder=True)
    with locks.held(folder / locks.FILE):
        captioner = load_captioner(folder)
        root, files = find_images(images, exclude=folder, clips=captioner.preprocessing.frames > 0)
        pictures = chosen_others(
            files, lambda number: prepared(root / files[number], captioner.preprocessing)[0]
        )
        if len(pictures) < 2:
            raise ValueError(
                f"{len(pictures)} of {len(files)} pictures could be read; give {PICTURES}"
            )
        others = with_others(captioner, np.stack(pictures)).others
        assert others is not None
        add_others(folder, others)
    return f"{folder} compares with {len(pictures)} pictures"


def print_line(text: str) -> None:
    """Writes to standard output."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
