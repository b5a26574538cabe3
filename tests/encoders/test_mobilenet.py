"""MobileNet v1 against Keras' outputs, loops in NumPy, hand-computed numbers and photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from capjax.data.pictures.images import load_prepared
from capjax.encoders import MobileNet
from capjax.encoders.mobilenet import depthwise_convolution
from capjax.weights import load_encoder_weights
from tests import shapes
from tests.golden import mobilenet_keras as golden
from tests.golden.photographs import photographs, relative_error, sparse
from tests.reference import mobilenet as reference

WEIGHTS = "mobilenet_v1_1.0_224.npz"
SIZE = (224, 224)


@pytest.fixture(scope="module")
def weight_file(shared_data):
    path = shared_data.parent / "weights" / WEIGHTS
    if not path.is_file():
        pytest.skip(f"pretrained weights not found: {path}")
    return path


def random_weights(seed=0):
    """Under the released names, with activations that neither vanish nor saturate."""
    random = np.random.RandomState(seed)
    _, variables = shapes.traced(MobileNet(output="block_13"), (1, 32, 32, 3))
    weights = {}
    for name, leaf in traverse_util.flatten_dict(variables["params"], sep="/").items():
        if name.endswith("bias"):
            weights[name] = random.uniform(-0.2, 0.4, leaf.shape)
        else:
            fan_in = np.prod(leaf.shape[:3])
            weights[name] = random.standard_normal(leaf.shape) * np.sqrt(2 / fan_in)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def as_variables(weights):
    return {"params": traverse_util.unflatten_dict(weights, sep="/")}


def test_golden_same_padding():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    three = depthwise_convolution(image, jnp.ones((3, 3, 1, 1)), stride=2)
    np.testing.assert_array_equal(three[0, :, :, 0], [[45, 39], [66, 50]])
    five = depthwise_convolution(image, jnp.ones((5, 5, 1, 1)), stride=2)
    np.testing.assert_array_equal(five[0, :, :, 0], [[120, 96], [114, 90]])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("shape", [(7, 8), (8, 7), (1, 2)])
def test_depthwise_equals_loops(shape, side, stride):
    random = np.random.RandomState(1)
    x = random.standard_normal((2, *shape, 3))
    kernel = random.standard_normal((side, side, 1, 3))
    ours = depthwise_convolution(
        jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), stride=stride
    )
    np.testing.assert_allclose(ours, reference.depthwise(x, kernel, stride), atol=1e-5)


def test_parameter_counts():
    """Keras states 3,228,864 without the classifier: four norm values a channel, where we fold
    them into one bias for each of 10,944 channels."""
    _, variables = shapes.traced(MobileNet(output="block_13"), (2, *SIZE, 3))
    assert shapes.count(variables) == 3_228_864 - 3 * 10_944


@pytest.mark.parametrize(
    ("output", "shape", "grid"),
    [
        ("block_11", (2, 1, 196, 512), (14, 14)),
        ("block_13", (2, 1, 49, 1024), (7, 7)),
        ("block_11+13", (2, 1, 196, 1536), (14, 14)),
    ],
)
def test_map_shapes(output, shape, grid):
    features, _ = shapes.traced(MobileNet(output=output), (2, *SIZE, 3))
    assert features.positions.shape == shape
    assert features.grid == grid


@pytest.mark.parametrize(("output", "last"), [("block_11", 11), ("block_13", 13)])
def test_equals_loops(output, last):
    weights = random_weights()
    images = np.random.RandomState(2).uniform(-1, 1, (2, 33, 50, 3)).astype(np.float32)
    kept = {k: v for k, v in weights.items() if last == 13 or "block_12" not in k}
    features = jax.jit(MobileNet(output=output).apply)(as_variables(kept), images)
    expected = reference.forward(weights, images, last)
    assert features.grid == expected.shape[1:3]
    ours = features.positions.reshape(expected.shape)
    assert 0.1 < np.mean((expected > 0) & (expected < 6))  # the comparison is not about zeros
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_two_blocks_lie_over_each_other():
    """On 3x4 cells: those of block_13 cover 2x2 of block_11, cut off at the border."""
    weights = random_weights()
    images = np.random.RandomState(2).uniform(-1, 1, (2, 33, 50, 3)).astype(np.float32)
    features = jax.jit(MobileNet(output="block_11+13").apply)(as_variables(weights), images)
    fine, coarse = (reference.forward(weights, images, last) for last in (11, 13))
    assert features.grid == fine.shape[1:3] == (3, 4)
    ours = np.asarray(features.positions).reshape(2, 3, 4, 512 + 1024)
    for row, column in np.ndindex(3, 4):
        expected = [fine[:, row, column], coarse[:, row // 2, column // 2]]
        expected = np.concatenate(expected, axis=-1)
        np.testing.assert_allclose(ours[:, row, column], expected, atol=1e-4)


def blocks_of_photographs(shared_data, state):
    """Maps after every block of the golden file, NHWC, from Keras' weights."""
    encoder = MobileNet(output="block_13")
    scale = encoder.preprocessing()
    images = (photographs(shared_data, scale) - np.float32(scale.mean)) / np.float32(scale.std)
    run = jax.jit(lambda v, x: encoder.apply(v, x, capture_intermediates=True)[1])
    seen = run(as_variables(golden.folded(state)), images)["intermediates"]
    return {name: np.asarray(seen[name]["__call__"][0]) for name in golden.BLOCKS}


