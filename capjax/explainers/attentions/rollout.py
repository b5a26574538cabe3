"""Attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928, section 3.1).

A transformer encoder mixes its tokens: what is stored at a position came from elsewhere too.
Rollout follows attention back through the layers to the patches that went in.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.attentions.attention import Attention, off_grid_mass
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request

Fusion = Literal["mean", "max", "min"]
FUSIONS: Mapping[str, Callable[..., Array]] = {"mean": jnp.mean, "max": jnp.max, "min": jnp.min}


def rollout(
    attentions: Float[Array, "*B L H S S"],
    *,
    fusion: Fusion = "mean",
    discard: float = 0.0,
    residual: float = 0.5,
) -> Float[Array, "*B S S"]:
    """How much of each input token (last axis) is in each output token; every row sums to one.

        A_l = residual I + (1 - residual) fused_l,    rollout = A_L ... A_2 A_1

    The paper fuses heads by their mean and discards nothing; the other choices are those of the
    popular vit-explain (Gildenblat 2020). Rows of `fused_l` are brought to one after fusing and
    discarding.

    Args:
      attentions: of every layer, the first first; rows sum to one.
      fusion: of heads.
      discard: share of each row, its smallest entries, that counts as nothing. vit-explain takes
        the smallest of a whole matrix, which can empty a row.
      residual: weight of the shortcut beside attention.

    Raises:
      ValueError: an unknown fusion, or shares outside [0, 1).
    """
    _check(fusion, discard, residual)
    tokens = attentions.shape[-1]
    fused = FUSIONS[fusion](attentions.astype(jnp.float32), axis=-3)  # [*B L S S]
    if dropped := int(discard * tokens):
        smallest_kept = jnp.sort(fused, axis=-1)[..., dropped : dropped + 1]
        fused = jnp.where(fused >= smallest_kept, fused, 0.0)
    total = jnp.sum(fused, axis=-1, keepdims=True)
    fused = fused / jnp.where(total > 0, total, 1.0)
    eye = jnp.eye(tokens).reshape((1,) * (fused.ndim - 2) + (tokens, tokens))
    mixed = residual * eye + (1 - residual) * fused

    def layer(seen: Array, mixing: Array) -> tuple[Array, None]:
        return jnp.matmul(mixing, seen, precision="highest"), None

    layers = jnp.moveaxis(mixed, -3, 0)
    return jax.lax.scan(layer, layers[0], layers[1:])[0]


@dataclasses.dataclass(frozen=True)
class Rollout(Method):
    """The decoder's attention over positions, followed back to the patches that went in.
    For ViT encoders.

    What the decoder gives to off-grid tokens, and what of a position came from them, lies on no
    patch and is left out: a word's map sums to one minus that mass, the flag `off_grid_mass`, and
    is not brought to one.

    Attributes:
      fusion: of heads, "mean" as in the paper, "max" or "min".
      discard: share of each row of attention, its smallest entries, that counts as nothing.
      residual: weight of the shortcut beside attention.
    """

    fusion: Fusion = "mean"
    discard: float = 0.0
    residual: float = 0.5

    NAME = "rollout"
    COST = "a product of token x token matrices a layer"
    SOURCE = "Abnar & Zuidema 2020, section 3.1"
    MEASURE = None
    CONTRASTS = False

    def __post_init__(self) -> None:
        _check(self.fusion, self.discard, self.residual)

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """Has the encoder keep its attention; raises ValueError where its positions do not mix."""
        if not mixes_positions(net):
            raise ValueError(
                f"{type(net.encoder).__name__} has no attention to roll out; choose another "
                "method, for instance attention"
            )
        return net.clone(encoder=net.encoder.clone(keep_attention=True))

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Raises ValueError where the decoder attends to nothing."""
        read = request.features.attentions
        if read is None:
            raise ValueError(
                "the features hold no attention of their encoder, which rollout follows back; "
                "encode with the net that `Rollout.prepare` returns"
            )
        (found,) = Attention()(net, variables, request).values()
        maps = found.values.reshape(*found.values.shape[:-2], -1)
        cells = maps.shape[-1]
        options = {"fusion": self.fusion, "discard": self.discard, "residual": self.residual}
        sources = rollout(read, **options)[..., -cells:, -cells:]  # type: ignore[arg-type]
        values = jnp.einsum("bqnfp,bfpc->bqnfc", maps, sources, precision="highest")
        flags = off_grid_mass(values)
        return {self.NAME: Maps.on_features(values, request.features, flags=flags)}


def mixes_positions(net: CaptionNet) -> bool:
    """Whether the encoder mixes its positions by attention, so that each holds what others saw."""
    return hasattr(net.encoder, "keep_attention")


def _check(fusion: str, discard: float, residual: float) -> None:
    if fusion not in FUSIONS:
        raise ValueError(f"unknown fusion {fusion!r}; choose one of: {', '.join(FUSIONS)}")
    for name, share in (("discard", discard), ("residual", residual)):
        if not 0 <= share < 1:
            raise ValueError(f"got {name}={share}; expected at least 0 and less than 1")
