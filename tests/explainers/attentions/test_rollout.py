"""Attention rollout against loops over layers, heads and tokens, and through the batched calls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import Captioner, build_net
from capjax.decoders import AttentionLSTM
from capjax.decoding import Greedy
from capjax.encoders import ViT
from capjax.explainers import Attention, GradCAM, Rollout, rollout
from capjax.explainers.batch import check_methods, explain_batch
from capjax.types import Features
from tests.explainers.toys import TEXT, asking, attentive

LAYERS, HEADS, TOKENS = 3, 4, 10
attention, attention_rollout = asking(Attention()), asking(Rollout())


def drawn(*lead, tokens=TOKENS, seed=0):
    """Attention of random encoders."""
    scores = np.random.RandomState(seed).standard_normal((*lead, LAYERS, HEADS, tokens, tokens))
    shares = np.exp(2 * scores)
    return (shares / shares.sum(-1, keepdims=True)).astype(np.float32)


def followed(attentions, token, fuse, discard=0.0):
    """One token of one image: walks down the layers, carrying how much of it is where."""
    here = np.zeros(attentions.shape[-1])
    here[token] = 1
    for layer in attentions[::-1]:
        below = np.zeros_like(here)
        for row, amount in enumerate(here):
            read = np.array(
                [fuse([head[row, column] for head in layer]) for column in range(len(here))]
            )
            order = np.argsort(read)
            read[order[: int(discard * len(read))]] = 0
            read = read / read.sum()
            below += 0.5 * amount * read
            below[row] += 0.5 * amount
        here = below
    return here


@pytest.mark.parametrize("discard", [0.0, 0.45])
@pytest.mark.parametrize(("fusion", "fuse"), [("mean", np.mean), ("max", max), ("min", min)])
def test_equals_a_walk_down_the_layers(fusion, fuse, discard):
    attentions = drawn(2)
    found = rollout(attentions, fusion=fusion, discard=discard)
    assert found.shape == (2, TOKENS, TOKENS)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    for image in range(2):
        for token in range(TOKENS):
            expected = followed(attentions[image], token, fuse, discard)
            np.testing.assert_allclose(found[image, token], expected, atol=1e-5)


def test_closed_forms():
    """Attention to itself moves nothing; uniform attention leaves half a layer where it was."""
    eye = np.broadcast_to(np.eye(TOKENS, dtype=np.float32), (1, LAYERS, HEADS, TOKENS, TOKENS))
    np.testing.assert_allclose(rollout(eye)[0], np.eye(TOKENS), atol=1e-6)
    uniform = np.full((1, LAYERS, HEADS, TOKENS, TOKENS), 1 / TOKENS, np.float32)
    stayed = 0.5**LAYERS
    expected = stayed * np.eye(TOKENS) + (1 - stayed) / TOKENS
    np.testing.assert_allclose(rollout(uniform)[0], expected, atol=1e-6)
    np.testing.assert_allclose(rollout(uniform, residual=0.0)[0], 1 / TOKENS, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"fusion": "sum"}, {"discard": 1.0}, {"residual": -0.1}])
def test_wrong_choices_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        rollout(drawn(), **wrong)


TOKENS_ASKED = np.array([[5, 4, 9, 2], [7, 2, 0, 0]], np.int32)
ASKED = (TOKENS_ASKED, np.array([4, 2]), np.broadcast_to(np.eye(4, dtype=np.float32), (2, 4, 4)))


def test_maps_are_the_decoders_attention_followed_back():
    """Mass of the class token, at either end, is left out and not put back."""
    captioner = attentive()
    grid = np.random.RandomState(0).standard_normal((2, 3, 3, 24)).astype(np.float32)
    read = drawn(2, 1, tokens=10)
    features = dataclasses.replace(Features.from_grid(grid), attentions=read)
    arguments = (captioner.net, captioner.variables, features, *ASKED)
    maps = np.asarray(attention_rollout(*arguments))
    looked = np.asarray(attention(*arguments))
    for image in range(2):
        for word in range(4):
            expected = sum(
                looked[image, word, 0, cell] * followed(read[image, 0], 1 + cell, np.mean)[1:]
                for cell in range(9)
            )
            np.testing.assert_allclose(maps[image, word, 0], expected, atol=1e-5)
    assert (maps[0].sum((1, 2)) < 1).all()


def test_each_frame_of_a_clip_is_followed_by_itself():
    captioner = attentive()
    grid = np.random.RandomState(0).standard_normal((4, 3, 3, 24)).astype(np.float32)
    images = dataclasses.replace(Features.from_grid(grid), attentions=drawn(4, 1))
    clips = images.as_clips(2)
    arguments = (captioner.net, captioner.variables, clips, *ASKED)
    looked = np.asarray(attention(*arguments))
    sources = np.asarray(rollout(images.attentions))[:, 0, 1:, 1:].reshape(2, 2, 9, 9)
    expected = np.einsum("bnfq,bfqp->bnfp", looked, sources)
    np.testing.assert_allclose(attention_rollout(*arguments), expected, atol=1e-5)
    # What is no longer a grid of tokens has no attention between them.
    assert clips.only(0, 1).attentions is None
    assert clips.frame_means().attentions is None


@pytest.fixture(scope="module")
def transformer():
    """A random captioner on a small ViT."""
    encoder = ViT(patch=8, width=24, layers=2, heads=2, mlp=32, size=(24, 32))
    decoder = AttentionLSTM(
        vocab_size=TEXT.size, features=24, hidden=16, embedding=10, attention=12
    )
    preprocessing = encoder.preprocessing()
    net = build_net(encoder, decoder, preprocessing)
    images, tokens = jnp.zeros((1, 24, 32, 3)), jnp.zeros((1, 3), jnp.int32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images, tokens)
    draw = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(0, 0.4, leaf.shape), jnp.float32), dict(shapes)
    )
    return Captioner(net, variables, TEXT, preprocessing)


def test_batched_call_gives_maps_and_the_missing_mass(transformer):
    images = np.random.RandomState(0).randint(0, 256, (2, 24, 32, 3), np.uint8)
    methods = check_methods(transformer, ["attention", "rollout"])
    options = {"methods": methods, "decoding": Greedy(), "max_len": 4}
    [first], [_] = explain_batch(transformer, images, [(24, 32)] * 2, **options)
    found = first.explanations["rollout"]
    assert found.maps.shape == (len(found.words), 1, 3, 4)
    missing = 1 - found.maps.sum((1, 2, 3))
    np.testing.assert_allclose(found.flags["off_grid_mass"], missing, atol=1e-3)
    assert (missing > 0).all()
    assert np.abs(found.maps - first.explanations["attention"].maps).max() > 1e-3
    # Its caption and its other maps are those of a call that asks for no rollout.
    options["methods"] = check_methods(transformer, "attention")
    [plain], [_] = explain_batch(transformer, images, [(24, 32)] * 2, **options)
    assert plain.caption.tokens == first.caption.tokens
    np.testing.assert_allclose(
        plain.explanations["attention"].maps, first.explanations["attention"].maps, atol=1e-6
    )


def test_an_encoder_without_attention_is_named(transformer):
    with pytest.raises(ValueError, match="ConvNet has no attention to roll out"):
        check_methods(attentive(), ["rollout"])
    features = Features.from_grid(jnp.zeros((2, 3, 3, 24)))
    captioner = attentive()
    with pytest.raises(ValueError, match="hold no attention"):
        attention_rollout(captioner.net, captioner.variables, features, *ASKED)
    assert GradCAM().prepare(transformer.net) == transformer.net
