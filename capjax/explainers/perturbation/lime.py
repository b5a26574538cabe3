"""LIME (Ribeiro et al. 2016): a linear fit of the score near the picture, over parts of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, clips
from capjax.explainers.perturbation.copies import Parts, covered, scores
from capjax.explainers.perturbation.covers import cover
from capjax.explainers.perturbation.players import PlayerMethod
from capjax.explainers.perturbation.running import CHECKED, noise, noise_note
from capjax.explainers.request import Request

LEAST_LOG = -60.0
"""Of a sample's weight; one of so little has no part in a fit by float32."""
LARGEST_INVERSE = 1e4
"""Above this, rounding shows in a fit: well-drawn samples leave less than a hundred."""


@struct.dataclass
class Fitting:
    """The tally.

    Attributes:
      scores: [B S Q N] of every sample: one number a sample, little beside the picture.
      count: [B Q N] samples that each target's fit takes.
      done: [B Q N] targets that take no more.
    """

    scores: Float[Array, "B S Q N"]
    count: Int[Array, "B Q N"]
    done: Bool[Array, "B Q N"]


@dataclasses.dataclass(frozen=True)
class LIME(PlayerMethod):
    """What each part of the picture adds to the score in the best linear account of it nearby.

    Each sample shows a random half of the parts. Weighted least squares fits the score by a
    constant and one coefficient a part; samples that show more count for more, by the square root
    of exp(-D^2 / width^2) with D = 1 - cosine to the whole picture. Standard errors are those of
    the fit under errors of any variance (HC1). Where too few samples count for a fit, because the
    kernel is narrow, the map is 0, its errors are the span of the scores, and its noise is 1.

    Deviations: the root of the kernel is the released code's, not the paper's. Every part keeps its
    coefficient, unshrunk, where the paper keeps a few by K-LASSO and that code adds a ridge. What
    is covered has one colour or is blurred, where that code takes the mean colour of each
    superpixel. All samples are drawn, where that code has the whole picture as the first.

    Attributes:
      samples: number of random coalitions, at most; at least two more than there are parts.
      cells: parts, down and across, that cut the picture evenly.
      segments: superpixels (SLIC) as parts instead, at most so many; 0: cells.
      fill: what covers: "mean" is the colour that the encoder takes for zero, "zero" is black,
        "blur" is the picture itself, blurred.
      width: width of the kernel; with small ones, samples that show more than others count alone.
      stop: a target's fit is done once its mean standard error is at most this share of its span,
        looked at after every 64 samples; 0: all samples are taken.
    """

    samples: int = 500
    width: float = 0.25

    NAME = "lime"
    COST = "`samples` passes of encoder and decoder"
    SOURCE = "Ribeiro et al. 2016, equation 2; kernel of the released code (lime_image.py)"

    def __post_init__(self) -> None:
        if self.samples < 3:
            raise ValueError(f"got samples={self.samples}; expected 3 or more")
        if not self.width > 0:
            raise ValueError(f"got width={self.width}; expected more than 0")
        super().__post_init__()

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words' maps are noisy."""
        return noise_note(flags, words, f"samples={self.samples} and width={self.width}")

    def parts(self, request: Request) -> int:
        """A few samples a part."""
        return self._parts.count

    @property
    def _parts(self) -> Parts:
        return Parts.full(self.samples)

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Fitting:
        """No samples."""
        players = self.players(request).count
        if self.samples <= players + 1:
            raise ValueError(
                f"got samples={self.samples} for {players} players; a fit needs more than "
                f"{players + 1}: draw more, or take fewer cells or segments"
            )
        targets = request.weights.shape[:3]
        return Fitting(
            self._parts.room(*targets),
            jnp.zeros(targets, jnp.int32),
            jnp.all(request.used == 0, axis=-1),
        )

    def step(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Fitting,
        index: Int[Array, ""],
    ) -> Fitting:
        """With the samples of part `index`, while a target needs more."""
        samples, players = self._parts.samples(index), self.players(request)
        taken = jnp.minimum((index + 1) * len(samples), self.samples)

        def more(tally: Fitting) -> Fitting:
            pictures = clips(self, request)
            shown = players.pixels(self.drawn(request, samples))
            copies = covered(pictures, cover(net, pictures, self.fill), shown)
            found = scores(net, variables, request, copies)
            return Fitting(
                self._parts.put(tally.scores, found, index),
                jnp.where(tally.done, tally.count, taken),
                tally.done,
            )

        def check(tally: Fitting) -> Fitting:
            enough = noise(*self._fit(request, tally)) <= self.stop
            return dataclasses.replace(tally, done=tally.done | enough)

        tally = jax.lax.cond(jnp.all(tally.done), lambda same: same, more, tally)
        if not self.stop:
            return tally
        due = (taken % CHECKED == 0) & (taken > players.count + 1)
        return jax.lax.cond(due, check, lambda same: same, tally)

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Fitting
    ) -> dict[str, Maps]:
        """The coefficients, and their standard errors."""
        values, error = self._fit(request, tally)
        players = self.players(request)
        flags = {"samples": tally.count.astype(jnp.float32), "noise": noise(values, error)}
        return {self.NAME: Maps(players.maps(values), error=players.maps(error), flags=flags)}

    def drawn(self, request: Request, samples: Int[Array, " K"]) -> Bool[Array, "B K G"]:
        """Coalitions by their numbers: those of a picture depend on its key and the number."""
        count = self.players(request).count

        def one(key: Key[Array, ""]) -> Bool[Array, " G"]:
            return jax.random.bernoulli(key, 0.5, (count,))

        keys = rng.child(request.keys, self.NAME)
        keys = jax.vmap(rng.per_example, in_axes=(0, None))(keys, samples)
        return jax.vmap(jax.vmap(one))(keys)

    def _fit(
        self, request: Request, tally: Fitting
    ) -> tuple[Float[Array, "B Q N G"], Float[Array, "B Q N G"]]:
        """Coefficients and standard errors of every target, of the samples that it takes."""
        numbers = jnp.arange(tally.scores.shape[1])
        shown, there = self.drawn(request, numbers), self.players(request).there()
        shares = jnp.sum(shown & there[:, None], axis=-1) / jnp.sum(there, axis=-1)[:, None]
        logs = -0.5 * jnp.square((1 - jnp.sqrt(shares)) / self.width)[:, None, None]  # [B 1 1 S]
        taken = numbers.reshape(1, 1, 1, -1) < tally.count[..., None]  # [B Q N S]
        # Only ratios matter: the largest weight is 1, and no sample's vanishes.
        largest = jnp.max(jnp.where(taken, logs, -jnp.inf), axis=-1, keepdims=True)
        weights = jnp.where(taken, jnp.exp(jnp.maximum(logs - largest, LEAST_LOG)), 0.0)
        return least_squares(shown, there, jnp.moveaxis(tally.scores, 1, -1), weights)


