"""All methods for all sentences of all images, in one program.

Letters: B images, Q sentences of each, N targets of each, T tokens, F frames, P positions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.attention import attention, attention_choice
from capjax.explainers.cams.gradcam import gradcam
from capjax.explainers.caption_guided import caption_guided, caption_guided_kl, query_maps
from capjax.explainers.rollout import attention_rollout
from capjax.types import Features

METHODS: dict[str, Callable[..., Float[Array, "B N F P"]]] = {
    "attention": attention,
    "attention_choice": attention_choice,
    "rollout": attention_rollout,
    "gradcam": gradcam,
    "caption_guided": caption_guided,
    "caption_guided_kl": caption_guided_kl,
}
"""Name -> (net, variables, features, tokens [B T], lengths [B], weights [B N T]) -> maps."""

GUIDED = ("caption_guided", "caption_guided_kl")
"""Of one pass over all sentences, in the order of `query_maps`."""

IMPLIED = {"caption_guided_kl": "caption_guided"}
"""A method whose maps come for nothing with another's."""


def mixes_positions(net: CaptionNet) -> bool:
    """Whether the encoder mixes its positions by attention, so that each holds what others saw."""
    return hasattr(net.encoder, "keep_attention")


def net_for(net: CaptionNet, methods: Sequence[str]) -> CaptionNet:
    """The net whose features hold all that these methods read; its variables are the same.

    Raises:
      ValueError: "rollout" for an encoder whose positions do not mix by attention.
    """
    if "rollout" not in methods:
        return net
    if not mixes_positions(net):
        raise ValueError(
            f"{type(net.encoder).__name__} has no attention to roll out; choose another method, "
            "for instance attention"
        )
    return net.clone(encoder=net.encoder.clone(keep_attention=True))


class Maps(NamedTuple):
    """Of one method.

    Attributes:
      maps: [B Q N F P] raw and signed.
      frames: [B Q N F] of whole frames; None for images.
    """

    maps: Float[Array, "B Q N F P"]
    frames: Float[Array, "B Q N F"] | None


def explain_targets(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Float[Array, "B Q N T"],
    *,
    methods: Sequence[str],
) -> dict[str, Maps]:
    """Maps of every method, target, sentence and image.

    A whole frame's relevance is that of its mean descriptor alone for caption-guided saliency
    (the temporal maps of Ramanishka et al. 2017), and the sum over its positions for the others.
    """
    found = {}
    for name in methods:
        if name not in GUIDED:
            found[name] = _one_by_one(name, net, variables, features, tokens, lengths, weights)
    if guided := set(GUIDED) & set(methods):
        kl = "caption_guided_kl" in guided
        asked = tokens, lengths, weights
        maps = query_maps(net, variables, features, *asked, kl=kl)
        frames: tuple[Any, ...] = (None, None)
        if features.positions.shape[1] > 1:
            means = query_maps(net, variables, features.frame_means(), *asked, kl=kl)
            frames = tuple(None if values is None else values[..., 0] for values in means)
        for index, name in enumerate(GUIDED):
            values = maps[index]
            if name in guided and values is not None:
                found[name] = Maps(values, frames[index])
    return found


def _one_by_one(
    name: str,
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Float[Array, "B Q N T"],
) -> Maps:
    """Sentence after sentence: gradients of many would not fit."""

    def of_sentence(asked: tuple[Array, ...]) -> Float[Array, "B N F P"]:
        return METHODS[name](net, variables, features, *asked)

    asked = tuple(array.swapaxes(0, 1) for array in (tokens, lengths, weights))
    maps = jax.lax.map(of_sentence, asked).swapaxes(0, 1)
    return Maps(maps, jnp.sum(maps, axis=-1) if maps.shape[-2] > 1 else None)
