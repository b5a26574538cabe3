"""Show-and-Fool (Chen et al. 2018): the smallest change that makes a captioner say what is wanted.

Minimises c * loss + ||moved - picture||^2 by Adam over the tanh of a variable, and searches c for
every picture of a batch by itself.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from capjax.studies.adversarial.attack import Attack, Attacked, Scene
from capjax.studies.adversarial.balls import by_picture
from capjax.studies.adversarial.goals import Goal, Loss
from capjax.studies.adversarial.gradient_steps import check_loss

FIRST, TIMES, PART = 1.0, 10.0, 0.5
"""The first c; what it is multiplied by after a failure, and after a success."""
EDGE = 0.9999
"""Of the range of tanh, within which pictures begin: at its ends there is no gradient."""
DECAYS = (0.9, 0.999)
TINY = 1e-8
"""Adam's."""


@struct.dataclass
class Weights:
    """The search for c of each picture.

    Attributes:
      now: the c to try.
      failed: the largest that failed; 0 where none has.
      reached: the smallest that succeeded; infinite where none has.
    """

    now: Float[Array, " B"]
    failed: Float[Array, " B"]
    reached: Float[Array, " B"]

    @classmethod
    def first(cls, pictures: int) -> "Weights":
        """Before the first try."""
        return cls(jnp.full(pictures, FIRST), jnp.zeros(pictures), jnp.full(pictures, jnp.inf))

    def after(self, success: Bool[Array, " B"]) -> "Weights":
        """After a try: ten times, half, or the middle once both ends are known."""
        failed = jnp.where(success, self.failed, jnp.maximum(self.failed, self.now))
        reached = jnp.where(success, jnp.minimum(self.reached, self.now), self.reached)
        both = (failed > 0) & jnp.isfinite(reached)
        middle = (failed + jnp.where(both, reached, 0)) / 2
        alone = jnp.where(success, PART * self.now, TIMES * self.now)
        return Weights(jnp.where(both, middle, alone), failed, reached)


@struct.dataclass
class _Try:
    """One try's state.

    Attributes:
      at: [B ...] the variable.
      first, second: Adam's moments of it.
      goal: along the caption of the last look.
      best: what is kept of all tries.
      success: whether this try succeeded so far.
    """

    at: Array
    first: Array
    second: Array
    goal: Goal
    best: Attacked
    success: Bool[Array, " B"]


