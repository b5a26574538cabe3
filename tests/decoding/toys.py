"""Tiny recurrent language models, as a capjax step and as plain NumPy, and literal searches."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np

from capjax.types import NO_TOKEN

EOS = 0


class Toy:
    """h' = tanh(h A + E[previous]), logits = h' C: the history matters, not the last word alone."""

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

    def step(self, carry: Any, token: Any) -> tuple[Any, Any]:
        embedded = jnp.asarray(self.embedding, jnp.float32)[jnp.where(token < 0, self.size, token)]
        carry = {"h": jnp.tanh(carry["h"] @ jnp.asarray(self.recurrent, jnp.float32) + embedded)}
        return carry, carry["h"] @ jnp.asarray(self.readout, jnp.float32)

    def carry(self, seeds: list[int]) -> dict[str, Any]:
        return {"h": jnp.asarray(self.start(seeds), jnp.float32)}

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


class Chain:
    """First-order chain given by a table: row 0 is the first word's distribution."""

    def __init__(self, first: list[float], after: dict[int, list[float]]):
        size = len(first)
        self.table = np.array([after.get(word, [1.0 / size] * size) for word in range(size)])
        self.first = np.array(first)

    def step(self, carry: Any, token: Any) -> tuple[Any, Any]:
        table = jnp.log(jnp.asarray(np.vstack([self.table, self.first]), jnp.float32))
        return carry, table[jnp.where(token < 0, len(self.first), token)]


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
