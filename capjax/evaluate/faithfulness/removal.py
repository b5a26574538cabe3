"""How probable words stay while parts of the image are taken away: the programs of faithfulness.

Letters: R items (a word of a sentence about an image), C cells of all frames, K copies of an item.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int
from scipy.ndimage import gaussian_filter1d

from capjax.captioner import Captioner, CaptionNet, token_log_probs
from capjax.decoding.captions import abstract_images
from capjax.evaluate.faithfulness.imputation import impute
from capjax.ops.devices import by_rows, mesh_of, pad_rows
from capjax.runtime.memory import needed

Kind = Literal["deletion", "insertion", "road_morf", "road_lerf"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BLUR_LENGTH, BLUR_SIGMA = 11, 5
"""Of the image that insertion starts from: `gkern(11, 5)` of the released code of RISE."""
NOISE = 0.01
"""Of ROAD's imputation, in the encoder's normalised values."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is taken away, in which steps.

    Attributes:
      cells: (h, w) of the grid over the encoder's input; each frame of a clip has one.
      frames: 1 for images.
      steps: of deletion and insertion, from nothing to everything.
      fractions: of the cells that ROAD removes.
    """

    cells: tuple[int, int]
    frames: int = 1
    steps: int = 14
    fractions: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)

    @property
    def count(self) -> int:
        """C."""
        return self.frames * self.cells[0] * self.cells[1]

    def counts(self) -> list[int]:
        """Cells removed after each step, from none to all: equal steps, rounded half up."""
        steps = min(self.steps, self.count)
        return [int(step * self.count / steps + 0.5) for step in range(steps + 1)]

    def copies(self) -> list[tuple[Kind, int]]:
        """Kind and number of cells of every copy that is measured; all but the intact image."""
        steps, road = self.counts(), [round(part * self.count) for part in self.fractions]
        return [
            *(("deletion", count) for count in steps[1:]),
            *(("insertion", count) for count in steps[:-1]),
            *(("road_morf", count) for count in road),
            *(("road_lerf", count) for count in road),
        ]

    def curves(
        self, measured: Float[np.ndarray, "R K"], intact: Float[np.ndarray, " R"]
    ) -> dict[Kind, Float[np.ndarray, "R S"]]:
        """Kind -> a curve a word; of deletion and insertion from none of the cells to all."""
        kinds = np.array([kind for kind, _ in self.copies()])
        own: dict[Kind, np.ndarray] = {kind: measured[:, kinds == kind] for kind in KINDS}
        own["deletion"] = np.concatenate([intact[:, None], own["deletion"]], axis=1)
        own["insertion"] = np.concatenate([own["insertion"], intact[:, None]], axis=1)
        return own


class Items(NamedTuple):
    """Words to measure, one a row; arrays of the host or of the devices.

    Attributes:
      images: [R *F H W 3] uint8 as the encoder takes them.
      tokens: [R T] int32 of the sentence.
      weights: [R T] float32, 1 at the word's tokens.
      seeds: [R] uint32 of the images, for ROAD's noise.
      ranks: [R C] int32, when each cell goes; see `removal_ranks`.
    """

    images: Any
    tokens: Any
    weights: Any
    seeds: Any
    ranks: Any

    def taken(self, rows: Int[np.ndarray, " R"]) -> "Items":
        """Some of the rows, in this order."""
        return Items(*(leaf[rows] for leaf in self))


def measure(
    captioner: Captioner,
    words: Items,
    ranks: Int[np.ndarray, "L R C"],
    copies: Sequence[tuple[Kind, int]],
    cells: tuple[int, int],
    *,
    at_once: int,
) -> Float[np.ndarray, "L R K"]:
    """Probability of each word, teacher-forced, given each copy of its image.

    Args:
      captioner: the model.
      words: of the host, whatever their own ranks are.
      ranks: L orders of removal of every word, such as one a method.
      copies: what to measure; one program serves all lists of the same length.
      cells: (h, w) of the grid that `ranks` count.
      at_once: items of one call; changes no number.
    """
    orders, count = ranks.shape[:2]
    flat = ranks.reshape(-1, ranks.shape[-1])
    mesh = mesh_of(at_once)
    kinds = np.array([KINDS.index(kind) for kind, _ in copies], np.int32)
    counts = np.array([count for _, count in copies], np.int32)
    found = []
    for start in range(0, len(flat), at_once):
        rows = np.minimum(np.arange(start, start + at_once), len(flat) - 1)
        part = words.taken(rows % count)._replace(ranks=flat[rows])
        part = Items(*(pad_rows(leaf, mesh) for leaf in part))
        given = captioner.placed(mesh), part, kinds, counts
        probabilities = np.asarray(measured(captioner.net, cells, *given, mesh))
        found.append(probabilities[: min(at_once, len(flat) - start)])
    return np.concatenate(found).reshape(orders, count, len(copies))


def measure_memory(captioner: Captioner, at_once: int, *, plan: Plan, tokens: int) -> float:
    """Bytes of each device that `measure` takes for so many items; compiles its program."""
    images, mesh = abstract_images(captioner, at_once)
    rows = images.shape[0]
    items = Items(
        images,
        jax.ShapeDtypeStruct((rows, tokens), jnp.int32),
        jax.ShapeDtypeStruct((rows, tokens), jnp.float32),
        jax.ShapeDtypeStruct((rows,), jnp.uint32),
        jax.ShapeDtypeStruct((rows, plan.count), jnp.int32),
    )
    copies = jax.ShapeDtypeStruct((len(plan.copies()),), jnp.int32)
    variables = captioner.placed(mesh)
    lowered = measured.lower(captioner.net, plan.cells, variables, items, copies, copies, mesh)
    return needed(lowered)


@functools.partial(jax.jit, static_argnames=("net", "cells", "mesh"))
def measured(
    net: CaptionNet,
    cells: tuple[int, int],
    variables: Any,
    items: Items,
    kinds: Int[Array, " K"],
    counts: Int[Array, " K"],
    mesh: Mesh | None,
) -> Float[Array, "R K"]:
    """Probabilities of the items' words, one copy of all of them after the other."""

    def own(whole: tuple[Any, Array, Array], items: Items) -> Float[Array, "R K"]:
        variables, kinds, counts = whole
        seen = _normalised(net, items.images)
        blurred = _blurred(seen)

        def one(copy: tuple[Array, Array]) -> Float[Array, " R"]:
            kind, count = copy
            hidden = _hidden(items.ranks, kind, count, seen.shape, cells)
            is_road = kind >= KINDS.index("road_morf")
            start = jnp.where(kind == KINDS.index("insertion"), blurred, 0.0)
            fill = jax.lax.cond(
                is_road,
                lambda: _imputed(seen, hidden, items.seeds, count),
                lambda: start,
            )
            left = jnp.where(hidden[..., None], fill, seen)
            return _probability(net, variables, left, items)

        found: Array = jax.lax.map(one, (kinds, counts))
        return found.T

    return by_rows(own, mesh)((variables, kinds, counts), items)


