"""Tiny recurrent language models, as a capjax step and as plain NumPy, and literal searches."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.decoding import Decoded, Method
from capjax.types import NO_TOKEN

EOS = 0


class Toy:
    """h' = tanh(h A + E[previous]), logits = h' C: the history matters, not the last word alone.

    The weights travel in the carry, so that all toys of one size share a compiled search.
    """

    def __init__(self, seed: int, *, size: int = 4, width: int = 3, sharpness: float = 2.0):
        draw = np.random.default_rng(seed)
        self.size = size
        self.recurrent = draw.normal(size=(width, width))
        self.embedding = draw.normal(size=(size + 1, width))  # the last row is the first input
        self.readout = sharpness * draw.normal(size=(width, size))

    def start(self, seeds: list[int]) -> np.ndarray:
        """[B width] initial states, one an "image"."""
        width = len(self.recurrent)
        return np.stack([np.random.default_rng(seed).normal(size=width) for seed in seeds])

    def carry(self, seeds: list[int]) -> dict[str, Any]:
        state = self.start(seeds)
        weights = {"A": self.recurrent, "E": self.embedding, "C": self.readout}
        repeated = {name: np.stack([value] * len(seeds)) for name, value in weights.items()}
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), {"h": state, **repeated})

    def log_probs(self, state: np.ndarray, words: tuple[int, ...]) -> np.ndarray:
        """[len(words) + 1, V]: the distribution of each word and of the one after the last."""
        rows = []
        for word in (NO_TOKEN, *words):
            state = np.tanh(state @ self.recurrent + self.embedding[word])
            logits = state @ self.readout
            rows.append(logits - np.log(np.sum(np.exp(logits))))
        return np.array(rows)

    def rescore(self, state: np.ndarray, words: tuple[int, ...]) -> np.ndarray:
        """[len(words)] log-probability of each word."""
        return self.log_probs(state, words)[np.arange(len(words)), list(words)]


def toy_step(carry: Any, token: Any) -> tuple[Any, Any]:
    """`Toy`'s recurrence as a decoding step."""
    first = carry["E"].shape[1] - 1
    row = jnp.where(token < 0, first, token)[:, None, None]
    embedded = jnp.take_along_axis(carry["E"], row, axis=1)[:, 0]
    state = jnp.tanh(jnp.einsum("bi,bij->bj", carry["h"], carry["A"]) + embedded)
    return {**carry, "h": state}, jnp.einsum("bi,biv->bv", state, carry["C"])


@functools.partial(jax.jit, static_argnames=("method", "eos", "max_len", "suppress"))
def _decode(carry, keys, method, eos, max_len, suppress):
    return method.decode(
        toy_step,
        carry,
        batch=carry["h"].shape[0],
        eos=eos,
        max_len=max_len,
        suppress=suppress,
        keys=keys,
    )


def run(
    toy: Toy,
    method: Method,
    seeds: list[int],
    *,
    max_len: int,
    eos: int = EOS,
    suppress: tuple[int, ...] = (),
    keys: Any = None,
) -> Decoded:
    """The method's captions of some "images", as NumPy arrays."""
    decoded = _decode(toy.carry(seeds), keys, method, eos, max_len, suppress)
    return jax.tree.map(np.asarray, decoded)


class Chain:
    """First-order chain given by a table: row 0 is the first word's distribution."""

    def __init__(self, first: list[float], after: dict[int, list[float]]):
        size = len(first)
        self.table = np.array([after.get(word, [1.0 / size] * size) for word in range(size)])
        self.first = np.array(first)

    def step(self, carry: Any, token: Any) -> tuple[Any, Any]:
        table = jnp.log(jnp.asarray(np.vstack([self.table, self.first]), jnp.float32))
        return carry, table[jnp.where(token < 0, len(self.first), token)]

    def run(self, method: Method, batch: int, **options: Any) -> Decoded:
        """The method's captions, as NumPy arrays."""

        @jax.jit
        def decode(carry: Any) -> Decoded:
            return method.decode(self.step, carry, batch=batch, **options)

        return jax.tree.map(np.asarray, decode({"none": jnp.zeros(batch)}))


def every_caption(size: int, max_len: int) -> list[tuple[int, ...]]:
    """All captions that end in EOS or are cut at `max_len`."""
    words = [word for word in range(size) if word != EOS]
    captions = []
    for length in range(1, max_len + 1):
        for body in itertools.product(words, repeat=length - 1):
            captions.append((*body, EOS))
    captions += list(itertools.product(words, repeat=max_len))
    return captions


def literal_beam(toy: Toy, state: np.ndarray, width: int, max_len: int) -> list[tuple[int, ...]]:
    """Beam search with Python lists: the live list gives up a place for each finished caption."""
    live: list[tuple[int, ...]] = [()]
    done: list[tuple[int, ...]] = []
    for _ in range(max_len):
        candidates = [
            (toy.rescore(state, (*words, word)).sum(), (*words, word))
            for words in live
            for word in range(toy.size)
        ]
        candidates.sort(key=lambda pair: -pair[0])
        kept = [words for _, words in candidates[: width - len(done)]]
        done += [words for words in kept if words[-1] == EOS]
        live = [words for words in kept if words[-1] != EOS]
        if not live:
            break
    return done + live
