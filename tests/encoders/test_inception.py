"""InceptionV3's three forms against torchvision's and Keras' outputs, and every naming of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from capjax.encoders.inception import BLOCKS, InceptionV3
from capjax.ops.convolution import average_around
from capjax.weights.encoders import fit_weights, load_encoder_weights
from tests import shapes
from tests.golden import inception_outputs as golden
from tests.golden.photographs import photographs, relative_error
from tests.golden.resnet_torchvision import sampled

SMALL = jnp.zeros((1, 75, 75, 3))
torch_state = functools.cache(golden.torch_state)


def port_of_2015():
    """In torchvision's names, without a classifier; its scales are not one and must be used."""
    return {k: v for k, v in torch_state().items() if not k.startswith(("fc.", "Aux"))}


SOURCES = {
    "torchvision": torch_state,
    "tf2015": port_of_2015,
    "keras": golden.keras_state,
}


def fit(encoder, source):
    return fit_weights(encoder, source, SMALL, origin="a file")


@pytest.mark.parametrize(
    ("variant", "trained", "all_values"),
    [
        ("torchvision", 21_785_568, 21_785_568 + 34_432),
        ("keras", 21_768_352, 21_802_784),
        ("tf2015", 21_768_352, 21_802_784),
    ],
)
def test_parameter_counts(variant, trained, all_values):
    _, variables = shapes.traced(InceptionV3(variant=variant), SMALL.shape)
    assert shapes.count(variables["params"]) == trained
    assert shapes.count(variables) == all_values


@pytest.mark.parametrize(
    ("output", "grid", "channels"),
    [
        ("mixed_0", (35, 35), 256),
        ("mixed_2", (35, 35), 288),
        ("mixed_3", (17, 17), 768),
        ("mixed_7", (17, 17), 768),
        ("mixed_8", (8, 8), 1280),
        ("mixed_10", (8, 8), 2048),
    ],
)
def test_map_shapes(output, grid, channels):
    encoder = InceptionV3(output=output)
    features, _ = shapes.traced(encoder, (1, *encoder.preprocessing().size, 3))
    assert features.grid == grid
    assert features.positions.shape == (1, 1, grid[0] * grid[1], channels)


def test_averages_at_the_border():
    """3x3 on 1 .. 9: a corner averages four numbers, or four and five zeros."""
    x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    inside = average_around(x, count_border=False)[0, :, :, 0]
    counted = average_around(x, count_border=True)[0, :, :, 0]
    np.testing.assert_allclose(inside, [[3, 3.5, 4], [4.5, 5, 5.5], [6, 6.5, 7]], rtol=1e-6)
    np.testing.assert_allclose(
        counted, np.array([[12, 21, 16], [27, 45, 33], [24, 39, 28]]) / 9, rtol=1e-6
    )


@functools.cache
def stages_of(variant):
    """Maps of all blocks for the golden pixels, and the pooled vector."""
    variables = fit(InceptionV3(variant=variant), SOURCES[variant]())
    return stages(variant, variables, golden.seeded_pixels())


def stages(variant, variables, pixels):
    """Maps of all blocks, NHWC, and the pooled vector."""
    encoder = InceptionV3(variant=variant)
    scale = encoder.preprocessing()
    images = (pixels - np.float32(scale.mean)) / np.float32(scale.std)

    @jax.jit
    def run(variables, images):
        features, seen = encoder.apply(variables, images, capture_intermediates=True)
        maps = {name: seen["intermediates"][name]["__call__"][0] for name in BLOCKS}
        return features, maps

    features, maps = run(variables, images)
    np.testing.assert_array_equal(
        features.positions.reshape(maps["mixed_10"].shape), maps["mixed_10"]
    )
    return maps | {"pooled": features.pooled[:, None, None]}


def original_name(variant, name):
    if name == "pooled":
        return name
    number = int(name.removeprefix("mixed_"))
    return f"mixed{number}" if variant == "keras" else f"Mixed_{golden.BLOCKS[number]}"


