"""How alike two captioners are, of clean pictures and of pictures that fool the first."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capjax.captioner import Captioner
from capjax.decoding.rules import default_decoding
from capjax.explainers.batch import Explained, explain_batch
from capjax.explainers.cells import on_cells
from capjax.explainers.choosing import Chosen
from capjax.explainers.wording import LEAST_TOKENS, Wording
from capjax.metrics.captions import score_captions
from capjax.metrics.faithfulness import rank_correlation
from capjax.metrics.intervals import bootstrap_intervals
from capjax.studies.adversarial.pictures import captions_of, full
from capjax.studies.adversarial.telling import Distance
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
      `equal`, the share of equal captions; `distance`; both {"value", "interval"} with 95 % over
      pictures; and `CIDEr` of the surrogate's captions, the original's as references.
    """
    pairs = {
        f"{at}": pair for at, pair in enumerate(zip(said.original, said.surrogate, strict=True))
    }
    equal = np.array([one == other for one, other in pairs.values()], np.float64)
    distances = distance(pairs)
    far = np.array([distances[name] for name in pairs])
    intervals = bootstrap_intervals(np.stack([equal, far]), range(len(equal)))
    scores = score_captions(
        {name: [one] for name, (one, _) in pairs.items()},
        {name: other for name, (_, other) in pairs.items()},
        metrics=("CIDEr",),
    )
    return {
        **{
            name: {"value": float(values.mean()), "interval": ends.tolist()}
            for name, values, ends in zip(
                ("equal", "distance"), (equal, far), intervals, strict=True
            )
        },
        "CIDEr": scores["CIDEr"],
    }


def changed(before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """Share of captions that an attack changes, {"value", "interval"}."""
    found = meant([float(one != other) for one, other in zip(before, after, strict=True)])
    assert found is not None  # there are pictures
    return found


def against_references(
    said: Said, references: Mapping[str, Sequence[str]], files: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Scores of both captioners against what people wrote, of the files that have references."""
    chosen = [at for at, file in enumerate(files) if references.get(file)]
    known = {files[at]: references[files[at]] for at in chosen}
    found = {}
    for name, captions in ((ORIGINAL, said.original), (SURROGATE, said.surrogate)):
        written = {files[at]: captions[at] for at in chosen}
        scores = score_captions(known, written, metrics=SCORES)
        found[name] = {key: value for key, value in scores.items() if key not in ("n", "notes")}
    return found


def maps_of(
    captioner: Captioner,
    pictures: UInt8[np.ndarray, "P *F H W 3"],
    sentences: Sequence[str],
    methods: Sequence[Chosen],
    size: int,
) -> list[Explained]:
    """Maps of sentences, one a picture, which another captioner may have written.

    Geometries are those of the prepared pictures, so that maps can be drawn on them.
    """
    decoding, max_len = default_decoding(captioner)
    asked = [[Wording.of_query(captioner, sentence)] for sentence in sentences]
    found: list[Explained] = []
    for start in range(0, len(pictures), size):
        own = pictures[start : start + size]
        batch = full(own, size)
        queries = asked[start : start + size]
        explained = explain_batch(
            captioner,
            batch,
            [captioner.preprocessing.size] * len(batch),
            methods=methods,
            decoding=decoding,
            max_len=max_len,
            queries=queries + [queries[-1]] * (size - len(queries)),
            least_tokens=LEAST_TOKENS,
        )
        found += [_as_prepared(one) for (one,) in explained[: len(own)]]
    return found


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
    """One row a measure, a column a kind of picture; what was not measured is empty."""
    kinds = list(results["agreement"])
    rows: list[tuple[Cell, ...]] = []
    for name, title in (("equal", "captions that are equal"), ("distance", results["distance"])):
        rows.append((title, *(_shown(results["agreement"][kind][name]) for kind in kinds)))
    rows.append(
        ("CIDEr, the original's as references", *(results["agreement"][k]["CIDEr"] for k in kinds))
    )
    for model, own in results["changed"].items():
        rows.append((f"captions of the {model} that the attack changes", None, _shown(own)))
    for model, own in next(iter(results["scores"].values()), {}).items():
        for name in own:
            scores = [results["scores"][kind][model][name] for kind in kinds]
            rows.append((f"{name} of the {model}, people's as references", *scores))
    for label in results["methods"]:
        cells = [_shown(results["maps"][kind][label]) for kind in kinds]
        rows.append((f"Spearman of both models' maps, {label}", *cells))
    return Table(("measure", *(f"{kind} pictures" for kind in kinds)), tuple(rows))


def _shown(value: Mapping[str, Any] | None) -> str | None:
    if value is None:
        return None
    low, high = value["interval"]
    return f"{value['value']:.3f} [{low:.3f}, {high:.3f}]"


def meant(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean over pictures, {"value", "interval"}; None of no picture."""
    if not values:
        return None
    ((low, high),) = bootstrap_intervals(np.array([values]), range(len(values)))
    return {"value": float(np.mean(values)), "interval": [float(low), float(high)]}


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