def least_squares(
    shown: Bool[Array, "B S G"],
    there: Bool[Array, "B G"],
    values: Float[Array, "B Q N S"],
    weights: Float[Array, "B Q N S"],
) -> tuple[Float[Array, "B Q N G"], Float[Array, "B Q N G"]]:
    """Slopes of the weighted fit of values by players that are shown, and their standard errors.

    Where float32 cannot tell slopes by these weights, they are 0, and their errors are the span of
    the values.

    Args:
      shown: the players of each sample.
      there: players that have pixels; the slopes of the others are 0.
      values, weights: of the samples.
    """
    # Half on each side of zero: the columns are then nearly orthogonal, and float32 is enough.
    columns = jnp.where(there[:, None], shown - 0.5, 0.0)
    columns = jnp.concatenate([jnp.ones_like(columns[..., :1]), columns], axis=-1)  # [B S G+1]
    none = jnp.concatenate([jnp.zeros_like(there[:, :1]), ~there], axis=-1)
    count = jnp.sum(weights > 0, axis=-1)
    none = none[:, None, None] | (count == 0)[..., None]  # nothing to fit, and 0 in the result
    size = none.shape[-1]
    missing = none[..., None] * jnp.eye(size).reshape(1, 1, 1, size, size)

    def gram(weights: Float[Array, "B Q N S"]) -> Float[Array, "B Q N G G"]:
        return jnp.einsum(
            "bqns,bsg,bsh->bqngh", weights, columns, columns, precision="highest", optimize=True
        )

    highest = jnp.max(jnp.where(weights > 0, values, -jnp.inf), axis=-1)
    span = highest - jnp.min(jnp.where(weights > 0, values, jnp.inf), axis=-1)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights / jnp.where(total > 0, total, 1.0)
    inverse = jnp.linalg.inv(gram(weights) + missing)
    # The matrix has entries of at most 1: the size of its inverse is what it does to rounding.
    # Not a number is not smaller, either.
    sound = (jnp.max(jnp.abs(inverse), axis=(-1, -2)) < LARGEST_INVERSE)[..., None]
    moments = jnp.einsum("bqns,bsg->bqng", weights * values, columns, precision="highest")
    fitted = jnp.einsum("bqngh,bqnh->bqng", inverse, moments, precision="highest")
    rest = values - jnp.einsum("bqng,bsg->bqns", fitted, columns, precision="highest")
    # A second step: what rounding left of the moments in the rest.
    moments = jnp.einsum("bqns,bsg->bqng", weights * rest, columns, precision="highest")
    fitted = fitted + jnp.einsum("bqngh,bqnh->bqng", inverse, moments, precision="highest")
    rest = values - jnp.einsum("bqng,bsg->bqns", fitted, columns, precision="highest")
    free = jnp.maximum(count - 1 - jnp.sum(there, axis=-1)[:, None, None], 1)
    meat = gram(jnp.square(weights * rest))
    variance = jnp.einsum(
        "bqngh,bqnhi,bqnig->bqng", inverse, meat, inverse, precision="highest", optimize=True
    )
    error = jnp.sqrt(jnp.maximum(variance, 0.0) * (count / free)[..., None])
    fitted, error = jnp.where(sound, fitted, 0.0), jnp.where(sound, error, span[..., None])
    return fitted[..., 1:], error[..., 1:]
