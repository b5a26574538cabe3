"""Shapley values by sampled permutations (Castro et al. 2009) of cells or superpixels."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, clips
from capjax.explainers.perturbation.copies import Parts, covered, scores, whole
from capjax.explainers.perturbation.covers import cover
from capjax.explainers.perturbation.players import PlayerMethod
from capjax.explainers.perturbation.running import (
    Running,
    noise_note,
    sampling_flags,
)
from capjax.explainers.request import Request

LEAST_PAIRS = 4
"""Before a target may be done: of fewer, the standard error says little."""


@struct.dataclass
class Walks:
    """The tally.

    Attributes:
      shares: running means of what each player adds [B Q N G].
      ends: [B 2 Q N] scores with no player and with all of them.
    """

    shares: Running
    ends: Float[Array, "B 2 Q N"]


@dataclasses.dataclass(frozen=True)
class Shapley(PlayerMethod):
    """What each part of the picture adds to the score, whatever other parts are there already.

    The mean, over random orders, of what the score gains as the part is uncovered. The values of a
    target sum to what the whole picture adds to the covered one: exactly, in every order.

    Each order is also taken backwards, and the mean of both is one sample: values of scores in
    which parts interact in pairs at most are then exact from one sample on. Standard errors are
    over these samples.

    Attributes:
      pairs: number of random orders, each also taken backwards, at most.
      cells: parts, down and across, that cut the picture evenly.
      segments: superpixels (SLIC) as parts instead, at most so many; 0: cells.
      fill: what covers: "mean" is the colour that the encoder takes for zero, "zero" is black,
        "blur" is the picture itself, blurred.
      stop: a target's values are done once their mean standard error is at most this share of
        their span, after 4 samples at the earliest; 0: all orders are taken.
    """

    pairs: int = 8

    NAME = "shapley"
    COST = "2 x `pairs` passes of encoder and decoder per part"
    SOURCE = "Castro et al. 2009, section 3; both ways as Mitchell et al. 2022"

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise ValueError(f"got pairs={self.pairs}; expected 2 or more")
        super().__post_init__()

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words' maps are noisy."""
        return noise_note(flags, words, f"pairs={self.pairs}")

    def parts(self, request: Request) -> int:
        """One order, both ways, a part."""
        return self.pairs

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Walks:
        """No orders."""
        pictures = clips(self, request)
        nothing = cover(net, pictures, self.fill)[:, None]
        ends = [scores(net, variables, request, nothing)[:, 0], whole(net, variables, request)]
        players = self.players(request).count
        return Walks(Running.start(request.used, players), jnp.stack(ends, axis=1))

    def step(
        self, net: CaptionNet, variables: Any, request: Request, tally: Walks, index: Int[Array, ""]
    ) -> Walks:
        """With order `index`, while a target needs more."""

        def more(shares: Running) -> Running:
            found = self._walked(net, variables, request, tally.ends, self.order(request, index))
            return shares.take(found, jnp.zeros_like(found), jnp.int32(1))

        done = jnp.all(tally.shares.done)
        shares = jax.lax.cond(done, lambda same: same, more, tally.shares)
        if self.stop:
            shares = jax.lax.cond(
                index + 1 >= LEAST_PAIRS,
                *(lambda own: own.check(self.stop), lambda same: same, shares),
            )
        return dataclasses.replace(tally, shares=shares)

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Walks
    ) -> dict[str, Maps]:
        """The means, and their standard errors."""
        players, shares = self.players(request), tally.shares
        maps = Maps(
            players.maps(shares.mean),
            error=players.maps(shares.error),
            flags=sampling_flags(shares),
        )
        return {self.NAME: maps}

    def order(self, request: Request, index: Int[Array, ""]) -> Int[Array, "B G"]:
        """The players of each picture in order `index`, which its key decides."""
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(
            rng.child(request.keys, self.NAME), index
        )
        count = self.players(request).count
        return jax.vmap(lambda key: jax.random.permutation(key, count))(keys)

    def _walked(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        ends: Float[Array, "B 2 Q N"],
        order: Int[Array, "B G"],
    ) -> Float[Array, "B Q N G"]:
        """What players add in an order and in its reverse, the mean of both."""
        pictures, players = clips(self, request), self.players(request)
        covers = cover(net, pictures, self.fill)
        place = jnp.argsort(order, axis=-1)[:, None]  # [B 1 G] of each player
        inner = players.count - 1  # coalitions between none and all, one way

        def on(numbers: Int[Array, " K"]) -> Float[Array, "B K Q N"]:
            backwards = (numbers >= inner).reshape(1, -1, 1)
            size = (1 + numbers % max(inner, 1)).reshape(1, -1, 1)
            own = jnp.where(backwards, players.count - 1 - place, place)
            shown = players.pixels(own < size)
            return scores(net, variables, request, covered(pictures, covers, shown))

        first, last = ends[:, :1], ends[:, 1:]
        there = jnp.zeros_like(ends[:, :0])
        if inner:
            there = Parts.even(2 * inner).all(on)
        gains = []
        for way, own in ((there[:, :inner], place), (there[:, inner:], inner - place)):
            steps = jnp.diff(jnp.concatenate([first, way, last], axis=1), axis=1)  # [B G Q N]
            gains.append(jnp.take_along_axis(jnp.moveaxis(steps, 1, -1), own[:, None], axis=-1))
        return (gains[0] + gains[1]) / 2
