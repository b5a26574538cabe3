"""A thin plate over holes: what is known goes on with as little bending and stretching as can be.

The energy (1 - t) |L u|^2 / 2 - t (u, L u) / 2, L being the discrete Laplacian and t the tension,
is made small over the pixels of a hole, the known ones fixed (Smith & Wessel 1990, Gridding with
continuous curvature splines in tension). Bending alone is the biharmonic equation, which carries
the slope of noisy pixels far into a hole; tension alone is a membrane, with creases at its rim.

It is solved from coarse to fine by conjugate gradients (cascadic multigrid, Bornemann & Deuflhard
1996): each level of a pyramid begins with the coarser one's picture and takes a few steps, a
coarser one more. Beyond the border every picture goes on as at it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from capjax.ops.image import doubled, halved

STEPS, MOST = 16, 256
"""Of conjugate gradients at the finest level, and at any: each coarser one takes twice as many."""

COARSEST = 8
"""Most pixels of the longer side at the coarsest level, where `MOST` steps are enough from nothing;
each level more takes a second to compile."""
TENSION = 0.03
"""What stretching counts beside bending, of pixels of the finest level: within some three pixels of
the rim a plate, beyond them a membrane. Chosen on training photographs of COCO."""
LEAST = 1e-20
"""Energy below which nothing is left to be done."""


def thin_plate(
    images: Float[Array, "B H W 3"],
    hole: Bool[Array, "B H W 1"],
    *,
    steps: int = STEPS,
    tension: float = TENSION,
) -> Float[Array, "B H W 3"]:
    """Pictures whose holes are filled by a thin plate, about; known pixels are as they were.

    Args:
      images: on any scale; what is in holes is not looked at.
      hole: True in holes; a picture that is all hole becomes 0.
      steps: of conjugate gradients at the finest level.
      tension: t, from 0 (bending alone) to 1 (stretching alone).
    """
    known = jnp.where(hole, 0.0, 1.0)
    levels = [jnp.concatenate([jnp.where(hole, 0.0, images), known], axis=-1)]
    while max(levels[-1].shape[1:3]) > COARSEST:
        levels.append(halved(levels[-1]))
    value, own = jnp.zeros_like(levels[-1][..., :3]), MOST
    for depth, level in reversed(list(enumerate(levels))):
        share = level[..., 3:]
        fixed = level[..., :3] / jnp.where(share > 0, share, 1.0)
        start = jnp.where(share > 0, fixed, value)
        value = _relaxed(start, share <= 0, own, _weights(tension, depth))
        if depth:
            finer = levels[depth - 1].shape
            value = doubled(value)[:, : finer[1], : finer[2]]
            own = min(steps * 2 ** (depth - 1), MOST)
    return jax.lax.stop_gradient(value)


def _weights(tension: float, depth: int) -> tuple[float, float]:
    """What bending and stretching count at a level; their sum is 1.

    Its pixels are 2^depth times as wide, by which lengths of the energy are measured.
    """
    bending, stretching = 1 - tension, tension * 4**depth
    return bending / (bending + stretching), stretching / (bending + stretching)


def _relaxed(
    x: Float[Array, "B H W 3"],
    free: Bool[Array, "B H W 1"],
    steps: int,
    weights: tuple[float, float],
) -> Float[Array, "B H W 3"]:
    """`x` after so many steps of conjugate gradients on its free pixels."""
    bending, stretching = weights

    def force(x: Array) -> Array:
        once = _laplacian(x)
        pulled = bending * _laplacian(once) - stretching * once if stretching else _laplacian(once)
        return jnp.where(free, pulled, 0.0)

    def dot(x: Array, y: Array) -> Array:
        return jnp.sum(x * y, axis=(1, 2), keepdims=True)

    def step(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, left, way = state
        before, turned = dot(left, left), force(way)
        length = before / jnp.maximum(dot(way, turned), LEAST)
        left = left - length * turned
        return x + length * way, left, left + dot(left, left) / jnp.maximum(before, LEAST) * way

    left = -force(x)
    return lax.fori_loop(0, steps, step, (x, left, left))[0]


def _laplacian(x: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """The mean of the pixels above, below, left and right of each, less itself.

    Beyond the border it is 0 and not as at it, so that padding fuses into the sum (half the time of
    a processor); what that lacks is added.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    columns = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return 0.25 * (rows + columns + _beyond(*x.shape[1:3]) * x) - x


@functools.cache
def _beyond(height: int, width: int) -> np.ndarray:
    """float32 [1 H W 1], how many of a pixel's four neighbours are beyond the border."""
    count = np.zeros((1, height, width, 1), np.float32)
    for edge in (count[:, 0], count[:, -1], count[:, :, 0], count[:, :, -1]):
        edge += 1
    return count
