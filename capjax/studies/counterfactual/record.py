"""What is known of one photograph and its counterfactuals, for tables and for pictures."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from capjax.data.objects.region import Region
from capjax.types import Caption, Geometry


@dataclasses.dataclass(frozen=True, eq=False)
class Without:
    """A photograph without one object.

    Attributes:
      title: of the object.
      region: of the object.
      picture: without it; not kept of fills but the first.
      fill: what filled it.
      caption: what is said of it.
      attention: [h w] summed over the words of that caption; None without attention.
      numbers: importance by each measure; None where a measure says nothing.
      moved: how far attention moves, by each distance; empty without attention.
      named: whether the photograph's caption names the object's class; None where nobody knows.
    """

    title: str
    region: Region
    picture: UInt8[np.ndarray, "H W 3"] | None
    fill: str
    caption: Caption
    attention: Float[np.ndarray, "h w"] | None
    numbers: Mapping[str, float | None]
    moved: Mapping[str, float | None]
    named: bool | None


@dataclasses.dataclass(frozen=True, eq=False)
class Counterfactuals:
    """A photograph and what becomes of it without each of its objects.

    Attributes:
      image: upright and whole.
      caption: what is said of it.
      attention: [h w] summed over the words; None without attention.
      geometry: where the grid of the attention lies.
      without: of each fill each object.
      distance: name of the sentence distance among the numbers.
    """

    image: UInt8[np.ndarray, "H W 3"]
    caption: Caption
    attention: Float[np.ndarray, "h w"] | None
    geometry: Geometry
    without: tuple[Without, ...]
    distance: str

    @property
    def first(self) -> tuple[Without, ...]:
        """Those of the first fill, one an object."""
        return tuple(own for own in self.without if own.fill == self.without[0].fill)
