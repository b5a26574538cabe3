"""Signals of the maps of object words: how flat, how alike, and what their peaks are worth.

Letters: B images, N object words of a caption, F frames, M cells of a map.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.attentions.attention import Attention
from capjax.explainers.cams.gradcam import GradCAM
from capjax.explainers.request import Request

PEAK = 0.5
"""Share of a map's maximum from which a cell belongs to its peak."""


def signals_of_maps(
    net: CaptionNet,
    variables: Any,
    request: Request,
    said: Float[Array, "B N"],
    wanted: frozenset[str],
) -> dict[str, Float[Array, "B N"]]:
    """flatness, agreement and peak, those that are wanted, of the maps of two cheap methods."""
    attends = request.forced.attention is not None
    found = {}
    looked = gradients = None
    if attends and wanted & {"flatness", "agreement", "peak"}:
        looked = _flat(Attention()(net, variables, request)[Attention.NAME].values)
    if "agreement" in wanted if attends else wanted & {"flatness", "peak"}:
        gradients = _flat(GradCAM()(net, variables, request)[GradCAM.NAME].values)
    if looked is not None and gradients is not None:
        found["agreement"] = rank_correlation(looked, gradients)
    maps = jnp.abs(gradients) if looked is None and gradients is not None else looked
    if maps is not None and "flatness" in wanted:
        found["flatness"] = flatness(maps)
    if maps is not None and "peak" in wanted:
        found["peak"] = (said - _without_peak(net, variables, request, maps)) / math.log(2)
    return found


def _without_peak(
    net: CaptionNet, variables: Any, request: Request, maps: Float[Array, "B N M"]
) -> Float[Array, "B N"]:
    """Log-probability of every target where the peak of its map holds the mean feature."""
    features = request.features
    mean = features.pooled[:, None, None].astype(features.positions.dtype)

    def of_target(given: tuple[Float[Array, "B M"], Array]) -> Float[Array, " B"]:
        own, at = given
        peak = (own >= PEAK * jnp.max(own, axis=-1, keepdims=True)).reshape(features.valid.shape)
        moved = jnp.where((peak & features.valid)[..., None], mean, features.positions)
        hidden = dataclasses.replace(features, positions=moved)
        return request.score(net, variables, features=hidden)[:, 0, at]

    each = jax.lax.map(of_target, (maps.swapaxes(0, 1), jnp.arange(maps.shape[1])))
    return each.T


def _flat(maps: Float[Array, "B 1 N F h w"]) -> Float[Array, "B N M"]:
    return maps[:, 0].reshape(*maps.shape[:1], maps.shape[2], -1)


def flatness(maps: Float[Array, "*B M"]) -> Float[Array, "*B"]:
    """Entropy of each map, divided by its sum, as a share of a uniform one's; 1 of zeros."""
    total = jnp.sum(maps, axis=-1, keepdims=True)
    share = maps / jnp.where(total > 0, total, 1.0)
    entropy = -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.maximum(share, 1e-30)), 0.0), -1)
    return jnp.where(total[..., 0] > 0, entropy / math.log(max(2, maps.shape[-1])), 1.0)


def rank_correlation(one: Float[Array, "*B M"], other: Float[Array, "*B M"]) -> Float[Array, "*B"]:
    """Spearman's, with mean ranks of ties; 0 where a map is constant."""
    first, second = _ranks(one), _ranks(other)
    above = jnp.sum(first * second, axis=-1)
    below = jnp.sqrt(jnp.sum(first**2, axis=-1) * jnp.sum(second**2, axis=-1))
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1.0), 0.0)


def _ranks(values: Float[Array, "*B M"]) -> Float[Array, "*B M"]:
    """Ranks from 0 less their mean."""
    rows = values.reshape(-1, values.shape[-1])

    def of_row(row: Float[Array, " M"]) -> Float[Array, " M"]:
        order = jnp.sort(row)
        below = jnp.searchsorted(order, row, side="left")
        return (below + jnp.searchsorted(order, row, side="right") - 1) / 2

    ranks = jax.vmap(of_row)(rows).reshape(values.shape)
    return ranks - (values.shape[-1] - 1) / 2