@pytest.mark.parametrize(
    ("variant", "name"),
    [(v, n) for v in SOURCES for n in [*BLOCKS, "pooled"] if (v, n) != ("keras", "pooled")],
)
def test_equals_the_original(variant, name):
    with np.load(golden.OUTPUTS) as archive:
        expected = archive[f"{variant}_{original_name(variant, name)}"]
    ours = sampled(np.asarray(stages_of(variant)[name]))
    assert np.abs(ours - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_forms_differ():
    """Far more than the tolerance, so that no comparison above could pass with another form."""
    one, other = (np.asarray(stages_of(v)["mixed_10"]) for v in ("torchvision", "tf2015"))
    assert np.abs(one - other).max() > 0.05 * np.abs(one).max()


# The graph's units of a block -> torchvision's.
GRAPH_35 = {
    "conv": "branch1x1",
    "tower/conv": "branch5x5_1",
    "tower/conv_1": "branch5x5_2",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/conv_2": "branch3x3dbl_3",
    "tower_2/conv": "branch_pool",
}
GRAPH_17 = {
    "conv": "branch1x1",
    "tower/conv": "branch7x7_1",
    "tower/conv_1": "branch7x7_2",
    "tower/conv_2": "branch7x7_3",
    "tower_1/conv": "branch7x7dbl_1",
    "tower_1/conv_1": "branch7x7dbl_2",
    "tower_1/conv_2": "branch7x7dbl_3",
    "tower_1/conv_3": "branch7x7dbl_4",
    "tower_1/conv_4": "branch7x7dbl_5",
    "tower_2/conv": "branch_pool",
}
GRAPH_8 = {
    "conv": "branch1x1",
    "tower/conv": "branch3x3_1",
    "tower/mixed/conv": "branch3x3_2a",
    "tower/mixed/conv_1": "branch3x3_2b",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/mixed/conv": "branch3x3dbl_3a",
    "tower_1/mixed/conv_1": "branch3x3dbl_3b",
    "tower_2/conv": "branch_pool",
}
GRAPH_REDUCE_35 = {
    "conv": "branch3x3",
    "tower/conv": "branch3x3dbl_1",
    "tower/conv_1": "branch3x3dbl_2",
    "tower/conv_2": "branch3x3dbl_3",
}
GRAPH_REDUCE_17 = {
    "tower/conv": "branch3x3_1",
    "tower/conv_1": "branch3x3_2",
    "tower_1/conv": "branch7x7x3_1",
    "tower_1/conv_1": "branch7x7x3_2",
    "tower_1/conv_2": "branch7x7x3_3",
    "tower_1/conv_3": "branch7x7x3_4",
}
GRAPH_BLOCKS = {
    "mixed": ("Mixed_5b", GRAPH_35),
    "mixed_1": ("Mixed_5c", GRAPH_35),
    "mixed_2": ("Mixed_5d", GRAPH_35),
    "mixed_3": ("Mixed_6a", GRAPH_REDUCE_35),
    "mixed_4": ("Mixed_6b", GRAPH_17),
    "mixed_5": ("Mixed_6c", GRAPH_17),
    "mixed_6": ("Mixed_6d", GRAPH_17),
    "mixed_7": ("Mixed_6e", GRAPH_17),
    "mixed_8": ("Mixed_7a", GRAPH_REDUCE_17),
    "mixed_9": ("Mixed_7b", GRAPH_8),
    "mixed_10": ("Mixed_7c", GRAPH_8),
}
GRAPH_STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}


@functools.cache
def numbered():
    """torchvision's units in its own order -> shape [O I H W]; the order is that of creation."""
    return {
        name.removesuffix(".conv.weight"): shape
        for name, shape in golden.read_layout("torchvision").items()
        if name.endswith(".conv.weight") and not name.startswith("AuxLogits")
    }


def marked(unit, leaf):
    """Arrays whose one value tells the unit and the leaf."""
    number = list(numbered()).index(unit)
    shape = numbered()[unit] if leaf == "kernel" else numbered()[unit][:1]
    return np.broadcast_to(
        np.float32(number + {"kernel": 0, "a": 0.25, "b": 0.5, "c": 0.75}[leaf]), shape
    )


