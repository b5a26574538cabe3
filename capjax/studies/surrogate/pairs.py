"""Clean and attacked pictures with what the captioner says of each, to learn from."""

import argparse
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.captioner import Captioner
from capjax.data.captions.splits import Draw
from capjax.runtime.command_line import refuse_repeated
from capjax.runtime.files import replacing
from capjax.studies.adversarial.attack import Attack
from capjax.studies.adversarial.batch import attack_all, said
from capjax.studies.adversarial.named import ATTACKS, named_attack
from capjax.studies.adversarial.pictures import (
    Tell,
    add_picture_options,
    captions_of,
    named_files,
    read_pictures,
)

CAPTIONS, IMAGES = "captions.json", "images"
CLEAN, ATTACKED = "clean", "adversarial"
DESCRIPTION = (
    "Writes what a surrogate captioner learns from: each picture as the captioner sees it, and an "
    "attacked copy, both as PNG without loss, and captions.json (Karpathy's format) with what the "
    "captioner says of each. A tenth of the pictures, drawn by their names, are for validation "
    "(--val-share); a picture and its copy are in one split. Exit codes: 0 done, 1 --out takes no "
    "more, 2 wrong usage."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    refuse_repeated(parser)
    add = parser.add_argument
    add_picture_options(add)
    add_attack_on(add)
    add("--val-share", type=float, default=0.1, help="of the pictures (default 0.1)")


def add_attack_on(add: Any) -> None:
    """`--attack` and `--epsilon`: one attack, away from the captioner's own caption."""
    add(
        "--attack",
        default="pgd",
        help=f"of: {', '.join(ATTACKS)}; options as in pgd+steps=5 (default pgd). All move away "
        "from the captioner's own caption",
    )
    add("--epsilon", type=float, default=8.0, help="largest change, in levels of 255 (default 8)")


def chosen_attack(options: argparse.Namespace) -> tuple[Attack, float]:
    """The attack and its epsilon.

    Raises:
      ValueError: what `named_attack` raises, or an epsilon that is no number of levels.
    """
    if not 0 <= options.epsilon <= 255:
        raise ValueError(f"got --epsilon={options.epsilon}; expected levels from 0 to 255")
    return named_attack(options.attack), options.epsilon


def write_pairs(options: argparse.Namespace, captioner: Captioner, tell: Tell) -> pathlib.Path:
    """Writes pictures batch by batch, then the file of captions, and returns it.

    An older file of captions goes before the first picture is written: a folder has one only when
    it is whole.

    Args:
      options: of the command line.
      captioner: that is attacked, and whose captions are written.
      tell: takes a line on what is done, and on what is left out.

    Raises:
      ValueError: what options or pictures say, or a captioner of clips.
    """
    if captioner.preprocessing.frames:
        raise ValueError(
            "pairs are written as still PNGs, and this model sees clips; give a captioner of images"
        )
    method, epsilon = chosen_attack(options)
    draw = Draw(val_share=options.val_share, test_share=0.0, seed=options.seed)
    root, names = named_files(options, captioner, tell)
    splits = dict(zip(names, draw.splits(names), strict=True))
    out, size = pathlib.Path(options.out), options.batch_size
    entries: list[dict[str, Any]] = []
    for start in range(0, len(names), size):
        files, images = read_pictures(root, names[start : start + size], captioner, tell)
        if not files:
            continue
        for file, kind, picture, text in _pairs(captioner, method, epsilon, files, images, size):
            if not text:
                tell(f"left out: {kind}/{file}: the captioner says nothing of it")
                continue
            if not entries:  # it lists pictures that are overwritten now, and is written last
                (out / CAPTIONS).unlink(missing_ok=True)
            name = f"{kind}/{file}.png"
            with replacing(out / IMAGES / name) as stream:
                Image.fromarray(picture).save(stream, "PNG")
            entries.append(_entry(len(entries), name, splits[file], text))
        tell(f"{start + len(files)} of {len(names)} pictures")
    if not entries:
        raise ValueError("none of the pictures can be read and captioned; give others")
    made = {"model": captioner.hash, "attack": options.attack, "epsilon": epsilon}
    with replacing(out / CAPTIONS) as stream:
        body = {"dataset": "pairs", "made_from": made, "images": entries}
        stream.write((json.dumps(body, ensure_ascii=False) + "\n").encode())
    return out / CAPTIONS


def _pairs(
    captioner: Captioner,
    method: Attack,
    epsilon: float,
    files: list[str],
    images: list[UInt8[np.ndarray, "H W 3"]],
    size: int,
) -> Iterator[tuple[str, str, UInt8[np.ndarray, "H W 3"], str]]:
    """(file, kind, picture, caption) of each picture and of what the attack makes of it."""
    batch = np.stack(images)
    captions = captions_of(captioner, batch, size)
    for file, picture, caption in zip(files, images, captions, strict=True):
        yield file, CLEAN, picture, caption.text
    own = [caption.tokens for caption in captions]
    for rows, _, runs in attack_all(captioner, method, batch, own, [epsilon], at_once=size):
        for row, at in enumerate(rows):
            found = runs[epsilon]
            yield files[at], ATTACKED, np.asarray(found.pictures[row]), said(captioner, found, row)


def _entry(number: int, name: str, split: str, text: str) -> dict[str, Any]:
    """One image of Karpathy's format."""
    sentence = {"raw": text, "tokens": text.split(), "imgid": number, "sentid": number}
    return {
        "imgid": number,
        "filename": name,
        "split": split,
        "sentids": [number],
        "sentences": [sentence],
    }
