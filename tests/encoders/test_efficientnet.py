"""EfficientNetV2 against torchvision's, timm's and Keras' outputs, and their names of weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from capjax.encoders import EfficientNetV2
from capjax.encoders.efficientnet import SIZES
from capjax.weights.encoders import fit_weights, load_encoder_weights
from tests import shapes
from tests.golden import efficientnet_outputs as golden
from tests.golden.photographs import photographs, relative_error

SMALL = jnp.zeros((1, 32, 32, 3))
LIBRARIES = ("keras", "timm", "torchvision")
SIDES = {"s": 384, "m": 480, "l": 480}


@functools.cache
def state(library):
    return golden.state_of(golden.read_layout(library))


def fit(encoder, source):
    return fit_weights(encoder, source, SMALL, origin="a file")


@functools.cache
def whole_net(library):
    """Variables of the smallest net."""
    return fit(EfficientNetV2(size="s", weights_of=library), state(library))


@pytest.mark.parametrize(
    ("size", "with_classifier"), [("s", 21_458_488), ("m", 54_139_356), ("l", 118_515_272)]
)
def test_parameter_counts(size, with_classifier):
    """torchvision states the counts with its classifier of 1000 kinds."""
    _, variables = shapes.traced(EfficientNetV2(size=size), (1, SIDES[size], SIDES[size], 3))
    assert shapes.count(variables["params"]) == with_classifier - 1000 * 1281


def test_map_shapes_of_every_stage():
    keeping = EfficientNetV2(size="l").keeping(*(f"stage{number}" for number in range(1, 8)))
    features, _ = shapes.traced(keeping, (1, SIDES["l"], SIDES["l"], 3))
    assert features.grid == (15, 15) and features.positions.shape == (1, 1, 225, 1280)
    assert {name: stage.shape[2:] for name, stage in features.stages.items()} == {
        "stage1": (240, 240, 32),
        "stage2": (120, 120, 64),
        "stage3": (60, 60, 96),
        "stage4": (30, 30, 192),
        "stage5": (30, 30, 224),
        "stage6": (15, 15, 384),
        "stage7": (15, 15, 640),
    }


@pytest.mark.parametrize(
    ("size", "output", "side", "grid", "channels"),
    [
        ("l", "stage3", 480, (60, 60), 96),
        ("m", "stage7", 480, (15, 15), 512),
        ("s", "stage6", 384, (12, 12), 256),
        ("s", "top_activation", 224, (7, 7), 1280),
    ],
)
def test_map_shapes(size, output, side, grid, channels):
    features, _ = shapes.traced(EfficientNetV2(size=size, output=output), (1, side, side, 3))
    assert features.grid == grid
    assert features.positions.shape == (1, 1, grid[0] * grid[1], channels)


@pytest.mark.parametrize(
    ("fields", "side", "pixel_255", "resample"),
    [
        ({"size": "l"}, 480, 255 / 128 - 1, "bilinear"),
        ({"size": "s"}, 384, 255 / 128 - 1, "bilinear"),
        ({"size": "m", "weights_of": "timm"}, 480, 1.0, "bicubic"),
        ({"size": "l", "weights_of": "torchvision"}, 480, 1.0, "bicubic"),
        ({"size": "s", "weights_of": "torchvision"}, 384, (1 - 0.485) / 0.229, "bilinear"),
    ],
)
def test_preprocessing_is_that_of_the_weights(fields, side, pixel_255, resample):
    preprocessing = EfficientNetV2(**fields).preprocessing()
    assert preprocessing.size == (side, side)
    assert preprocessing.resample == resample
    red = (255 - preprocessing.mean[0]) / preprocessing.std[0]
    np.testing.assert_allclose(red, pixel_255, rtol=1e-6)
    assert EfficientNetV2(**fields).preprocessing((96, 64)).size == (96, 64)


def all_maps(encoder, variables, images):
    """Maps after every stage, "top_activation" and "pooled"; all NHWC."""
    last = {f"stage{i + 1}": f"stage{i + 1}_{s.blocks - 1}" for i, s in enumerate(stages(encoder))}

    @jax.jit
    def run(variables, images):
        features, seen = encoder.apply(variables, images, capture_intermediates=True)
        maps = {name: seen["intermediates"][block]["__call__"][0] for name, block in last.items()}
        return features, maps

    features, maps = run(variables, images)
    top = features.positions.reshape(len(images), *features.grid, -1)
    return maps | {"top_activation": top, "pooled": features.pooled[:, None, None]}


def stages(encoder):
    return SIZES[encoder.size].stages


@functools.cache
def maps_of(library):
    encoder = EfficientNetV2(size="s", weights_of=library)
    images = golden.normalised(golden.seeded_pixels(), encoder.preprocessing())
    return all_maps(encoder, whole_net(library), images)


@pytest.mark.parametrize("library", LIBRARIES)
def test_equals_the_original(library):
    with np.load(golden.OUTPUTS) as archive:
        expected = {
            name.removeprefix(f"{library}_"): archive[name]
            for name in archive.files
            if name.startswith(f"{library}_")
        }
    assert set(expected) == set(maps_of(library))
    for name, maps in maps_of(library).items():
        error = relative_error(golden.stored(name, np.asarray(maps)), expected[name])
        assert error <= 1e-4, f"{name}: {error}"


def test_padding_matters():
    """Far more than the tolerance: the same weights and pixels, padded the other way."""
    encoder = EfficientNetV2(size="s", weights_of="keras", output="stage2")
    images = golden.normalised(golden.seeded_pixels(), encoder.preprocessing())
    variables = fit(encoder, state("keras"))
    same = jax.jit(encoder.apply)(variables, images).positions
    other = jax.jit(encoder.clone(weights_of="torchvision").apply)(variables, images).positions
    assert relative_error(other, same) > 0.05


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_file_serves_a_shorter_net(library):
    for output in ("stage3", "stage5"):
        encoder = EfficientNetV2(size="s", weights_of=library, output=output)
        for collection, arrays in fit(encoder, state(library)).items():
            for name, array in traverse_util.flatten_dict(arrays).items():
                np.testing.assert_array_equal(array, whole_of(whole_net(library)[collection], name))


def whole_of(tree, path):
    return functools.reduce(lambda node, key: node[key], path, tree)


def test_keras_names_of_every_release():
    """TensorFlow's ":0", the older name of a depthwise kernel, a model inside a model."""
    renamed = {}
    for name, array in state("keras").items():
        if "dwconv" in name:
            name = name.replace("/kernel", "/depthwise_kernel")
        renamed[f"efficientnetv2-s/{name}:0"] = array
    encoder = EfficientNetV2(size="s")
    one = traverse_util.flatten_dict(fit(encoder, renamed))
    other = traverse_util.flatten_dict(whole_net("keras"))
    assert set(one) == set(other)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("library", LIBRARIES)
