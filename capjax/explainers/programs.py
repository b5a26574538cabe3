"""The jitted programs that read sentences and answer for every word of them.

With a mesh, every device answers for its own images (`capjax.ops.devices`).
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, Key, UInt8, UInt32

from capjax.captioner import CaptionNet
from capjax.explainers.choosing import Chosen
from capjax.explainers.contract import InParts, Maps, Method, answer
from capjax.explainers.request import Forced, Measure, Request
from capjax.ops.devices import by_rows
from capjax.types import Features


class Asked(NamedTuple):
    """What to read and to explain of a batch; arrays of the host or of the devices.

    Attributes:
      features: of the images.
      tokens: [B Q T] int32.
      lengths: [B Q] int32.
      weights: [B Q N T] float32; these and the two before as in `Request`.
      images: [B *F H W 3] as the encoder took them.
      seeds: [B] uint32, from which random keys come.
      alternatives: [B Q N T] int32, see `Request`; None where no run of this kind has a contrast.
      superpixels: see `Request`.
    """

    features: Features
    tokens: Any
    lengths: Any
    weights: Any
    images: Any
    seeds: Any
    alternatives: Any = None
    superpixels: Mapping[int, Any] = {}

    @classmethod
    def abstract(
        cls,
        features: Features,
        images: Any,
        *,
        queries: int,
        targets: int,
        tokens: int,
        contrasts: bool = False,
    ) -> Self:
        """The shapes of a batch whose features and images have these; Q, N and T of the others."""
        rows = images.shape[0]
        weights = (rows, queries, targets, tokens)
        return cls(
            features,
            jax.ShapeDtypeStruct((rows, queries, tokens), jnp.int32),
            jax.ShapeDtypeStruct((rows, queries), jnp.int32),
            jax.ShapeDtypeStruct(weights, jnp.float32),
            images,
            jax.ShapeDtypeStruct((rows,), jnp.uint32),
            jax.ShapeDtypeStruct(weights, jnp.int32) if contrasts else None,
        )


class Answered(NamedTuple):
    """What was read and found of a batch.

    Attributes:
      log_probs: [B Q T] of each token.
      scores: [B Q N] log-probability of each target, of a contrast minus that of its alternative;
        None where nothing is contrasted: then they are sums of `log_probs`.
      answers: what each method answers.
    """

    log_probs: Any
    scores: Any
    answers: tuple[dict[str, Maps], ...]


Watch = Callable[[str, int, int], None]
"""Told of each part of the work: the method, parts done, parts in all. Raising ends the work."""


def make_request(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Array,
    *,
    images: Array | None = None,
    alternatives: Int[Array, "B Q N T"] | None = None,
    seeds: Array | None = None,
    measure: Measure = "log_prob",
    superpixels: Mapping[int, Array] | None = None,
) -> Request:
    """A request, with the one teacher-forced pass; pure.

    Args:
      net, variables: the captioner.
      features, tokens, lengths, weights, images, alternatives, superpixels: see `Request`.
      seeds: [B] uint32 of the images; default: zeros.
      measure: the scalar that is explained.
    """
    if seeds is None:
        seeds = jnp.zeros(tokens.shape[0], jnp.uint32)
    return Request(
        images=images,
        features=features,
        forced=Forced.read(net, variables, features, tokens),
        tokens=tokens,
        lengths=lengths,
        weights=weights,
        alternatives=alternatives,
        keys=keys_of(seeds),
        measure=measure,
        superpixels=superpixels or {},
    )


def image_seeds(images: UInt8[np.ndarray, "B *F H W 3"]) -> UInt32[np.ndarray, " B"]:
    """A number of each image's pixels, from which its random keys come."""
    return np.array([zlib.crc32(image.tobytes()) for image in images], np.uint32)


def keys_of(seeds: Array) -> Key[Array, " B"]:
    """The random key of each image, by its seed."""
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(seeds)


