"""The settings of what an inpainter minimises, and of the holes that it learns to fill."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from capjax import rng
from capjax.inpaint.masks import Holes, draw_holes, draw_rectangles, draw_strokes

KINDS = ("both", "either", "rectangle", "strokes")


@dataclasses.dataclass
class HoleConfig:
    """Holes that are drawn in pictures; lengths are shares of the picture's side.

    The defaults are those of the released inpainter (Yu et al. 2019), which are for 256 pixels.

    Attributes:
      kind: "both", the union of a rectangle and strokes of a brush, as released; "either", one of
        the two in every second picture, at random; "rectangle"; or "strokes".
      rectangle: side of the rectangle, before it shrinks.
      shrink: by how much of the picture's side the rectangle shrinks on each of its sides, at most;
        it shrinks alike on opposite sides.
      strokes: most strokes; there is at least one.
      least_width, most_width: of a stroke.
    """

    kind: str = "both"
    rectangle: float = 128 / 256
    shrink: float = 16 / 256
    strokes: int = 3
    least_width: float = 12 / 256
    most_width: float = 40 / 256

    def check(self, side: int) -> None:
        """Raises ValueError for what has no meaning in square pictures of `side` pixels."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown holes.kind {self.kind!r}; choose one of: {', '.join(KINDS)}")
        if not 0 < self.rectangle <= 1:
            raise ValueError(f"holes.rectangle is {self.rectangle}; expected a share above 0, to 1")
        try:
            self.pixels(side)
        except ValueError as error:
            raise ValueError(f"holes, in pictures of data.side={side}: {error}") from error

    def pixels(self, side: int) -> Holes:
        """The same in pixels of square pictures of `side`."""

        def scaled(share: float) -> int:
            return round(share * side)

        whole = max(1, scaled(self.rectangle))
        return Holes(
            rectangle=(whole, whole),
            shrink=scaled(self.shrink),
            strokes=(1, self.strokes),
            width=(max(1, scaled(self.least_width)), max(1, scaled(self.most_width))),
        )

    def longest(self, side: int) -> int:
        """The longest side of an object that lies within such a hole, in pixels.

        Strokes are longer than they are wide, so of them alone it is the width.
        """
        holes = self.pixels(side)
        return holes.width[1] if self.kind == "strokes" else holes.rectangle[0]

    def draw(self, keys: Key[Array, " B"], side: int) -> Float[Array, "B S S 1"]:
        """1 in the hole of each picture, 0 elsewhere: a function of its key alone."""
        size, holes = (side, side), self.pixels(side)
        if self.kind == "both":
            return draw_holes(keys, size, holes)
        if self.kind == "rectangle":
            chosen = draw_rectangles(keys, size, holes)
        elif self.kind == "strokes":
            chosen = draw_strokes(keys, size, holes)
        else:
            first = jax.vmap(lambda key: jax.random.bernoulli(rng.stream(key, "kind")))(keys)
            chosen = jnp.where(
                first[:, None, None],
                draw_rectangles(keys, size, holes),
                draw_strokes(keys, size, holes),
            )
        return chosen[..., None].astype(jnp.float32)


@dataclasses.dataclass
class InpaintingLossConfig:
    """What the generator minimises.

    Attributes:
      known: what the absolute error of a known pixel counts beside one in the hole: 1 as released,
        which restores all of the picture; less spends the generator on what is pasted.
      adversarial: weight of deceiving the discriminator; 0: there is none.
    """

    known: float = 1.0
    adversarial: float = 1.0

    def check(self) -> None:
        """Raises ValueError for a value that has no meaning."""
        for name in ("known", "adversarial"):
            if getattr(self, name) < 0:
                raise ValueError(f"loss.{name} is {getattr(self, name)}; expected 0 or more")
