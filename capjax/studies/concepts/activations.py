"""The jitted programs: activations of many pictures or patches at once, gradients of many pictures.

All devices of this process share the images (`capjax.ops.devices`).
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from capjax.captioner import Captioner, CaptionNet
from capjax.explainers.cams.stage import stage_activations, stage_gradients
from capjax.explainers.programs import make_request
from capjax.explainers.wording import LEAST_TOKENS, Wording, pad_sentences
from capjax.ops.devices import by_rows, mesh_of, pad_rows
from capjax.types import Features


def checked_net(captioner: Captioner, stage: str) -> CaptionNet:
    """The net that keeps a stage.

    Raises:
      ValueError: there is no such stage (the text lists them), or it is a captioner of clips.
    """
    if captioner.preprocessing.frames:
        raise ValueError(
            "concepts are patches of photographs, and this is a captioner of clips; choose a "
            "captioner of images"
        )
    return captioner.net.keeping(stage) if stage else captioner.net


@functools.partial(jax.jit, static_argnames=("net", "stage", "mesh"))
def _means(
    net: CaptionNet, variables: Any, images: UInt8[Array, "B H W 3"], stage: str, mesh: Mesh | None
) -> Float[Array, "B D"]:
    def own(variables: Any, images: Array) -> Float[Array, "B D"]:
        features: Features = net.apply(variables, images, method="encode")  # type: ignore[assignment]
        return jnp.mean(stage_activations(features, stage).values, axis=(1, 2))

    return by_rows(own, mesh)(variables, images)


@functools.partial(jax.jit, static_argnames=("net", "stage", "mesh"))
def _gradients(
    net: CaptionNet, variables: Any, asked: tuple[Array, ...], stage: str, mesh: Mesh | None
) -> Float[Array, "B D"]:
    def own(variables: Any, asked: tuple[Array, ...]) -> Float[Array, "B D"]:
        images, tokens, lengths, weights = asked
        features: Any = net.apply(variables, images, method="encode")
        request = make_request(net, variables, features, tokens, lengths, weights, images=images)
        found = stage_gradients(
            *(stage, net, variables, request),
            lambda gradients: jnp.sum(gradients, axis=(1, 2)),
        )
        return found[:, 0, 0]

    return by_rows(own, mesh)(variables, asked)


def mean_activations(
    captioner: Captioner,
    pictures: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    stage: str,
    at_once: int,
) -> Float[np.ndarray, "S D"]:
    """The stage's activations, means over the picture, of any number of pictures or patches."""
    net = checked_net(captioner, stage)
    found = []
    for batch, count in _full(pictures, at_once):
        mesh = mesh_of(len(batch))
        means = _means(net, captioner.placed(mesh), pad_rows(batch, mesh), stage, mesh)
        found.append(np.asarray(means)[:count])
    return np.concatenate(found)


def keyword_gradients(
    captioner: Captioner,
    pictures: Sequence[UInt8[np.ndarray, "H W 3"]],
    sentences: Sequence[Wording],
    *,
    stage: str,
    at_once: int,
) -> Float[np.ndarray, "n D"]:
    """Slope of a word's log-probability along each channel, moved alike at all places of the map.

    The scalar is the sum over the word's places in a sentence that is read by teacher forcing.

    Args:
      captioner: any of images.
      pictures: prepared.
      sentences: one a picture; the first extra of each is the word (`Questions.keywords`).
      stage: see `ConceptSettings`.
      at_once: pictures a program takes.
    """
    net = checked_net(captioner, stage)
    alone = [[Wording(one.tokens, (), (), extras=one.extras[:1])] for one in sentences]
    padded = pad_sentences(alone, least=LEAST_TOKENS, narrow=True)
    found = []
    for start in range(0, len(pictures), at_once):
        rows = slice(start, start + at_once)
        given = (np.stack(pictures[rows]), *(part[rows] for part in padded[:3]))
        # The program of a last, smaller group is the others': what is padded is dropped.
        asked = tuple(_padded(part, min(at_once, len(pictures))) for part in given)
        mesh = mesh_of(len(asked[0]))
        asked = tuple(pad_rows(part, mesh) for part in asked)
        slopes = _gradients(net, captioner.placed(mesh), asked, stage, mesh)
        found.append(np.asarray(slopes)[: len(given[0])])
    return np.concatenate(found)


def _full(pictures: Iterable[np.ndarray], at_once: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of one size, and how many rows of each are no padding."""
    group: list[np.ndarray] = []
    for picture in pictures:
        group.append(picture)
        if len(group) == at_once:
            yield np.stack(group), at_once
            group = []
    if group:
        yield _padded(np.stack(group), at_once), len(group)


def _padded(rows: Int[np.ndarray, "b ..."], count: int) -> Int[np.ndarray, "B ..."]:
    return np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), axis=0)])
