"""Objects without any annotations: superpixels that a caption's nouns or one colour hold together.

Where a method's map of a noun is high, superpixels are merged into regions of that noun's class;
what is left is merged by colour, and nobody says what it is.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from scipy import ndimage

from capjax.captioner import Captioner
from capjax.data.boxes.object_words import ObjectWords
from capjax.data.objects.region import ObjectSource, Region, at_size
from capjax.data.pictures.images import prepare
from capjax.decoding.rules import default_decoding
from capjax.explainers.batch import check_methods, explain_batch
from capjax.explainers.perturbation.superpixels import superpixels
from capjax.explainers.results import Explained
from capjax.explainers.wording import LEAST_TOKENS
from capjax.studies.doubt.object_names import object_names
from capjax.types import Geometry

HIGH = 0.5
"""Share of a map's span from which a superpixel belongs to a noun."""
ALIKE = 22.0
"""Distance of mean colours, in levels, up to which neighbouring superpixels are one region."""
NAMELESS = 8
"""Most regions of one colour, the largest ones."""
OVERLAP = 0.5
"""Intersection over union above which two proposals are one."""
FUNCTION_WORDS = frozenset(
    "a an the of on in at to by with and or is are was be it its his her their this that there "
    "some two three left right above below between inside top bottom front near next up down out "
    "small large big over under behind from for into while as".split()
)
"""Words that name nothing to remove, where no word of a caption names a known class."""


@dataclasses.dataclass(frozen=True, eq=False)
class ProposedObjects:
    """Proposals for each photograph, from the captioner's own caption of it.

    Attributes:
      captioner: whose captions and maps decide.
      words: which words name which class; where none of a caption's does, all its words count that
        are no function words.
      method: whose maps; caption_guided works for every captioner.
      segments: superpixels of a photograph.
    """

    captioner: Captioner
    words: ObjectWords
    method: str = "caption_guided"
    segments: int = 60

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region]:
        """See `ObjectSource`: those of nouns first, then the largest of one colour first.

        Raises:
          ValueError: scikit-image is missing, or the captioner has no such maps.
        """
        seen, geometry = prepare(image, self.captioner.preprocessing, grid=self.captioner.grid)
        labels = superpixels(seen[None], self.segments)[0]
        found = list[Region]()
        taken = np.zeros(labels.shape, bool)
        for category, values in self._nouns(seen, geometry.original):
            for mask in high_regions(labels, values):
                found += _new(Region(category, mask, "proposal"), found)
                taken |= mask
        for mask in alike_regions(seen, labels, taken)[:NAMELESS]:
            found += _new(Region(None, mask, "proposal"), found)
        return [dataclasses.replace(own, mask=on_original(own.mask, geometry)) for own in found]

    def _nouns(
        self, seen: UInt8[np.ndarray, "H W 3"], original: tuple[int, int]
    ) -> Iterator[tuple[str, Float[np.ndarray, "H W"]]]:
        """What each noun of the caption names, and its map over what the captioner sees."""
        decoding, max_len = default_decoding(self.captioner)
        methods = check_methods(self.captioner, self.method)
        ((explained,),) = explain_batch(
            self.captioner,
            seen[None],
            [original],
            methods=methods,
            decoding=decoding,
            max_len=max_len,
            least_tokens=min(max_len, LEAST_TOKENS),
        )
        (maps,) = explained.explanations.values()
        values = np.exp(maps.maps[:, 0]) if maps.unit else maps.maps[:, 0]
        for category, words in named_words(explained, self.words):
            own = Image.fromarray(values[words].mean(axis=0).astype(np.float32))
            size = (seen.shape[1], seen.shape[0])
            yield category, np.asarray(own.resize(size, Image.Resampling.BILINEAR))


