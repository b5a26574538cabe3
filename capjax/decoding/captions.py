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
from capjax.ops.devices import by_rows, mesh_of, pad_rows, rows_over
from capjax.runtime.memory import needed
from capjax.text.protocol import Text
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


def _arguments(
    captioner: Captioner,
    images: Any,
    mesh: Mesh | None,
    decoding: Decoding,
    max_len: int,
    net: CaptionNet | None,
) -> tuple[Any, ...]:
    text = captioner.text
    words = decoding, text.eos, max_len, never_written(text)
    return net or captioner.net, captioner.placed(mesh), images, *words, mesh


def abstract_images(captioner: Captioner, count: int) -> tuple[jax.ShapeDtypeStruct, Mesh | None]:
    """The shape of a batch of so many images as the devices get it, and these."""
    mesh = mesh_of(count)
    frames = captioner.preprocessing.frames
    one = (*((frames,) if frames else ()), *captioner.preprocessing.size, 3)
    rows = count if mesh is None else -(-count // mesh.size) * mesh.size
    return jax.ShapeDtypeStruct((rows, *one), np.uint8), mesh


def abstract_features(
    net: CaptionNet, variables: Any, images: jax.ShapeDtypeStruct, mesh: Mesh | None
) -> Features:
    """The shapes of their features, as `see` and `caption_batch` leave them."""
    seen: Features = jax.eval_shape(functools.partial(_seen, net, mesh=mesh), variables, images)
    return rows_over(mesh, seen)


def caption_memory(
    captioner: Captioner,
    count: int,
    *,
    decoding: Decoding,
    max_len: int,
    net: CaptionNet | None = None,
) -> float:
    """Bytes of each device that `caption_batch` of so many images takes; compiles its program.

    Args:
      captioner, decoding, max_len, net: as of `caption_batch`.
      count: images of a batch.
    """
    images, mesh = abstract_images(captioner, count)
    arguments = _arguments(captioner, images, mesh, decoding, max_len, net)
    return needed(barrier.lower(_see_and_say, *arguments))


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
    features, decoded = say(captioner, images, decoding=decoding, max_len=max_len, net=net)
    return features, captions_of(captioner.text, decoded, len(images))


def candidate_batch(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    *,
    decoding: Decoding,
    max_len: int,
) -> tuple[Features, list[list[Caption]]]:
    """Features and all captions that the search ended with of each image, best first.

    The first ones are those of `caption_batch`, from the same program. Arguments as there.
    """
    features, decoded = say(captioner, images, decoding=decoding, max_len=max_len)
    decoded = jax.device_get(decoded)
    found = [
        [
            _caption(captioner.text, decoded, row, rank)
            for rank in range(decoded.lengths.shape[1])
            if decoded.lengths[row, rank]
        ]
        for row in range(len(images))
    ]
    return features, found


def say(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    *,
    decoding: Decoding,
    max_len: int,
    net: CaptionNet | None = None,
) -> tuple[Features, Decoded]:
    """Features, and what was decoded, both on the devices; waits for neither.

    Arguments as of `caption_batch`; `captions_of` waits for the second and reads it.
    """
    mesh = mesh_of(len(images))
    said: tuple[Features, Decoded] = _see_and_say(
        *_arguments(captioner, pad_rows(images, mesh), mesh, decoding, max_len, net)
    )
    return said


def captions_of(text: Text, decoded: Decoded, count: int) -> list[Caption]:
    """The captions of the first images of a batch; waits for the devices."""
    decoded = jax.device_get(decoded)
    return [_caption(text, decoded, row, 0) for row in range(count)]


def _caption(text: Text, decoded: Decoded, row: int, rank: int) -> Caption:
    length = int(decoded.lengths[row, rank])
    tokens = tuple(int(token) for token in decoded.tokens[row, rank, :length])
    words, _ = text.spans(tokens)
    return Caption(
        text=text.decode(tokens),
        words=tuple(words),
        tokens=tokens,
        log_probs=np.array(decoded.log_probs[row, rank, :length]),
        score=float(decoded.scores[row, rank]),
        finished=bool(decoded.finished[row, rank]),
        rank=rank,
    )