def check_blocks(maps, expected):
    """Within 1e-4 of the largest value of every block; prints the errors."""
    errors = {name: relative_error(maps[name], expected[name]) for name in golden.BLOCKS}
    print({name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) <= 1e-4, errors


def test_equals_keras_on_photographs(shared_data):
    """Norms folded into kernels by their formula, and not about zeros."""
    with np.load(golden.OUTPUTS) as archive:
        expected = dict(archive)
    assert all(0.2 < np.mean((y > 0) & (y < 6)) < 0.8 for y in expected.values())
    state = golden.seeded_state(golden.read_layout())
    maps = blocks_of_photographs(shared_data, state)
    check_blocks({name: sparse(y) for name, y in maps.items()}, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_parity_on_photographs(shared_data, monkeypatch):
    """Whole maps at 224 x 224 from Keras' own model."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("keras")
    model, state = golden.seeded_keras_model()
    pixels = photographs(shared_data, MobileNet.preprocessing())
    expected = golden.keras_blocks(model, (pixels - 128) / np.float32(128))
    assert 0.01 < np.mean(expected["block_13"] == 6) < 0.5  # ReLU6 is reached
    check_blocks(blocks_of_photographs(shared_data, state), expected)


def test_unknown_output_is_named():
    with pytest.raises(ValueError, match="block_12.*block_11"):
        MobileNet(output="block_12").init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def test_real_weights_equal_loops(weight_file):
    with np.load(weight_file) as archive:
        weights = dict(archive)
    images = np.random.RandomState(3).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    encoder = MobileNet(output="block_13")
    variables = load_encoder_weights(encoder, weight_file, (32, 32))
    features = jax.jit(encoder.apply)(variables, images)
    expected = reference.forward(weights, images, 13)
    np.testing.assert_allclose(features.positions.reshape(expected.shape), expected, atol=1e-3)


def test_two_blocks_have_the_released_weights_of_the_last(weight_file):
    one, two = (
        load_encoder_weights(MobileNet(output=output), weight_file, (32, 32))
        for output in ("block_13", "block_11+13")
    )
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.fixture(scope="module")
def kinds_of_land(shared_data, weight_file):
    """Four of each of 21 kinds of land, 100 numbered files a kind, and their pooled features."""
    names = [
        (kind, name)
        for kind in range(21)
        for name in [f"{100 * kind + offset}.tif" for offset in range(1, 101)]
    ]
    folder = shared_data / "ucm" / "images"
    by_stem = {path.stem: path for path in folder.iterdir()}
    chosen, kinds = [], []
    for kind, name in names:
        path = by_stem.get(name.removesuffix(".tif"))
        if path is not None and kinds.count(kind) < 4:
            chosen.append(load_prepared(path, MobileNet.preprocessing())[0])
            kinds.append(kind)
    return np.stack(chosen), np.array(kinds)


def encode(weight_file, pixels, dtype):
    encoder = MobileNet(output="block_13", dtype=dtype)
    variables = load_encoder_weights(encoder, weight_file)
    apply = jax.jit(lambda v, x: encoder.apply(v, (x.astype(jnp.float32) - 128) / 128))
    return apply(variables, pixels)


def test_photographs_of_a_kind_are_near(weight_file, kinds_of_land):
    """Pretrained features find a photograph of the same kind; chance is 3 / 83."""
    pixels, kinds = kinds_of_land
    features = encode(weight_file, pixels, jnp.float32)
    maps = np.asarray(features.positions)
    assert maps.min() == 0 and maps.max() == 6  # ReLU6 is reached at both ends
    assert 0.5 < np.mean(maps == 0) < 0.9
    pooled = np.asarray(features.pooled)
    pooled = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    similarity = pooled @ pooled.T - 2 * np.eye(len(pooled))
    accuracy = np.mean(kinds[similarity.argmax(axis=1)] == kinds)
    assert accuracy > 0.6


def test_bfloat16_features_are_usable(weight_file, kinds_of_land):
    pixels = kinds_of_land[0][:8]
    exact = np.asarray(encode(weight_file, pixels, jnp.float32).positions)
    rounded = encode(weight_file, pixels, jnp.bfloat16).positions
    assert rounded.dtype == jnp.bfloat16
    difference = np.linalg.norm(np.asarray(rounded, np.float32) - exact) / np.linalg.norm(exact)
    assert difference < 0.1
