"""Contextual attention (Yu et al. 2018, arXiv 1801.07892, §4.1), as the gated inpainter uses it.

What is missing is put together from patches of what is known: every place of the map is compared
with all patches outside the hole, and becomes their mean, weighted by a softmax over the scores.

Scores of h·w places with h·w patches are computed a few rows of places at a time, and are only
ever shifted along flat lists of patches:

- Fusing adds the scores of neighbouring places with equally displaced patches, along rows and then
  along columns, where neighbours wrap around at line ends. In lists of rows that each begin with
  the patch before and end with the patch after, and that have a row more above and below, every
  neighbour is a fixed number of entries away.
- Patches that are pasted overlap: each is four cells of 2 x 2 pixels. So weights of places and
  patches that paste a cell to the same spot are summed first, and cells are multiplied once.
"""

import functools
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

BUDGET = 288 * 2**20
"""Bytes that scores may take, about: sixteen pictures of 256x256 at once, of one of 1024x1024 eight
of 129 rows."""

COPIES = 3
"""Arrays of the size of the scores that are held at once: raw, as weights, summed for cells."""


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
    pitch = columns + 2  # of rows in lists of patches
    asked = _patches(_halved(foreground))
    compared = _normalised(_patches(_halved(background))).astype(foreground.dtype)
    cells = _cells(background)
    known, floor = _allowed(holes)
    halo = (
        2 if fuse else 1
    )  # rows of places that are read before a row of cells, and one less after
    if fuse:
        asked, compared = _runs(asked), _runs(compared)
    else:
        compared = jnp.pad(compared, ((0, 0), (0, 0), (1, 1), (0, 0)))
    asked = jnp.pad(asked, ((0, 0), (1, 1), (0, 0), (0, 0)))
    compared = compared.reshape(batch, -1, compared.shape[-1])
    # Scores are large and the softmax scales them: accelerators' rounding of float32 would show.
    precision = jax.lax.Precision.HIGHEST if asked.dtype == jnp.float32 else None

    def attend(own: Int[Array, " R"]) -> tuple[Array, ...]:
        """A few rows of cells [R B w+1 4·C], and the best patches of as many rows of places."""
        number = len(own) + 1  # of places: a cell is also pasted from the row before
        near = jax.lax.dynamic_slice_in_dim(asked, own[0], number + 2 * (halo - 1), axis=1)
        scores = jnp.einsum(
            "brjk,blk->brjl",
            near,
            compared,
            precision=precision,
            preferred_element_type=jnp.float32,
        )
        if fuse:
            scores = _fused(scores, own[0], rows, columns)
        weights = jax.nn.softmax(jnp.where(known, scale * scores, floor), axis=-1)
        place = own[0] - 1 + jnp.arange(number)
        exists = ((place >= 0) & (place < rows))[None, :, None, None]
        weights = jnp.where(known & exists, weights, 0.0)
        summed = _summed(weights, pitch).astype(cells.dtype)
        pasted = jnp.einsum("brjl,blk->rbjk", summed, cells)
        best = (jnp.moveaxis(jnp.argmax(weights[:, 1:], axis=-1), 1, 0),) if offsets else ()
        return (pasted, *best)

    row = batch * pitch * (rows + 2) * pitch * 4 * COPIES
    at_once = min(rows + 1, max(1, budget // row - 2 * halo + 1))
    # A backward pass computes scores again, group by group, rather than keep those of all groups.
    step = attend if at_once > rows else jax.checkpoint(attend)
    found = in_groups(step, at_once, jnp.arange(rows + 1))
    values = _pixels(jnp.moveaxis(found[0], 1, 0), depth)
    return Attended(values, _offsets(found[1][:rows], columns) if offsets else None)


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


def _normalised(patches: Float[Array, "B h w K"]) -> Float[Array, "B h w K"]:
    wide = patches.astype(jnp.float32)
    # The root of the larger square, not the larger root: that of zero has no derivative.
    squares = jnp.sum(wide * wide, axis=-1, keepdims=True)
    return wide / jnp.sqrt(jnp.maximum(squares, LEAST_NORM**2))


def _cells(x: Float[Array, "B 2*h 2*w C"]) -> Float[Array, "B L 4*C"]:
    """Cells of 2 x 2 pixels that begin one pixel beyond the border, in h+1 rows of w+2.

    Those of the first column are zeros, so that cell (i, j) of the patch (a, b) stands i rows and j
    entries after it in a list of patches.
    """
    batch, height, width, depth = x.shape
    rows, columns = height // RATE + 1, width // RATE + 1
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(batch, rows, RATE, columns, RATE, depth).swapaxes(2, 3)
    x = x.reshape(batch, rows, columns, RATE**2 * depth)
    return jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0))).reshape(batch, -1, x.shape[-1])


