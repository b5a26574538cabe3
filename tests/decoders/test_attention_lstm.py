"""The soft-attention decoder against hand-computed numbers and a literal NumPy step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import rng
from capjax.decoders import DECODERS, AttentionLSTM
from capjax.decoders.attention_lstm import SAT, SGRVINOD
from capjax.decoders.gpt2 import TINY
from capjax.types import NO_TOKEN, Features
from tests import compiled
from tests.pairs import pairs
from tests.reference import sat_step
from tests.reference.golden_weights import golden

VOCABULARY, DEPTH = 7, 5


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def build(**fields):
    return AttentionLSTM(
        VOCABULARY,
        DEPTH,
        **{"hidden": 4, "attention": 3, "embedding": 6, "dtype": jnp.float64, **fields},
    )


def features(seed=0, batch=2, frames=1, grid=(2, 3)):
    values = np.random.default_rng(seed).normal(size=(batch, frames, *grid, DEPTH))
    return Features.from_grid(jnp.asarray(values))


def variables(decoder, seed=1):
    shapes = jax.eval_shape(
        decoder.init, jax.random.key(0), features(), jnp.zeros((2, 3), jnp.int32)
    )
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(generator.normal(size=s.shape) * 0.5), shapes)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("deep", (-1.532929, -1.090872, -1.428559, -1.567719)),
        ("deep_tanh", (-1.520216, -1.109899, -1.428536, -1.550775)),
    ],
)
def test_step_matches_golden_numbers(output, expected):
    decoder = AttentionLSTM(4, 2, 2, 2, 2, output=output, dtype=jnp.float64)
    params = {
        "embedding": golden(11, 4, 2),
        "init_h_kernel": golden(2, 2, 2),
        "init_h_bias": golden(3, 2),
        "init_c_kernel": golden(4, 2, 2),
        "init_c_bias": golden(5, 2),
        "attention_features": golden(6, 2, 2),
        "attention_hidden": golden(7, 2, 2),
        "attention_bias": golden(8, 2),
        "attention_score": golden(9, 2, 1),
        "gate_kernel": golden(10, 2, 1),
        "gate_bias": np.array([0.3]),
        "lstm_embedding": golden(12, 4, 8)[:2],
        "lstm_context": golden(12, 4, 8)[2:],
        "lstm_recurrent": golden(13, 2, 8),
        "lstm_bias": golden(14, 8),
        "output_hidden": golden(15, 2, 2),
        "output_context": golden(16, 2, 2),
        "output_bias": np.zeros(2),
        "head_kernel": golden(17, 2, 4),
        "head_bias": np.zeros(4),
    }
    image = Features.from_grid(jnp.asarray(golden(1, 1, 1, 3, 2)))
    carry, memory = decoder.apply({"params": params}, image, method="start")
    np.testing.assert_allclose(carry[0][0], (0.410878, -0.029991), atol=1e-6)
    np.testing.assert_allclose(carry[1][0], (-0.145624, -0.464735), atol=1e-6)
    carry, hidden, attention = decoder.apply(
        {"params": params}, carry, jnp.array([1]), memory, method="step"
    )
    np.testing.assert_allclose(attention[0, 0], (0.322029, 0.337199, 0.340772), atol=1e-6)
    np.testing.assert_allclose(carry[0][0], (-0.011208, -0.141868), atol=1e-6)
    np.testing.assert_allclose(carry[1][0], (-0.023999, -0.349895), atol=1e-6)
    logits = decoder.apply({"params": params}, hidden, method="readout")
    np.testing.assert_allclose(jax.nn.log_softmax(logits)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "gate", "output", "start"),
    pairs(
        ("tanh", "relu"),
        ("none", "scalar", "vector"),
        ("deep_tanh", "deep", "linear"),
        ("zero", "token"),
    ),
)
def test_variants_match_a_literal_numpy_step(activation, gate, output, start):
    init = {"activation": "tanh" if start == "zero" else "linear", "layers": 2}
    decoder = build(
        activation=activation,
        gate=gate,
        output=output,
        start_input=start,
        init_activation=init["activation"],
        init_layers=init["layers"],
    )
    weights = variables(decoder)
    p = jax.tree.map(np.asarray, weights["params"])
    image = features()
    tokens = np.array([[3, 5, 2], [1, 1, 4]])
    hidden, attention = decoder.apply(weights, image, jnp.asarray(tokens))
    logits = decoder.apply(weights, hidden, method="readout")
    for b in range(2):
        a = np.asarray(image.positions[b, 0])
        h, c = sat_step.initial_state(p, a, **init)
        previous = p["start"] if start == "token" else np.zeros(6)
        for t in range(3):
            h, c, alpha, expected = sat_step.step(
                p, h, c, previous, a, activation=activation, gate=gate, output=output
            )
            np.testing.assert_allclose(attention[b, t, 0], alpha, atol=1e-10)
            np.testing.assert_allclose(logits[b, t], expected, atol=1e-10)
            previous = p["embedding"][tokens[b, t]]


def test_attention_follows_its_positions_and_the_words_do_not_care():
    decoder = build()
    weights, image = variables(decoder), features()
    tokens = jnp.array([[3, 5, 2], [1, 1, 4]])
    hidden, attention = decoder.apply(weights, image, tokens)
    order = np.array([4, 2, 0, 5, 1, 3])
    shuffled = image.replace(positions=image.positions[:, :, order])
    moved, moved_attention = decoder.apply(weights, shuffled, tokens)
    np.testing.assert_allclose(moved, hidden, atol=1e-12)
    np.testing.assert_allclose(moved_attention, attention[..., order], atol=1e-12)
    np.testing.assert_allclose(attention.sum((-1, -2)), 1.0, atol=1e-12)


def test_identical_positions_get_equal_attention():
    decoder = build()
    image = features()
    same = image.replace(positions=jnp.broadcast_to(image.positions[:, :, :1], (2, 1, 6, DEPTH)))
    _, attention = decoder.apply(variables(decoder), same, jnp.array([[3, 5], [1, 1]]))
    np.testing.assert_allclose(attention, 1 / 6, atol=1e-12)


def test_padded_positions_and_other_examples_change_nothing():
    decoder = build()
    weights, image = variables(decoder), features()
    tokens = jnp.array([[3, 5, 2], [1, 1, 4]])
    hidden, attention = decoder.apply(weights, image, tokens)
    junk = jnp.full((2, 1, 2, DEPTH), 9.0)
    padded = Features(
        jnp.concatenate([image.positions, junk], axis=2),
        image.extra,
        jnp.concatenate([image.valid, jnp.zeros((2, 1, 2), bool)], axis=2),
        (2, 4),
    )
    again, wide = decoder.apply(weights, padded, tokens)
    np.testing.assert_allclose(again, hidden, atol=1e-12)
    np.testing.assert_allclose(wide[..., :6], attention, atol=1e-12)
    np.testing.assert_array_equal(wide[..., 6:], 0.0)
    single, _ = decoder.apply(weights, jax.tree.map(lambda x: x[:1], image), tokens[:1])
    np.testing.assert_allclose(single, hidden[:1], atol=1e-12)


def test_later_tokens_do_not_reach_earlier_positions():
    decoder = build()
    weights, image = variables(decoder), features()
    one, _ = decoder.apply(weights, image, jnp.array([[3, 5, 2, 0], [1, 1, 4, 2]]))
    two, _ = decoder.apply(weights, image, jnp.array([[3, 5, 6, 6], [1, 1, 0, 0]]))
    np.testing.assert_array_equal(one[:, :3], two[:, :3])


def test_dropout_belongs_to_the_example_not_to_its_batch():
    decoder = build(hidden_dropout=0.5, embedding_dropout=0.3, output_dropout=0.5)
    weights, image = variables(decoder), features()
    tokens = jnp.array([[3, 5, 2], [1, 1, 4]])
    keys = rng.per_example(jax.random.key(7), jnp.array([10, 11]))
    both, _ = decoder.apply(weights, image, tokens, keys)
    padded = jnp.pad(tokens[1:], ((0, 0), (0, 2)))
    one, _ = decoder.apply(weights, jax.tree.map(lambda x: x[1:], image), padded, keys[1:])
    np.testing.assert_allclose(one[:, :3], both[1:], atol=1e-12)
    plain, _ = decoder.apply(weights, image, tokens)
    assert np.abs(np.asarray(plain - both)).max() > 0.1


def test_a_wrong_feature_depth_is_named():
    decoder = build()
    wrong = Features.from_grid(jnp.zeros((1, 2, 2, DEPTH + 1)))
    with pytest.raises(ValueError, match="depth 6; this decoder expects 5"):
        decoder.apply(variables(decoder), wrong, jnp.zeros((1, 2), jnp.int32))


@pytest.mark.parametrize("preset", [SAT, SGRVINOD])
def test_presets_build_and_start_from_a_distribution_that_is_nearly_flat(preset):
    decoder = AttentionLSTM(50, DEPTH, hidden=32, **preset)
    with jax.enable_x64(False):
        values = jax.random.normal(jax.random.key(1), (2, 2, 3, DEPTH))
        image = Features.from_grid(values)
        tokens = jnp.array([[3, 5], [7, 8]])
        weights = compiled.init(decoder, jax.random.key(0), image, tokens)
        hidden, _ = decoder.apply(weights, image, tokens)
        logits = decoder.apply(weights, hidden, method="readout")
    np.testing.assert_allclose(jax.nn.log_softmax(logits), -np.log(50), atol=0.5)


STARTS = [
    (name, start)
    for name in sorted(set(DECODERS) - {"gpt2"})  # which has its own sizes and its own test
    for start in (("zero", "token") if "lstm" in name else (None,))
]


@pytest.mark.parametrize(("name", "start"), STARTS)
def test_scan_of_step_is_the_call(name, start):
    sizes = {**TINY, "start_token": 1} if name == "gpt2" else {"hidden": 4, "embedding": 6}
    fields = sizes | ({"start_input": start} if start else {})
    decoder = DECODERS[name](VOCABULARY, DEPTH, **fields, dtype=jnp.float64)
    weights, image = variables(decoder), features(frames=2)
    tokens = jnp.array([[3, 5, 2], [1, 1, 4]])
    hidden, attention = decoder.apply(weights, image, tokens)
    carry, memory = decoder.apply(weights, image, method="start")
    previous = jnp.full((2,), NO_TOKEN)
    for t in range(3):
        carry, out, alpha = decoder.apply(weights, carry, previous, memory, method="step")
        np.testing.assert_allclose(out, hidden[:, t], atol=1e-12)
        if attention is None:
            assert alpha is None
        else:
            np.testing.assert_allclose(alpha, attention[:, t], atol=1e-12)
        previous = tokens[:, t]
    kernel, bias = decoder.apply(weights, method="head")
    logits = decoder.apply(weights, hidden, method="readout")
    np.testing.assert_allclose(hidden @ kernel + bias.reshape(1, 1, -1), logits, atol=1e-12)


@pytest.mark.parametrize(
    ("gate", "output"), [("none", "deep_tanh"), ("scalar", "linear"), ("vector", "deep_tanh")]
)
def test_a_position_alone_is_read_and_differentiated_as_a_scan_of_step_does(gate, output):
    decoder = build(gate=gate, output=output)
    own = variables(decoder)
    one = features(grid=(1, 1))
    tokens = jnp.asarray([[1, 4, 2, 0], [3, 3, 6, 5]])
    mix = np.random.default_rng(8).normal(size=(2, 4, 4 if output == "linear" else 6))

    def called(own, positions):
        hidden, attention = decoder.apply(own, one.replace(positions=positions), tokens)
        return jnp.sum(hidden * mix), (hidden, attention)

    def stepped(own, positions):
        bound = decoder.bind(own)
        carry, memory = bound.start(one.replace(positions=positions))
        found, previous = [], jnp.full((2,), NO_TOKEN)
        for word in tokens.T:
            carry, hidden, attention = bound.step(carry, previous, memory)
            found.append((hidden, attention))
            previous = word
        hidden, attention = (jnp.stack(each, axis=1) for each in zip(*found, strict=True))
        return jnp.sum(hidden * mix), (hidden, attention)

    both = [
        jax.jit(jax.value_and_grad(each, argnums=(0, 1), has_aux=True))(own, one.positions)
        for each in (called, stepped)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), *both)
    assert float(jnp.abs(both[0][1][1]).max()) > 1e-3


def test_a_projection_is_a_layer_before_all_that_reads_the_image():
    """The literal step, given relu(a W + b) for a: initial state, attention and context alike."""
    decoder = build(projection=7, attend="frames")
    weights, seen = variables(decoder), features(frames=2)
    p = jax.tree.map(np.asarray, weights["params"])
    assert p["lstm_context"].shape == (7, 16) and p["init_h_kernel"].shape == (7, 4)
    tokens = np.array([[3, 5, 2], [1, 1, 4]])
    hidden, attention = decoder.apply(weights, seen, jnp.asarray(tokens))
    logits = decoder.apply(weights, hidden, method="readout")
    for b in range(2):
        means = np.asarray(seen.positions[b]).mean(axis=1)
        a = np.maximum(means @ p["projection_kernel"] + p["projection_bias"], 0)
        assert 0 < np.mean(a == 0) < 1
        h, c = sat_step.initial_state(p, a, activation="tanh", layers=1)
        previous = np.zeros(6)
        for t in range(3):
            h, c, alpha, expected = sat_step.step(
                p, h, c, previous, a, activation="tanh", gate="scalar", output="deep_tanh"
            )
            np.testing.assert_allclose(attention[b, t].sum(axis=-1), alpha, atol=1e-6)
            np.testing.assert_allclose(logits[b, t], expected, atol=1e-6)
            previous = p["embedding"][tokens[b, t]]


def test_attention_over_frames_is_attention_over_their_means():
    decoder, frames = build(), build(attend="frames")
    seen = features(frames=3)
    seen = seen.replace(valid=seen.valid.at[0, 1, 2:].set(False))
    weights = variables(decoder)
    tokens = jnp.array([[3, 1], [2, 2]])
    hidden, attention = frames.apply(weights, seen, tokens)
    expected, alpha = decoder.apply(weights, seen.frame_means(), tokens)
    np.testing.assert_allclose(hidden, expected, atol=1e-5)
    assert attention.shape == (2, 2, 3, 6)
    np.testing.assert_allclose(attention.sum(-1), alpha[..., 0], atol=1e-6)
    np.testing.assert_array_equal(attention[0, :, 1, 2:], 0.0)
    np.testing.assert_allclose(attention[0, :, 1, 0], alpha[0, :, 1, 0] / 2, atol=1e-6)
    carry, memory = frames.apply(weights, seen, method="start")
    _, _, first = frames.apply(weights, carry, jnp.array([-1, -1]), memory, method="step")
    np.testing.assert_allclose(first, attention[:, 0], atol=1e-6)
