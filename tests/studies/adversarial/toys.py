"""A captioner whose logits are a known linear function of the pixels, word after word."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from capjax.captioner import CaptionNet
from capjax.decoding import Greedy
from capjax.studies.adversarial import Goal, Writing
from tests.explainers.toys import Pixels

SIDE, WORDS, LONGEST = 2, 5, 3
END = 0
VALUES = SIDE * SIDE * 3
WRITING = Writing(Greedy(), LONGEST, END)


class LinearWords(nn.Module):
    """Word t has the logits W_t . pixels + b_t, whatever was written before."""

    def setup(self):
        shape = (LONGEST, VALUES, WORDS)
        self.weights = self.param("weights", nn.initializers.zeros, shape)
        self.biases = self.param("biases", nn.initializers.zeros, (LONGEST, WORDS))

    def _all(self, features):
        flat = features.positions.reshape(len(features.positions), -1)
        logits = jnp.einsum("bd,tdv->btv", flat, self.weights, precision="highest")
        return logits + self.biases[None]

    def __call__(self, features, tokens, keys=None):
        logits = self._all(features)
        missing = max(tokens.shape[1] - LONGEST, 0)
        padded = jnp.pad(logits, ((0, 0), (0, missing), (0, 0)))
        return padded[:, : tokens.shape[1]], None

    def start(self, features, length=None):
        return jnp.zeros(len(features.positions), jnp.int32), self._all(features)

    def step(self, carry, token, memory):
        hidden = jax.vmap(lambda own, at: own[at])(memory, carry)
        return carry + 1, hidden, None

    def readout(self, hidden):
        return hidden


NET = CaptionNet(Pixels(), LinearWords(), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def variables(weights, biases):
    """Of `NET`: weights [T D V] by pixels in levels of 255, biases [T V]."""
    arrays = {"weights": jnp.asarray(weights, jnp.float32), "biases": jnp.asarray(biases)}
    return {"params": {"decoder": arrays}}


def two_words(gap):
    """Variables and pictures of which the first word is 1 before 2, by a margin known exactly.

    Moving every value by `gap` levels along the signs of the weights makes both equal:
    margin / ||w||_1 = gap, w the difference of the two words' weights.
    """
    draw = np.random.default_rng(0)
    # So small that the softmax is not saturated: no gradient is left of a margin of a hundred.
    difference = draw.choice([-2.0, -1.0, 1.0, 3.0], VALUES) / 32
    weights = np.zeros((LONGEST, VALUES, WORDS))
    weights[0, :, 1], weights[0, :, 2] = difference / 2, -difference / 2
    images = draw.integers(60, 190, (3, SIDE, SIDE, 3)).astype(np.uint8)
    images[1:] = images[0]  # of one margin
    biases = np.full((LONGEST, WORDS), -1e4)
    flat = images[0].reshape(-1).astype(np.float64)
    biases[0, 1] = gap * np.abs(difference).sum() - difference @ flat
    biases[0, 2] = 0.0
    biases[1:, END] = 0.0
    return variables(weights, biases), images


def own_caption(words=(1, END), pictures=3, width=4):
    """The goal to move away from a caption."""
    tokens = np.zeros((pictures, width), np.int32)
    tokens[:, : len(words)] = words
    return Goal.of("untargeted", tokens, np.full(pictures, len(words), np.int32))
