"""`python -m capjax.studies surrogate`: a second captioner beside the one that it learnt from."""

import argparse
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capjax.captioner import Captioner
from capjax.data.sources.references import read_references
from capjax.explainers.batch import check_methods
from capjax.explainers.results import Explained
from capjax.metrics.similarity import ENCODER_HELP, Distance
from capjax.runtime.command_line import MODEL_HELP, refuse_repeated
from capjax.runtime.text_table import format_table
from capjax.studies.adversarial.batch import attack_all, said
from capjax.studies.adversarial.pictures import (
    Tell,
    add_picture_options,
    captions_of,
    some_pictures,
)
from capjax.studies.contract import Table
from capjax.studies.results import write_results
from capjax.studies.surrogate.comparison import (
    ORIGINAL,
    SURROGATE,
    Said,
    against_references,
    agreement,
    changed,
    check_alike,
    comparison_table,
    map_agreement,
    maps_of,
    meant,
    notes_of,
    said_by,
)
from capjax.studies.surrogate.pairs import ATTACKED, CLEAN, add_attack_on, chosen_attack
from capjax.types import Explanation

NAME = "surrogate"
TABLE, RESULTS = f"{NAME}.csv", f"{NAME}.json"
MAPS = "maps"
DESCRIPTION = (
    "Compares a surrogate with the captioner that it learnt from, on pictures and on what an "
    "attack on the original makes of them: share of equal captions, distance of captions, CIDEr of "
    "the surrogate against the original's captions; with --captions both models' scores against "
    "what people wrote; and how alike both models' maps of the same words are. Writes "
    f"{TABLE}, {RESULTS} and both models' maps side by side in {MAPS}/. Exit codes: 0 done, 1 "
    "--out takes no more, 2 wrong usage."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    refuse_repeated(parser)
    add = parser.add_argument
    add("--original", required=True, help="the captioner that the surrogate learnt from")
    add_picture_options(add, model=f"the surrogate: {MODEL_HELP}")
    add_attack_on(add)
    add("--captions", help="captions by people, a file of any format, for scores of both models")
    add(
        "--methods",
        default="attention,gradcam",
        help="whose maps to compare, with commas; empty for none (default attention,gradcam)",
    )
    add(
        "--similarity",
        default="",
        metavar="ENCODER",
        help=f"of sentences, for the distance of captions: {ENCODER_HELP} (default: 1 - ROUGE-L)",
    )
    add("--drawn", type=int, default=4, help="pictures whose maps are drawn (default 4)")


@dataclasses.dataclass(frozen=True, eq=False)
class Drawable:
    """Both models' maps of one sentence, to draw.

    Attributes:
      name: of the picture, a path without an ending.
      picture: as both models see it.
      maps: title -> maps.
    """

    name: str
    picture: UInt8[np.ndarray, "*F H W 3"]
    maps: Mapping[str, Explanation]


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """What the command found.

    Attributes:
      results: all of it, as plain JSON values.
      drawn: maps to draw.
    """

    results: Mapping[str, Any]
    drawn: Sequence[Drawable]

    @property
    def table(self) -> Table:
        """The table of the results."""
        return comparison_table(self.results)

    def __str__(self) -> str:
        rows = [[_cell(cell) for cell in row] for row in self.table.rows]
        notes = "".join(f"\nNote: {note}" for note in notes_of(self.results))
        return format_table([list(self.table.columns), *rows]) + notes

    def write(self, out: pathlib.Path) -> None:
        """Writes the table and all results into a folder."""
        write_results(out, NAME, self.table, self.results)


def compare(
    options: argparse.Namespace, original: Captioner, surrogate: Captioner, tell: Tell
) -> Compared:
    """Compares both captioners on pictures and on attacked ones.

    Args:
      options: of the command line.
      original: that is attacked.
      surrogate: that learnt from it.
      tell: takes a line on what is done, and on what is left out.

    Raises:
      ValueError: what options, pictures or captions say, or captioners that see pictures of
        different sizes.
    """
    check_alike(original, surrogate)
    method, epsilon = chosen_attack(options)
    names = [name for name in options.methods.split(",") if name]
    methods = check_methods(original, names) if names else ()
    if names:
        check_methods(surrogate, names)
    root, files, images = some_pictures(options, original, tell)
    size = original.at_once(options.batch_size)
    captions = captions_of(original, images, size)
    kinds = {CLEAN: said_by(original, surrogate, images, size, written=[c.text for c in captions])}
    pictures, texts = [], []
    own = [caption.tokens for caption in captions]
    for rows, _, runs in attack_all(original, method, images, own, [epsilon], at_once=size):
        found = runs[epsilon]
        pictures.append(np.asarray(found.pictures))
        texts += [said(original, found, row) for row in range(len(rows))]
        tell(f"attacked {rows[-1] + 1} of {len(images)} pictures")
    attacked = np.concatenate(pictures)
    kinds[ATTACKED] = said_by(original, surrogate, attacked, size, written=texts)
    references: Mapping[str, Sequence[str]] = {}
    if options.captions:
        references = read_references(options.captions, root, files, tell=tell)
    distance = Distance(options.similarity)
    scores = {}
    if references:
        scores = {kind: against_references(own, references, files) for kind, own in kinds.items()}
    maps: dict[str, Any] = {}
    drawn: list[Drawable] = []
    spoken = [at for at in range(len(files)) if all(own.original[at] for own in kinds.values())]
    for kind, several in kinds.items():
        maps[kind] = {}
        if methods:
            given = original, surrogate, several, methods, size
            maps[kind], pairs = _both_maps(*given, spoken[: options.drawn])
            drawn += _drawable(kind, files, several, pairs)
            tell(f"explained {kind} pictures by both models")
    labels = [label for one in methods for label in one.labels.values()]
    return Compared(
        {
            "original": original.hash,
            "surrogate": surrogate.hash,
            "attack": options.attack,
            "epsilon": epsilon,
            "n": len(files),
            "distance": distance.title,
            "methods": labels,
            "agreement": {kind: agreement(own, distance) for kind, own in kinds.items()},
            "changed": {
                ORIGINAL: changed(kinds[CLEAN].original, kinds[ATTACKED].original),
                SURROGATE: changed(kinds[CLEAN].surrogate, kinds[ATTACKED].surrogate),
            },
            "scores": scores,
            "maps": maps,
            "pictures": [
                {
                    "file": file,
                    **{
                        kind: {ORIGINAL: own.original[at], SURROGATE: own.surrogate[at]}
                        for kind, own in kinds.items()
                    },
                }
                for at, file in enumerate(files)
            ],
        },
        drawn,
    )


Pairs = Mapping[int, tuple[Explained, Explained]]
"""Number of a picture -> the original's and the surrogate's maps of the original's caption."""


def _both_maps(
    original: Captioner,
    surrogate: Captioner,
    own: Said,
    methods: Any,
    size: int,
    shown: Sequence[int],
) -> tuple[dict[str, Any], Pairs]:
    """Mean agreement of each method's maps, and the maps of the pictures `shown`.

    Pictures of empty captions are left out.
    """
    chosen = [at for at, text in enumerate(own.original) if text]
    alike: list[dict[str, float]] = []
    pairs: dict[int, tuple[Explained, Explained]] = {}
    for start in range(0, len(chosen), size):
        some = chosen[start : start + size]
        given = own.pictures[some], [own.original[at] for at in some], methods, size
        both = zip(maps_of(original, *given), maps_of(surrogate, *given), strict=True)
        for at, pair in zip(some, both, strict=True):
            alike.append(map_agreement(*pair))
            if at in shown:
                pairs[at] = pair
    labels = [label for one in methods for label in one.labels.values()]
    return {label: meant([a[label] for a in alike if label in a]) for label in labels}, pairs


def _drawable(kind: str, files: Sequence[str], own: Said, pairs: Pairs) -> list[Drawable]:
    found = []
    for at, pair in pairs.items():
        texts = {ORIGINAL: own.original[at], SURROGATE: own.surrogate[at]}
        maps = {
            f"{label} of the {name}, which says “{texts[name]}”": one.explanations[label]
            for label in pair[0].explanations
            for name, one in zip(texts, pair, strict=True)
        }
        found.append(Drawable(f"{kind}/{files[at]}", own.pictures[at], maps))
    return found


def _cell(cell: Any) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)
