"""The jitted programs: activations of many pictures or patches at once, gradients of many pictures.

All devices of this process share the images (`capjax.ops.devices`).
"""

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

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
    """The stage's activations, means over the picture, of any number of pictures or patches.

    Of none it is [0 0].
    """
    net = checked_net(captioner, stage)
    mesh = mesh_of(at_once)
    variables = captioner.placed(mesh)
    found = []
    stream = iter(pictures)
    while group := list(itertools.islice(stream, at_once)):
        batch = pad_rows(np.stack(group), mesh, at_once)
        found.append(np.asarray(_means(net, variables, batch, stage, mesh))[: len(group)])
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


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
    most = min(at_once, len(pictures))
    mesh = mesh_of(most)
    variables = captioner.placed(mesh)
    found = []
    for start in range(0, len(pictures), most):
        rows = slice(start, start + most)
        given = (np.stack(pictures[rows]), *(part[rows] for part in padded[:3]))
        asked = tuple(pad_rows(part, mesh, most) for part in given)
        slopes = _gradients(net, variables, asked, stage, mesh)
        found.append(np.asarray(slopes)[: len(given[0])])
    return np.concatenate(found)
