"""Means of samples with their standard errors, kept as they come; and when they are good enough.

Every target has a count of its own: one that is good enough takes no more samples, so that what it
is asked with changes nothing. `CHECKED` is counted in samples, whatever parts they come in.

Letters: B images, Q sentences, N targets, K samples of a part.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

CHECKED = 64
"""Samples after which it is looked whether they are enough: a multiple of the size of any part."""
LARGE_NOISE = 0.2
"""A reader is told of the words whose map has more noise than this share of its span."""


@struct.dataclass
class Running:
    """Samples of every target so far (Welford 1962; parts merged by Chan et al. 1983).

    Attributes:
      count: [B Q N] samples taken.
      mean: [B Q N ...] of them.
      spread: [B Q N ...] sum of squared distances from the mean.
      done: [B Q N] targets that take no more.
    """

    count: Float[Array, "B Q N"]
    mean: Float[Array, "B Q N *S"]
    spread: Float[Array, "B Q N *S"]
    done: Bool[Array, "B Q N"]

    @classmethod
    def start(cls, used: Float[Array, "B Q N T"], *shape: int) -> "Running":
        """No samples; targets that sum over no token are done.

        Args:
          used: see `Request.used`.
          shape: of one sample of one target.
        """
        targets = used.shape[:3]
        zeros = jnp.zeros((*targets, *shape), jnp.float32)
        return cls(jnp.zeros(targets), zeros, zeros, jnp.all(used == 0, axis=-1))

    def take(
        self, mean: Float[Array, "B Q N *S"], spread: Float[Array, "B Q N *S"], count: Array
    ) -> "Running":
        """With a part of `count` samples, of which mean and sum of squared distances are given."""
        total = self.count + count
        share = jnp.where(total > 0, count / jnp.maximum(total, 1), 0.0)
        way = mean - self.mean
        wide = (*total.shape, *[1] * (mean.ndim - total.ndim))
        share, own = share.reshape(wide), self.count.reshape(wide)
        taken = Running(
            total,
            self.mean + share * way,
            self.spread + spread + jnp.square(way) * own * share,
            self.done,
        )

        def kept(old: Array, new: Array) -> Array:
            done = self.done.reshape(*self.done.shape, *[1] * (new.ndim - self.done.ndim))
            return jnp.where(done, old, new)

        return jax.tree.map(kept, self, taken)

    @property
    def error(self) -> Float[Array, "B Q N *S"]:
        """Standard error of the mean; 0 of a target that took none."""
        count = self.count.reshape(*self.count.shape, *[1] * (self.mean.ndim - 3))
        return jnp.sqrt(self.spread / jnp.maximum(count * (count - 1), 1))

    def check(self, stop: float) -> "Running":
        """Targets whose noise is at most `stop` are done."""
        enough = noise(self.mean, self.error) <= stop
        return dataclasses.replace(self, done=self.done | enough)


def noise(mean: Float[Array, "B Q N *S"], error: Float[Array, "B Q N *S"]) -> Float[Array, "B Q N"]:
    """Mean standard error of a map, as a share of its span: at most 1, and 0 without any error."""
    mean, error = (leaf.reshape(*leaf.shape[:3], -1) for leaf in (mean, error))
    span = jnp.max(mean, axis=-1) - jnp.min(mean, axis=-1)
    size = jnp.mean(error, axis=-1)
    return jnp.where(size < span, size / jnp.where(span > 0, span, 1.0), jnp.sign(size))


def sampling_flags(running: Running) -> dict[str, Float[Array, "B Q N"]]:
    """What a reader must know: samples taken, and how large the noise is."""
    return {"samples": running.count, "noise": noise(running.mean, running.error)}


def check_stop(stop: float) -> None:
    """Refuses a share that cannot be reached."""
    if not 0 <= stop < 1:
        raise ValueError(f"got stop={stop}; expected a share of 0 (never) to 1")


def noise_note(flags: Mapping[str, Any], words: Sequence[str], drawn: str) -> list[str]:
    """Which words' maps are little more than noise; none where all of them say something."""
    noisy = [word for word, own in zip(words, flags["noise"], strict=True) if own > LARGE_NOISE]
    if not noisy:
        return []
    return [
        f"with {drawn} the maps of {', '.join(noisy)} are noisy: their mean standard error "
        f"is more than {LARGE_NOISE:.0%} of their span. More samples bring it down."
    ]