def _pixels(cells: Float[Array, "B h+1 w+1 4*C"], depth: int) -> Float[Array, "B 2*h 2*w C"]:
    """A quarter of what was pasted, without the pixel beyond the border."""
    batch, rows, columns, _ = cells.shape
    image = cells.reshape(batch, rows, columns, RATE, RATE, depth).swapaxes(2, 3)
    image = image.reshape(batch, RATE * rows, RATE * columns, depth)
    return image[:, 1:-1, 1:-1] / RATE**2


def _allowed(
    holes: Bool[Array, "B h w"],
) -> tuple[Bool[Array, "B 1 1 L"], Float[np.ndarray, "1 1 1 L"]]:
    """Which patches of a list lie outside the hole, and the logits of those that do not.

    The list is of rows that begin and end with an entry that is no patch, of logit -inf.
    """
    touched = max_pool(holes[..., None].astype(jnp.float32), SIDE, stride=1, pad=1)[..., 0] > 0
    known = jnp.pad(~touched, ((0, 0), (0, 0), (1, 1)))
    floor = np.zeros((holes.shape[1], holes.shape[2] + 2), np.float32)
    floor[:, [0, -1]] = -np.inf
    return known.reshape(len(holes), 1, 1, -1), floor.reshape(1, 1, 1, -1)


def _runs(patches: Float[Array, "B h w K"]) -> Float[Array, "B h+2 w+2 K"]:
    """Rows with the patch before and the patch after each, in reading order, and two more rows.

    Reading on after a row's end leads to the next row. The rows beyond the first and the last are
    those that come before and after when columns are read one after the other: the last row,
    displaced to the right, and the first, displaced to the left. Where this leads beyond the first
    or the last patch there are zeros.
    """
    batch, rows, columns, depth = patches.shape
    nothing = jnp.zeros((batch, 1, depth), patches.dtype)
    before = jnp.concatenate([nothing, patches[:, :-1, -1]], axis=1)[:, :, None]
    after = jnp.concatenate([patches[:, 1:, 0], nothing], axis=1)[:, :, None]
    inner = jnp.concatenate([before, patches, after], axis=2)
    flat = jnp.pad(patches.reshape(batch, rows * columns, depth), ((0, 0), (2, 2), (0, 0)))
    start = (rows - 1) * columns  # two places before the last row, of the padded list
    first, last = flat[:, start : start + columns + 2], flat[:, 2 : columns + 4]
    return jnp.concatenate([first[:, None], inner, last[:, None]], axis=1)


def _fused(
    scores: Float[Array, "B R+2 w+2 M"], first: Int[Array, ""], rows: int, columns: int
) -> Float[Array, "B R w L"]:
    """Scores summed over three neighbours along rows, then along columns, places with patches.

    Args:
      scores: of places in runs, rows first, first + 1, …, of which the second is the row before the
        map, with all patches in runs.
      first: see above.
      rows, columns: of the map.
    """
    pitch = columns + 2
    length = scores.shape[-1]
    padded = jnp.pad(scores, ((0, 0), (0, 0), (0, 0), (1, 1)))
    along = functools.reduce(
        jnp.add, (padded[:, :, step : step + columns, step : step + length] for step in range(3))
    )
    # Above the first column there is nothing, nor below the last.
    real = np.ones((rows + 4, pitch), np.float32)
    real[1, 1] = real[-2, -2] = 0
    places = jax.lax.dynamic_slice_in_dim(jnp.asarray(real), first, scores.shape[1])[:, 1:-1]
    along = along * places[None, :, :, None] * real[1:-1].reshape(1, 1, 1, -1)
    number, kept = scores.shape[1] - 2, rows * pitch
    return functools.reduce(
        jnp.add,
        (
            along[:, step : step + number, :, step * pitch : step * pitch + kept]
            for step in range(3)
        ),
    )


def _summed(weights: Float[Array, "B R+1 w L"], pitch: int) -> Float[Array, "B R w+1 M"]:
    """Weights of cells: sums over the places and patches that paste a cell to the same spot."""
    number, columns, length = weights.shape[1] - 1, weights.shape[2] + 1, weights.shape[3] + pitch
    around = ((0, 0), (0, 0), (1, 1), (pitch + 1, pitch))
    padded = jnp.pad(weights, around)
    return functools.reduce(
        jnp.add,
        (
            padded[:, i : i + number, j : j + columns, i * pitch + j : i * pitch + j + length]
            for i in range(2)
            for j in range(2)
        ),
    )


def _offsets(best: Int[Array, "h B w"], columns: int) -> Int[Array, "B h w 2"]:
    best = best.swapaxes(0, 1)
    rows, places = best.shape[1:]
    own = jnp.stack(jnp.meshgrid(jnp.arange(rows), jnp.arange(places), indexing="ij"), axis=-1)
    # Where no patch has weight, the first entry of the list is the best, and is none.
    column = jnp.maximum(best % (columns + 2) - 1, 0)
    return jnp.stack([best // (columns + 2), column], axis=-1) - own[None]
