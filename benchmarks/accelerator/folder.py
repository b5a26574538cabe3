"""What `explain.py` asks of a chip for one batch of images: its own programs, compiled for it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from accelerator.program import Program, shape, size_of

from capjax.captioner import Captioner
from capjax.decoding import Decoding, generate
from capjax.decoding.generate import never_written
from capjax.explainers.batch import prepared_net
from capjax.explainers.choosing import Chosen
from capjax.explainers.language.program import Language, ask_language, unknown_token
from capjax.explainers.perturbation.superpixels import superpixel_shapes
from capjax.explainers.programs import Asked, explain_targets
from capjax.explainers.wording import bucket


@dataclasses.dataclass(frozen=True)
class Step:
    """One program of a batch.

    Attributes:
      program: to compile.
      sent: bytes that the host sends to the chip for it.
      fetched: bytes that come back.
    """

    program: Program
    sent: int
    fetched: int


def folder_steps(
    captioner: Captioner,
    images: int,
    *,
    methods: Sequence[Chosen],
    decoding: Decoding,
    max_len: int,
    tokens: int,
    language: Language,
) -> list[Step]:
    """The programs of a batch whose captions are explained, in the order in which they run.

    Args:
      captioner, methods, decoding, max_len, language: as of `explain_batch`. Decoding is counted
        with all `max_len` turns, although it ends with the longest caption.
      images: of the batch.
      tokens: of the longest caption, before it is padded.
    """
    net = prepared_net(captioner.net, methods)
    variables = _shapes(captioner.variables)
    frames, side = captioner.preprocessing.frames, captioner.preprocessing.size
    pixels = shape(images, *((frames,) if frames else ()), *side, 3, dtype=jnp.uint8)
    words = {"eos": captioner.text.eos, "suppress": never_written(captioner.text)}

    def caption(variables: Any, images: Any) -> Any:
        features: Any = net.apply(variables, images, method="encode")
        return features, generate(net, variables, features, decoding, max_len=max_len, **words)

    features, decoded = jax.eval_shape(caption, variables, pixels)
    own = tuple(one.method for one in methods)
    measures = tuple(one.measure for one in methods)
    width = bucket(tokens)
    asked = Asked.abstract(features, pixels, queries=1, targets=width, tokens=width)
    asked = asked._replace(superpixels=superpixel_shapes(own, pixels))

    def explain(variables: Any, asked: Any) -> Any:
        return _open(explain_targets)(net, own, variables, asked, None, measures)

    about = f"{images} images, {len(own)} methods, {width} words"
    steps = [
        _step("caption", f"{images} images, {max_len} tokens", caption, variables, pixels, decoded),
        _step("explain", about, explain, variables, asked, None),
    ]
    if language:
        unknown, others = unknown_token(captioner), _shapes(captioner.others)

        def inform(variables: Any, asked: Any) -> Any:
            own, others = variables
            return _open(ask_language)(net, language, unknown, own, others, asked, None)

        steps.append(_step("words", about, inform, (variables, others), asked, None))
    return [
        dataclasses.replace(step, program=dataclasses.replace(step.program, turns=max_len))
        for step in steps
    ]


def _step(
    name: str, about: str, function: Callable[..., Any], kept: Any, given: Any, fetched: Any
) -> Step:
    """A program of arrays that stay on the chip and of those `given` for each batch.

    What it leaves unread is not sent; features are on the chip already.
    """
    results = jax.eval_shape(function, kept, given)
    fetched = results if fetched is None else fetched
    traced = jax.make_jaxpr(function)(kept, given).jaxpr
    read = {id(one) for equation in traced.eqns for one in equation.invars}
    stays = len(jax.tree.leaves(kept))
    if isinstance(given, Asked):
        stays += len(jax.tree.leaves(given.features))
    sent = sum(
        math.prod(one.aval.shape) * one.aval.dtype.itemsize
        for one in traced.invars[stays:]
        if id(one) in read
    )
    arguments = kept, given
    program = Program(
        name, about, function, arguments, None, size_of((arguments, results)), math.inf
    )
    return Step(program, sent, size_of(fetched))


def _open(jitted: Any) -> Callable[..., Any]:
    """The function that was jitted, for its reader to see which arguments it reads."""
    return functools.partial(jitted.__wrapped__)


def _shapes(tree: Any) -> Any:
    """The shapes of arrays."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
