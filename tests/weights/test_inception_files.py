"""InceptionV3's files: what the operations of the graph of 2015 do, and files of another form."""

import functools
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.encoders.inception import InceptionV3
from capjax.weights import fit_weights, load_encoder_weights, read_weights
from tests.encoders.test_inception import in_graph_names, torch_state
from tests.weights.test_graphdef import constant, field, shape_of, varint

ENCODER = InceptionV3(variant="tf2015", output="mixed_0")
SMALL = jnp.zeros((1, 75, 75, 3))
LEAVES = ("moving_mean", "moving_variance", "beta", "gamma")


def entry(key, value):
    return field(5, field(1, key) + field(2, value))


def norm_node(name, scales, epsilon):
    """The graph's own operation, as TensorFlow writes its NodeDef; None: without the setting."""
    attributes = [entry("T", field(6, 1))]
    if scales is not None:
        attributes.append(entry("scale_after_normalization", field(5, int(scales))))
    if epsilon is not None:
        attributes.append(
            entry("variance_epsilon", varint(4 << 3 | 5) + struct.pack("<f", epsilon))
        )
    inputs = b"".join(field(3, f"{name}/{leaf}") for leaf in ("", *LEAVES))
    operation = field(2, "BatchNormWithGlobalNormalization")
    return field(1, field(1, name) + operation + inputs + b"".join(attributes))


@functools.cache
def constants():
    """Random constants of the first block and the stem; no gamma is one."""
    random = np.random.RandomState(0)
    arrays = {}
    for name, array in in_graph_names().items():
        if not name.startswith(("conv", "mixed/")):
            continue
        value = random.standard_normal(array.shape) / np.sqrt(max(1, np.prod(array.shape[:3])))
        if name.endswith(("gamma", "moving_variance")):
            value = random.uniform(0.5, 2, array.shape)
        arrays[name] = value.astype(np.float32)
    return arrays


def write(path, scales, epsilon):
    units = [name.removesuffix("/conv2d_params") for name in constants() if "conv2d" in name]
    path.write_bytes(
        b"".join(constant(name, array, 1) for name, array in constants().items())
        + b"".join(norm_node(f"{unit}/batchnorm", scales, epsilon) for unit in units)
    )
    return path


def first_unit(images, scales, epsilon):
    """[B h w 32] by the definition of the operation, in float64 and one product a place."""
    kernel, mean, variance, beta, gamma = (
        constants()[name].astype(np.float64)
        for name in ("conv/conv2d_params", *(f"conv/batchnorm/{leaf}" for leaf in LEAVES))
    )
    side = (images.shape[1] - 3) // 2 + 1
    convolved = np.zeros((len(images), side, side, kernel.shape[-1]))
    for row in range(side):
        for column in range(side):
            window = images[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            convolved[:, row, column] = np.tensordot(window, kernel, 3)
    gain = gamma if scales else 1.0
    return np.maximum((convolved - mean) / np.sqrt(variance + epsilon) * gain + beta, 0)


@pytest.mark.parametrize("scales", [True, False])
@pytest.mark.parametrize("epsilon", [1e-3, 0.25])
def test_the_operation_of_the_graph(tmp_path, scales, epsilon):
    """Gammas lie in the file either way; the operation says whether they count."""
    variables = load_encoder_weights(ENCODER, write(tmp_path / "graph.pb", scales, epsilon))
    images = np.random.RandomState(1).uniform(-1, 1, (1, 75, 75, 3)).astype(np.float32)
    _, seen = ENCODER.apply(variables, images, capture_intermediates=True)
    ours = np.asarray(seen["intermediates"]["conv_0"]["__call__"][0])
    np.testing.assert_allclose(ours, first_unit(images, scales, epsilon), rtol=1e-5, atol=1e-5)
    another = first_unit(images, not scales, epsilon)
    assert np.abs(ours - another).max() > 0.1


def test_the_settings_are_read_beside_the_constants(tmp_path):
    held = read_weights(write(tmp_path / "graph.pb", True, 0.25))
    assert held["conv_1/batchnorm/scale_after_normalization"].dtype == bool
    assert held["conv_1/batchnorm/scale_after_normalization"]
    assert held["mixed/tower/conv/batchnorm/variance_epsilon"] == np.float32(0.25)
    np.testing.assert_array_equal(held["conv/batchnorm/gamma"], constants()["conv/batchnorm/gamma"])
    write(tmp_path / "bad.pb", None, None)
    with open(tmp_path / "bad.pb", "ab") as file:
        shape = entry("variance_epsilon", field(7, shape_of((1,))))
        operation = field(1, "x") + field(2, "BatchNormWithGlobalNormalization") + shape
        file.write(field(1, operation))
    with pytest.raises(ValueError, match="neither a number nor true or false"):
        read_weights(tmp_path / "bad.pb")


def test_a_gamma_that_nothing_explains_is_refused(tmp_path):
    with pytest.raises(ValueError, match="conv.* has a gamma, and nothing says whether it is used"):
        load_encoder_weights(ENCODER, write(tmp_path / "graph.pb", None, 1e-3))


@pytest.mark.parametrize("variant", ["keras", "tf2015"])
@pytest.mark.parametrize("with_classifier", [True, False])
def test_the_auxiliary_classifier_betrays_torchvision(variant, with_classifier):
    source = {k: v for k, v in torch_state().items() if with_classifier or not k.startswith("fc.")}
    encoder = InceptionV3(variant=variant, output="mixed_0")
    told = "1000 classes" if with_classifier and variant == "tf2015" else "AuxLogits"
    with pytest.raises(ValueError, match=f"{told}.*'torchvision'"):
        fit_weights(encoder, source, SMALL, origin="a file")
    plain = {k: v for k, v in source.items() if not k.startswith(("AuxLogits.", "fc."))}
    loaded = fit_weights(encoder, plain, SMALL, origin="a file")
    assert jax.tree.leaves(loaded)
