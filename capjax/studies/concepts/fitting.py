"""The concepts of a word: from pictures to tested vectors (methods of ACE and TCAV, for captions).

Ghorbani et al. 2019 and Kim et al. 2018 explain a class; here it is a word of a caption. What
differs from ACE's reference implementation, and why:

- Its last label of a cut, the last row and column of a box: lost there, kept here.
- The score counts gradients of the log-probability that are positive; it counts negative ones, of a
  loss.
- A vector is one of channels, the same at every place, where it is one of the flattened map: so it
  can be shown as a map, and does not learn where a patch was pasted.
- Random sets are patches of pictures whose sentence has not the word. There they are whole
  pictures, against which a vector would be one of "has a grey frame".
- Beside the paired t-test a concept must pass a second one, in which it is one of many random
  concepts as small and as crowded, and which counts how many concepts were tested; see
  `vectors.significance` and `vectors.for_many`.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from capjax.captioner import Captioner
from capjax.explainers.wording import Wording
from capjax.studies.concepts.activations import checked_net, keyword_gradients, mean_activations
from capjax.studies.concepts.clusters import Cluster, clusters_of
from capjax.studies.concepts.concept import EXAMPLES, Concept, ConceptSet, Example
from capjax.studies.concepts.extras import require
from capjax.studies.concepts.patches import Segment, cuts, mask_of, patches, unique_segments
from capjax.studies.concepts.random_patches import (
    Load,
    Pool,
    RandomPatches,
    chosen,
    random_sets,
    readable,
)
from capjax.studies.concepts.settings import ConceptSettings
from capjax.studies.concepts.vectors import concept_vectors, for_many, significance, tcav


class _Found(NamedTuple):
    """A segment of a picture."""

    file: str
    segment: Segment


def fit_concepts(
    captioner: Captioner,
    word: str,
    saying: Mapping[str, Wording],
    others: Sequence[str],
    load: Load,
    settings: ConceptSettings = ConceptSettings(),  # noqa: B008
    *,
    random: RandomPatches | None = None,
    at_once: int = 64,
    made_from: Mapping[str, object] | None = None,
) -> ConceptSet:
    """The concepts of a word, tested.

    Args:
      captioner: of images.
      word: that is explained.
      saying: picture -> a sentence about it that says the word, which is its first extra
        (`Wording.asked`).
      others: pictures whose sentences do not say it.
      load: reads a picture; what raises `UnreadableFileError` is left out.
      settings: how.
      random: of the same settings, to share among words; default: one for this word.
      at_once: pictures and patches in one program; changes no result beyond rounding.
      made_from: kept in the result.

    Raises:
      ValueError: too few pictures of either kind, no such stage, clips, or a missing library.
    """
    require()
    checked_net(captioner, settings.stage)
    names = chosen(list(saying), settings.discovery)
    seen = readable(load, names)
    _check_counts(word, len(saying) - len(names) + len(seen), len(others), settings)
    labels = {file: cuts(picture, settings.segments) for file, picture in seen.items()}
    found = [
        _Found(file, segment) for file, own in labels.items() for segment in _unique(own, settings)
    ]
    pieces = (
        piece
        for file, picture in seen.items()
        for piece in patches(picture, labels[file], [s for name, s in found if name == file])
    )
    activations = mean_activations(captioner, pieces, stage=settings.stage, at_once=at_once)
    pool = (random or RandomPatches(captioner, load, settings, at_once)).of(others)
    sentences = [saying[file] for file in seen]
    gradients = keyword_gradients(
        captioner, list(seen.values()), sentences, stage=settings.stage, at_once=at_once
    )
    files = list(seen)
    sources = np.array([files.index(one.file) for one in found])
    clusters = clusters_of(
        activations, sources, count=settings.clusters, least=settings.least, most=settings.most
    )
    tested, chance = _tested(clusters, activations, sources, pool, gradients, settings)
    concepts = []
    for cluster, scores in zip(clusters, tested, strict=True):
        examples = [found[at] for at in _apart(cluster.members, sources)]
        shown = tuple(Example(one.file, mask_of(labels[one.file], one.segment)) for one in examples)
        counts: dict[str, Any] = {"members": cluster.size, "pictures": cluster.pictures}
        concepts.append(Concept(**scores, **counts, examples=shown))
    concepts.sort(key=lambda one: (one.p > settings.significance, -abs(one.tcav - 0.5)))
    return ConceptSet(
        *(word, settings.stage, tuple(concepts), settings.significance),
        random=chance.mean(axis=1),
        made_from=dict(made_from or {}),
    )


def _tested(
    clusters: Sequence[Cluster],
    activations: Float[np.ndarray, "S D"],
    sources: Int[np.ndarray, " S"],
    pool: Pool,
    gradients: Float[np.ndarray, "n D"],
    settings: ConceptSettings,
) -> tuple[list[dict[str, Any]], Float[np.ndarray, "R K"]]:
    """What was found of each cluster, by the names of `Concept`; and scores of random concepts."""
    size = min(settings.most, len(pool.pictures) // 4)
    told = functools.partial(
        concept_vectors,
        counterparts=random_sets(pool, count=settings.counterparts, size=size, crowding=1, seed=0),
        alpha=settings.alpha,
    )
    alike = _like(clusters, sources, size)
    random = random_sets(pool, count=settings.random_concepts, seed=1, **alike)
    chance = np.stack([tcav(gradients, told(one).units) for one in random])
    vectors = [told(activations[one.members]) for one in clusters]
    scores = [tcav(gradients, own.units) for own in vectors]
    tests = [significance(own, chance) for own in scores]
    adjusted = for_many([test.placed for test in tests])
    found = [
        {
            "vector": own.mean,
            "accuracy": float(own.accuracy.mean()),
            "scores": scores[row],
            "paired": tests[row].paired,
            "placed": tests[row].placed,
            "adjusted": adjusted[row],
        }
        for row, own in enumerate(vectors)
    ]
    return found, chance


def _like(clusters: Sequence[Cluster], sources: Int[np.ndarray, " S"], size: int) -> dict[str, int]:
    """Size and crowding of random sets that stray at least as far as any of the clusters.

    A mean strays further where a set is smaller, and where more of its patches are of one picture:
    by the number of patches that a patch has of its own picture, on average.
    """
    crowded = [1.0]
    for one in clusters:
        _, counts = np.unique(sources[one.members], return_counts=True)
        crowded.append(float(np.sum(counts**2) / np.sum(counts)))
        size = min(size, len(one.members))
    return {"size": size, "crowding": math.ceil(max(crowded))}


def _check_counts(word: str, saying: int, others: int, settings: ConceptSettings) -> None:
    # A concept needs more patches than pictures, and a vector some pictures to be tested on.
    for kind, count in (("say", saying), ("do not say", others)):
        if count < settings.least // 2:
            raise ValueError(
                f"{count} pictures {kind} {word!r}; finding its concepts needs "
                f"{settings.least // 2} or more: give more pictures, another word, or "
                f"ConceptSettings(least=…) below {settings.least}"
            )


def _unique(labels: Int[np.ndarray, "R H W"], settings: ConceptSettings) -> list[Segment]:
    return unique_segments(labels, smallest=settings.smallest, overlap=settings.overlap)


def _apart(members: np.ndarray, sources: np.ndarray) -> list[int]:
    """Patches to show: the closest of each picture first, then the others."""
    _, first = np.unique(sources[members], return_index=True)
    order = [*sorted(first), *(at for at in range(len(members)) if at not in first)]
    return [int(members[at]) for at in order[:EXAMPLES]]
