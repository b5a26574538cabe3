"""FGSM and PGD: steps along the gradient's signs, or along the gradient, within a ball."""

import dataclasses
import math
from typing import get_args

import jax
from jaxtyping import Array, Float, Int, Key

from capjax import rng
from capjax.studies.adversarial.attack import Attack, Attacked, Scene, Slope
from capjax.studies.adversarial.balls import Norm, by_picture, project, random_start, steepest
from capjax.studies.adversarial.goals import Loss


def descend(
    slope: Slope,
    pictures: Float[Array, "B ..."],
    start: Float[Array, "B ..."],
    epsilons: Float[Array, " B"],
    *,
    norm: Norm,
    steps: int,
    share: float,
) -> Float[Array, "B ..."]:
    """Moves pictures so that a loss falls, each within its ball and within [0, 1].

    Args:
      slope: the loss, and its gradient.
      pictures: centres of the balls.
      start: where to begin.
      epsilons: radius of each ball.
      norm: of the balls.
      steps: how many.
      share: length of a step, of epsilon.
    """

    def step(_: Int[Array, ""], moved: Array) -> Array:
        _, gradient = slope(moved)
        moved = moved + by_picture(share * epsilons, moved) * steepest(gradient, norm)
        return project(moved, pictures, epsilons, norm)

    found: Array = jax.lax.fori_loop(0, steps, step, start)
    return found


def check_loss(loss: str, confidence: float) -> None:
    """Raises ValueError for what is no loss, or no confidence."""
    if loss not in get_args(Loss):
        raise ValueError(f"got loss={loss!r}; choose one of: {', '.join(get_args(Loss))}")
    if not 0 <= confidence < math.inf:
        raise ValueError(f"got confidence={confidence}; expected a number from 0")


@dataclasses.dataclass(frozen=True)
class FGSM(Attack):
    """One step of epsilon along the signs of the gradient.

    Attributes:
      loss: "log_prob" as in the paper, or "margin" of the logits.
      confidence: of the margin, how far ahead the logit of the wanted word has to be.
    """

    loss: Loss = "log_prob"
    confidence: float = 1.0

    NAME = "fgsm"
    COST = "one pass forward and back, one caption"
    SOURCE = "Goodfellow et al. 2015, section 4"

    def __post_init__(self) -> None:
        check_loss(self.loss, self.confidence)

    def __call__(
        self, scene: Scene, epsilons: Float[Array, " B"], keys: Key[Array, " B"]
    ) -> Attacked:
        """See `Attack`; nothing is drawn."""
        del keys
        pixels = scene.pixels
        _, gradient = scene.slope(pixels, scene.goal, self.loss, self.confidence)
        moved = pixels + by_picture(epsilons, pixels) * steepest(gradient, "linf")
        moved = project(moved, pixels, epsilons, "linf")
        return scene.stored(moved, epsilons, "linf", loss=self.loss, confidence=self.confidence)


@dataclasses.dataclass(frozen=True)
class PGD(Attack):
    """Steps within a ball, from a random point of it.

    The last picture is the result, as in the paper.

    Attributes:
      norm: of the ball: "linf", the largest change of a value; or "l2", the root of the mean square
        change.
      steps: how many.
      share: length of a step, of epsilon; 0 for 2.5 / steps.
      random_start: begin anywhere in the ball, or at the picture.
      loss: "log_prob", or "margin" of the logits.
      confidence: of the margin, how far ahead the logit of the wanted word has to be.
    """

    norm: Norm = "linf"
    steps: int = 10
    share: float = 0.0
    random_start: bool = True
    loss: Loss = "log_prob"
    confidence: float = 1.0

    NAME = "pgd"
    COST = "one pass forward and back a step, one caption"
    SOURCE = "Madry et al. 2018, section 2.1"

    def __post_init__(self) -> None:
        check_loss(self.loss, self.confidence)
        if self.norm not in get_args(Norm):
            raise ValueError(f"got norm={self.norm!r}; choose one of: {', '.join(get_args(Norm))}")
        if self.steps < 1:
            raise ValueError(f"got steps={self.steps}; expected 1 or more")
        if not 0 <= self.share < math.inf:
            raise ValueError(f"got share={self.share}; expected a part of epsilon, or 0")

    def __call__(
        self, scene: Scene, epsilons: Float[Array, " B"], keys: Key[Array, " B"]
    ) -> Attacked:
        """See `Attack`."""
        pixels = scene.pixels
        start = pixels
        if self.random_start:
            start = random_start(pixels, epsilons, rng.child(keys, "start"), self.norm)
        moved = descend(
            lambda moved: scene.slope(moved, scene.goal, self.loss, self.confidence),
            pixels,
            start,
            epsilons,
            norm=self.norm,
            steps=self.steps,
            share=self.share or 2.5 / self.steps,
        )
        return scene.stored(moved, epsilons, self.norm, loss=self.loss, confidence=self.confidence)
