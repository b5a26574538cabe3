"""A captioner of a few pixels whose scores can be written down."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from capjax.captioner import CaptionNet
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.explainers.toys import Linear

TOKENS = np.array([[0, 2], [1, 0]], np.int32)
"""The sentence of each picture: tokens are channels."""


SEEN = 6
"""Columns of the pixels that are seen, from the left; the others are ignored."""


class Left(nn.Module):
    """An "encoder" whose features are the pixels that it sees."""

    def __call__(self, images, train=False, remat=False):
        return Features.from_grid(images[:, :, :SEEN])


NET = CaptionNet(Left(), Linear(), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Logit k, at every step, is the mean of channel k over what is seen."""


def images(*frames):
    """[2 *F 4 8 3] float32: four cells of strong colours, so that scores are far from additive."""
    draw = np.random.default_rng(0)
    colours = draw.uniform(-9, 9, (2, *frames, 2, 2, 3)).repeat(2, axis=-3).repeat(4, axis=-2)
    return (colours + draw.uniform(-3, 3, (2, *frames, 4, 8, 3))).astype(np.float32)


def ask(pictures, rows=(0, 1), measure="log_prob", superpixels=None):
    """A request for both words of each picture.

    Args:
      rows: of `TOKENS`, for each picture; they decide its key, too.
    """
    rows = jnp.asarray(rows)
    words = jnp.broadcast_to(jnp.eye(2), (len(rows), 1, 2, 2))
    features = NET.apply({}, pictures, method="encode")
    return make_request(
        *(NET, {}, features, jnp.asarray(TOKENS)[rows][:, None], jnp.full((len(rows), 1), 2)),
        words,
        images=jnp.asarray(pictures),
        seeds=(7 + rows).astype(jnp.uint32),
        measure=measure,
        superpixels=superpixels,
    )


def ask_methods(methods, pictures, rows=(0, 1), measure="log_prob"):
    """What each of several methods says."""
    request = ask(pictures, rows, measure)
    return [method(NET, {}, request)[method.NAME] for method in methods]


answers = functools.partial(jax.jit, static_argnames=("methods", "measure"))(ask_methods)


def log_probs(pictures, row):
    """[... 2] of the words of picture `row`, for any [... 4 8 3] in its place, in float64."""
    values = np.asarray(pictures, np.float64)[..., :SEEN, :].mean(axis=(-3, -2))
    values = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return values[..., TOKENS[row]]


def behind(row, shown):
    """[... 2] the same of that picture where it is shown [... 4 8], black elsewhere."""
    return log_probs(images()[row] * np.asarray(shown)[..., None], row)