def test_without_the_classifier_too(library):
    headless = {
        name: array
        for name, array in state(library).items()
        if not name.startswith(("classifier", "predictions"))
    }
    assert len(headless) == len(state(library)) - 2
    fit(EfficientNetV2(size="s", weights_of=library), headless)


@pytest.mark.parametrize("library", LIBRARIES)
def test_weights_of_another_library_are_refused(library):
    other = "timm" if library == "keras" else "keras"
    with pytest.raises(ValueError, match=f"weights_of={library!r}"):
        fit(EfficientNetV2(size="s", weights_of=other), state(library))


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="block7|stage7|stage3_4"):
        fit(EfficientNetV2(size="m"), state("keras"))


def test_a_lacking_array_is_named():
    source = dict(state("timm"))
    del source["blocks.3.2.se.conv_reduce.bias"]
    with pytest.raises(
        ValueError,
        match=r"missing: blocks\.3\.2\.se\.conv_reduce.* \(ours: params/stage4_2",
    ):
        fit(EfficientNetV2(size="s", weights_of="timm"), source)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": "b0"}, "s, m, l"),
        ({"size": "s", "output": "stage7"}, "stage6, top_activation"),
        ({"weights_of": "pytorch"}, "keras, timm, torchvision"),
    ],
)
def test_what_cannot_be_is_named(fields, said):
    encoder = EfficientNetV2(**fields)
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(encoder.init, jax.random.key(0), SMALL)
    with pytest.raises(ValueError, match=said):
        encoder.preprocessing()


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norm_ignores_training(frozen):
    encoder = EfficientNetV2(size="s", output="stage1", freeze_norm=frozen)
    variables = fit(encoder, state("keras"))
    images = golden.normalised(golden.seeded_pixels(), encoder.preprocessing())
    apply = jax.jit(lambda v, x: encoder.apply(v, x, train=True, mutable=["batch_stats"]))
    features, updated = apply(variables, images)
    old = variables["batch_stats"]["stem"]["norm"]["mean"]
    new = updated.get("batch_stats", variables["batch_stats"])["stem"]["norm"]["mean"]
    assert np.array_equal(old, new) == frozen
    plain = jax.jit(encoder.apply)(variables, images)
    assert (relative_error(features.positions, plain.positions) < 1e-6) == frozen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", ["s", "m", "l"])
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_parity_with_torch_on_photographs(library, size, shared_data):
    """Every stage of three photographs at the native size."""
    pytest.importorskip("torch")
    encoder = EfficientNetV2(size=size, weights_of=library)
    preprocessing = encoder.preprocessing()
    pixels = photographs(shared_data, preprocessing)
    images = golden.normalised(pixels, preprocessing)
    model = golden.torch_model(library, size)
    arrays = golden.state_of(golden.torch_shapes(model), golden.GAINS[size])
    expected = golden.torch_stages(library, model, arrays, images)
    report(f"{library} {size}", all_maps(encoder, fit(encoder, arrays), images), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", ["s", "m", "l"])
def test_parity_with_keras_on_photographs(size, shared_data, tmp_path, monkeypatch):
    """Raw pixels into Keras' model, which scales them itself; weights through its file."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("keras")
    encoder = EfficientNetV2(size=size)
    preprocessing = encoder.preprocessing()
    pixels = photographs(shared_data, preprocessing)
    model = golden.new_keras_model(size)
    shapes = {weight.path: tuple(weight.shape) for weight in model.weights}
    arrays = golden.state_of(shapes, golden.GAINS[size])
    for weight in model.weights:
        weight.assign(arrays[weight.path])
    expected = golden.keras_stages(model, pixels)
    model.save_weights(tmp_path / "efficientnet.weights.h5")
    variables = load_encoder_weights(encoder, tmp_path / "efficientnet.weights.h5")
    images = golden.normalised(pixels, preprocessing)
    report(f"keras {size}", all_maps(encoder, variables, images), expected)


def report(origin, maps, expected):
    assert set(maps) == set(expected)
    errors = {name: relative_error(np.asarray(y), expected[name]) for name, y in maps.items()}
    print(origin, {name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) <= 1e-4, errors
