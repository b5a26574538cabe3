"""VGG against torchvision's and Keras' outputs, RGB and BGR weights, and maps of a captioner."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import build_net
from capjax.decoders import AttentionLSTM
from capjax.encoders.vgg import VGG, convolutions
from capjax.explainers import Attention, GradCAM
from capjax.weights.encoders import fit_weights, load_encoder_weights
from tests import shapes
from tests.explainers.toys import asking
from tests.golden import vgg_outputs as golden
from tests.golden.photographs import photographs, relative_error

SMALL = jnp.zeros((1, 16, 16, 3))
ENDS = {16: ("1_2", "2_2", "3_3", "4_3", "5_3"), 19: ("1_2", "2_2", "3_4", "4_4", "5_4")}


def last(depth):
    return convolutions(depth)[-1]


def fit(encoder, source):
    return fit_weights(encoder, source, SMALL, origin="a file")


@pytest.mark.parametrize(("depth", "count"), [(16, 14_714_688), (19, 20_024_384)])
def test_parameter_counts(depth, count):
    encoder = VGG(depth=depth, output=last(depth))
    assert shapes.count(shapes.traced(encoder, SMALL.shape)[1]) == count


@pytest.mark.parametrize(
    ("depth", "output", "grid", "channels"),
    [
        (19, "conv5_4", (14, 14), 512),
        (16, "conv5_3", (14, 14), 512),
        (19, "conv4_4", (28, 28), 512),
        (16, "conv1_1", (224, 224), 64),
    ],
)
def test_map_shapes(depth, output, grid, channels):
    encoder = VGG(depth=depth, output=output)
    features, _ = shapes.traced(encoder, (1, *encoder.preprocessing().size, 3))
    assert features.grid == grid
    assert features.positions.shape == (1, 1, grid[0] * grid[1], channels)


@functools.cache
def stages_of(name):
    """The last map of every stage for the golden pixels."""
    encoder = encoder_of(name)
    keras = name == "keras19"
    source = golden.keras_state() if keras else golden.torch_state(encoder.depth)
    return stages(encoder, fit(encoder, source), golden.seeded_pixels())


def encoder_of(name):
    """Of "vgg16", "vgg19" or "keras19"."""
    depth = int(name[-2:])
    weights_of = "caffe" if name == "keras19" else "torchvision"
    return VGG(depth=depth, output=last(depth), weights_of=weights_of)


def stages(encoder, variables, pixels):
    """The last map of every stage, NHWC."""
    scale = encoder.preprocessing()
    images = (pixels - np.float32(scale.mean)) / np.float32(scale.std)
    run = jax.jit(lambda v, x: encoder.apply(v, x, capture_intermediates=True))
    features, seen = run(variables, images)
    maps = [
        np.asarray(jax.nn.relu(seen["intermediates"][f"conv{end}"]["__call__"][0]))
        for end in ENDS[encoder.depth]
    ]
    np.testing.assert_array_equal(features.positions.reshape(maps[-1].shape), maps[-1])
    return maps


@pytest.mark.parametrize("stage", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["vgg16", "vgg19", "keras19"])
def test_equals_the_original(name, stage):
    with np.load(golden.OUTPUTS) as archive:
        expected = archive[f"{name}_stage{stage}"]
    ours = golden.sampled(stages_of(name)[stage - 1])
    assert 0.2 < np.mean(expected > 0) < 0.9  # after the ReLU, and not about zeros
    assert np.abs(ours - expected).max() <= 1e-4 * np.abs(expected).max()


def marked(shapes):
    """Arrays that each hold one number, their own."""
    return {
        name: np.broadcast_to(np.float32(number), shape)
        for number, (name, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize("output", ["conv5_4", "conv3_1"])
def test_all_namings_agree(output):
    """Real torchvision and Keras list the same layers in the same order."""
    numbered = {
        name: array
        for name, array in marked(golden.read_layout("vgg19")).items()
        if name.startswith("features")
    }
    named = marked(golden.read_layout("keras19"))
    timm = numbered | {
        "pre_logits.fc1.weight": np.zeros((4096, 512, 7, 7), np.float32),
        "head.fc.bias": np.zeros(1000, np.float32),
    }
    as_files = {f"{name.split('/')[0]}/{name}:0": array for name, array in named.items()}
    keras_1 = {
        f"{layer}/{layer}_{'W' if leaf == 'kernel' else 'b'}_1:0": named[f"{layer}/{leaf}"]
        for layer, leaf in (name.split("/") for name in named)
    }
    with_top = as_files | {"fc1/fc1/kernel:0": np.zeros((2, 2), np.float32)}
    rgb = fit(VGG(output=output), numbered)
    for source in (timm, named, as_files, keras_1, with_top):
        weights_of = "torchvision" if source is timm else "caffe"
        other = fit(VGG(output=output, weights_of=weights_of), source)
        jax.tree.map(np.testing.assert_array_equal, rgb, other)
    assert list(rgb["params"]) and len(rgb["params"]) == len(convolutions(19, output))


def test_bgr_weights_are_turned_around():
    """Caffe's weights on Caffe's input, by hand: one output of conv1_1 in the middle."""
    source = golden.torch_state(19)
    encoder = VGG(output="conv1_1", weights_of="caffe")
    rgb = np.random.RandomState(0).uniform(0, 255, (1, 3, 3, 3)).astype(np.float32)
    scale = encoder.preprocessing()
    ours = encoder.apply(fit(encoder, source), (rgb - np.float32(scale.mean)) / scale.std)
    bgr = (rgb[0, :, :, ::-1] - np.float32([103.939, 116.779, 123.68])).transpose(2, 0, 1)
    kernel, bias = source["features.0.weight"], source["features.0.bias"]
    expected = np.maximum((kernel * bgr).sum((1, 2, 3)) + bias, 0)
    np.testing.assert_allclose(ours.positions[0, 0, 4], expected, rtol=1e-4, atol=1e-3)


def test_weights_of_another_normalisation_are_refused():
    with pytest.raises(ValueError, match="weights_of to 'caffe'"):
        fit(VGG(), marked(golden.read_layout("keras19")))


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match=r"(?s)left over: features.16.*wrong: features.19.weight"):
        fit(VGG(depth=16, output="conv5_3"), marked(golden.read_layout("vgg19")))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depth": 11}, "16, 19"),
        ({"depth": 16}, "VGG-16 has no 'conv5_4'.*conv5_3"),
        ({"output": "pool5"}, "conv5_4"),
    ],
)
def test_unknown_fields_are_named(fields, said):
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(VGG(**fields).init, jax.random.key(0), SMALL)


def test_unknown_normalisation_is_named():
    with pytest.raises(ValueError, match="'torchvision', 'caffe'"):
        VGG(weights_of="timm").preprocessing()


def test_maps_of_a_captioner():
    """Attention and Grad-CAM over VGG's map: shapes, sums, and that each word has its own."""
    encoder = VGG(depth=16, output="conv2_1")
    decoder = AttentionLSTM(vocab_size=9, features=128, hidden=16, attention=12, embedding=10)
    preprocessing = encoder.preprocessing((12, 16))
    net = build_net(encoder, decoder, preprocessing)
    images = np.random.RandomState(0).randint(0, 256, (2, 12, 16, 3)).astype(np.uint8)
    tokens, lengths = np.array([[5, 4, 2], [7, 2, 0]], np.int32), np.array([3, 2], np.int32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images, tokens)
    draw = np.random.RandomState(1)
    variables = jax.tree.map(lambda s: draw.normal(0, 0.2, s.shape).astype(s.dtype), dict(shapes))
    features = jax.jit(lambda v, x: net.apply(v, x, method="encode"))(variables, images)
    assert features.grid == (6, 8)
    words = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 3, 3))
    for method in (Attention(), GradCAM()):
        maps = np.asarray(asking(method)(net, variables, features, tokens, lengths, words))
        assert maps.shape == (2, 3, 1, 48) and np.isfinite(maps).all()
        assert not np.allclose(maps[0, 0], maps[0, 1])
        assert not maps[1, 2].any()  # beyond the sentence
        if method == Attention():
            np.testing.assert_allclose(maps[0].sum((1, 2)), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["vgg16", "vgg19", "timm19"])
