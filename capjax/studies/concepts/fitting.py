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
- Beside the paired t-test a concept must pass a second one; see `vectors.significance`.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from capjax.captioner import Captioner
from capjax.explainers.wording import Wording
from capjax.studies.concepts.activations import checked_net, keyword_gradients, mean_activations
from capjax.studies.concepts.clusters import clusters_of
from capjax.studies.concepts.concept import EXAMPLES, Concept, ConceptSet, Example
from capjax.studies.concepts.extras import require
from capjax.studies.concepts.patches import Segment, cuts, mask_of, patches, unique_segments
from capjax.studies.concepts.settings import ConceptSettings
from capjax.studies.concepts.vectors import Vectors, concept_vectors, significance, tcav

Load = Callable[[str], UInt8[np.ndarray, "H W 3"]]
"""The prepared picture of a name."""


def chosen(names: Sequence[str], count: int) -> list[str]:
    """At most `count` names, always the same ones: those whose digests come first."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count]


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
      load: reads a picture.
      settings: how.
      at_once: pictures and patches in one program; changes no result beyond rounding.
      made_from: kept in the result.

    Raises:
      ValueError: too few pictures of either kind, no such stage, clips, or a missing library.
    """
    require()
    checked_net(captioner, settings.stage)
    _check_counts(word, saying, others, settings)
    seen = {file: load(file) for file in chosen(list(saying), settings.discovery)}
    labels = {file: cuts(picture, settings.segments) for file, picture in seen.items()}
    found = [
        _Found(file, segment) for file, own in labels.items() for segment in _unique(own, settings)
    ]
    pieces = (
        piece
        for file, picture in seen.items()
        for piece in patches(picture, labels[file], [s for name, s in found if name == file])
    )
    see = functools.partial(mean_activations, captioner, stage=settings.stage, at_once=at_once)
    activations, pool = see(pieces), see(_random_patches(others, load, settings))
    sentences = [saying[file] for file in seen]
    gradients = keyword_gradients(
        captioner, list(seen.values()), sentences, stage=settings.stage, at_once=at_once
    )
    counterparts, stand_ins = random_sets(pool, settings)
    told = functools.partial(concept_vectors, counterparts=counterparts, alpha=settings.alpha)
    random = np.stack([tcav(gradients, told(one).units) for one in stand_ins])
    files = list(seen)
    sources = np.array([files.index(one.file) for one in found])
    clusters = clusters_of(
        activations, sources, count=settings.clusters, least=settings.least, most=settings.most
    )
    concepts = []
    for cluster in clusters:
        vectors = told(activations[cluster.members])
        examples = [found[row] for row in _apart(cluster.members, sources)]
        shown = tuple(Example(one.file, mask_of(labels[one.file], one.segment)) for one in examples)
        counts = cluster.size, cluster.pictures
        concepts.append(_tested(vectors, tcav(gradients, vectors.units), random, counts, shown))
    concepts.sort(key=lambda one: (one.p > settings.significance, -abs(one.tcav - 0.5)))
    return ConceptSet(
        *(word, settings.stage, tuple(concepts), settings.significance),
        random=random.mean(axis=1),
        made_from=dict(made_from or {}),
    )


def _tested(
    vectors: Vectors,
    scores: Float[np.ndarray, " K"],
    random: Float[np.ndarray, "R K"],
    counts: tuple[int, int],
    examples: tuple[Example, ...],
) -> Concept:
    found = significance(scores, random)
    accuracy = float(vectors.accuracy.mean())
    tests = found.paired, found.placed
    return Concept(vectors.mean, scores, accuracy, *tests, *counts, examples)


def _check_counts(
    word: str, saying: Mapping[str, Wording], others: Sequence[str], settings: ConceptSettings
) -> None:
    # A concept needs more patches than pictures, and a vector some pictures to be tested on.
    for kind, count in (("say", len(saying)), ("do not say", len(others))):
        if count < settings.least // 2:
            raise ValueError(
                f"{count} pictures {kind} {word!r}; finding its concepts needs "
                f"{settings.least // 2} or more: give more pictures, another word, or "
                f"ConceptSettings(least=…) below {settings.least}"
            )


def _unique(labels: Int[np.ndarray, "R H W"], settings: ConceptSettings) -> list[Segment]:
    return unique_segments(labels, smallest=settings.smallest, overlap=settings.overlap)


def _random_patches(
    others: Sequence[str], load: Load, settings: ConceptSettings
) -> Iterator[np.ndarray]:
    """As many patches of each picture as random sets need, drawn from the picture's name."""
    names = chosen(others, settings.others)
    # Twice what one set holds of either kind, or every patch that there is.
    each = -(-settings.counterparts * settings.most // len(names))
    for name in names:
        picture = load(name)
        labels = cuts(picture, settings.segments)
        segments = _unique(labels, settings)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
        order = np.random.default_rng(seed).permutation(len(segments))[:each]
        yield from patches(picture, labels, [segments[at] for at in order])


def random_sets(
    pool: Float[np.ndarray, "S D"], settings: ConceptSettings
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Random counterparts and random concepts, each of other patches of the pool than the other.

    Raises:
      ValueError: there are too few patches.
    """
    size = min(settings.most, len(pool) // 4)
    if size < 3:
        raise ValueError(
            f"got {len(pool)} patches of pictures that do not say the word; give more pictures"
        )
    draw = np.random.default_rng(0)
    halves = np.array_split(draw.permutation(len(pool)), 2)
    counts = settings.counterparts, settings.random_concepts
    one, other = (
        [pool[draw.choice(half, size, replace=False)] for _ in range(count)]
        for half, count in zip(halves, counts, strict=True)
    )
    return one, other


def _apart(members: np.ndarray, sources: np.ndarray) -> list[int]:
    """Patches to show: the closest of each picture first, then the others."""
    _, first = np.unique(sources[members], return_index=True)
    order = [*sorted(first), *(at for at in range(len(members)) if at not in first)]
    return [int(members[at]) for at in order[:EXAMPLES]]
