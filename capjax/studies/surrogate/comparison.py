"""How alike two captioners are, of clean pictures and of pictures that fool the first."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capjax.captioner import Captioner
from capjax.decoding.rules import default_decoding
from capjax.explainers.batch import explain_batch
from capjax.explainers.cells import on_cells
from capjax.explainers.choosing import Chosen
from capjax.explainers.results import Explained
from capjax.explainers.wording import LEAST_TOKENS, Wording
from capjax.metrics.captions import score_captions
from capjax.metrics.faithfulness import rank_correlation
from capjax.metrics.intervals import bootstrap_intervals
from capjax.metrics.similarity import Distance
from capjax.studies.adversarial.pictures import captions_of, full
from capjax.studies.contract import Cell, Table
from capjax.types import Explanation, Geometry

ORIGINAL, SURROGATE = "original", "surrogate"
SCORES = ("BLEU", "METEOR", "ROUGE-L", "CIDEr")


@dataclasses.dataclass(frozen=True, eq=False)
class Said:
    """Pictures of one kind, and what two captioners say of them.

    Attributes:
      pictures: as both see them.
      original, surrogate: captions.
    """

    pictures: UInt8[np.ndarray, "P *F H W 3"]
    original: Sequence[str]
    surrogate: Sequence[str]


def check_alike(original: Captioner, surrogate: Captioner) -> None:
    """Raises ValueError where the captioners do not see the same pictures."""
    one, other = original.preprocessing, surrogate.preprocessing
    if (one.size, one.frames) != (other.size, other.frames):
        raise ValueError(
            f"the original sees pictures of {one.size} ({one.frames} frames) and the surrogate of "
            f"{other.size} ({other.frames}); train it on pairs of this original, with "
            f"--config.data.image_size={one.size[0]} --config.data.resize=squash"
        )


def agreement(said: Said, distance: Distance) -> dict[str, Any]:
    """How far the surrogate's captions are the original's.

    Returns:
      `equal`, the share of equal captions; `distance`; both as `meant` gives them; `CIDEr` of the
      surrogate's captions, the original's as references; and `notes` on what would mislead.
    """
    pairs = {
        f"{at}": pair for at, pair in enumerate(zip(said.original, said.surrogate, strict=True))
    }
    distances = distance(pairs)
    scores = score_captions(
        {name: [one] for name, (one, _) in pairs.items()},
        {name: other for name, (_, other) in pairs.items()},
        metrics=("CIDEr",),
    )
    return {
        "equal": meant([float(one == other) for one, other in pairs.values()]),
        "distance": meant([distances[name] for name in pairs]),
        "CIDEr": scores["CIDEr"],
        "notes": scores["notes"],
    }


def changed(before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """Share of captions that an attack changes, as `meant` gives it."""
    found = meant([float(one != other) for one, other in zip(before, after, strict=True)])
    assert found is not None  # there are pictures
    return found


def against_references(
    said: Said, references: Mapping[str, Sequence[str]], files: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Scores of both captioners against what people wrote, of the files that have references.

    With `n` and `notes`, as of `score_captions`.
    """
    chosen = [at for at, file in enumerate(files) if references.get(file)]
    known = {files[at]: references[files[at]] for at in chosen}
    found = {}
    for name, captions in ((ORIGINAL, said.original), (SURROGATE, said.surrogate)):
        written = {files[at]: captions[at] for at in chosen}
        found[name] = score_captions(known, written, metrics=SCORES)
    return found


def maps_of(
    captioner: Captioner,
    pictures: UInt8[np.ndarray, "P *F H W 3"],
    sentences: Sequence[str],
    methods: Sequence[Chosen],
    size: int,
) -> list[Explained]:
    """Maps of sentences, one a picture, which another captioner may have written.

    At most `size` pictures, in the program of so many. Geometries are those of the prepared
    pictures, so that maps can be drawn on them.
    """
    decoding, max_len = default_decoding(captioner)
    queries = [[Wording.of_query(captioner, sentence)] for sentence in sentences]
    explained = explain_batch(
        captioner,
        full(pictures, size),
        [captioner.preprocessing.size] * size,
        methods=methods,
        decoding=decoding,
        max_len=max_len,
        queries=queries + [queries[-1]] * (size - len(queries)),
        least_tokens=LEAST_TOKENS,
    )
    return [_as_prepared(one) for (one,) in explained[: len(pictures)]]