def test_parity_on_photographs(name, shared_data):
    """Every stage at 224 x 224 from the library's own state dict."""
    pytest.importorskip("torch")
    encoder = encoder_of(name)
    pixels = photographs(shared_data, encoder.preprocessing())
    if name == "timm19":
        state, expected = golden.timm_maps(pixels)
    else:
        state = golden.torch_state(encoder.depth)
        expected = golden.torch_stages(encoder.depth, state, pixels)
    report(stages(encoder, fit(encoder, state), pixels)[-len(expected) :], expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", ["model.h5", "model.weights.h5"])
def test_parity_with_keras_through_its_files(file, shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("keras")
    encoder = encoder_of("keras19")
    model = golden.keras_model(golden.keras_state())
    save = model.save_weights if file.endswith(".weights.h5") else model.save
    save(tmp_path / file)
    pixels = photographs(shared_data, encoder.preprocessing())
    maps = stages(encoder, load_encoder_weights(encoder, tmp_path / file), pixels)
    report(maps, golden.keras_stages(model, pixels))


def report(maps, expected):
    """Prints the relative error of every stage."""
    errors = [relative_error(ours, theirs) for ours, theirs in zip(maps, expected, strict=True)]
    print([f"{error:.1e}" for error in errors])
    assert max(errors) <= 1e-4
