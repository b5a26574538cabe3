"""What every attack is given and gives: the captioner's loss on moved pictures, and what it writes.

Pixels are moved in [0, 1], before the captioner's normalisation. What counts is the 8-bit picture
that can be stored, and the caption that the captioner writes of it.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from capjax.captioner import Captioner, CaptionNet
from capjax.decoding.decoded import Decoded
from capjax.decoding.generate import generate, never_written
from capjax.decoding.rules import Decoding
from capjax.ops.devices import by_rows
from capjax.studies.adversarial.balls import LEVELS, Norm, in_levels, size
from capjax.studies.adversarial.goals import Goal, Loss, goal_loss, reached
from capjax.types import Features

Slope = Callable[
    [Float[Array, "B *F H W 3"]], tuple[Float[Array, " B"], Float[Array, "B *F H W 3"]]
]
"""The loss of each picture, and its gradient by the picture's pixels."""


@dataclasses.dataclass(frozen=True)
class Writing:
    """How the captioner writes the captions by which success is counted; static under jit.

    Attributes:
      decoding, max_len: as of `capjax.decoding`.
      eos: the end token.
      suppress: ids that are never written.
    """

    decoding: Decoding
    max_len: int
    eos: int
    suppress: tuple[int, ...] = ()

    @classmethod
    def of(cls, captioner: Captioner, decoding: Decoding, max_len: int) -> "Writing":
        """How a captioner writes."""
        return cls(decoding, max_len, captioner.text.eos, never_written(captioner.text))

    def __call__(self, net: CaptionNet, variables: Any, features: Features) -> Decoded:
        """The best caption of each image: arrays [B T] and [B]."""
        found = generate(
            net,
            variables,
            features,
            self.decoding,
            eos=self.eos,
            max_len=self.max_len,
            suppress=self.suppress,
        )
        best: Decoded = jax.tree.map(lambda leaf: leaf[:, 0], found)
        return best


@struct.dataclass
class Attacked:
    """What an attack made of each picture.

    Attributes:
      pictures: 8-bit, as the captioner is shown them.
      tokens, lengths, finished: of the caption that it writes of them, end token included.
      success: whether the caption is what was wanted.
      loss: at `pictures`.
      linf: largest change of a value, in levels of 255.
      l2: root of the mean square change, in levels of 255.
      weight: Show-and-Fool's c of the picture kept; 0 of other attacks.
    """

    pictures: UInt8[Array, "B *F H W 3"]
    tokens: Int[Array, "B T"]
    lengths: Int[Array, " B"]
    finished: Bool[Array, " B"]
    success: Bool[Array, " B"]
    loss: Float[Array, " B"]
    linf: Float[Array, " B"]
    l2: Float[Array, " B"]
    weight: Float[Array, " B"]


@dataclasses.dataclass(frozen=True)
class Attack(abc.ABC):
    """One way to move pictures. Its fields are its options; static under jit.

    Attributes:
      NAME: what people call it by.
      COST: what it takes, in passes through the net.
      SOURCE: paper.
      SEEKS_LEAST: whether it looks for the least change by itself, so that one run within the
        largest ball tells what smaller ones would take.
    """

    NAME: ClassVar[str]
    COST: ClassVar[str]
    SOURCE: ClassVar[str]
    SEEKS_LEAST: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, scene: "Scene", epsilons: Float[Array, " B"], keys: Key[Array, " B"]) -> Any:
        """The attacked pictures; pure, and part of a larger program.

        Args:
          scene: the captioner, the pictures and the goal.
          epsilons: radius of each picture's ball in [0, 1]; at 0 nothing moves.
          keys: of the pictures.
        """