def _normalised(net: CaptionNet, images: Array) -> Float[Array, "R F H W 3"]:
    """Pixels as the encoder sees them: 0 is the mean colour."""
    pixels = jnp.asarray(images, jnp.float32)
    if pixels.ndim == 4:
        pixels = pixels[:, None]
    return (pixels - _colour(net.mean)) / _colour(net.std)


def _colour(values: tuple[float, ...]) -> Float[Array, "1 1 1 1 3"]:
    return jnp.asarray(values, jnp.float32).reshape(1, 1, 1, 1, 3)


def _probability(
    net: CaptionNet, variables: Any, seen: Float[Array, "R F H W 3"], items: Items
) -> Float[Array, " R"]:
    pixels = seen * _colour(net.std) + _colour(net.mean)
    pixels = pixels if items.images.ndim == 5 else pixels[:, 0]
    features: Any = net.apply(variables, pixels, method="encode")
    log_probs = token_log_probs(net, variables, features, items.tokens)
    used = jnp.where(items.weights == 0, 0.0, items.weights * log_probs)
    return jnp.exp(jnp.sum(used, axis=-1))


def _hidden(
    ranks: Int[Array, "R C"],
    kind: Int[Array, ""],
    count: Int[Array, ""],
    shape: tuple[int, ...],
    cells: tuple[int, int],
) -> Bool[Array, "R F H W"]:
    """The pixels of a copy that do not come from the image."""
    least_first = kind == KINDS.index("road_lerf")
    order = jnp.where(least_first, ranks.shape[1] - 1 - ranks, ranks)
    chosen = (order < count) != (kind == KINDS.index("insertion"))
    grid = chosen.reshape(shape[0], shape[1], *cells)
    rows, columns = (np.arange(shape[2 + axis]) * cells[axis] // shape[2 + axis] for axis in (0, 1))
    return grid[:, :, rows][..., columns]


def _blurred(seen: Float[Array, "R F H W 3"]) -> Float[Array, "R F H W 3"]:
    """Zeros, the mean colour, lie beyond the border, as in the released code."""
    delta = np.zeros(BLUR_LENGTH)
    delta[BLUR_LENGTH // 2] = 1.0
    kernel = jnp.asarray(gaussian_filter1d(delta, BLUR_SIGMA), seen.dtype)
    for axis in (2, 3):
        pads = [(BLUR_LENGTH // 2,) * 2 if own == axis else (0, 0) for own in range(seen.ndim)]
        padded, length = jnp.pad(seen, pads), seen.shape[axis]
        parts = (
            kernel[at] * jax.lax.slice_in_dim(padded, at, at + length, axis=axis)
            for at in range(BLUR_LENGTH)
        )
        seen = functools.reduce(jnp.add, parts)
    return seen


def _imputed(
    seen: Float[Array, "R F H W 3"],
    hidden: Bool[Array, "R F H W"],
    seeds: Array,
    count: Int[Array, ""],
) -> Float[Array, "R F H W 3"]:
    """ROAD's, frame by frame; the noise is that of the image and of the number of cells."""
    flat = seen.reshape(-1, *seen.shape[2:])
    filled = impute(flat, hidden.reshape(-1, *hidden.shape[2:])).reshape(seen.shape)

    def drawn(seed: Array) -> Float[Array, "F H W 3"]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), seed), count)
        return jax.random.normal(key, seen.shape[1:], seen.dtype)

    return filled + NOISE * jax.vmap(drawn)(seeds)
