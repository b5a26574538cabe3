"""ResNets against torchvision's outputs and key layouts, and batch norm in each of its modes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from capjax.encoders import ResNet
from capjax.encoders.resnet import DEPTHS
from capjax.weights import load_encoder_weights
from capjax.weights.encoders import fit_weights
from tests import shapes
from tests.golden import resnet_photographs
from tests.golden import resnet_torchvision as golden
from tests.golden.photographs import photographs, relative_error, sparse

LAYOUTS = json.loads(golden.LAYOUTS.read_text())
# Without the classifier.
PARAMETERS = {
    18: 11_176_512,
    34: 21_284_672,
    50: 23_508_032,
    101: 42_500_160,
    152: 58_143_808,
}


@pytest.fixture(scope="module")
def weight_files(tmp_path_factory):
    """A safetensors file for each depth with stored outputs, in torchvision's layout."""
    folder = tmp_path_factory.mktemp("weights")
    for depth in golden.NUMERIC:
        shapes = {name: tuple(shape) for name, shape in LAYOUTS[str(depth)].items()}
        save_file(golden.seeded_state(shapes), folder / f"resnet{depth}.safetensors")
    return folder


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameter_counts(depth):
    _, variables = shapes.traced(ResNet(depth=depth), (1, 224, 224, 3))
    assert shapes.count(variables["params"]) == PARAMETERS[depth]


@pytest.mark.parametrize(
    ("fields", "side", "grid", "channels"),
    [
        ({"depth": 101}, 224, (7, 7), 2048),
        ({"depth": 101, "stage": 3}, 224, (14, 14), 1024),
        ({"depth": 101, "pool": (14, 14)}, 256, (14, 14), 2048),
        ({"depth": 34}, 256, (8, 8), 512),
    ],
)
def test_map_shapes(fields, side, grid, channels):
    features, _ = shapes.traced(ResNet(**fields), (1, side, side, 3))
    assert features.grid == grid
    assert features.positions.shape == (1, 1, grid[0] * grid[1], channels)


@pytest.mark.parametrize(
    ("depth", "fields", "names"),
    [
        (18, {}, {"layer1": "resnet18_stage1", "layer3": "resnet18_stage3", "": "resnet18_stage4"}),
        (18, {"pool": (14, 14)}, {"": "resnet18_pool14"}),
        (50, {}, {"layer2": "resnet50_stage2", "": "resnet50_stage4"}),
    ],
)
def test_equals_torchvision(weight_files, depth, fields, names):
    """Stages by their names, and what the network gives."""
    plain = ResNet(depth=depth, **fields)
    variables = load_encoder_weights(plain, weight_files / f"resnet{depth}.safetensors")
    encoder = plain.keeping(*(name for name in names if name))
    features = jax.jit(encoder.apply)(variables, golden.seeded_images())
    maps = {name: np.asarray(stage)[:, 0] for name, stage in features.stages.items()}
    whole = np.asarray(features.positions)
    maps[""] = whole.reshape(whole.shape[0], *features.grid, -1)
    assert maps.keys() == names.keys()
    with np.load(golden.OUTPUTS) as archive:
        stored = {name: archive[own] for name, own in names.items()}
    for name, expected in stored.items():
        ours = golden.sampled(maps[name])[: len(expected)]
        scale = expected.std()
        np.testing.assert_allclose(ours / scale, expected / scale, atol=1e-4, err_msg=name)


def stages_of_photographs(depth, variables, shared_data):
    """Maps after every layer, NHWC, at 224 x 224."""
    encoder = ResNet(depth=depth)
    scale = encoder.preprocessing()
    images = (photographs(shared_data, scale) - np.float32(scale.mean)) / np.float32(scale.std)
    run = jax.jit(lambda v, x: encoder.apply(v, x, capture_intermediates=True)[1])
    seen = run(variables, images)["intermediates"]
    last = {f"stage{i}": f"layer{i}_{n - 1}" for i, n in enumerate(DEPTHS[depth][0], start=1)}
    return {stage: np.asarray(seen[block]["__call__"][0]) for stage, block in last.items()}


