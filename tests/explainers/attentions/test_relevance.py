"""Chefer's relevance against its rules in NumPy, fed by derivatives that are checked apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import build_net
from capjax.decoders import GPT2
from capjax.decoders.gpt2 import TINY
from capjax.decoders.gpt2_block import ATTENTION_MOVES, ATTENTIONS
from capjax.encoders import ViT
from capjax.encoders.encoder import perturbed
from capjax.explainers import AttentionRelevance
from capjax.explainers.attentions.relevance import Layer, follow
from capjax.explainers.batch import check_methods
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.explainers.toys import attentive

ENCODER = ViT(patch=8, width=16, layers=2, heads=2, mlp=24, size=(16, 24))
DECODER = GPT2(11, 16, **{**TINY, "width": 16, "heads": 2, "mlp": 24, "start_token": 10})
NET = AttentionRelevance().prepare(build_net(ENCODER, DECODER, ENCODER.preprocessing()))
BATCH = 6  # more than a processor encodes at once
DRAW = np.random.RandomState(0)
IMAGES = DRAW.randint(0, 256, (BATCH, 16, 24, 3)).astype(np.uint8)
TOKENS = DRAW.randint(0, 10, (BATCH, 2, 3)).astype(np.int32)
LENGTHS = np.array([[1, 3], [3, 2]] * 3)
ASKED = 1
"""The second of two sentences an image is looked at."""
WEIGHTS = np.array([[1, 0, 0], [0, 1, 0], [1, 3, 0]], np.float32)
WEIGHTS = np.broadcast_to(WEIGHTS, (BATCH, 2, 3, 3))
BLOCKS, PARTS = ("block_0", "block_1"), ("attention", "cross_attention")


def drawn():
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(NET.init, jax.random.key(0), IMAGES, TOKENS[:, ASKED])
    assert set(shapes) == {"params"}
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.4, leaf.shape)), dict(shapes))


def literal(encoder, decoder, order, row):
    """Equations 6 to 10 for one image: matrices of every layer, of one frame.

    `order` gives the encoder's tokens in the order in which the decoder reads them.
    """
    image, words = len(order), len(decoder[0][0])
    r_ii, r_tt = np.eye(image), np.eye(words)
    r_ti = np.zeros((words, image))

    def bar(r):
        rest = r - np.eye(len(r))
        for own in rest:
            own /= own.sum() or 1
        return rest + np.eye(len(r))

    for a in encoder:
        r_ii = r_ii + a @ r_ii
    for own, looked in decoder:
        r_tt, r_ti = r_tt + own @ r_tt, r_ti + own @ r_ti
        by_token = np.zeros((words, image))
        by_token[:, order[: looked.shape[1]]] = looked
        r_ti = r_ti + bar(r_tt).T @ by_token @ bar(r_ii)
    return r_ti[row]


def moves(make):
    """What is added to attention: of the encoder's blocks, and of the decoder's."""
    words = (("attention", 3), ("cross_attention", 7))
    return (
        {name: make((BATCH, 1, 2, 7, 7)) for name in BLOCKS},
        {name: {part: {"weights": make((BATCH, 2, 3, n))} for part, n in words} for name in BLOCKS},
    )


@jax.jit
def found(variables, moves):
    """The answer, all attention, scores [B N] with their derivatives where it is moved, and the
    scores where it is not."""
    features = NET.apply(variables, IMAGES, method="encode")
    request = make_request(
        *(NET, variables, features, TOKENS, LENGTHS, WEIGHTS), images=jnp.asarray(IMAGES)
    )
    _, left = NET.apply(
        variables, features, TOKENS[:, ASKED], method="teacher_force", mutable=[ATTENTIONS]
    )

    def score(moves):
        own = {**perturbed(variables, {}, moves[0]), ATTENTION_MOVES: {"decoder": moves[1]}}
        return request.score(NET, own, images=IMAGES)[:, ASKED]

    values, pull = jax.vjp(score, moves)
    (slopes,) = jax.vmap(lambda one: pull(jnp.tile(one, (BATCH, 1))))(jnp.eye(3))  # [N B ...]
    answer = AttentionRelevance()(NET, variables, request)["chefer"]
    read = features.attentions, left[ATTENTIONS]["decoder"]
    plain = request.score(NET, variables, features=features)[:, ASKED]
    return answer, read, values, slopes, plain


@functools.cache
def unmoved():
    return found(drawn(), moves(jnp.zeros))


def test_maps_follow_the_rules_of_the_paper():
    answer, (read_image, read_words), _, (slopes_image, slopes_words), _ = unmoved()

    def approved(attention, slope):
        return np.mean([np.maximum(a * s, 0) for a, s in zip(attention, slope, strict=True)], 0)

    order = [1, 2, 3, 4, 5, 6, 0]  # the class token comes last in the decoder
    for row in range(BATCH):
        for target in range(LENGTHS[row, ASKED]):
            encoder = [
                approved(read_image[row, 0, number], slopes_image[name][target, row, 0])
                for number, name in enumerate(BLOCKS)
            ]
            decoder = [
                tuple(
                    approved(
                        read_words[name][part]["weights"][row],
                        slopes_words[name][part]["weights"][target, row],
                    )
                    for part in PARTS
                )
                for name in BLOCKS
            ]
            share = WEIGHTS[row, ASKED, target] / WEIGHTS[row, ASKED, target].sum()
            rows = np.array([literal(encoder, decoder, order, t) for t in range(3)])
            expected = share @ rows
            assert np.ptp(expected) > 1e-3
            own = answer.values[row, ASKED, target].reshape(-1)
            np.testing.assert_allclose(own, expected[1:], rtol=1e-3, atol=1e-5)
            off_grid = expected[0] / expected.sum()
            np.testing.assert_allclose(
                answer.flags["off_grid_mass"][row, ASKED, target], off_grid, atol=1e-4
            )


def test_derivatives_by_attention_are_differences_of_scores():
    """Along one direction in all layers at once."""
    slopes = unmoved()[3]
    draw = np.random.default_rng(1)
    way = moves(lambda shape: (0.03 * draw.normal(size=shape)).astype(np.float32))
    ends = [found(drawn(), own)[2] for own in (way, jax.tree.map(np.negative, way))]
    along = sum(
        np.sum(np.asarray(one) * other, axis=tuple(range(2, one.ndim)))
        for one, other in zip(jax.tree.leaves(slopes), jax.tree.leaves(way), strict=True)
    )
    expected = np.asarray(ends[0] - ends[1]).T / 2  # [N B]
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(along, expected, atol=0.02 * np.abs(expected).max())


def test_attention_is_only_moved_where_somebody_asks():
    """Moves of zero change no score, and init makes no place for them (see `drawn`)."""
    np.testing.assert_allclose(unmoved()[2], unmoved()[4], rtol=1e-5, atol=1e-5)


def test_frames_of_a_clip_are_followed_each_by_itself():
    """Two frames of two cells and a class token; and an encoder without attention."""
    draw = np.random.default_rng(2)
    encoder = [draw.random((1, 2, 3, 3)).astype(np.float32) for _ in range(2)]
    words = [np.tril(draw.random((1, 4, 4))).astype(np.float32) for _ in range(2)]
    looked = [draw.random((1, 4, 6)).astype(np.float32) for _ in range(2)]
    features = Features.from_grid(jnp.zeros((1, 2, 1, 2, 5))).replace(extra=jnp.zeros((1, 2, 5)))
    layers = [Layer(*both) for both in zip(words, looked, strict=True)]
    found = np.asarray(follow(encoder, layers, features))
    alone = np.asarray(follow([], layers, features))
    for frame in range(2):
        columns = [2 * frame, 2 * frame + 1, 4 + frame]
        decoder = [(own[0], image[0][:, columns]) for own, image in zip(words, looked, strict=True)]
        for row in range(4):
            expected = literal([own[0, frame] for own in encoder], decoder, [1, 2, 0], row)
            np.testing.assert_allclose(found[0, row, frame], expected[[1, 2, 0]], rtol=1e-4)
            expected = literal([], decoder, [0, 1, 2], row)
            np.testing.assert_allclose(alone[0, row, frame], expected, rtol=1e-4)


def test_other_captioners_and_missing_recordings_are_refused():
    with pytest.raises(ValueError, match="AttentionLSTM has no layers of attention, to words and"):
        check_methods(attentive(), "chefer")
    variables = drawn()
    features = Features.from_grid(jnp.zeros((BATCH, 2, 3, 16)))
    request = make_request(NET, variables, features, TOKENS, LENGTHS, WEIGHTS, images=IMAGES)
    with pytest.raises(ValueError, match=r"give images, .*the net that `AttentionRelevance.prep"):
        AttentionRelevance()(NET, variables, request)
