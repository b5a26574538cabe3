"""S2VT against published toy numbers, literal NumPy loops and a scan of its own steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoders import S2VT, TwoLayerS2VT, cell
from capjax.decoders.s2vt import CGS, sequence
from capjax.types import Features
from tests.reference.golden_weights import golden

VOCABULARY, DEPTH, HIDDEN, EMBEDDING, WIDTH = 7, 5, 4, 3, 6


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(gates, c):
    i, f, o, g = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def image(frames=1, batch=2):
    generator = np.random.default_rng(0)
    return Features.from_grid(jnp.asarray(generator.normal(size=(batch, frames, 2, 3, DEPTH))))


def random_weights(decoder, features, tokens, seed=1):
    generator = np.random.default_rng(seed)
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), features, jnp.asarray(tokens))
    return jax.tree.map(lambda s: jnp.asarray(0.5 * generator.normal(size=s.shape)), shapes)


def single(**fields):
    sizes = {"hidden": HIDDEN, "embedding": EMBEDDING, "projection": WIDTH}
    return S2VT(VOCABULARY, DEPTH, **(sizes | fields), dtype=jnp.float64)


def double(**fields):
    sizes = {"hidden": HIDDEN, "embedding": EMBEDDING, "projection": WIDTH}
    return TwoLayerS2VT(VOCABULARY, DEPTH, **(sizes | fields), dtype=jnp.float64)


TOKENS = np.array([[3, 5, 2], [1, 1, 4]])


def test_the_toy_model_of_the_released_code():
    """Kernel rows: projected frame, word, state; gates i, j, f, o with forget bias 1."""

    def gates(packed):
        i, j, f, o = np.split(packed, 4, axis=-1)
        return jnp.asarray(np.concatenate([i, f, o, j], axis=-1))

    kernel, bias = gates(golden(24, 6, 8)), gates(golden(25, 8)).at[2:4].add(1.0)
    decoder = S2VT(5, 3, hidden=2, embedding=2, dtype=jnp.float64)
    params = {
        "feature_kernel": golden(22, 3, 2),
        "feature_bias": golden(23, 2),
        "lstm_features": kernel[:2],
        "lstm_embedding": kernel[2:4],
        "lstm_recurrent": kernel[4:],
        "lstm_bias": bias,
        "embedding": golden(26, 5, 2),
        "head_kernel": golden(27, 2, 5),
        "head_bias": golden(28, 5),
    }
    params = jax.tree.map(jnp.asarray, params)
    seen = Features.from_grid(jnp.asarray(golden(21, 4, 3)).reshape(1, 1, 4, 3))
    words = jnp.array([[2, 4, 1]])

    def log_probs(features):
        hidden, _ = decoder.apply({"params": params}, features, words)
        logits = decoder.apply({"params": params}, hidden, method="readout")
        logs = jax.nn.log_softmax(logits)
        return np.take_along_axis(np.asarray(logs), np.asarray(words)[..., None], -1)[0, :, 0]

    np.testing.assert_allclose(log_probs(seen), [-1.209608, -2.225335, -1.826173], atol=1e-6)
    expected = [
        [-1.206906, -1.213171, -1.213274, -1.213374],
        [-2.184959, -2.187265, -2.186809, -2.186355],
        [-1.835531, -1.831324, -1.831348, -1.831373],
    ]
    columns = [log_probs(seen.only(0, position)) for position in range(4)]
    np.testing.assert_allclose(np.stack(columns, axis=1), expected, atol=1e-6)


@pytest.mark.parametrize("scan", ["raster", "snake", "frames"])
def test_single_layer_is_a_numpy_loop(scan):
    features = image(frames=2)
    decoder = single(scan=scan)
    weights = random_weights(decoder, features, TOKENS)
    p = jax.tree.map(np.asarray, weights["params"])
    hidden, attention = decoder.apply(weights, features, jnp.asarray(TOKENS))
    assert attention is None
    grid = np.asarray(features.positions).reshape(2, 2, 2, 3, DEPTH)
    for b in range(2):
        order = []
        for frame in range(2):
            if scan == "frames":
                order.append(grid[b, frame].reshape(-1, DEPTH).mean(0))
                continue
            for row in range(2):
                cells = grid[b, frame, row]
                order += list(cells[::-1] if scan == "snake" and row % 2 else cells)
        h, c = np.zeros(HIDDEN), np.zeros(HIDDEN)
        kernel = np.concatenate([p["lstm_features"], p["lstm_embedding"], p["lstm_recurrent"]])
        for v in order:
            frame = v @ p["feature_kernel"] + p["feature_bias"]
            joined = np.concatenate([frame, np.zeros(EMBEDDING), h])
            h, c = lstm(joined @ kernel + p["lstm_bias"], c)
        word = np.zeros(EMBEDDING)
        for t in range(3):
            joined = np.concatenate([np.zeros(WIDTH), word, h])
            h, c = lstm(joined @ kernel + p["lstm_bias"], c)
            np.testing.assert_allclose(hidden[b, t], h, atol=1e-10)
            word = p["embedding"][TOKENS[b, t]]


def test_two_layers_are_a_numpy_loop():
    features = image(frames=3)
    decoder = double()
    weights = random_weights(decoder, features, TOKENS)
    p = jax.tree.map(np.asarray, weights["params"])
    hidden, _ = decoder.apply(weights, features, jnp.asarray(TOKENS))
    upper_kernel = np.concatenate(
        [p["upper_lower"], p["upper_embedding"], p["upper_stage"][None], p["upper_recurrent"]]
    )

    def both(state, frame, word, stage):
        (h1, c1), (h2, c2) = state
        projected = frame @ p["feature_kernel"] + p["feature_bias"]
        gates = projected @ p["lower_features"] + h1 @ p["lower_recurrent"] + p["lower_bias"]
        h1, c1 = lstm(gates, c1)
        joined = np.concatenate([h1, word, [stage], h2])
        h2, c2 = lstm(joined @ upper_kernel + p["upper_bias"], c2)
        return (h1, c1), (h2, c2)

    for b in range(2):
        state = ((np.zeros(HIDDEN),) * 2,) * 2
        for frame in np.asarray(features.positions[b]).mean(1):
            state = both(state, frame, p["start"], 0.0)
        word = p["start"]
        for t in range(3):
            state = both(state, np.zeros(DEPTH), word, 1.0)
            np.testing.assert_allclose(hidden[b, t], state[1][0], atol=1e-10)
            word = p["embedding"][TOKENS[b, t]]


def written_out(decoder, weights, features, tokens):
    """Teacher forcing whose gradients are JAX's own: eager steps, no scan, no hand-written rule."""
    values, valid = sequence(features, decoder.scan)
    p = weights["params"]

    def step(h, c, given, keep):
        new = cell.lstm(given + h @ p["lstm_recurrent"], c)
        return [jnp.where(keep[:, None], one, two) for one, two in zip(new, (h, c), strict=True)]

    h = c = jnp.zeros((tokens.shape[0], HIDDEN))
    frames = (values @ p["feature_kernel"] + p["feature_bias"].reshape(1, 1, -1)) @ p[
        "lstm_features"
    ] + p["lstm_bias"].reshape(1, 1, -1)
    for index in range(values.shape[1]):
        h, c = step(h, c, frames[:, index], valid[:, index])
    hidden = []
    for previous in cell.shift(tokens).T:
        word = p["embedding"][previous] * (previous >= 0)[:, None]
        h, c = step(
            h,
            c,
            word @ p["lstm_embedding"] + p["lstm_bias"].reshape(1, -1),
            jnp.ones(len(previous), bool),
        )
        hidden.append(h)
    return jnp.stack(hidden, axis=1)