@dataclasses.dataclass(frozen=True, eq=False)
class NamedProposals:
    """Proposals that take the names of what they cover, so that it can be said what they found.

    Attributes:
      proposed: where they come from.
      truth: what is really there.
    """

    proposed: ObjectSource
    truth: ObjectSource

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region] | None:
        """See `ObjectSource`; a proposal most of which lies on no object stays without a name."""
        proposed = self.proposed.regions(name, image)
        there = self.truth.regions(name, image)
        if proposed is None or there is None:
            return None
        found = []
        for own in proposed:
            shares = [np.count_nonzero(own.mask & other.mask) for other in there]
            best = int(np.argmax(shares)) if shares else 0
            covers = bool(shares) and shares[best] > OVERLAP * np.count_nonzero(own.mask)
            found.append(
                dataclasses.replace(own, category=there[best].category if covers else None)
            )
        return found


def named_words(explained: Explained, words: ObjectWords) -> list[tuple[str, list[int]]]:
    """(class, its words of the caption) of all classes that a caption may name, or else of all
    words that may name something."""
    found: dict[str, list[int]] = {}
    for name in object_names(explained.caption, words):
        found.setdefault(name.classes[0], []).extend(range(name.start, name.end))
    if not found:
        for at, word in enumerate(explained.sentence.words):
            if word not in FUNCTION_WORDS:
                found.setdefault(word, []).append(at)
    return list(found.items())


def high_regions(
    labels: Int[np.ndarray, "H W"], values: Float[np.ndarray, "H W"]
) -> list[Bool[np.ndarray, "H W"]]:
    """Connected superpixels whose mean value lies above `HIGH` of the span, the highest first.

    None where all superpixels have one value.
    """
    means = np.asarray(ndimage.mean(values, labels, np.arange(labels.max() + 1)))
    low, high = means.min(), means.max()
    if not high > low:
        return []
    kept = (means - low) / (high - low) >= HIGH
    parts, count = ndimage.label(kept[labels])
    peaks = ndimage.maximum(means[labels], parts, np.arange(1, count + 1))
    return [parts == 1 + at for at in np.argsort(-np.asarray(peaks), kind="stable")]


def alike_regions(
    image: UInt8[np.ndarray, "H W 3"],
    labels: Int[np.ndarray, "H W"],
    taken: Bool[np.ndarray, "H W"],
) -> list[Bool[np.ndarray, "H W"]]:
    """Superpixels that are not taken, neighbours of like colour merged, the largest first.

    What is spread along more than two of the picture's borders is ground, and no object.
    """
    count = int(labels.max()) + 1
    colours = np.stack(
        [ndimage.mean(image[..., c], labels, np.arange(count)) for c in range(3)], axis=1
    )
    owner = np.arange(count)
    free = ~np.asarray(ndimage.maximum(taken, labels, np.arange(count))).astype(bool)
    pairs = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    touching = np.concatenate([np.stack(own, axis=-1).reshape(-1, 2) for own in pairs])
    touching = np.unique(np.sort(touching[touching[:, 0] != touching[:, 1]], axis=1), axis=0)
    apart = np.linalg.norm(colours[touching[:, 0]] - colours[touching[:, 1]], axis=1)
    for at in np.argsort(apart, kind="stable"):
        one, other = touching[at]
        if apart[at] <= ALIKE and free[one] and free[other]:
            owner[owner == owner[other]] = owner[one]
    found = []
    for own in np.unique(owner[free]):
        mask = (owner[labels] == own) & free[labels]
        borders = [mask[0].any(), mask[-1].any(), mask[:, 0].any(), mask[:, -1].any()]
        if sum(borders) <= 2:
            found.append(mask)
    return sorted(found, key=lambda mask: -int(mask.sum()))


def _new(region: Region, others: Sequence[Region]) -> list[Region]:
    """The region, unless an earlier one is nearly the same."""
    for other in others:
        both = np.count_nonzero(region.mask & other.mask)
        if both > OVERLAP * np.count_nonzero(region.mask | other.mask):
            return []
    return [region]


def on_original(mask: Bool[np.ndarray, "h w"], geometry: Geometry) -> Bool[np.ndarray, "H W"]:
    """A mask over what the captioner sees, over the whole photograph."""
    top, left, height, width = geometry.crop
    whole = np.zeros(geometry.resized, bool)
    whole[top : top + height, left : left + width] = mask
    return at_size(whole, geometry.original)
