"""Players: the parts of a picture that are taken away together, cells of a grid or superpixels.

Letters: B images, K coalitions of each, G players, Q sentences, N targets, F frames.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.contract import InParts, Method, clips
from capjax.explainers.perturbation.covers import Cover, check_fill
from capjax.explainers.perturbation.running import check_stop
from capjax.explainers.perturbation.superpixels import require
from capjax.explainers.request import Request


@struct.dataclass
class Players:
    """Which pixels belong to which player; the only code that maps one to the other.

    Attributes:
      labels: [B F H W] the player of each pixel.
      cells: (F, h, w) of a grid whose cells are the players; None for superpixels.
      count: players of a picture; some may have no pixels.
    """

    labels: Int[Array, "B F H W"]
    cells: tuple[int, int, int] | None = struct.field(pytree_node=False)
    count: int = struct.field(pytree_node=False)

    @classmethod
    def of(cls, method: Method, request: Request, cells: int, segments: int) -> "Players":
        """Those of a method whose options these are; each frame of a clip has its own.

        Args:
          method: that asks.
          request: with the superpixels that it asked for.
          cells: down and across, where there are no superpixels.
          segments: superpixels of a picture at most; 0: cells.
        """
        rows, frames, height, width = clips(method, request).shape[:-1]
        if segments:
            if segments not in request.superpixels:
                raise ValueError(
                    f"{method.NAME} needs superpixels, and this request has none of "
                    f"segments={segments}; cut them with "
                    "capjax.explainers.perturbation.superpixels, or leave `segments` out"
                )
            labels = request.superpixels[segments].reshape(rows, frames, height, width)
            first = segments * jnp.arange(frames).reshape(1, frames, 1, 1)
            return cls(labels + first, None, frames * segments)
        row, column = (np.arange(side) * cells // side for side in (height, width))
        numbers = np.arange(frames * cells * cells, dtype=np.int32).reshape(frames, cells, cells)
        labels = jnp.asarray(numbers[:, row[:, None], column])[None]
        labels = jnp.broadcast_to(labels, (rows, *labels.shape[1:]))
        return cls(labels, numbers.shape, numbers.size)

    def there(self) -> Bool[Array, "B G"]:
        """The players that have pixels."""
        own = self.labels.reshape(len(self.labels), -1, 1)
        return jnp.any(own == jnp.arange(self.count).reshape(1, 1, -1), axis=1)

    def pixels(self, coalitions: Bool[Array, "B K G"]) -> Bool[Array, "B K F H W"]:
        """The pixels of coalitions of players."""
        flat = self.labels.reshape(len(self.labels), 1, -1)
        found = jnp.take_along_axis(coalitions, flat, axis=-1)
        return found.reshape(*coalitions.shape[:2], *self.labels.shape[1:])

    def maps(self, values: Float[Array, "B Q N G"]) -> Float[Array, "B Q N F h w"]:
        """What each player is given: on the grid of the cells, or on the pixels of superpixels."""
        if self.cells is not None:
            return values.reshape(*values.shape[:-1], *self.cells)
        flat = self.labels.reshape(len(self.labels), 1, 1, -1)
        found = jnp.take_along_axis(values, flat, axis=-1)
        return found.reshape(*values.shape[:-1], *self.labels.shape[1:])


def check_players(cells: int, segments: int) -> None:
    """Refuses numbers of players that make no sense."""
    if cells < 1:
        raise ValueError(f"got cells={cells}; expected 1 or more, down and across")
    if segments < 0 or segments == 1:
        raise ValueError(f"got segments={segments}; expected 2 superpixels or more, or 0 for cells")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayerMethod(InParts):
    """A method that covers players of a picture, and draws which.

    Attributes:
      cells: parts, down and across, that cut the picture evenly.
      segments: superpixels (SLIC) as parts instead, at most so many; 0: cells.
      fill: what covers: "mean" is the colour that the encoder takes for zero, "zero" is black,
        "blur" is the picture itself, blurred.
      stop: a target is done once its mean standard error is at most this share of its map's span;
        0: all samples are taken.
    """

    cells: int = 7
    segments: int = 0
    fill: Cover = "mean"
    stop: float = 0.0

    def __post_init__(self) -> None:
        check_players(self.cells, self.segments)
        check_fill(self.fill)
        check_stop(self.stop)

    @property
    def superpixels(self) -> int:
        """As many as there are players of that kind."""
        return self.segments

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """The same; refuses superpixels where nothing can cut them."""
        if self.segments:
            require()
        return net

    def players(self, request: Request) -> Players:
        """Those of the request's pictures."""
        return Players.of(self, request, self.cells, self.segments)