def test_gradients_are_those_of_autodiff_also_with_padding():
    features = image(frames=2)
    features = features.replace(valid=features.valid.at[1, 1, 2:].set(False).at[0, 0, 0].set(False))
    decoder = single()
    weights = random_weights(decoder, features, TOKENS)
    tokens = jnp.asarray(TOKENS)

    def value(force, weights, positions):
        hidden = force(weights, features.replace(positions=positions), tokens)
        return jnp.sum(hidden * jnp.cos(jnp.arange(hidden.size)).reshape(hidden.shape)), hidden

    found = {}
    for name, force in (
        ("fast", lambda *a: decoder.apply(*a)[0]),
        ("plain", functools.partial(written_out, decoder)),
    ):
        gradient = jax.jit(jax.value_and_grad(functools.partial(value, force), (0, 1), True))
        found[name] = gradient(weights, features.positions)
    for one, two in zip(
        jax.tree.leaves(found["fast"]), jax.tree.leaves(found["plain"]), strict=True
    ):
        np.testing.assert_allclose(one, two, atol=1e-10)
    positions = found["fast"][1][1]
    np.testing.assert_array_equal(positions[1, 1, 2:], 0.0)
    assert np.abs(positions[1, 1, :2]).min() > 0.0


def test_the_snake_turns_every_second_row_around():
    cells = jnp.arange(16.0).reshape(1, 4, 4, 1)
    order, _ = sequence(Features.from_grid(cells), "snake")
    expected = [0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12]
    np.testing.assert_array_equal(order.ravel(), expected)
    with pytest.raises(ValueError, match="choose 'raster'"):
        sequence(Features.from_grid(cells), "spiral")


def test_the_released_sizes_give_the_released_number_of_weights():
    decoder = S2VT(100, 2048, **CGS)
    features = Features.from_grid(jnp.zeros((1, 1, 2, 2048)))
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), features, jnp.zeros((1, 2), int))
    counts = {name: leaf.size for name, leaf in shapes["params"].items()}
    lstm_weights = sum(count for name, count in counts.items() if name.startswith("lstm"))
    assert lstm_weights == 15_085_200
    assert counts["feature_kernel"] == 2048 * 1300


def test_dropout_needs_keys_and_leaves_reading_alone_without_them():
    features = image()
    decoder = single(input_dropout=0.5, hidden_dropout=0.5)
    weights = random_weights(decoder, features, TOKENS)
    plain, _ = decoder.apply(weights, features, jnp.asarray(TOKENS))
    expected, _ = single().apply(weights, features, jnp.asarray(TOKENS))
    np.testing.assert_array_equal(plain, expected)
    keys = jax.random.split(jax.random.key(3), 2)
    dropped, _ = decoder.apply(weights, features, jnp.asarray(TOKENS), keys)
    share = float(np.mean(np.asarray(dropped) == 0.0))
    assert 0.2 < share < 0.8