@dataclasses.dataclass(frozen=True)
class ShowAndFool(Attack):
    """Adam over tanh space, with a search for the weight of the loss.

    Every `look` steps the picture is rounded to 8 bits and captioned: a caption that is what was
    wanted counts, the picture that moved least is kept, and keywords are sought along the new
    caption. Of a picture without success the last one of the last try is the result.

    Deviations: the released code looks once a try. With an epsilon below 1 the range of tanh is
    what is left of [0, 1] around each value, so that nothing leaves the ball; with 1 it is the
    paper's.

    Attributes:
      steps: of each try; the paper takes 1000.
      tries: values of c.
      rate: Adam's learning rate.
      look: steps between two captions.
      loss: "margin" of the logits (equations 6 and 9), or "log_prob" (equation 5).
      confidence: kappa.
      least: which of the successful pictures is kept: that with the least "l2", as in the paper, or
        "linf".
    """

    steps: int = 1000
    tries: int = 5
    rate: float = 0.005
    look: int = 5
    loss: Loss = "margin"
    confidence: float = 1.0
    least: Literal["l2", "linf"] = "l2"

    NAME = "show_and_fool"
    COST = "steps * tries passes forward and back, one caption every `look` of them"
    SOURCE = "Chen et al. 2018, equations 2 to 11"
    SEEKS_LEAST = True

    def __post_init__(self) -> None:
        check_loss(self.loss, self.confidence)
        for name in ("steps", "tries", "look"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}; expected 1 or more")
        if self.steps % self.look:
            raise ValueError(
                f"got steps={self.steps} and look={self.look}; choose a number of steps that is a "
                "multiple of look, so that the last picture is looked at"
            )
        if self.rate <= 0:
            raise ValueError(f"got rate={self.rate}; expected more than 0")
        if self.least not in ("l2", "linf"):
            raise ValueError(f"got least={self.least!r}; choose l2 or linf")

    def __call__(
        self, scene: Scene, epsilons: Float[Array, " B"], keys: Key[Array, " B"]
    ) -> Attacked:
        """See `Attack`; nothing is drawn."""
        del keys
        pixels = scene.pixels
        wide = by_picture(epsilons, pixels)
        low, high = jnp.maximum(pixels - wide, 0), jnp.minimum(pixels + wide, 1)
        span = high - low
        place = 2 * (pixels - low) / jnp.where(span > 0, span, 1) - 1
        begin = jnp.arctanh(EDGE * jnp.where(span > 0, place, 0))

        def moved(at: Array) -> Array:
            return low + span * (jnp.tanh(at) + 1) / 2

        def gradient(at: Array, goal: Goal, weight: Array) -> Array:
            def pulled(at: Array) -> tuple[Array, Array]:
                here = moved(at)
                # The paper's pixels are in [-1, 1].
                axes = tuple(range(1, here.ndim))
                return jnp.sum(jnp.square(2 * (here - pixels)), axis=axes), here

            _, pull, here = jax.vjp(pulled, at, has_aux=True)
            _, slope = scene.slope(here, goal, self.loss, self.confidence)
            through = span * (1 - jnp.square(jnp.tanh(at))) / 2
            (back,) = pull(jnp.ones_like(weight))
            return by_picture(weight, at) * slope * through + back

        def looked(at: Array) -> Attacked:
            return scene.stored(
                moved(at), epsilons, "linf", loss=self.loss, confidence=self.confidence
            )

        def one_try(_: Int[Array, ""], given: tuple[Weights, Attacked]) -> Any:
            weights, best = given

            def block(index: Int[Array, ""], state: _Try) -> _Try:
                def step(inner: Int[Array, ""], own: tuple[Array, Array, Array]) -> Any:
                    count = (index * self.look + inner + 1).astype(jnp.float32)
                    return self._adam(own, gradient(own[0], state.goal, weights.now), count)

                own = (state.at, state.first, state.second)
                own = jax.lax.fori_loop(0, self.look, step, own)
                seen = looked(own[0]).replace(weight=weights.now)  # type: ignore[attr-defined]
                size, there = getattr(seen, self.least), getattr(state.best, self.least)
                take = seen.success & (~state.best.success | (size < there))
                take |= ~seen.success & ~state.best.success
                return _Try(
                    at=own[0],
                    first=own[1],
                    second=own[2],
                    goal=state.goal.along(*_cut(seen, state.goal)),
                    best=_where(take, seen, state.best),
                    success=state.success | seen.success,
                )

            zeros = jnp.zeros_like(begin)
            state = _Try(begin, zeros, zeros, scene.goal, best, jnp.zeros(len(begin), bool))
            state = jax.lax.fori_loop(0, self.steps // self.look, block, state)
            return weights.after(state.success), state.best

        # The first look replaces it; looking here too would compile a second captioner.
        nothing = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(looked, begin)
        )
        first = (Weights.first(len(begin)), nothing)
        return jax.lax.fori_loop(0, self.tries, one_try, first)[1]

    def _adam(
        self, own: tuple[Array, Array, Array], slope: Array, count: Float[Array, ""]
    ) -> tuple[Array, Array, Array]:
        """One step of Adam (Kingma & Ba 2015, algorithm 1)."""
        at, first, second = own
        first = DECAYS[0] * first + (1 - DECAYS[0]) * slope
        second = DECAYS[1] * second + (1 - DECAYS[1]) * jnp.square(slope)
        mean = first / (1 - DECAYS[0] ** count)
        square = second / (1 - DECAYS[1] ** count)
        return at - self.rate * mean / (jnp.sqrt(square) + TINY), first, second


def _cut(seen: Attacked, goal: Goal) -> tuple[Int[Array, "B T"], Int[Array, " B"]]:
    """The caption just written, as wide as the goal's tokens."""
    width = goal.tokens.shape[1]
    tokens = seen.tokens[:, :width]
    tokens = jnp.pad(tokens, ((0, 0), (0, width - tokens.shape[1])))
    return tokens.astype(goal.tokens.dtype), jnp.minimum(seen.lengths, width)


def _where(take: Bool[Array, " B"], one: Attacked, other: Attacked) -> Attacked:
    chosen: Attacked = jax.tree.map(
        lambda own, there: jnp.where(by_picture(take, own), own, there), one, other
    )
    return chosen
