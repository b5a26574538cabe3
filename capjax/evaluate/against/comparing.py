"""Captions of two captioners on the same images: scores of each image, and paired differences."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.metrics.captions import (
    BLEU_ORDERS,
    METRICS,
    bleu_counts,
    bleu_of_counts,
    score_images,
    sentence_bleu,
)
from capjax.metrics.intervals import (
    Statistic,
    difference,
    drawn_weights,
    measured,
    spearman,
)
from capjax.metrics.meteor import Meteor
from capjax.metrics.similarity import CaptionSimilarity

SENTENCE_BLEU = "sentence BLEU"
METEOR = "METEOR, mean of images"
"""Unlike the corpus score of the tables, which is no mean and would need Java for each resample."""
MODEL, AGAINST = "model", "against"
"""The two sides, in JSON and CSV."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One captioner's captions with their scores.

    Attributes:
      name: to show.
      captions: of each image.
      counts: of n-grams, see `bleu_counts`.
      means: name of a score -> its value for each image, whose mean is the corpus score.
      cosines: of each caption with each reference of its image; None without an encoder.
    """

    name: str
    captions: tuple[str, ...]
    counts: Float[np.ndarray, "N 10"]
    means: Mapping[str, Float[np.ndarray, " N"]]
    cosines: tuple[Float[np.ndarray, " R"], ...] | None = None

    @functools.cached_property
    def bleu(self) -> Float[np.ndarray, " N"]:
        """Sentence BLEU of each caption."""
        return sentence_bleu(self.counts)

    @functools.cached_property
    def similarity(self) -> Float[np.ndarray, " N"] | None:
        """Mean cosine of each caption with its references; None without an encoder."""
        if self.cosines is None:
            return None
        return np.array([own.mean() for own in self.cosines], np.float64)

    @property
    def goodness(self) -> Float[np.ndarray, " N"]:
        """What images are ordered by: similarity, or without an encoder sentence BLEU."""
        return self.bleu if self.similarity is None else self.similarity

    def statistics(self, similarity: str | None) -> dict[str, Statistic]:
        """Every score as a function of how often each image counts.

        Args:
          similarity: name of that score, where there is one.
        """
        found: dict[str, Statistic] = {
            f"BLEU-{order}": functools.partial(_bleu, self.counts, order)
            for order in range(1, BLEU_ORDERS + 1)
        }
        means = dict(self.means)
        if similarity is not None and self.similarity is not None:
            means[similarity] = self.similarity
        means[SENTENCE_BLEU] = self.bleu
        return found | {name: functools.partial(_mean, own) for name, own in means.items()}


def _bleu(counts: np.ndarray, order: int, weights: np.ndarray) -> np.ndarray:
    return bleu_of_counts(counts, weights, order)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights @ values / weights.sum(axis=1))


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Two captioners on the same images, each of which has references.

    Attributes:
      keys: of the images.
      references: of each.
      model, against: the two.
      score: name of the similarity, "MiniLM" say; None without an encoder.
      encoder: where it was loaded from.
      between: cosine of the two captions of each image; None without an encoder.
      notes: what a reader must know.
    """

    keys: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    model: Side
    against: Side
    score: str | None = None
    encoder: str | None = None
    between: Float[np.ndarray, " N"] | None = None
    notes: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.model, self.against

    @property
    def ordered_by(self) -> str:
        """What images are ordered by, in words."""
        if self.score is None:
            return SENTENCE_BLEU
        return f"mean cosine with the references, {self.score} ({self.encoder})"

    def extremes(self, count: int) -> list["Extreme"]:
        """The best and the worst images of each captioner, furthest first.

        No image is both, but where there is one only.
        """
        count = max(1, min(count, len(self.keys) // 2))
        found = []
        for side in self.sides:
            order = np.argsort(-side.goodness, kind="stable").tolist()
            found.append(Extreme(f"best of {side.name}", side, tuple(order[:count])))
            found.append(Extreme(f"worst of {side.name}", side, tuple(order[::-1][:count])))
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Extreme:
    """Images at one end of a captioner's order: a heading, whose order it is, and numbers."""

    heading: str
    side: Side
    numbers: tuple[int, ...]


NO_ENCODER = (
    "similarity was not measured: no encoder of sentences was named; add --similarity=minilm, or "
    "clip, a folder or hf:owner/name (python -m capjax.evaluate --help)"
)


def paired(
    keys: Sequence[str],
    references: Sequence[Sequence[str]],
    captions: Mapping[str, Sequence[str]],
    similarity: CaptionSimilarity | None = None,
) -> Pair:
    """Scores both captions of each image; METEOR starts one Java program for both.

    Args:
      keys: of images that have references.
      references: of each.
      captions: name -> caption of each image, of the two captioners.
      similarity: over the same references.
    """
    notes = [] if similarity is not None else [NO_ENCODER]
    gold = dict(enumerate(references))
    names = [name for name in METRICS if name != "BLEU"]
    with Meteor() as meteor:
        scored = [
            score_images(gold, dict(enumerate(own)), metrics=names, meteor=meteor)
            for own in captions.values()
        ]
    if any(one["METEOR"] is None for own in scored for one in own.values()):
        names.remove("METEOR")
        notes.append("METEOR is unavailable, as the notes of the scores say")
    sides = []
    for (name, own), values in zip(captions.items(), scored, strict=True):
        means = {
            METEOR if metric == "METEOR" else metric: np.array(
                [values[number][metric] for number in gold], np.float64
            )
            for metric in names
        }
        cosines = None if similarity is None else tuple(similarity.cosines(own))
        sides.append(Side(name, tuple(own), bleu_counts(references, own), means, cosines))
    between: np.ndarray | None = None
    if similarity is not None:
        one, other = (similarity.embeddings(side.captions) for side in sides)
        between = np.asarray((one * other).sum(axis=1), np.float64)
    model, against = sides
    return Pair(
        tuple(keys),
        tuple(map(tuple, references)),
        model,
        against,
        None if similarity is None else similarity.name,
        None if similarity is None else similarity.encoder.name,
        between,
        tuple(notes),
    )


def compare(pair: Pair) -> dict[str, Any]:
    """All that the two come to, as plain JSON values.

    Returns:
      `n`; `similarity` and `encoder`, their names or None; `metrics`: name -> `model`, `against`
      and `difference` (the first less the second), each {"value", "interval"}, 95 % over images,
      paired: the same resamples for all; `correlations`: of what over images -> Spearman's,
      {"value", "interval"}; `distributions`: what -> least, quartiles and largest; `same`: share of
      images with the same caption; `notes`.
    """
    drawn = drawn_weights(pair.keys)
    statistics = [side.statistics(pair.score) for side in pair.sides]
    metrics = {
        name: {
            MODEL: measured(own, drawn),
            AGAINST: measured(statistics[1][name], drawn),
            "difference": measured(difference(own, statistics[1][name]), drawn),
        }
        for name, own in statistics[0].items()
    }
    correlations = {
        name: measured(spearman(*values), drawn) for name, values in _correlated(pair).items()
    }
    same = np.mean([one == other for one, other in zip(*_captions(pair), strict=True)])
    return {
        "n": len(pair.keys),
        "similarity": pair.score,
        "encoder": pair.encoder,
        "metrics": metrics,
        "correlations": correlations,
        "distributions": {
            name: np.quantile(values, QUANTILES).tolist()
            for name, values in _distributions(pair).items()
        },
        "same": float(same),
        "notes": list(pair.notes),
    }


def _captions(pair: Pair) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return pair.model.captions, pair.against.captions


def _correlated(pair: Pair) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {f"{SENTENCE_BLEU} of both": (pair.model.bleu, pair.against.bleu)}
    for side in pair.sides:
        if side.similarity is not None:
            found[f"{pair.score} and {SENTENCE_BLEU} of {side.name}"] = (side.similarity, side.bleu)
    if pair.model.similarity is not None and pair.against.similarity is not None:
        both = (pair.model.similarity, pair.against.similarity)
        found = {f"{pair.score} of both": both, **found}
    return found


def _distributions(pair: Pair) -> dict[str, np.ndarray]:
    found = {}
    for side in pair.sides:
        if side.similarity is not None:
            found[f"{pair.score}, {side.name} with the references"] = side.similarity
    if pair.between is not None:
        found[f"{pair.score}, each with the other"] = pair.between
    return found | {f"{SENTENCE_BLEU}, {side.name}": side.bleu for side in pair.sides}
