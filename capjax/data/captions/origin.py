"""What a run learns from and validates on, and how its card states where that came from."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from capjax.data.captions.records import CaptionFile, CaptionSet
from capjax.data.captions.splits import UNSPLIT, Draw

CARD_ENTRY = "data"
"""Where a captioner's card states the origin of its captions."""


@dataclasses.dataclass(frozen=True)
class Divided:
    """Captions of a run.

    Attributes:
      train, validation: records of the two splits.
      draw: how they were divided; None where files state the splits.
      origin: for the card: names and digests of files, numbers of images and captions, the draw.
      notes: sentences on what was left out, and on how splits were made.
    """

    train: CaptionSet
    validation: CaptionSet
    draw: Draw | None
    origin: Mapping[str, Any]
    notes: tuple[str, ...]


def divide(
    found: CaptionSet,
    held_out: CaptionSet | None = None,
    *,
    draw: Draw,
    train_split: str = "train",
    validation_split: str = "val",
) -> Divided:
    """The training and the validation split.

    Splits that are stated are kept. Without any, images are drawn for training, validation and
    tests; where only a validation split is missing, for it alone, from the training images. With
    `held_out`, all of `found` without splits is for training and nothing is drawn.

    Args:
      found: what was read.
      held_out: captions to validate on, from other files.
      draw: shares and seed of what is drawn.
      train_split, validation_split: names of the splits.

    Raises:
      ValueError: a split without images, or images in both.
    """
    drawn: Draw | None = None
    if held_out is not None:
        train = found if set(found.splits) == {UNSPLIT} else found.select(train_split)
        one = len(held_out.splits) == 1
        validation = held_out if one else held_out.select(validation_split)
        _refuse_common(train, validation)
    else:
        if UNSPLIT in found.splits:
            drawn = draw
        elif validation_split not in found.splits and validation_split == "val":
            drawn = dataclasses.replace(draw, test_share=0.0, of=train_split)
        whole = found if drawn is None else found.divided(drawn)
        train, validation = whole.select(train_split), whole.select(validation_split)
    files = found.files + (() if held_out is None else held_out.files)
    origin = {
        "captions": [dataclasses.asdict(file) for file in found.files],
        "val_captions": [dataclasses.asdict(file) for file in files[len(found.files) :]],
        "drawn": None if drawn is None else dataclasses.asdict(drawn),
        "train": _size(train),
        "validation": _size(validation),
    }
    notes = [*found.remarks, *(() if held_out is None else held_out.remarks)]
    if drawn is not None:
        others = len(found) - len(train) - len(validation)
        notes.append(
            f"no validation split is stated: of {len(found)} images {len(validation)} are held out "
            f"for it, drawn by their names (data.val_share={drawn.val_share:g}, "
            f"data.test_share={drawn.test_share:g}, data.split_seed={drawn.seed}), {len(train)} "
            f"are learnt from, and {others} are for tests"
        )
    return Divided(train, validation, drawn, origin, tuple(notes))


def drawn_by(card: Mapping[str, Any], files: Iterable[CaptionFile]) -> Draw | None:
    """How the run of a card divided these very files; None where it read others or drew none."""
    stated = card.get(CARD_ENTRY) or {}
    drawn = stated.get("drawn")
    known = {file["sha256"] for file in stated.get("captions", ())}
    if not drawn or not known or {file.sha256 for file in files} != known:
        return None
    return Draw(**drawn)


def _size(found: CaptionSet) -> dict[str, int]:
    return {"images": len(found), "captions": sum(len(record.captions) for record in found)}


def _refuse_common(train: CaptionSet, validation: CaptionSet) -> None:
    known = {record.image for record in train}
    common = [record.key for record in validation if record.image in known]
    if common:
        raise ValueError(
            f"{len(common)} images are in the captions to learn from and in those to validate on, "
            f"e.g. {common[0]}; scores on what was learnt say nothing: leave them out of one file"
        )
