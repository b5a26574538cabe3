"""What a method of explanation is: a frozen dataclass that turns a request into maps.

A method never decodes. Somebody else chooses the words, reads them once by teacher forcing, and
hands over a `Request`. The method answers with `Maps`: raw, signed, for all targets at once.

Letters: B images, Q sentences of each, N targets of each, T tokens, F frames, P positions.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.request import Measure, Request
from capjax.types import Features


@struct.dataclass
class Maps:
    """What a method answers.

    Attributes:
      values: [B Q N F h w] raw and signed, on any grid: that of the features, that of the pixels.
      frames: [B Q N F] relevance of whole frames; None where it is the sum over a frame's map.
      error: [B Q N F h w] standard error of the values; None for a method that draws nothing.
      flags: name -> [B Q N], what a reader must know of each target.
    """

    values: Float[Array, "B Q N F h w"]
    frames: Float[Array, "B Q N F"] | None = None
    error: Float[Array, "B Q N F h w"] | None = None
    flags: dict[str, Float[Array, "B Q N"]] = dataclasses.field(default_factory=dict)

    @classmethod
    def on_features(
        cls, values: Float[Array, "B Q N F P"], features: Features, **others: Any
    ) -> "Maps":
        """Maps on the grid of the features."""
        return cls(values.reshape(*values.shape[:-1], *features.grid), **others)


@dataclasses.dataclass(frozen=True)
class Method(abc.ABC):
    """One way to ask why.

    A method is one file: a frozen dataclass whose fields are its options, each with a default and
    a line in the docstring under "Attributes". It is static under `jit`, so that two settings are
    two methods. `__post_init__` refuses a value that makes no sense.

    Attributes:
      NAME: what people call it by. Its answers are named so too, unless it gives several.
      COST: what it takes, in passes through the net.
      SOURCE: paper, equation.
      MEASURE: what it explains unless a run asks for another measure; None of a method that shows
        what was read, whatever is asked.
      UNMEASURED: those of its answers that explain no scalar of words either, such as a divergence.
      CONTRASTS: whether it can tell a word from an alternative.
      PHRASE, SPREAD: how the maps of a phrase's words become the distribution that attention
        correctness reads (`capjax.metrics.grounding`).
      UNITS: answer -> unit of its exponentials, where maps are logarithms.
    """

    NAME: ClassVar[str]
    COST: ClassVar[str]
    SOURCE: ClassVar[str]
    MEASURE: ClassVar[Measure | None] = "log_prob"
    UNMEASURED: ClassVar[tuple[str, ...]] = ()
    CONTRASTS: ClassVar[bool] = True
    PHRASE: ClassVar[Literal["sum", "max"]] = "sum"
    SPREAD: ClassVar[Literal["span", "sum"]] = "span"
    UNITS: ClassVar[Mapping[str, str]] = {}

    @property
    def answers(self) -> tuple[str, ...]:
        """Names of the maps that it gives."""
        return (self.NAME,)

    @property
    def superpixels(self) -> int:
        """How many superpixels a picture it wants cut for it, at most; 0 for none."""
        return 0

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """The net whose features hold what the method reads; its variables are the same.

        It only adds recordings, so that what several methods need adds up.

        Raises:
          ValueError: the method is not defined for this captioner; the text says why.
        """
        return net

    def facts(self, net: CaptionNet) -> dict[str, Any]:
        """Flags that are the same for every map of a captioner."""
        return {}

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Sentences that a reader needs before trusting the maps of one sentence.

        Args:
          flags: of these maps, one value a word where a flag is of targets.
          words: that were explained.
        """
        return []

    def speaks_of(self, tokens: Sequence[int]) -> bool:
        """Whether it has something to say of a word of these tokens; scores leave others out."""
        return True

    def includes(self, other: "Method") -> bool:
        """Whether its answers hold those of `other`, which then need not be asked for."""
        return self == other

    @abc.abstractmethod
    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps by the names of `answers`; pure, and part of a larger program."""


class InParts(Method):
    """A method whose work comes in equal parts: masks, steps, samples.

    As part of a folder run it is one program. Where somebody watches, the same `step` is called
    part by part: the same numbers, with progress, and an end at any time.
    """

    @abc.abstractmethod
    def parts(self, request: Request) -> int:
        """How many calls of `step` the work takes."""

    @abc.abstractmethod
    def start(self, net: CaptionNet, variables: Any, request: Request) -> Any:
        """The tally before the first part, a pytree of arrays [B ...]."""

    @abc.abstractmethod
    def step(
        self, net: CaptionNet, variables: Any, request: Request, tally: Any, index: Int[Array, ""]
    ) -> Any:
        """The tally after part `index`."""

    @abc.abstractmethod
    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Any
    ) -> dict[str, Maps]:
        """Maps from the tally of all parts."""

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """All parts in one loop."""

        def body(index: Int[Array, ""], tally: Any) -> Any:
            return self.step(net, variables, request, tally, index)

        tally = self.start(net, variables, request)
        tally = jax.lax.fori_loop(0, self.parts(request), body, tally)
        return self.finish(net, variables, request, tally)


def answer(method: Method, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
    """What a method answers; pure.

    Raises:
      ValueError: the request has a contrast, and the method cannot tell a word from another.
    """
    if request.alternatives is not None and not method.CONTRASTS:
        raise ValueError(
            f"{method.NAME} explains a word, not the difference of two; for a contrast choose "
            "another method, for instance gradcam or ig"
        )
    return method(net, variables, request)


def clips(method: Method, request: Request) -> Float[Array, "B F H W 3"]:
    """The images of a request in float32, each as a clip of one frame, or its clips.

    Raises:
      ValueError: the request has features only.
    """
    if request.images is None:
        raise ValueError(
            f"{method.NAME} reads the images, and this request has features only; give images, or "
            "choose a method of features, such as ig, gradcam or leave_one_out"
        )
    images = jnp.asarray(request.images, jnp.float32)
    return images if images.ndim == 5 else images[:, None]


def check_inner(outer: Method, inner: Method, instead: str) -> None:
    """Refuses a method that another one cannot go around.

    What is asked is asked of the outer method: its measure, its contrasts, one answer by its name.

    Args:
      outer: the method that has the other one as an option.
      inner: that option's value.
      instead: name of a method that `outer` can go around.

    Raises:
      ValueError: `inner` gives another answer or several, explains no scalar, explains another
        measure than `outer`, or cannot tell a word from another.
    """
    way_out = f"choose another method to go around, such as {instead}"
    if inner.MEASURE is None:
        raise ValueError(f"{inner.NAME} shows what was read, and explains no score; {way_out}")
    if inner.answers != (inner.NAME,):
        raise ValueError(
            f"{outer.NAME} goes around a method of one answer, and {inner.NAME} answers with "
            f"{', '.join(inner.answers)}; {way_out}"
        )
    if inner.MEASURE != outer.MEASURE:
        raise ValueError(
            f"{outer.NAME} explains the measure {outer.MEASURE!r}, and {inner.NAME} explains "
            f"{inner.MEASURE!r}; {way_out}, or ask for {inner.NAME} by itself"
        )
    if not inner.CONTRASTS:
        raise ValueError(
            f"{outer.NAME} can be asked for contrasts, and {inner.NAME} cannot tell a word from "
            f"another; {way_out}, or ask for {inner.NAME} by itself"
        )


def settings(method: Method) -> dict[str, Any]:
    """Options of a method by name, as plain JSON values."""
    found = {}
    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        found[field.name] = (
            {"method": value.NAME, **settings(value)} if isinstance(value, Method) else value
        )
    return found
