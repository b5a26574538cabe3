"""GPT-2 with cross-attention: a literal NumPy version, invariants, and its cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import rng
from capjax.decoders import GPT2
from capjax.decoders.gpt2 import TINY
from capjax.types import NO_TOKEN, Features

VOCABULARY, DEPTH, HEADS = 23, 12, 4


@functools.partial(jax.jit, static_argnames="decoder")
def force(decoder, weights, image, tokens, keys=None):
    return decoder.apply(weights, image, tokens, keys)


def build(**fields):
    return GPT2(VOCABULARY, DEPTH, **{**TINY, "start_token": 22, **fields})


def problem(decoder, batch=3, length=6, scale=0.3):
    """Two frames of 2x2 positions, one of them padded, a class token, and dense weights."""
    generator = np.random.default_rng(0)
    dtype = jnp.promote_types(decoder.dtype, jnp.float32)

    def draw(shape, scale=1.0):
        return jnp.asarray(scale * generator.normal(size=shape), dtype)

    image = Features.from_grid(draw((batch, 2, 2, 2, DEPTH))).replace(extra=draw((batch, 1, DEPTH)))
    image = image.replace(valid=image.valid.at[1, 1, 2:].set(False))
    tokens = jnp.asarray(generator.integers(0, VOCABULARY, (batch, length)), jnp.int32)
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), image, tokens)
    return jax.tree.map(lambda leaf: draw(leaf.shape, scale), shapes), image, tokens


def literal(weights, image, tokens):
    """Row by row, head by head, from the definition: (logits [B T V], attention [B T L])."""
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights["params"])
    table = weights["embedding"]

    def norm(x, w):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * w["scale"] + w["bias"]

    def dense(x, w):
        return x @ w["kernel"] + w["bias"]

    def attend(query, keys, values, w):
        read, looked = [], []
        for q, k, v in zip(*(np.split(m, HEADS, -1) for m in (query, keys, values)), strict=True):
            share = np.exp(k @ q / np.sqrt(len(q)))
            looked.append(share / share.sum())
            read.append(looked[-1] @ v)
        return dense(np.concatenate(read), w["out"]), np.mean(looked, 0)

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def sentence(descriptors, words):
        stream = [
            table[22 if n == 0 else words[n - 1]] + weights["position_embedding"][n]
            for n in range(len(words))
        ]
        maps = []
        for number in range(TINY["layers"]):
            w = weights[f"block_{number}"]
            own, cross = w["attention"], w["cross_attention"]
            normed = [norm(x, w["norm1"]) for x in stream]
            after = []
            for n, x in enumerate(stream):
                past = np.array(normed[: n + 1])
                query = dense(normed[n], own["query"])
                x = x + attend(query, dense(past, own["key"]), dense(past, own["value"]), own)[0]
                query = dense(norm(x, w["norm_cross"]), cross["query"])
                seen = dense(descriptors, cross["key"]), dense(descriptors, cross["value"])
                read, looked = attend(query, *seen, cross)
                x = x + read
                x = x + dense(gelu(dense(norm(x, w["norm2"]), w["mlp_in"])), w["mlp_out"])
                after.append(x)
                maps.append(looked)
            stream = after
        logits = [norm(x, weights["norm"]) @ table.T for x in stream]
        return np.array(logits), np.mean(np.split(np.array(maps), TINY["layers"]), 0)

    found = []
    for b, words in enumerate(np.asarray(tokens)):
        kept = np.asarray(image.positions[b], np.float64)[np.asarray(image.valid[b])]
        found.append(sentence(np.concatenate([kept, np.asarray(image.extra[b])]), words))
    return found


@pytest.fixture(scope="module")
def forced():
    decoder = build()
    weights, image, tokens = problem(decoder)
    hidden, maps = force(decoder, weights, image, tokens)
    logits = decoder.apply(weights, hidden, method="readout")
    return decoder, weights, image, tokens, hidden, logits, maps


def test_is_the_literal_model(forced):
    _, weights, image, tokens, _, logits, maps = forced
    for b, (expected, looked) in enumerate(literal(weights, image, tokens)):
        np.testing.assert_allclose(logits[b], expected, atol=2e-4 * np.abs(expected).max())
        shown = np.asarray(maps[b]).reshape(len(looked), -1)
        valid = np.asarray(image.valid[b]).reshape(-1)
        np.testing.assert_allclose(shown[:, valid], looked[:, :-1], atol=1e-5)
        assert not shown[:, ~valid].any()
        # What the class token gets is missing, and not put back.
        np.testing.assert_allclose(shown.sum(1), 1 - looked[:, -1], atol=1e-5)
    assert float(np.asarray(maps).sum((2, 3)).max()) < 0.99


def run_steps(decoder, weights, image, tokens, **start):
    step = jax.jit(functools.partial(decoder.apply, method="step"))
    carry, memory = decoder.apply(weights, image, method="start", **start)
    previous, found = jnp.full(tokens.shape[:1], NO_TOKEN), []
    for word in tokens.T:
        carry, hidden, attention = step(weights, carry, previous, memory)
        found.append((hidden, attention))
        previous = word
    return [jnp.stack(leaves, axis=1) for leaves in zip(*found, strict=True)]


@pytest.mark.parametrize("length", [6, None])
def test_steps_with_a_cache_of_any_room_are_the_full_pass(forced, length):
    decoder, weights, image, tokens, hidden, _, maps = forced
    stepped = run_steps(decoder, weights, image, tokens, length=length)
    np.testing.assert_allclose(stepped[0], hidden, atol=1e-5)
    np.testing.assert_allclose(stepped[1], maps, atol=1e-6)


def test_no_word_sees_a_later_one_and_no_image_another(forced):
    decoder, weights, image, tokens, hidden, _, maps = forced
    changed = tokens.at[:, 3].set((tokens[:, 3] + 1) % VOCABULARY)
    other, _ = force(decoder, weights, image, changed)
    np.testing.assert_array_equal(other[:, :4], hidden[:, :4])
    assert np.abs(other[:, 4:] - hidden[:, 4:]).max() > 0.1
    for row in range(3):
        one = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], image)
        alone, looked = force(decoder, weights, one, tokens[row : row + 1])
        np.testing.assert_allclose(alone[0], hidden[row], atol=1e-5)
        np.testing.assert_allclose(looked[0], maps[row], atol=1e-6)


def test_padded_positions_change_nothing(forced):
    decoder, weights, image, tokens, hidden, _, maps = forced
    padded = image.replace(
        positions=jnp.concatenate([image.positions, 9.0 - image.positions], axis=2),
        valid=jnp.concatenate([image.valid, jnp.zeros_like(image.valid)], axis=2),
        grid=(4, 2),
    )
    other, looked = force(decoder, weights, padded, tokens)
    np.testing.assert_allclose(other, hidden, atol=1e-5)
    np.testing.assert_allclose(looked[..., :4], maps, atol=1e-6)
    assert not np.asarray(looked[..., 4:]).any()


def test_the_last_layer_is_the_embedding_itself(forced):
    decoder, weights, _, _, hidden, logits, _ = forced
    assert "head_kernel" not in weights["params"]
    kernel, bias = decoder.apply(weights, method="head")
    np.testing.assert_array_equal(kernel, weights["params"]["embedding"].T)
    np.testing.assert_allclose(hidden @ kernel + bias[None, None], logits, rtol=1e-4, atol=1e-4)
    count = sum(leaf.size for leaf in jax.tree.leaves(weights["params"]["block_0"]))
    assert count == 8 * 32 * 32 - 2 * 32 * 20 + 2 * 32 * 64 + 8 * 32 + 96 + 6 * 32


def test_maps_of_chosen_layers(forced):
    _, weights, image, tokens, hidden, _, maps = forced
    parts = []
    for layers in ((0,), (1,)):
        same, looked = force(build(attention_layers=layers), weights, image, tokens)
        np.testing.assert_allclose(same, hidden, atol=1e-5)
        parts.append(np.asarray(looked))
    np.testing.assert_allclose((parts[0] + parts[1]) / 2, maps, atol=1e-6)
    assert np.abs(parts[0] - parts[1]).max() > 1e-3


def test_dropout_belongs_to_the_example(forced):
    decoder, weights, image, tokens, hidden, _, maps = forced
    keys = rng.per_example(jax.random.key(1), jnp.arange(3))
    dropped, looked = force(decoder, weights, image, tokens, keys)
    assert np.abs(dropped - hidden).mean() > 0.05
    np.testing.assert_allclose(looked[:, 0].sum((1, 2)), maps[:, 0].sum((1, 2)), atol=0.5)
    last = jax.tree.map(lambda leaf: leaf[2:], image)
    alone, _ = force(decoder, weights, last, tokens[2:, :4], keys[2:])
    # A shorter caption, another batch: the same units are dropped.
    np.testing.assert_allclose(alone[0], dropped[2, :4], atol=1e-5)


def test_gradients_reach_every_parameter_and_bfloat16_stays_near(forced):
    decoder, weights, image, tokens, hidden, _, _ = forced

    def loss(weights, decoder):
        hidden, _ = force(decoder, weights, image, tokens)
        logits = decoder.apply(weights, hidden, method="readout")
        return jnp.mean(jax.nn.log_softmax(logits)[..., 3]), hidden

    gradients, _ = jax.jit(jax.grad(functools.partial(loss, decoder=decoder), has_aux=True))(
        weights
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        # A key's bias shifts all scores of a query alike: softmax does not see it.
        assert ("key" in name and "bias" in name) or float(jnp.abs(leaf).max()) > 1e-7, name
    _, rounded = loss(weights, build(dtype=jnp.bfloat16))
    assert rounded.dtype == jnp.float32
    assert np.abs(rounded - hidden).max() < 0.05 * np.abs(hidden).max()


def test_float64_stays_float64():
    with jax.enable_x64(True):
        decoder = build(dtype=jnp.float64)
        weights, image, tokens = problem(decoder)
        hidden, _ = force(decoder, weights, image, tokens)
        logits = decoder.apply(weights, hidden, method="readout")
    assert hidden.dtype == logits.dtype == jnp.float64
    for b, (expected, _) in enumerate(literal(weights, image, tokens)):
        np.testing.assert_allclose(logits[b], expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 30}, r"width=30 and heads=4; heads divide"),
        ({"start_token": 23}, r"start_token=23 and a vocabulary of 23; choose"),
        ({"attention_layers": (0, 2)}, r"names \[2\]; this decoder has layers 0 to 1"),
        ({"positions": 5}, "up to 6 tokens; this decoder has position embeddings for 5"),
        ({"features": 9}, "features of depth 12; this decoder expects 9"),
    ],
)
def test_refuses_what_does_not_fit(fields, message):
    _, image, tokens = problem(build())
    decoder = GPT2(
        **{"vocab_size": VOCABULARY, "features": DEPTH, "start_token": 22, **TINY, **fields}
    )
    with pytest.raises(ValueError, match=message):
        decoder.init(jax.random.key(0), image, tokens)


def test_a_cache_longer_than_the_positions_is_refused(forced):
    decoder, weights, image, *_ = forced
    with pytest.raises(ValueError, match="up to 33 tokens"):
        decoder.apply(weights, image, 33, method="start")


def test_the_published_size():
    decoder = GPT2(50257, 768)
    image = jax.eval_shape(lambda: Features.from_grid(jnp.zeros((1, 14, 14, 768))))
    shapes = jax.eval_shape(
        decoder.init, jax.random.key(0), image, jax.ShapeDtypeStruct((1, 2), jnp.int32)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 152_806_656
