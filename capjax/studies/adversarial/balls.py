"""Where a picture may move: balls around it within the range of pixels, and 8-bit pictures there.

Pixels are in [0, 1]. Every function treats each picture of a batch by itself.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

Norm = Literal["linf", "l2"]
"""Of the change of a picture: the largest of a value, or the root of the mean square."""

LEVELS = 255
INSIDE = 1 - 1e-6
"""A picture that is too far is scaled to just inside the ball: rounding puts none outside again."""
SHRINKINGS = 12
"""Halvings by which the largest share of a change is sought whose rounding stays in the ball."""


def by_picture(values: Float[Array, " B"], like: Array) -> Array:
    """[B] as [B 1 ...] beside pictures."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def size(change: Float[Array, "B ..."], norm: Norm) -> Float[Array, " B"]:
    """The norm of each picture's change."""
    axes = tuple(range(1, change.ndim))
    if norm == "linf":
        return jnp.max(jnp.abs(change), axis=axes)
    return jnp.sqrt(jnp.mean(jnp.square(change), axis=axes))


def project(
    moved: Float[Array, "B ..."],
    pictures: Float[Array, "B ..."],
    epsilons: Float[Array, " B"],
    norm: Norm,
) -> Float[Array, "B ..."]:
    """The pictures brought back into the ball and into [0, 1]; what is there stays bit-identical.

    Deviation: of "l2" the change is scaled, then clipped. That lies in both sets and is not always
    the nearest such point.
    """
    wide = by_picture(epsilons, pictures)
    if norm == "linf":
        return jnp.clip(moved, jnp.maximum(pictures - wide, 0), jnp.minimum(pictures + wide, 1))
    change = moved - pictures
    far = size(change, norm)
    nearer = pictures + by_picture(INSIDE * epsilons / jnp.where(far > 0, far, 1), moved) * change
    return jnp.clip(jnp.where(by_picture(far > epsilons, moved), nearer, moved), 0, 1)


def random_start(
    pictures: Float[Array, "B ..."],
    epsilons: Float[Array, " B"],
    keys: Key[Array, " B"],
    norm: Norm,
) -> Float[Array, "B ..."]:
    """A random point of each ball, from the picture's own key: uniform in the ball.

    Of "l2" the radius is epsilon times u ** (1 / n), in a random direction.
    """

    def one(key: Key[Array, ""]) -> Array:
        shape = pictures.shape[1:]
        if norm == "linf":
            return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        direction, radius = jax.random.split(key)
        drawn = jax.random.normal(direction, shape)
        far = jax.random.uniform(radius) ** (1 / drawn.size)
        return far * drawn / jnp.sqrt(jnp.mean(jnp.square(drawn)))

    start = pictures + by_picture(epsilons, pictures) * jax.vmap(one)(keys)
    return project(start, pictures, epsilons, norm)


def steepest(slope: Float[Array, "B ..."], norm: Norm) -> Float[Array, "B ..."]:
    """The change of size one that a loss with this gradient falls by the most; 0 where it is 0."""
    if norm == "linf":
        return -jnp.sign(slope)
    far = by_picture(size(slope, norm), slope)
    return -slope / jnp.where(far > 0, far, 1)


def in_levels(
    moved: Float[Array, "B ..."],
    images: UInt8[Array, "B ..."],
    epsilons: Float[Array, " B"],
    norm: Norm,
) -> UInt8[Array, "B ..."]:
    """The 8-bit pictures nearest to moved ones that lie in their balls too.

    Rounding may leave a ball. For "linf" each value is clipped to whole levels within it; for "l2"
    the largest share of the change is taken, of some halvings, whose rounding stays inside.
    """
    own = images.astype(jnp.int32)
    change = moved * LEVELS - images  # of levels
    if norm == "linf":
        most = jnp.floor(epsilons * LEVELS + 1e-3).astype(jnp.int32)
        wide = by_picture(most, own)
        rounded = jnp.clip(jnp.round(change).astype(jnp.int32), -wide, wide)
        return jnp.clip(own + rounded, 0, LEVELS).astype(jnp.uint8)

    def at(share: Float[Array, " B"]) -> Array:
        return jnp.round(by_picture(share, change) * change)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        fits = size(at(middle), "l2") <= epsilons * LEVELS
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    ones = jnp.ones_like(epsilons)
    low, _ = jax.lax.fori_loop(0, SHRINKINGS, halve, (jnp.zeros_like(ones), ones))
    share = jnp.where(size(at(ones), "l2") <= epsilons * LEVELS, ones, low)
    rounded = own + at(share).astype(jnp.int32)
    return jnp.clip(rounded, 0, LEVELS).astype(jnp.uint8)
