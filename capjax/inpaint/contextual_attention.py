"""Contextual attention (Yu et al. 2018, arXiv 1801.07892, §4.1), as the gated inpainter uses it.

What is missing is put together from patches of what is known: every place of the map is compared
with all patches outside the hole, and becomes their mean, weighted by a softmax over the scores.

The scores of h·w places with h·w patches are computed a few rows of places at a time. Fusing adds
the scores of neighbouring places with equally displaced patches, along rows and then along
columns, and neighbours wrap around at line ends. So a group of rows needs a row more on either
side, and the rows beyond the first and the last are the opposite ones, displaced by one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from capjax.ops.convolution import max_pool, windows
from capjax.ops.groups import in_groups
from capjax.ops.image import resize

RATE = 2
"""By how much maps are reduced before they are compared."""

SIDE = 3
"""Of the patches that are compared."""

LEAST_NORM = 1e-4

BUDGET = 2**28
"""Bytes that scores may take, about."""

COPIES = 3
"""Arrays of the size of the scores that are held at once: raw, fused, and as weights."""


class Attended(NamedTuple):
    """What contextual attention makes of a map.

    Attributes:
      values: [B h w C].
      offsets: [B h/2 w/2 2] rows and columns from each place to the patch with the largest weight;
        None where they were not asked for. A place that may use no patch points at the first.
    """

    values: Float[Array, "B h w C"]
    offsets: Int[Array, "B h2 w2 2"] | None


def contextual_attention(
    foreground: Float[Array, "B h w C"],
    background: Float[Array, "B h w C"],
    holes: Bool[Array, "B h2 w2"],
    *,
    scale: float = 10.0,
    fuse: bool = True,
    offsets: bool = False,
    budget: int = BUDGET,
) -> Attended:
    """The foreground rebuilt from patches of the background that lie outside the hole.

    As released: patches of the background are scaled to norm 1 and those of the foreground are
    not; masked scores become 0 before the softmax, not minus infinity, and their weights 0 after
    it, so that weights sum to less than 1; every place is a quarter of the sum of the patches over
    it, of which there are fewer at edges and corners. A hole that covers everything gives zeros.

    Scores, softmax and norms are float32; products take the dtype of the maps.

    Args:
      foreground, background: maps of one shape and even sides.
      holes: of the maps at half size, True where nothing is known.
      scale: of scores in the softmax.
      fuse: whether neighbouring places should favour neighbouring patches.
      offsets: whether to tell where each place looks most.
      budget: bytes that scores may take, about; one row of places is the least. Results do not
        depend on it.

    Raises:
      ValueError: shapes differ, sides are odd, or holes have other sides.
    """
    _check(foreground, background, holes)
    batch, height, width, depth = foreground.shape
    rows, columns = height // RATE, width // RATE
    count = rows * columns
    asked = _patches(_halved(foreground))
    compared = _patches(_halved(background)).reshape(batch, count, -1)
    compared = _normalised(compared).astype(foreground.dtype)
    pasted = _pasted_patches(background).reshape(batch, count, -1)
    known = ~max_pool(holes[..., None].astype(jnp.float32), SIDE, stride=1, pad=1).astype(bool)
    known = known.reshape(batch, 1, count)
    runs, real = _runs(asked) if fuse else (asked, np.ones((rows, columns), np.float32))
    halo = 1 if fuse else 0

    def attend(places: Int[Array, " R"]) -> tuple[Array, ...]:
        """Pasted patches [R B w 16·C] of a few rows of places, and where they are from."""
        number = len(places)
        near = jax.lax.dynamic_slice_in_dim(runs, places[0], number + 2 * halo, axis=1)
        scores = jnp.einsum("brjk,blk->brjl", near, compared, preferred_element_type=jnp.float32)
        if fuse:
            exists = jax.lax.dynamic_slice_in_dim(jnp.asarray(real), places[0], number + 2)
            scores = _fused(scores, exists[None, :, :, None], columns)
        scores = jnp.where(known[:, None], scale * scores, 0.0)
        weights = jnp.where(known[:, None], jax.nn.softmax(scores, axis=-1), 0.0)
        parts = jnp.einsum("brjl,blk->rbjk", weights.astype(pasted.dtype), pasted)
        best = (jnp.moveaxis(jnp.argmax(weights, axis=-1), 1, 0),) if offsets else ()
        return (parts, *best)

    row = batch * columns * count * 4 * COPIES
    at_once = min(rows, max(1, budget // row - 2 * halo))
    # A backward pass computes scores again, group by group, rather than keep those of all groups.
    step = attend if at_once == rows else jax.checkpoint(attend)
    found = in_groups(step, at_once, jnp.arange(rows))
    values = _overlapped(jnp.moveaxis(found[0], 1, 0), depth)
    return Attended(values, _offsets(found[1], rows, columns) if offsets else None)


def _check(foreground: Array, background: Array, holes: Array) -> None:
    height, width = foreground.shape[1:3]
    if foreground.shape != background.shape or height % RATE or width % RATE:
        raise ValueError(
            f"got maps of shape {foreground.shape} and {background.shape}; expected the same, with "
            "even sides"
        )
    expected = (len(foreground), height // RATE, width // RATE)
    if holes.shape != expected:
        raise ValueError(f"got holes of shape {holes.shape}; expected {expected}")


def _halved(x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C"]:
    size = (x.shape[1] // RATE, x.shape[2] // RATE)
    return resize(x, size, method="nearest", coordinates="align_corners")


def _patches(x: Float[Array, "B h w C"]) -> Float[Array, "B h w 9*C"]:
    """The 3x3 patch around every place, zeros beyond the border."""
    around = ((SIDE // 2, SIDE // 2),) * 2
    return jnp.concatenate(list(windows(x, (SIDE, SIDE), (1, 1), around)), axis=-1)


def _normalised(patches: Float[Array, "B L K"]) -> Float[Array, "B L K"]:
    wide = patches.astype(jnp.float32)
    # The square root of the larger square: a norm of zero has no derivative.
    squares = jnp.sum(wide * wide, axis=-1, keepdims=True)
    return wide / jnp.sqrt(jnp.maximum(squares, LEAST_NORM**2))


def _pasted_patches(x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 16*C"]:
    """The 4x4 patches at every other place, a pixel of zeros around the map."""
    around = ((RATE // 2, RATE // 2),) * 2
    parts = windows(x, (2 * RATE, 2 * RATE), (RATE, RATE), around)
    return jnp.concatenate(list(parts), axis=-1)


def _runs(patches: Float[Array, "B h w K"]) -> tuple[Array, np.ndarray]:
    """Every row of places with the place before and the place after it, in reading order.

    Returns:
      [B h+2 w+2 K]: reading on after a row's end leads to the next row. The rows beyond the first
      and the last are those that come before and after them when columns are read one after the
      other: the last row, displaced to the right, and the first, displaced to the left. And
      [h+2 w], 0 at the two places that thereby lie before the first column or after the last.
    """
    batch, rows, columns, depth = patches.shape
    nothing = jnp.zeros((batch, 1, depth), patches.dtype)
    before = jnp.concatenate([nothing, patches[:, :-1, -1]], axis=1)[:, :, None]
    after = jnp.concatenate([patches[:, 1:, 0], nothing], axis=1)[:, :, None]
    inner = jnp.concatenate([before, patches, after], axis=2)
    flat = jnp.pad(patches.reshape(batch, rows * columns, depth), ((0, 0), (2, 2), (0, 0)))
    start = (rows - 1) * columns  # two places before the last row, of the padded list
    first = flat[:, start : start + columns + 2]
    last = flat[:, 2 : columns + 4]
    real = np.ones((rows + 2, columns), np.float32)
    real[0, 0] = real[-1, -1] = 0
    return jnp.concatenate([first[:, None], inner, last[:, None]], axis=1), real


def _fused(
    scores: Float[Array, "B R+2 w+2 L"], exists: Float[Array, "1 R+2 w 1"], columns: int
) -> Float[Array, "B R w L"]:
    """Scores summed over three neighbours along rows, then along columns, places with patches."""
    last = scores.shape[-1] - columns  # the first patch of the last row
    nothing = jnp.zeros_like(scores[..., :-2, :1])
    # score(place - 1, patch - 1) + score(place, patch) + score(place + 1, patch + 1)
    earlier = jnp.concatenate([nothing, scores[..., :-2, :-1]], axis=-1)
    later = jnp.concatenate([scores[..., 2:, 1:], nothing], axis=-1)
    along = exists * (earlier + scores[..., 1:-1, :] + later)
    # The same with neighbours above and below; above the first row is the last, one to the left.
    above, below = along[:, :-2], along[:, 2:]
    nothing = nothing[:, 2:]
    above = jnp.concatenate([nothing, above[..., last:-1], above[..., :last]], axis=-1)
    below = jnp.concatenate([below[..., columns:], below[..., 1:columns], nothing], axis=-1)
    return above + along[:, 1:-1] + below


def _overlapped(parts: Float[Array, "B h w 16*C"], depth: int) -> Float[Array, "B 2*h 2*w C"]:
    """A quarter of the sum of 4x4 patches, laid two apart, without the pixel beyond the border."""
    batch, rows, columns, _ = parts.shape
    # Row 4 of a patch is row 2 of the next: halves of patches (p, q) meet in cells of 2 x 2.
    halves = parts.reshape(batch, rows, columns, 2, RATE, 2, RATE, depth)
    total = jnp.zeros((batch, rows + 1, columns + 1, RATE, RATE, depth), jnp.float32)
    for p in range(2):
        for q in range(2):
            pads = [(0, 0), (p, 1 - p), (q, 1 - q), (0, 0), (0, 0), (0, 0)]
            total = total + jnp.pad(halves[:, :, :, p, :, q].astype(jnp.float32), pads)
    image = total.swapaxes(2, 3).reshape(batch, RATE * (rows + 1), RATE * (columns + 1), depth)
    return (image[:, 1:-1, 1:-1] / RATE**2).astype(parts.dtype)


def _offsets(best: Int[Array, "h B w"], rows: int, columns: int) -> Int[Array, "B h w 2"]:
    best = best.swapaxes(0, 1)
    own = jnp.stack(jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij"), axis=-1)
    return jnp.stack([best // columns, best % columns], axis=-1) - own[None]
