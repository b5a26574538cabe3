"""Score-CAM against the paper's algorithm, channel by channel."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.encoders import ConvNet
from capjax.explainers import ScoreCAM
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.encoders.test_stages import drawn, encode, photographs
from tests.explainers.cams.test_stage import linear

NET = linear(ConvNet((6,), (0,), coordinates=False))
SIDE = 12
TOKENS = np.array([[[5, 4], [0, 2]], [[3, 1], [4, 5]]], np.int32)  # two sentences an image
LENGTHS = np.array([[2, 2], [1, 2]])
ASKED = (TOKENS, LENGTHS, np.broadcast_to(np.eye(2, dtype=np.float32), (2, 2, 2, 2)))


@functools.partial(jax.jit, static_argnames="method")
def scorecam(variables, images, method):
    features = NET.apply(variables, images, method="encode")
    asked = jax.tree.map(lambda leaf: leaf[: len(images)], ASKED)
    request = make_request(NET, variables, features, *asked, images=images, measure=method.MEASURE)
    return method(NET, variables, request)[method.NAME].values


def enlarged(mask, side):
    """Bilinear, between the centres of cells."""
    cells = len(mask)
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    low = np.minimum(place.astype(int), cells - 2)
    rest = place - low
    across = mask[:, low] * (1 - rest) + mask[:, low + 1] * rest
    return across[low] * (1 - rest[:, None]) + across[low + 1] * rest[:, None]


def literal(variables, image, activations, tokens, colour, channels):
    """Algorithm 1 for one image: activations [F h w D] of it, or of a clip's frames."""
    spread = activations.reshape(-1, activations.shape[-1]).var(axis=0)
    scores, maps = [], []
    for k in np.argsort(-spread)[:channels]:
        a = activations[..., k]
        if a.max() == a.min():
            continue
        wide = np.array([enlarged(frame, SIDE) for frame in a])
        masks = (wide - wide.min()) / (wide.max() - wide.min())
        frames = image.reshape(-1, SIDE, SIDE, 3).astype(float)
        seen = colour + masks[..., None] * (frames - colour)
        masked = np.asarray(seen, np.float32).reshape(1, *image.shape)
        # The word's logit is the mean of its channel, after any other word.
        logits = np.asarray(encode(NET, variables, masked).pooled)[0]
        scores.append((np.exp(logits) / np.exp(logits).sum())[tokens])
        maps.append(a)
    weights = np.exp(scores) / np.exp(scores).sum(axis=0)
    return np.einsum("kn,kfij->nfij", weights, maps)


@pytest.mark.parametrize(
    ("shape", "options", "colour"),
    [
        ((2,), {}, 127.5),
        ((2, 2), {"channels": 3, "baseline": "black"}, 0.0),
    ],
    ids=["images", "clips"],
)
def test_equals_the_algorithm_of_the_paper(shape, options, colour):
    variables, images = drawn(NET, SIDE), photographs(*shape, side=SIDE)
    method = ScoreCAM(**options)
    found = scorecam(variables, images, method)
    features = encode(NET, variables, images)
    activations = np.asarray(features.positions).reshape(2, -1, *features.grid, 6)
    for row in range(2):
        given = (variables, images[row], activations[row], TOKENS[row].reshape(-1), colour)
        expected = literal(*given, options.get("channels", 6))
        assert np.ptp(expected) > 0.1
        for query in range(2):
            words = LENGTHS[row, query]
            own, wanted = found[row, query, :words], expected[2 * query :][:words]
            np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-5)
    alone = scorecam(variables, images[:1], method)
    np.testing.assert_allclose(alone, found[:1], rtol=1e-5, atol=1e-6)


def test_a_channel_that_is_the_same_everywhere_is_left_out():
    """And where all are, the map is 0."""
    variables, images = drawn(NET, SIDE), np.full((2, SIDE, SIDE, 3), 90, np.uint8)
    features = Features.from_grid(jnp.ones((2, 6, 6, 6)).at[0, 2, 3, 4].set(3.0))
    request = make_request(NET, variables, features, *ASKED, images=images, measure="prob")
    values = ScoreCAM()(NET, variables, request)["scorecam"].values[:, 0]
    np.testing.assert_allclose(values[0, 0, 0], features.positions[0, 0, :, 4].reshape(6, 6))
    assert not np.any(values[1])


def test_wrong_options_and_missing_images_are_named():
    with pytest.raises(ValueError, match="got channels=-1; expected 0 for all"):
        ScoreCAM(channels=-1)
    with pytest.raises(ValueError, match="unknown baseline 'white'; choose mean or black"):
        ScoreCAM(baseline="white")
    variables = drawn(NET, SIDE)
    request = make_request(NET, variables, Features.from_grid(jnp.ones((2, 2, 2, 6))), *ASKED)
    with pytest.raises(ValueError, match="was given features alone; choose another method"):
        ScoreCAM()(NET, variables, request)