LEAVES_TORCHVISION = {
    "conv.weight": "kernel",
    "bn.bias": "a",
    "bn.running_mean": "b",
    "bn.running_var": "c",
}
LEAVES_GRAPH = {
    "conv2d_params": "kernel",
    "batchnorm/beta": "a",
    "batchnorm/moving_mean": "b",
    "batchnorm/moving_variance": "c",
}


@functools.cache
def from_torchvision_names():
    source = {
        f"{unit}.{theirs}": marked(unit, leaf)
        for unit in numbered()
        for theirs, leaf in LEAVES_TORCHVISION.items()
    }
    return fit(InceptionV3(variant="keras"), source)


def hwio(array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def in_graph_names():
    units = dict(GRAPH_STEM)
    for scope, (block, names) in GRAPH_BLOCKS.items():
        units |= {f"{scope}/{theirs}": f"{block}.{name}" for theirs, name in names.items()}
    assert len(units) == len(set(units.values())) == 94
    arrays = {
        f"{theirs}/{leaf}": hwio(marked(unit, ours))
        for theirs, unit in units.items()
        for leaf, ours in LEAVES_GRAPH.items()
    }
    ones = {
        f"{theirs}/batchnorm/gamma": np.ones(numbered()[unit][0], np.float32)
        for theirs, unit in units.items()
    }
    other = {
        "softmax/weights": np.zeros((2048, 1008), np.float32),
        "softmax/biases": np.zeros(1008, np.float32),
        "mixed_10/join/concat_dim": np.int32(3),
        "pool_3/_reshape/shape": np.array([1, 2048], np.int32),
        "Sub/y": np.float32(128),
        "Mul/y": np.float32(1 / 128),
        "ExpandDims/dim": np.int32(0),
        "ResizeBilinear/size": np.array([299, 299], np.int32),
    }
    return arrays | ones | other


def in_keras_order(first):
    """As a session writes them that has made `first` convolutions before; in no order at all."""
    arrays = {}
    for number, unit in enumerate(numbered()):
        suffix = f"_{first + number}" if first + number else ""
        arrays[f"conv2d{suffix}/conv2d{suffix}/kernel:0"] = hwio(marked(unit, "kernel"))
        norm = f"batch_normalization{suffix}"
        for leaf, mark in (("beta", "a"), ("moving_mean", "b"), ("moving_variance", "c")):
            arrays[f"{norm}/{norm}/{leaf}:0"] = marked(unit, mark)
    return dict(sorted(arrays.items()))


def assert_same(one, other):
    one, other = (traverse_util.flatten_dict(tree, sep="/") for tree in (one, other))
    assert set(one) == set(other)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_every_mark_is_used_once():
    flat = traverse_util.flatten_dict(from_torchvision_names(), sep="/")
    marks = [float(array.flat[0]) for array in flat.values()]
    assert sorted(marks) == [number / 4 for number in range(4 * 94)]


def test_names_of_the_graph():
    assert_same(fit(InceptionV3(variant="tf2015"), in_graph_names()), from_torchvision_names())


@pytest.mark.parametrize("first", [0, 1, 95])
def test_order_of_keras(first):
    assert_same(fit(InceptionV3(variant="keras"), in_keras_order(first)), from_torchvision_names())


def test_a_file_serves_a_shorter_net():
    for variant, source in (
        ("torchvision", torch_state()),
        ("tf2015", in_graph_names()),
        ("keras", in_keras_order(0)),
    ):
        short = fit(InceptionV3(variant=variant, output="mixed_7"), source)
        assert "mixed_7" in short["params"] and "mixed_8" not in short["params"]


def test_a_lacking_unit_is_named():
    source = dict(torch_state())
    del source["Mixed_6c.branch7x7_2.conv.weight"], source["fc.weight"]
    with pytest.raises(
        ValueError, match=r"missing: Mixed_6c\.branch7x7_2\.conv.* \(ours: params/mixed_5"
    ):
        fit(InceptionV3(variant="torchvision"), source)
    source = port_of_2015()
    del source["Mixed_6c.branch7x7_2.conv.weight"]
    with pytest.raises(ValueError, match="mixed_5/branch7x7_2/conv/kernel"):
        fit(InceptionV3(variant="tf2015"), source)


@pytest.mark.parametrize(
    ("variant", "classes", "said"),
    [("tf2015", 1000, "'torchvision' or 'keras'"), ("torchvision", 1008, "'tf2015'")],
)
def test_the_classifier_betrays_another_form(variant, classes, said):
    source = torch_state() | {"fc.weight": np.zeros((classes, 2048), np.float32)}
    with pytest.raises(ValueError, match=said):
        fit(InceptionV3(variant=variant), source)


@pytest.mark.parametrize(
    ("fields", "side", "said"),
    [
        ({"variant": "caffe"}, 75, "tf2015.*keras.*torchvision"),
        ({"output": "pool_3"}, 75, "mixed_10"),
        ({}, 74, "at least 75 x 75"),
        ({"output": "mixed_7"}, 42, "at least 43 x 43"),
        ({"output": "mixed_2"}, 26, "at least 27 x 27"),
    ],
)
def test_what_cannot_be_is_named(fields, side, said):
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(InceptionV3(**fields).init, jax.random.key(0), jnp.zeros((1, side, side, 3)))


@pytest.mark.parametrize(("output", "side"), [("mixed_2", 27), ("mixed_7", 43), ("mixed_10", 75)])
def test_the_smallest_image_has_one_cell(output, side):
    features, _ = shapes.traced(InceptionV3(output=output), (1, side, side, 3))
    assert features.grid == (1, 1)


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norm_ignores_training(frozen):
    encoder = InceptionV3(output="mixed_0", variant="keras", freeze_norm=frozen)
    images = jnp.asarray(np.random.RandomState(0).uniform(-1, 1, (2, 27, 27, 3)), jnp.float32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), images)
    draw = np.random.RandomState(1)
    variables = jax.tree.map(lambda s: draw.uniform(0.1, 0.3, s.shape).astype("f4"), shapes)
    apply = jax.jit(lambda v, x: encoder.apply(v, x, train=True, mutable=["batch_stats"]))
    _, updated = apply(variables, images)
    old = variables["batch_stats"]["conv_0"]["norm"]["mean"]
    new = updated.get("batch_stats", variables["batch_stats"])["conv_0"]["norm"]["mean"]
    assert np.array_equal(old, new) == frozen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", ["torchvision", "tf2015", "timm"])