@functools.partial(jax.jit, static_argnames=("net", "methods", "mesh", "measures"))
def explain_targets(
    net: CaptionNet,
    methods: tuple[Method, ...],
    variables: Any,
    asked: Asked,
    mesh: Mesh | None,
    measures: tuple[Measure | None, ...] = (),
) -> Answered:
    """What is read, and what each method answers, in one program.

    Args:
      net, methods, variables, asked: the captioner, what to ask, and of what.
      mesh: of the rows of `asked`.
      measures: what each method explains; default: its own.
    """
    measures = measures or tuple(method.MEASURE for method in methods)

    def own(variables: Any, asked: Asked) -> Answered:
        request = _made(net, variables, asked)
        answers = tuple(
            answer(method, net, variables, measured(request, measure))
            for method, measure in zip(methods, measures, strict=True)
        )
        return Answered(request.forced.log_probs, _scores(net, variables, request), answers)

    return by_rows(own, mesh)(variables, asked)


def measured(request: Request, measure: Measure | None) -> Request:
    """The request for a method that explains this; None: for one that explains no scalar."""
    return dataclasses.replace(request, measure=measure or request.measure)


def explain_watched(
    net: CaptionNet,
    chosen: Sequence[Chosen],
    watch: Watch,
    variables: Any,
    asked: Asked,
    mesh: Mesh | None,
) -> Answered:
    """As `explain_targets`, part by part."""
    whole, scores = _request(net, variables, asked, mesh)
    found = []
    for one in chosen:
        label = next(iter(one.labels.values()))
        method = one.method
        request = measured(whole, one.measure)
        if isinstance(method, InParts):
            count = method.parts(request)
            watch(label, 0, count)
            tally = _start(net, method, variables, request, mesh)
            for index in range(count):
                tally = jax.block_until_ready(
                    _step(net, method, variables, request, tally, jnp.int32(index), mesh)
                )
                watch(label, index + 1, count)
            found.append(_finish(net, method, variables, request, tally, mesh))
        else:
            watch(label, 0, 1)
            found.append(jax.block_until_ready(_answer(net, method, variables, request, mesh)))
            watch(label, 1, 1)
    return Answered(whole.forced.log_probs, scores, tuple(found))


def _made(net: CaptionNet, variables: Any, asked: Asked) -> Request:
    return make_request(
        *(net, variables, asked.features, asked.tokens, asked.lengths, asked.weights),
        images=asked.images,
        alternatives=asked.alternatives,
        seeds=asked.seeds,
        superpixels=asked.superpixels,
    )


def _scores(net: CaptionNet, variables: Any, request: Request) -> Array | None:
    if request.alternatives is None:
        return None
    return measured(request, "log_prob").score(net, variables, features=request.features)


@functools.partial(jax.jit, static_argnames=("net", "mesh"))
def _request(
    net: CaptionNet, variables: Any, asked: Asked, mesh: Mesh | None
) -> tuple[Request, Array | None]:
    def own(variables: Any, asked: Asked) -> tuple[Request, Array | None]:
        request = _made(net, variables, asked)
        return request, _scores(net, variables, request)

    return by_rows(own, mesh)(variables, asked)


@functools.partial(jax.jit, static_argnames=("net", "method", "mesh"))
def _answer(
    net: CaptionNet, method: Method, variables: Any, request: Request, mesh: Mesh | None
) -> dict[str, Maps]:
    return by_rows(functools.partial(answer, method, net), mesh)(variables, request)


@functools.partial(jax.jit, static_argnames=("net", "method", "mesh"))
def _start(
    net: CaptionNet, method: InParts, variables: Any, request: Request, mesh: Mesh | None
) -> Any:
    return by_rows(functools.partial(method.start, net), mesh)(variables, request)


@functools.partial(jax.jit, static_argnames=("net", "method", "mesh"))
def _step(
    net: CaptionNet,
    method: InParts,
    variables: Any,
    request: Request,
    tally: Any,
    index: Array,
    mesh: Mesh | None,
) -> Any:
    def own(whole: tuple[Any, Array], divided: tuple[Request, Any]) -> Any:
        variables, index = whole
        return method.step(net, variables, *divided, index)

    return by_rows(own, mesh)((variables, index), (request, tally))


@functools.partial(jax.jit, static_argnames=("net", "method", "mesh"))
def _finish(
    net: CaptionNet,
    method: InParts,
    variables: Any,
    request: Request,
    tally: Any,
    mesh: Mesh | None,
) -> dict[str, Maps]:
    def own(variables: Any, divided: tuple[Request, Any]) -> dict[str, Maps]:
        return method.finish(net, variables, *divided)

    return by_rows(own, mesh)(variables, (request, tally))
