"""Holes to learn from: a rectangle and free-form strokes of a brush.

The settings are those of the released gated inpainter (Yu et al. 2019, arXiv 1806.03589, appendix).
Every mask is a function of its key and the size alone, whatever else is in its batch. Deviations:
every picture of a batch has its own holes, where the released program has one mask a batch; and a
pixel belongs to a stroke if its centre does, where Pillow's polygons round their borders.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from capjax import rng

TURN = 2 * jnp.pi
ANGLE, SPREAD = TURN / 5, TURN / 15
"""A stroke turns by about this angle, to one side and then to the other."""

RELEASED_SIDE = 256
"""Of the pictures that the defaults of `Holes` are for."""


@dataclasses.dataclass(frozen=True)
class Holes:
    """What holes are like, in pixels.

    Attributes:
      rectangle: height and width, before it shrinks.
      shrink: by how much it shrinks on both sides of an axis, at most.
      margin: of the picture, which the rectangle keeps free above, left, below and right.
      strokes: fewest and most in a picture.
      vertices: fewest and most in a stroke, after its first.
      width: least and largest of a stroke; the largest is never reached.

    Raises:
      ValueError: a range is empty, or the rectangle may shrink to nothing.
    """

    rectangle: tuple[int, int] = (128, 128)
    shrink: int = 16
    margin: int = 0
    strokes: tuple[int, int] = (1, 3)
    vertices: tuple[int, int] = (4, 11)
    width: tuple[int, int] = (12, 40)

    def __post_init__(self) -> None:
        if min(self.rectangle) <= 2 * self.shrink or min(self.shrink, self.margin) < 0:
            raise ValueError(
                f"got a rectangle of {self.rectangle} that shrinks by up to {self.shrink} on every "
                f"side, and a margin of {self.margin}; expected something to be left, and no "
                "negative number"
            )
        for name in ("strokes", "vertices", "width"):
            least, most = getattr(self, name)
            if not 1 <= least <= most:
                raise ValueError(f"got {name}={(least, most)}; expected 1 <= least <= most")


class Stroke(NamedTuple):
    """A line through points.

    Attributes:
      points: [N+1 2] rows and columns, whole numbers.
      number: how many of the N segments are drawn.
      width: of the line, a whole number.
    """

    points: Float[Array, "N+1 2"]
    number: Int[Array, ""]
    width: Float[Array, ""]


def draw_holes(
    keys: Key[Array, " B"], size: tuple[int, int], holes: Holes
) -> Float[Array, "B H W 1"]:
    """1 in the rectangle or a stroke, 0 elsewhere; one mask a key.

    Args:
      keys: as from `rng.per_example`.
      size: (H, W).
      holes: what they are like.

    Raises:
      ValueError: the rectangle does not fit into the picture.
    """
    covered = draw_rectangles(keys, size, holes) | draw_strokes(keys, size, holes)
    return covered[..., None].astype(jnp.float32)


def draw_rectangles(
    keys: Key[Array, " B"], size: tuple[int, int], holes: Holes
) -> Bool[Array, "B H W"]:
    """True in a rectangle at a random place, shrunk at random; args and errors as `draw_holes`."""
    for length, side in zip(size, holes.rectangle, strict=True):
        if side + 2 * holes.margin > length:
            raise ValueError(
                f"a rectangle of {holes.rectangle} with a margin of {holes.margin} does not fit "
                f"into a picture of {size}; choose smaller ones"
            )

    def along(draws: Float[Array, " 2"], length: int, side: int) -> Bool[Array, " N"]:
        # As released: the upper bound is exclusive, so the last place is only taken if the only.
        places = max(1, length - side - 2 * holes.margin)
        start = holes.margin + _whole(draws[0], 0, places - 1)
        less = _whole(draws[1], 0, holes.shrink)
        index = jnp.arange(length)
        return (index >= start + less) & (index < start + side - less)

    def one(key: Key[Array, ""]) -> Bool[Array, "H W"]:
        draws = jax.random.uniform(rng.stream(key, "rectangle"), (2, 2))
        rows, columns = map(along, draws, size, holes.rectangle)
        return rows[:, None] & columns[None]

    return jax.vmap(one)(keys)


def draw_strokes(
    keys: Key[Array, " B"], size: tuple[int, int], holes: Holes
) -> Bool[Array, "B H W"]:
    """True in strokes of a brush that wanders up and down; args as `draw_holes`.

    As released, strokes only ever go to the right: its program flips them at random, and then does
    not use what it flipped.
    """
    most, length = holes.strokes[1], _SINGLE + 2 * holes.vertices[1]

    def one(key: Key[Array, ""]) -> Bool[Array, "H W"]:
        # One draw for all: a generator is much to compile.
        draws = jax.random.uniform(rng.stream(key, "strokes"), (1 + most * length,))
        count = _whole(draws[0], *holes.strokes)
        strokes = jax.vmap(functools.partial(_wander, size=size, holes=holes))(
            draws[1:].reshape(most, length)
        )
        covered = jax.vmap(functools.partial(paint, size=size))(strokes)
        return jnp.any(covered & (jnp.arange(most) < count)[:, None, None], axis=0)

    return jax.vmap(one)(keys)


_SINGLE = 6
"""Draws of a stroke beside two for each of its points."""


def _wander(draws: Float[Array, " N"], *, size: tuple[int, int], holes: Holes) -> Stroke:
    """A stroke from numbers in [0, 1)."""
    count = _whole(draws[0], *holes.vertices)
    least, most = holes.width
    width = jnp.floor(least + (most - least) * draws[1])
    lower, upper = ANGLE - SPREAD * draws[2], ANGLE + SPREAD * draws[3]
    border = jnp.asarray(size, jnp.float32)
    start = jnp.floor(border * draws[4:6])
    turns, lengths = draws[_SINGLE:].reshape(2, -1)
    angles = lower + (upper - lower) * turns
    angles = jnp.where(jnp.arange(len(turns)) % 2 == 0, TURN - angles, angles)
    mean = (size[0] ** 2 + size[1] ** 2) ** 0.5 / 8
    steps = mean + (mean // 2) * jax.scipy.special.ndtri(lengths)
    steps = jnp.clip(steps, 0.0, 2 * mean)
    moves = steps[:, None] * jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=1)

    def move(point: Float[Array, " 2"], by: Float[Array, " 2"]) -> tuple[Array, Array]:
        point = jnp.floor(jnp.clip(point + by, 0.0, border))
        return point, point

    _, others = jax.lax.scan(move, start, moves)
    return Stroke(jnp.concatenate([start[None], others]), count, width)


def paint(stroke: Stroke, size: tuple[int, int]) -> Bool[Array, "H W"]:
    """True where a stroke is: bars as wide as it, and discs of radius width // 2 at its points."""
    rows, columns = jnp.arange(size[0])[:, None], jnp.arange(size[1])[None]
    radius, half = stroke.width // 2, stroke.width / 2

    def covers(start: Array, end: Array) -> Bool[Array, "H W"]:
        along = end - start
        length = jnp.sum(along**2)
        x, y = rows - start[0], columns - start[1]
        forward = x * along[0] + y * along[1]
        aside = x * along[1] - y * along[0]
        reach = half * jnp.sqrt(length)
        bar = (forward >= 0) & (forward <= length) & (aside > -reach) & (aside <= reach)
        there = (rows - end[0]) ** 2 + (columns - end[1]) ** 2
        return bar | (x**2 + y**2 <= radius**2) | (there <= radius**2)

    segments = jax.vmap(covers)(stroke.points[:-1], stroke.points[1:])
    drawn = jnp.arange(len(stroke.points) - 1) < stroke.number
    return jnp.any(segments & drawn[:, None, None], axis=0)


def _whole(draw: Float[Array, ""], least: int, most: int) -> Int[Array, ""]:
    """A number in [0, 1) as one of least, …, most."""
    return least + jnp.floor((most - least + 1) * draw).astype(jnp.int32)
