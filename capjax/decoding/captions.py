"""Captions of a batch of images: the encoder and the decoding in one jitted call."""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, UInt8

from capjax.captioner import Captioner, CaptionNet
from capjax.decoding.decoded import Decoded
from capjax.decoding.generate import generate, never_written
from capjax.decoding.rules import Decoding
from capjax.ops import barrier
from capjax.ops.devices import by_rows, mesh_of, pad_rows
from capjax.types import Caption, Features


def _seen(
    net: CaptionNet,
    variables: Any,
    images: UInt8[Array, "B *F H W 3"],
    *,
    mesh: Mesh | None = None,
) -> Features:
    def own(variables: Any, images: Array) -> Features:
        features: Any = net.apply(variables, images, method="encode")
        return features

    return by_rows(own, mesh)(variables, images)


see = barrier.jit(_seen, static_argnames=("net", "mesh"))
"""(net, variables, images [B *F H W 3], mesh=None) -> features, jitted."""


@functools.partial(
    barrier.jit, static_argnames=("net", "decoding", "eos", "max_len", "suppress", "mesh")
)
def _see_and_say(
    net: CaptionNet,
    variables: Any,
    images: UInt8[Array, "B *F H W 3"],
    decoding: Decoding,
    eos: int,
    max_len: int,
    suppress: tuple[int, ...],
    mesh: Mesh | None,
) -> tuple[Features, Decoded]:
    def own(variables: Any, images: Array) -> tuple[Features, Decoded]:
        features = _seen(net, variables, images)
        decoded = generate(
            net, variables, features, decoding, eos=eos, max_len=max_len, suppress=suppress
        )
        return features, decoded

    return by_rows(own, mesh)(variables, images)


def caption_batch(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    *,
    decoding: Decoding,
    max_len: int,
    net: CaptionNet | None = None,
) -> tuple[Features, list[Caption]]:
    """Features (on the devices) and captions of prepared images.

    All devices of this process share the images (`capjax.ops.devices`).

    Args:
      captioner: the model.
      images: as its encoder wants them. Where they do not divide over the devices, the features
        hold the last one's again.
      decoding, max_len: how captions are written.
      net: the captioner's, with more recorded in its features.
    """
    text, mesh = captioner.text, mesh_of(len(images))
    features, decoded = _see_and_say(
        net or captioner.net,
        captioner.placed(mesh),
        pad_rows(images, mesh),
        decoding,
        text.eos,
        max_len,
        never_written(text),
        mesh,
    )
    best = jax.tree.map(lambda leaf: np.asarray(leaf[:, 0]), decoded)
    captions = []
    for row in range(len(images)):
        length = int(best.lengths[row])
        tokens = tuple(int(token) for token in best.tokens[row, :length])
        words, _ = text.spans(tokens)
        captions.append(
            Caption(
                text=text.decode(tokens),
                words=tuple(words),
                tokens=tokens,
                log_probs=np.array(best.log_probs[row, :length]),
                score=float(best.scores[row]),
                finished=bool(best.finished[row]),
            )
        )
    return features, captions
