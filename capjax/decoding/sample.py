"""Sampling with temperature, top-k and nucleus (top-p) truncation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from capjax import rng
from capjax.decoding.decoded import Decoded, Step, selectable
from capjax.decoding.paths import follow


@dataclasses.dataclass(frozen=True)
class Sample:
    """Draws captions; a draw depends on its example's key, its number and the position alone.

    Temperature first, then top-k, then top-p on what is left, renormalised (the order of
    Holtzman et al. 2020 and of the common libraries).

    Attributes:
      temperature: logits are divided by it; below 1 sharpens.
      top_k: only the k likeliest tokens may be drawn (ties: lower ids first); 0 allows all.
      top_p: only the smallest set of likeliest tokens whose probability reaches p may be drawn;
        1 allows all.
      count: K, captions an image. They come likeliest first, so with K > 1 the first one is not
        a fair draw; all of them together are.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    count: int = 1

    def __post_init__(self) -> None:
        if not self.temperature > 0.0:
            raise ValueError(f"temperature={self.temperature} is not above 0; use Greedy() for 0")
        if self.top_k < 0:
            raise ValueError(f"top_k={self.top_k} is negative; use 0 to allow every token")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p={self.top_p} is outside (0, 1]; use 1.0 to allow every token")
        if self.count < 1:
            raise ValueError(f"count={self.count} captions an image; draw at least 1")

    def decode(
        self,
        step: Step,
        carry: Any,
        *,
        batch: int,
        eos: int,
        max_len: int,
        suppress: tuple[int, ...] = (),
        keys: Key[Array, " B"] | None = None,
    ) -> Decoded:
        """See `Method.decode`; the score is the caption's log-probability under the model.

        Raises:
          ValueError: without `keys`, or with a number of them other than `batch`.
        """
        if keys is None or keys.shape != (batch,):
            got = None if keys is None else keys.shape
            raise ValueError(
                f"sampling needs one key for each of the {batch} examples; got {got}; "
                "build them with capjax.rng.per_example(key, ids)"
            )
        streams = rng.per_position(keys, self.count)  # [B K]

        def draw(
            logits: Float[Array, "B N V"], position: Int[Array, ""], numbers: Int[Array, "B N"]
        ) -> Array:
            own = jnp.take_along_axis(streams, numbers, axis=1)
            at_position = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (0, None))
            pick = jax.vmap(jax.vmap(self._pick))
            return pick(at_position(own, position), selectable(logits, suppress))

        return follow(step, carry, draw, batch=batch, count=self.count, eos=eos, max_len=max_len)

    def _pick(self, key: Key[Array, ""], logits: Float[Array, " V"]) -> Int[Array, ""]:
        scaled = logits / self.temperature
        if self.top_k == 0 and self.top_p == 1.0:
            return jax.random.categorical(key, scaled)
        kept, ids = self.truncate(scaled)
        return ids[jax.random.categorical(key, kept)]

    def truncate(self, logits: Float[Array, " V"]) -> tuple[Float[Array, " k"], Int[Array, " k"]]:
        """Logits in descending order with those outside top-k and top-p at -inf, and their ids."""
        size = logits.shape[0]
        kept, ids = jax.lax.top_k(logits, min(self.top_k or size, size))
        probability = jax.nn.softmax(kept)
        before = jnp.cumsum(probability) - probability
        return jnp.where((before < self.top_p).at[0].set(True), kept, -jnp.inf), ids
