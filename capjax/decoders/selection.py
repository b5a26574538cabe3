"""Hard attention's choice of one position a word (Xu et al. 2015, section 4.1).

A draw from alpha is the largest log alpha + Gumbel noise, so that a choice is a function of alpha
and of noise drawn beforehand; without noise it is the most attended position.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from capjax import rng

Reading = Literal["expected", "argmax", "sample"]
READINGS = get_args(Reading)
Scope = Literal["image", "batch"]


class Draws(NamedTuple):
    """How the positions of B captions of T words are chosen.

    Attributes:
      noise: [T B L] added to log alpha.
      expected: [B] True for captions that read the expectation instead, as with soft attention.
    """

    noise: Float[Array, "T B L"]
    expected: Bool[Array, " B"]


def training_draws(
    keys: Key[Array, " B"], words: int, positions: int, share: float, scope: Scope
) -> Draws:
    """Draws of a training step, a function of each example's key and of the word's place.

    Args:
      keys: one an example.
      words: T.
      positions: L.
      share: of captions that read the expectation (the paper: half of them).
      scope: whether an "image" decides by itself (the paper) or the whole "batch" does (the
        released code).
    """

    def noise(key: Key[Array, ""]) -> Float[Array, " L"]:
        return jax.random.gumbel(key, (positions,))

    by_word = jax.vmap(jax.vmap(noise))(rng.per_position(rng.child(keys, "position"), words))
    uniform = jax.vmap(jax.random.uniform)(rng.child(keys, "expected"))
    if scope == "batch":
        uniform = jnp.broadcast_to(uniform[:1], uniform.shape)
    return Draws(by_word.swapaxes(0, 1), uniform < share)


def reading_noise(reading: Reading, words: Int[Array, "*N"], positions: int) -> Float[Array, "L"]:
    """Noise [*N L] of the choice at the words' places outside training.

    Zeros for "argmax"; for "sample" the same for every image, so that a caption is a function of
    its image alone.
    """
    if reading == "argmax":
        return jnp.zeros((*words.shape, positions))
    root = rng.stream(jax.random.key(0), "reading")

    def noise(word: Int[Array, ""]) -> Float[Array, " L"]:
        return jax.random.gumbel(jax.random.fold_in(root, word), (positions,))

    return jax.vmap(noise)(words.reshape(-1)).reshape(*words.shape, positions)


def reading_draws(reading: Reading, words: int, shape: tuple[int, ...]) -> Draws | None:
    """Draws of all words outside training, for positions [B L]; None for the expectation."""
    if reading == "expected":
        return None
    noise = reading_noise(reading, jnp.arange(words), shape[1])
    return Draws(jnp.broadcast_to(noise[:, None], (words, *shape)), jnp.zeros(shape[:1], bool))


def choose(alpha: Float[Array, "*N L"], noise: Float[Array, "*N L"]) -> Float[Array, "*N L"]:
    """The chosen positions, as rows of zeros with a single one; never one without attention."""
    chosen = jnp.argmax(jnp.log(alpha) + noise, axis=-1)
    return jax.lax.stop_gradient(jax.nn.one_hot(chosen, alpha.shape[-1], dtype=alpha.dtype))
