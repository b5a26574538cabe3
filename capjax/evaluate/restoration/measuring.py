"""Makes holes in photographs, fills them, and compares with what was there."""

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from capjax import rng
from capjax.inpaint.fills.contract import Fill
from capjax.inpaint.masks import draw_rectangles, draw_strokes
from capjax.inpaint.training.settings import HoleConfig
from capjax.metrics.pictures.restoration import Restoration, restoration
from capjax.ops.devices import pad_rows

KINDS: Mapping[str, Callable[..., Array]] = {
    "rectangle": jax.jit(draw_rectangles, static_argnums=(1, 2)),
    "freeform": jax.jit(draw_strokes, static_argnums=(1, 2)),
}
"""Holes by the name of their kind: those that the gated inpainter learns from."""
SCORES = Restoration._fields
BETTER = {name: -1.0 if name.startswith("l1") else 1.0 for name in SCORES}
"""The sign of a difference that is an improvement."""

Photographs = UInt8[np.ndarray, "B S S 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One photograph with one hole, filled in every way.

    Attributes:
      file, kind: of the photograph, and of its hole.
      image, mask: [S S 3] and [S S].
      filled: fill -> picture.
      scores: fill -> score -> value.
    """

    file: str
    kind: str
    image: UInt8[np.ndarray, "S S 3"]
    mask: Bool[np.ndarray, "S S"]
    filled: Mapping[str, UInt8[np.ndarray, "S S 3"]]
    scores: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes:
      fills: by name.
      kinds: of holes, of `KINDS`.
      seed: of the holes; each is a function of it and of its photograph's pixels.
    """

    fills: Mapping[str, Fill]
    kinds: tuple[str, ...]
    seed: int = 0

    def run(
        self, batches: Iterable[tuple[Sequence[str], Photographs]], rows: int
    ) -> Iterator[Example]:
        """Every photograph with every kind of hole.

        Args:
          batches: files and their photographs, all of one size.
          rows: of a batch; shorter ones are padded, so that each program is compiled once.
        """
        for files, images in batches:
            for kind in self.kinds:
                every = pad_rows(images, None, least=rows)
                masks = holes(kind, every, self.seed)[: len(images)]
                filled = {name: fill(images, masks) for name, fill in self.fills.items()}
                scores = {name: _scores(images, own, masks, rows) for name, own in filled.items()}
                for row, file in enumerate(files):
                    yield Example(
                        file,
                        kind,
                        images[row],
                        masks[row],
                        {name: own[row] for name, own in filled.items()},
                        {
                            name: {score: float(own[score][row]) for score in SCORES}
                            for name, own in scores.items()
                        },
                    )


def holes(kind: str, images: Photographs, seed: int) -> Bool[np.ndarray, "B S S"]:
    """A hole of a kind for each photograph, a function of its pixels and the seed alone."""
    size = images.shape[1:3]
    ids = np.array([zlib.crc32(image.tobytes()) for image in images], np.uint32)
    keys = rng.per_example(rng.stream(jax.random.key(seed), "holes"), jnp.asarray(ids))
    return np.asarray(KINDS[kind](keys, size, HoleConfig().pixels(min(size))))


def _scores(
    images: Photographs, filled: Photographs, masks: Bool[np.ndarray, "B S S"], rows: int
) -> dict[str, Float[np.ndarray, " B"]]:
    arrays = [pad_rows(own, None, least=rows) for own in (images, filled, masks)]
    return {
        name: np.asarray(values)[: len(images)]
        for name, values in restoration(*arrays)._asdict().items()
    }


Values = dict[tuple[str, str], dict[str, list[float]]]
"""(kind of hole, fill) -> score -> one value a photograph."""


def table_of(examples: Sequence[Mapping[str, Any]]) -> Values:
    """The values of examples as they are stored, photographs in their order."""
    found: Values = {}
    for example in examples:
        for fill, scores in example["scores"].items():
            own = found.setdefault((example["kind"], fill), {score: [] for score in SCORES})
            for score, value in scores.items():
                own[score].append(value)
    return found