def _as_prepared(explained: Explained) -> Explained:
    def own(explanation: Explanation) -> Explanation:
        size = explanation.geometry.crop[2:]
        geometry = Geometry(size, size, (0, 0, *size), explanation.geometry.grid)
        return dataclasses.replace(explanation, geometry=geometry)

    maps = {label: own(one) for label, one in explained.explanations.items()}
    return dataclasses.replace(explained, explanations=maps)


def map_agreement(one: Explained, other: Explained) -> dict[str, float]:
    """Method -> Spearman of both models' maps of the same words, the mean over words.

    On the coarser of both grids. Nothing where the models cut the sentence into other words.
    """
    found = {}
    for label, first in one.explanations.items():
        second = other.explanations[label]
        grids = first.geometry.grid, second.geometry.grid
        coarse = (min(grids[0][0], grids[1][0]), min(grids[0][1], grids[1][1]))
        maps = [on_cells(own, coarse).maps for own in (first, second)]
        if maps[0].shape == maps[1].shape and len(maps[0]):
            flat = [own.reshape(len(own), -1) for own in maps]
            found[label] = float(rank_correlation(*flat).mean())
    return found


def comparison_table(results: Mapping[str, Any]) -> Table:
    """One row a measure, of each kind of picture a column, and one of how many pictures counted.

    What was not measured is empty.
    """
    kinds = list(results["agreement"])
    own = [results["agreement"][kind] for kind in kinds]
    rows: list[tuple[Cell, ...]] = []

    def add(title: str, values: Sequence[Cell], counts: Sequence[int | None]) -> None:
        rows.append((title, *values, *counts))

    def add_means(title: str, means: Sequence[Mapping[str, Any] | None]) -> None:
        add(title, [_shown(mean) for mean in means], [mean["n"] if mean else 0 for mean in means])

    for name, title in (("equal", "captions that are equal"), ("distance", results["distance"])):
        add_means(title, [one[name] for one in own])
    said = [one["equal"]["n"] for one in own]
    add("CIDEr, the original's as references", [one["CIDEr"] for one in own], said)
    for model, share in results["changed"].items():
        title = f"captions of the {model} that the attack changes"
        add(title, [None, _shown(share)], [None, share["n"]])
    for model, first in next(iter(results["scores"].values()), {}).items():
        scores = [results["scores"][kind][model] for kind in kinds]
        for name in first:
            if name not in ("n", "notes"):
                title = f"{name} of the {model}, people's as references"
                add(title, [one[name] for one in scores], [one["n"] for one in scores])
    for label in results["methods"]:
        add_means(
            f"Spearman of both models' maps, {label}",
            [results["maps"][kind][label] for kind in kinds],
        )
    heads = *(f"{kind} pictures" for kind in kinds), *(f"{kind} pictures counted" for kind in kinds)
    return Table(("measure", *heads), tuple(rows))


def notes_of(results: Mapping[str, Any]) -> list[str]:
    """What would mislead about scores, or is missing, each once."""
    scores = [own for several in results["scores"].values() for own in several.values()]
    every = [*results["agreement"].values(), *scores]
    return list(dict.fromkeys(note for own in every for note in own["notes"]))


def _shown(value: Mapping[str, Any] | None) -> str | None:
    if value is None:
        return None
    low, high = value["interval"]
    return f"{value['value']:.3f} [{low:.3f}, {high:.3f}]"


def meant(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean over `n` pictures, {"value", "interval" of 95 %, "n"}; None of no picture."""
    if not values:
        return None
    ((low, high),) = bootstrap_intervals(np.array([values]), range(len(values)))
    return {
        "value": float(np.mean(values)),
        "interval": [float(low), float(high)],
        "n": len(values),
    }


def said_by(
    original: Captioner,
    surrogate: Captioner,
    pictures: UInt8[np.ndarray, "P *F H W 3"],
    size: int,
    *,
    written: Sequence[str] | None = None,
) -> Said:
    """What both say of pictures; `written` where the original's captions are known."""
    if written is None:
        written = [caption.text for caption in captions_of(original, pictures, size)]
    others = [caption.text for caption in captions_of(surrogate, pictures, size)]
    return Said(pictures, written, others)