def check_stages(maps, expected):
    """Within 1e-4 of the largest value of every stage; prints the errors."""
    errors = {name: relative_error(maps[name], y) for name, y in expected.items()}
    print({name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) <= 1e-4 and len(errors) == 4, errors


def test_equals_torchvision_on_photographs(weight_files, shared_data):
    variables = load_encoder_weights(ResNet(depth=18), weight_files / "resnet18.safetensors")
    maps = stages_of_photographs(18, variables, shared_data)
    with np.load(resnet_photographs.OUTPUTS) as archive:
        check_stages({name: sparse(y) for name, y in maps.items()}, dict(archive))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("library", "depth"), [*(("torchvision", depth) for depth in DEPTHS), ("timm", 50)]
)
def test_parity_on_photographs(library, depth, shared_data):
    """Every stage of three photographs at 224 x 224 from the library's own state dict."""
    pytest.importorskip("torch")
    pixels = photographs(shared_data, ResNet.preprocessing())
    state, expected = resnet_photographs.stages_of_photographs(library, depth, pixels)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = fit_weights(ResNet(depth=depth), state, images, origin="a state dict")
    check_stages(stages_of_photographs(depth, variables, shared_data), expected)


@pytest.fixture(scope="module")
def seeded(weight_files):
    path = weight_files / "resnet18.safetensors"
    return load_encoder_weights(ResNet(depth=18, stage=1), path)


def train_step(encoder, variables):
    apply = jax.jit(lambda v, x: encoder.apply(v, x, train=True, mutable=["batch_stats"]))
    return apply(variables, golden.seeded_images())


def test_frozen_norm_ignores_training(seeded):
    encoder = ResNet(depth=18, stage=1, freeze_norm=True)
    features, updated = train_step(encoder, seeded)
    plain = jax.jit(encoder.apply)(seeded, golden.seeded_images())
    np.testing.assert_array_equal(features.positions, plain.positions)
    for new, old in zip(
        jax.tree.leaves(updated.get("batch_stats", seeded["batch_stats"])),
        jax.tree.leaves(seeded["batch_stats"]),
        strict=True,
    ):
        np.testing.assert_array_equal(new, old)


def test_training_uses_and_updates_statistics(seeded):
    """The first norm in closed form: statistics of conv1's output over the batch, momentum 0.9."""
    encoder = ResNet(depth=18, stage=1, freeze_norm=False)
    trained, updated = train_step(encoder, seeded)
    before = jax.lax.conv_general_dilated(
        jnp.asarray(golden.seeded_images()),
        jnp.asarray(seeded["params"]["conv1"]["kernel"]),
        (2, 2),
        ((3, 3), (3, 3)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    old, new = seeded["batch_stats"]["bn1"], updated["batch_stats"]["bn1"]
    mean, variance = np.mean(before, axis=(0, 1, 2)), np.var(before, axis=(0, 1, 2))
    np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * mean, atol=1e-5)
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * variance, atol=1e-4)
    plain = jax.jit(encoder.apply)(seeded, golden.seeded_images())
    assert float(jnp.abs(plain.positions - trained.positions).max()) > 0.1


def test_frozen_norm_still_gives_gradients(seeded):
    """Scale and bias stay trainable; only the statistics are frozen."""
    encoder = ResNet(depth=18, stage=1)

    def loss(params):
        variables = {"params": params, "batch_stats": seeded["batch_stats"]}
        return encoder.apply(variables, golden.seeded_images(), train=True).positions.mean()

    gradient = jax.jit(jax.grad(loss))(seeded["params"])
    assert float(jnp.abs(gradient["bn1"]["scale"]).max()) > 0


def test_bfloat16_features_are_usable(seeded):
    images = golden.seeded_images()
    exact = ResNet(depth=18, stage=1).apply(seeded, images).positions
    rounded = ResNet(depth=18, stage=1, dtype=jnp.bfloat16).apply(seeded, images).positions
    assert rounded.dtype == jnp.bfloat16
    difference = np.linalg.norm(np.asarray(rounded, np.float32) - exact) / np.linalg.norm(exact)
    assert difference < 0.05


@pytest.mark.parametrize(("fields", "said"), [({"depth": 20}, "18, 34"), ({"stage": 5}, "1, 2")])
def test_unknown_fields_are_named(fields, said):
    with pytest.raises(ValueError, match=said):
        ResNet(**fields).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