def test_parity_on_photographs(variant, shared_data):
    """Every block at 299 x 299; timm keeps torchvision's names and shapes under its own classes."""
    pytest.importorskip("torch")
    ours = "torchvision" if variant == "timm" else variant
    pixels = photographs(shared_data, InceptionV3(variant=ours).preprocessing())
    if variant == "timm":
        state, expected = golden.timm_maps(pixels)
    else:
        state = SOURCES[variant]()
        expected = golden.torch_stages(variant, torch_state(), pixels)
    maps = stages(ours, fit(InceptionV3(variant=ours), state), pixels)
    report(ours, maps, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", ["model.h5", "model.weights.h5", "model.keras"])
def test_parity_with_keras_through_its_files(file, shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("keras")
    encoder = InceptionV3(variant="keras")
    model = golden.keras_model(golden.keras_state())
    if file.endswith(".weights.h5"):
        model.save_weights(tmp_path / file)
    else:
        model.save(tmp_path / file)
    pixels = photographs(shared_data, encoder.preprocessing())
    maps = stages("keras", load_encoder_weights(encoder, tmp_path / file), pixels)
    report("keras", maps, golden.keras_stages(model, pixels))


def report(variant, maps, expected):
    """Prints the relative error of every stage that the original gives."""
    errors = {
        name: relative_error(np.asarray(maps[name]), expected[original_name(variant, name)])
        for name in maps
        if original_name(variant, name) in expected
    }
    print({name: f"{error:.1e}" for name, error in errors.items()})
    assert errors["mixed_10"] and max(errors.values()) <= 1e-4
