"""Attention maps (Xu et al. 2015, section 5.4): where the decoder looked before each word."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request


@dataclasses.dataclass(frozen=True)
class Attention(Method):
    """Attention of each target, averaged over its tokens with |weights|; 0 where all are 0.

    The maps come from teacher-forcing the given tokens once, never from what a decoder kept while
    it searched: a beam that ended, was cut or changed parent cannot mix them up. For the target
    `Word(t)` the map is the attention of step t itself, and sums to one (to one minus the mass on
    off-grid tokens, which is not put back and is the flag `off_grid_mass`).
    """

    NAME = "attention"
    COST = "none beyond reading the sentence once"
    SOURCE = "Xu et al. 2015, section 5.4"
    MEASURE = None
    CONTRASTS = False
    PHRASE = "max"
    SPREAD = "sum"

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Raises ValueError where the decoder attends to nothing."""
        values = of_targets(_steps(net, request), request)
        return {self.NAME: _mapped(values, request)}


@dataclasses.dataclass(frozen=True)
class AttentionChoice(Method):
    """The position each target reads with hard attention: 1 there and 0 elsewhere.

    What a captioner of `reading` "argmax" or "sample" read; where it reads the expectation, the
    most attended position (ties: the first). A phrase is the average of its tokens.
    """

    NAME = "attention_choice"
    COST = "none beyond reading the sentence once"
    SOURCE = "Xu et al. 2015, section 4.1"
    MEASURE = None
    CONTRASTS = False

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Raises ValueError where the decoder attends to nothing."""
        chosen = request.forced.chosen
        if chosen is None:
            steps = _steps(net, request)
            flat = steps.reshape(*steps.shape[:3], -1)
            best = jax.nn.one_hot(jnp.argmax(flat, axis=-1), flat.shape[-1])
            chosen = best.reshape(steps.shape)
        return {self.NAME: Maps.on_features(of_targets(chosen, request), request.features)}


def of_targets(steps: Float[Array, "B Q T F P"], request: Request) -> Float[Array, "B Q N F P"]:
    """The average over a target's tokens with |weights|."""
    share = jnp.abs(request.used)
    total = jnp.sum(share, axis=-1, keepdims=True)
    share = share / jnp.where(total > 0, total, 1.0)
    return jnp.einsum("bqnt,bqtfp->bqnfp", share, steps.astype(jnp.float32), precision="highest")


def off_grid_mass(values: Float[Array, "B Q N F P"]) -> dict[str, Float[Array, "B Q N"]]:
    """The flag of maps that sum to one but for what lies on no cell."""
    return {"off_grid_mass": 1 - jnp.sum(values, axis=(-1, -2))}


def _steps(net: CaptionNet, request: Request) -> Float[Array, "B Q T F P"]:
    steps = request.forced.attention
    if steps is None:
        raise ValueError(
            f"{type(net.decoder).__name__} has no attention to show; choose another method, "
            "for instance gradcam"
        )
    return steps


def _mapped(values: Float[Array, "B Q N F P"], request: Request) -> Maps:
    off_grid = request.features.extra.shape[1] > 0
    flags = off_grid_mass(values) if off_grid else {}
    return Maps.on_features(values, request.features, flags=flags)
