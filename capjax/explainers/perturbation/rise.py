"""RISE (Petsiuk et al. 2018): the mean of random masks, weighted by what is said through them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.explainers.contract import InParts, Maps, clips
from capjax.explainers.perturbation.copies import Parts, covered, scores
from capjax.explainers.perturbation.covers import cover
from capjax.explainers.perturbation.running import (
    CHECKED,
    Running,
    check_stop,
    noise_note,
    sampling_flags,
)
from capjax.explainers.request import Request

PILOT = 16
"""Masks beside those of the mean, of which the centre is taken."""


@struct.dataclass
class Masked:
    """The tally.

    Attributes:
      products: running means of (score - centre) times mask, over the chance.
      centre: [B Q N] mean score through the masks of the pilot.
    """

    products: Running
    centre: Float[Array, "B Q N"]


@dataclasses.dataclass(frozen=True)
class RISE(InParts):
    """How likely the words are where a pixel is seen, whatever else of the picture is.

    A mask is a coarse grid of cells, each shown with a fixed chance, resized to smooth edges and
    shifted at random. The picture is multiplied by it after normalisation, so that what is hidden
    has the colour that the encoder takes for zero. A pixel's value is the mean over masks of
    score times mask, divided by that chance (equation 6): a score that is the same through every
    mask gives that score everywhere. Each frame of a clip has a mask of its own.

    Explains probabilities unless asked otherwise: the weights of a mean should not be negative.
    Standard errors are those of the sampled mean. The error of 500 masks is some three times that
    of the paper's 4,000 (8,000 for ResNet-50).

    Deviation: scores are centred at their mean through 16 other masks, and the centre is added to
    the map. The mean over all masks is the paper's, since that of a mask is its chance; but how
    often a pixel happened to be shown no longer draws the same spots on the maps of all words.

    Attributes:
      masks: number of masks, at most.
      cells: cells of a mask, down and across.
      shown: the chance of a cell to be shown.
      stop: a target's map is done once its mean standard error is at most this share of its span,
        looked at after every 64 masks; 0: all masks are taken.
    """

    masks: int = 500
    cells: int = 7
    shown: float = 0.5
    stop: float = 0.0

    NAME = "rise"
    MEASURE = "prob"
    COST = "`masks` passes of encoder and decoder, and 16"
    SOURCE = "Petsiuk et al. 2018, equation 6; centred"

    def __post_init__(self) -> None:
        for name, least in (("masks", 2), ("cells", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"got {name}={getattr(self, name)}; expected {least} or more")
        if not 0 < self.shown < 1:
            raise ValueError(f"got shown={self.shown}; expected a chance between 0 and 1")
        check_stop(self.stop)

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words' maps are noisy."""
        return noise_note(flags, words, f"masks={self.masks}")

    def parts(self, request: Request) -> int:
        """A few masks a part."""
        return self._parts.count

    @property
    def _parts(self) -> Parts:
        return Parts.full(self.masks)

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Masked:
        """The pilot, and no masks."""

        def pilot(numbers: Int[Array, " K"]) -> Float[Array, "B K Q N"]:
            masks = self.drawn(request, self.masks + numbers)
            return self._scores(net, variables, request, masks)

        return Masked(
            Running.start(request.used, *clips(self, request).shape[1:-1]),
            jnp.mean(Parts.even(PILOT).all(pilot), axis=1),
        )

    def step(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Masked,
        index: Int[Array, ""],
    ) -> Masked:
        """With the masks of part `index`, while a target needs more."""
        samples = self._parts.samples(index)

        def more(products: Running) -> Running:
            masks = self.drawn(request, samples)
            found = self._scores(net, variables, request, masks) - tally.centre[:, None]
            return products.take(*weighted(found, masks / self.shown, samples < self.masks))

        own = tally.products
        own = jax.lax.cond(jnp.all(own.done), lambda same: same, more, own)
        if self.stop:
            due = (index + 1) * len(samples) % CHECKED == 0
            own = jax.lax.cond(due, lambda own: own.check(self.stop), lambda same: same, own)
        return dataclasses.replace(tally, products=own)

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Masked
    ) -> dict[str, Maps]:
        """The means, and their standard errors."""
        own = tally.products
        values = tally.centre[..., None, None, None] + own.mean
        return {self.NAME: Maps(values, error=own.error, flags=sampling_flags(own))}

    def _scores(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        masks: Float[Array, "B K F H W"],
    ) -> Float[Array, "B K Q N"]:
        pictures = clips(self, request)
        copies = covered(pictures, cover(net, pictures, "mean"), masks)
        return scores(net, variables, request, copies)

    def drawn(self, request: Request, samples: Int[Array, " K"]) -> Float[Array, "B K F H W"]:
        """Masks by their numbers: those of a picture depend on its key and the number alone."""
        frames, height, width = clips(self, request).shape[1:-1]
        cell = jnp.array([[-(-height // self.cells), -(-width // self.cells)]])

        def one(key: Key[Array, ""]) -> Float[Array, "F H W"]:
            # Drawn together: every draw of its own takes a second to compile.
            numbers = jax.random.uniform(key, (frames, self.cells**2 + 2))
            grid = numbers[:, 2:].reshape(frames, self.cells, self.cells) < self.shown
            shift = jnp.floor(numbers[:, :2] * cell)
            return jax.vmap(lambda grid, shift: mask(grid, shift, (height, width)))(grid, shift)

        keys = rng.child(request.keys, self.NAME)
        keys = jax.vmap(rng.per_example, in_axes=(0, None))(keys, samples)
        return jax.vmap(jax.vmap(one))(keys)


def mask(
    grid: Bool[Array, "s s"], shift: Float[Array, " 2"], size: tuple[int, int]
) -> Float[Array, "H W"]:
    """A grid resized to one cell more than the picture has down and across, and cut out of that.

    Bilinear between the centres of cells; beyond the outermost ones their values go on.

    Args:
      grid: the cells that are shown.
      shift: whole pixels by which the cut is moved, less than a cell.
      size: (H, W) of the picture.
    """
    down, across = (_between(len(grid), shift[axis], pixels) for axis, pixels in enumerate(size))
    return jnp.einsum("ya,ab,xb->yx", down, grid.astype(jnp.float32), across, precision="highest")


def _between(cells: int, shift: Float[Array, ""], pixels: int) -> Float[Array, "pixels cells"]:
    """The shares that cells have in pixels."""
    whole = (cells + 1) * -(-pixels // cells)  # pixels of the resized grid
    place = (jnp.arange(pixels) + shift + 0.5) * (cells / whole) - 0.5
    place = jnp.clip(place, 0, cells - 1)
    return jnp.maximum(0.0, 1.0 - jnp.abs(place[:, None] - jnp.arange(cells)[None]))


def weighted(
    scores: Float[Array, "B K Q N"],
    masks: Float[Array, "B K F H W"],
    real: Array,
) -> tuple[Float[Array, "B Q N F H W"], Float[Array, "B Q N F H W"], Array]:
    """Mean of the products of scores and masks, sum of squared distances from it, and count.

    Args:
      scores, masks: of samples.
      real: [K] samples that are not beyond the end.
    """
    count = jnp.sum(real)
    own = jnp.where(real[None, :, None, None], scores, 0.0)
    product = functools.partial(jnp.einsum, "bkqn,bkfhw->bqnfhw", precision="highest")
    mean = product(own, masks) / jnp.maximum(count, 1)
    # Scores are centred: the mean is small beside the squares, and little is lost by subtracting.
    squares = product(jnp.square(own), jnp.square(masks))
    return mean, jnp.maximum(squares - count * jnp.square(mean), 0.0), count
