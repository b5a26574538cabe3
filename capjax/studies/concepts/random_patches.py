"""Patches of pictures that do not say a word: what concepts are told from, and tested against.

Letters: S patches, D channels.
"""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from capjax.captioner import Captioner
from capjax.data.pictures.images import UnreadableFileError
from capjax.studies.concepts.activations import mean_activations
from capjax.studies.concepts.patches import cuts, patches, unique_segments
from capjax.studies.concepts.settings import ConceptSettings

Load = Callable[[str], UInt8[np.ndarray, "H W 3"]]
"""The prepared picture of a name; what raises `UnreadableFileError` is left out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Patches of many pictures.

    Attributes:
      activations: their means at the stage.
      pictures: the number of the picture that each comes from.
    """

    activations: Float[np.ndarray, "S D"]
    pictures: Int[np.ndarray, " S"]


def readable(load: Load, names: Sequence[str]) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
    """The pictures that can be read, by name."""
    found = {}
    for name in names:
        with contextlib.suppress(UnreadableFileError):
            found[name] = load(name)
    return found


def chosen(names: Sequence[str], count: int) -> list[str]:
    """At most `count` names, always the same ones: those whose digests come first."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count]


class RandomPatches:
    """Pools of patches for one word after the other: a picture that is in several is seen once.

    Args:
      captioner: of images.
      load: reads a picture.
      settings: how many pictures and patches.
      at_once: patches in one program; changes no result beyond rounding.
    """

    def __init__(
        self, captioner: Captioner, load: Load, settings: ConceptSettings, at_once: int = 64
    ) -> None:
        self.load, self.settings = load, settings
        self._see = functools.partial(
            mean_activations, captioner, stage=settings.stage, at_once=at_once
        )
        self._seen: dict[tuple[str, int], np.ndarray] = {}

    def of(self, names: Sequence[str]) -> Pool:
        """Patches of at most `settings.others` of these pictures: as many as counterparts hold.

        Raises:
          ValueError: not one of them can be read.
        """
        settings = self.settings
        pictures = chosen(names, settings.others)
        each = -(-settings.counterparts * settings.most // len(pictures))
        new = [name for name in pictures if (name, each) not in self._seen]
        counts: list[int] = []
        if new:
            found = self._see(self._patches(new, each, counts))
            parts = np.split(found, np.cumsum(counts)[:-1])
            self._seen |= {(name, each): part for name, part in zip(new, parts, strict=True)}
        rows = [self._seen[name, each] for name in pictures]
        numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        if not len(numbers):
            raise ValueError(
                f"none of {len(pictures)} pictures that do not say the word can be read; give "
                "others"
            )
        return Pool(np.concatenate([row for row in rows if len(row)]), numbers)

    def _patches(self, names: Sequence[str], each: int, counts: list[int]) -> Iterator[np.ndarray]:
        """Of every picture some, drawn from its name; `counts` takes how many: none of one that
        cannot be read."""
        for name in names:
            picture = readable(self.load, [name]).get(name)
            if picture is None:
                counts.append(0)
                continue
            labels = cuts(picture, self.settings.segments)
            segments = unique_segments(
                labels, smallest=self.settings.smallest, overlap=self.settings.overlap
            )
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
            order = np.random.default_rng(seed).permutation(len(segments))[:each]
            counts.append(len(order))
            yield from patches(picture, labels, [segments[at] for at in order])


def random_sets(
    pool: Pool, *, count: int, size: int, crowding: int, seed: int
) -> list[Float[np.ndarray, "s D"]]:
    """Sets of random patches, the pictures of each in an order of its own.

    Args:
      pool: what is drawn from.
      count: of sets.
      size: patches of each.
      crowding: patches that a set takes of one picture before it goes on to the next: those of one
        picture are alike, so that a set of few pictures strays further from the mean of all.
      seed: of all draws.

    Raises:
      ValueError: the pool is smaller than a set.
    """
    if size < 3 or len(pool.pictures) < size:
        raise ValueError(
            f"got {len(pool.pictures)} patches of pictures that do not say the word for sets of "
            f"{size}; give more pictures"
        )
    draw = np.random.default_rng(seed)
    order = np.argsort(pool.pictures, kind="stable")
    first = np.searchsorted(pool.pictures[order], np.arange(pool.pictures.max() + 1))
    found = []
    for _ in range(count):
        turn = draw.permutation(len(first))[pool.pictures]
        own = np.lexsort((draw.random(len(turn)), pool.pictures))  # mixed within each picture
        rank = np.empty(len(turn), int)
        rank[own] = np.arange(len(turn)) - first[pool.pictures[own]]
        rows = np.lexsort((rank, turn, rank // crowding))[:size]
        found.append(pool.activations[rows])
    return found