@struct.dataclass
class Scene:
    """The captioner, the pictures and the goal of one attack.

    Attributes:
      variables: of the captioner.
      images: the pictures.
      goal: what to make the captioner say.
      net, writing: see `attack`.
    """

    variables: Any
    images: UInt8[Array, "B *F H W 3"]
    goal: Goal
    net: CaptionNet = struct.field(pytree_node=False)
    writing: Writing = struct.field(pytree_node=False)

    @property
    def pixels(self) -> Float[Array, "B *F H W 3"]:
        """In [0, 1]; times 255 they are the images again, exactly."""
        return self.images.astype(jnp.float32) / LEVELS

    def slope(
        self, moved: Float[Array, "B *F H W 3"], goal: Goal, loss: Loss, confidence: float
    ) -> tuple[Float[Array, " B"], Float[Array, "B *F H W 3"]]:
        """The loss of each moved picture and its gradient; pictures know nothing of each other."""

        def losses(moved: Array) -> tuple[Array, Array]:
            found = self.losses(moved * LEVELS, goal, loss, confidence)
            return jnp.sum(found), found

        slope, found = jax.grad(losses, has_aux=True)(moved)
        return found, slope

    def losses(
        self, images: Array, goal: Goal, loss: Loss, confidence: float
    ) -> Float[Array, " B"]:
        """The loss of each picture, given in levels of 255."""
        features: Any = self.net.apply(self.variables, images, method="encode")
        return self._read(features, goal, loss, confidence)

    def _read(self, features: Features, goal: Goal, loss: Loss, confidence: float) -> Array:
        forced: Any = self.net.apply(self.variables, features, goal.tokens, method="teacher_force")
        logits: Any = self.net.apply(self.variables, forced[0], method="readout")
        return goal_loss(
            logits.astype(jnp.float32),
            goal,
            loss=loss,
            confidence=confidence,
            suppress=self.writing.suppress,
        )

    def stored(
        self,
        moved: Float[Array, "B *F H W 3"],
        epsilons: Float[Array, " B"],
        norm: Norm,
        *,
        loss: Loss,
        confidence: float,
    ) -> Attacked:
        """What comes of moved pictures: rounded to 8 bits, captioned, judged."""
        pictures = in_levels(moved, self.images, epsilons, norm)
        features: Any = self.net.apply(self.variables, pictures, method="encode")
        written = self.writing(self.net, self.variables, features)
        change = pictures.astype(jnp.float32) - self.images
        return Attacked(
            pictures=pictures,
            tokens=written.tokens,
            lengths=written.lengths,
            finished=written.finished,
            success=reached(self.goal, written.tokens, written.lengths, self.writing.eos),
            loss=self._read(features, self.goal, loss, confidence),
            linf=size(change, "linf"),
            l2=size(change, "l2"),
            weight=jnp.zeros_like(epsilons),
        )


@functools.partial(jax.jit, static_argnames=("net", "method", "writing", "mesh"))
def attack(
    net: CaptionNet,
    method: Attack,
    writing: Writing,
    variables: Any,
    images: UInt8[Array, "B *F H W 3"],
    goal: Goal,
    epsilons: Float[Array, " B"],
    keys: Key[Array, " B"],
    mesh: Mesh | None = None,
) -> Attacked:
    """Attacks many pictures, each with a goal of its own, in one program.

    Each picture's result depends on that picture, its goal, its epsilon and its key alone.

    Args:
      net, variables: the captioner.
      method: FGSM, PGD or ShowAndFool, with its options.
      writing: how captions are written, by which success is counted.
      images: as the encoder wants them; clips too.
      goal: what to make the captioner say.
      epsilons: radius of each picture's ball in [0, 1]: 4 / 255 is four levels of 8 bits. Of PGD's
        "l2" it is the root of the mean square change, so that it means the same at any size: times
        the root of the number of values it is the Euclidean distance.
      keys: for random starts.
      mesh: devices that share the pictures (`capjax.ops.devices`).
    """

    def own(variables: Any, divided: tuple[Array, Goal, Array, Array]) -> Attacked:
        images, goal, epsilons, keys = divided
        found: Attacked = method(Scene(variables, images, goal, net, writing), epsilons, keys)
        return found

    return by_rows(own, mesh)(variables, (images, goal, epsilons, keys))
