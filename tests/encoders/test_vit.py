"""ViTs against transformers', timm's and torchvision's outputs, and their tokens as features."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from capjax.checkpoints.settings import module_from_json, module_to_json
from capjax.encoders import ENCODERS, ViT, vit
from capjax.encoders.transformer import Block, quick_gelu
from capjax.weights import load_encoder_weights
from tests.golden import vit_outputs as golden
from tests.golden.photographs import photographs, relative_error
from tests.golden.resnet_torchvision import seeded_state

LAYOUTS = json.loads(golden.LAYOUTS.read_text())


def tiny(library, **fields):
    return ViT(**golden.TINY, size=golden.SIZES[library], weights_of=library, **fields)


@pytest.fixture(scope="module")
def weight_files(tmp_path_factory):
    """One file for each library, in its own layout."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for library, shapes in LAYOUTS.items():
        paths[library] = folder / f"{library}.safetensors"
        save_file(seeded_state({k: tuple(v) for k, v in shapes.items()}), paths[library])
    return paths


@pytest.fixture(scope="module")
def expected():
    with np.load(golden.OUTPUTS) as archive:
        return dict(archive)


def tokens_of(features):
    """The sequence as the libraries have it: the class token first."""
    return np.concatenate([features.extra, features.positions[:, 0]], axis=1)


def close(ours, theirs, tolerance=1e-4):
    assert ours.shape == theirs.shape
    assert relative_error(ours, theirs) <= tolerance


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 85_798_656),
        ({"patch": 32}, 87_455_232),
        (vit.SMALL, 21_665_664),
        (vit.LARGE, 303_301_632),
    ],
)
def test_parameter_counts(fields, count):
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(ViT(**fields).init, jax.random.key(0), images)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


@pytest.mark.parametrize("library", LAYOUTS)
def test_equals_the_library(weight_files, expected, library):
    encoder = tiny(library)
    variables = load_encoder_weights(encoder, weight_files[library])
    features = jax.jit(encoder.apply)(variables, golden.seeded_images(golden.SIZES[library]))
    rows, columns = (side // golden.TINY["patch"] for side in golden.SIZES[library])
    assert features.grid == (rows, columns)
    assert features.positions.shape == (2, 1, rows * columns, golden.TINY["width"])
    close(tokens_of(features), expected[f"{library}_last"], 1e-5)


def test_every_layer_equals_transformers(weight_files, expected):
    encoder = tiny("transformers", keep_attention=True)
    variables = load_encoder_weights(encoder, weight_files["transformers"])
    found = every_layer(encoder, variables, golden.seeded_images(golden.SIZES["transformers"]))
    for name, ours in found.items():
        close(ours, expected[f"transformers_{name}"], 1e-5)


def every_layer(encoder, variables, images):
    """Tokens and attention of each layer, and the last tokens, as the golden outputs name them."""
    features, state = encoder.apply(
        variables,
        images,
        capture_intermediates=lambda module, _: isinstance(module, Block),
        mutable=["intermediates"],
    )
    found = {"last": tokens_of(features)}
    for number in range(encoder.layers):
        [(x, _)] = state["intermediates"][f"block_{number}"]["__call__"]
        found[f"layer{number}"] = np.asarray(x)
        found[f"attention{number}"] = np.asarray(features.attentions[:, 0, number])
    return found


def test_other_sizes_resize_position_embeddings_as_timm(weight_files, expected):
    images = golden.seeded_images(golden.OTHER_SIZE)
    encoder = tiny("timm", interpolate=True)
    variables = load_encoder_weights(encoder, weight_files["timm"])
    features = encoder.apply(variables, images)
    assert features.grid == (6, 5)
    close(tokens_of(features), expected["timm_resized"])
    with pytest.raises(ValueError, match=r"48x40 .* 32x48: .* interpolate=True"):
        tiny("timm").apply(variables, images)
    with pytest.raises(ValueError, match="multiples of the patch, 8"):
        encoder.apply(variables, images[:, :-1])


def test_prefixes_and_heads_of_published_files(tmp_path, weight_files):
    """As ViTForImageClassification saves them: `vit.` before each key, a classifier at the end."""
    shapes = {name: tuple(shape) for name, shape in LAYOUTS["transformers"].items()}
    state = {f"vit.{name}": value for name, value in seeded_state(shapes).items()}
    state |= {"classifier.weight": np.ones((3, 48), np.float32), "classifier.bias": np.ones(3, "f")}
    save_file(state, tmp_path / "classifier.safetensors")
    encoder = tiny("transformers")
    ours = load_encoder_weights(encoder, tmp_path / "classifier.safetensors")
    plain = load_encoder_weights(encoder, weight_files["transformers"])
    jax.tree.map(np.testing.assert_array_equal, ours, plain)


def test_class_token_is_off_the_grid_or_absent(weight_files):
    images = golden.seeded_images((32, 48))
    variables = load_encoder_weights(tiny("timm"), weight_files["timm"])
    with_token = tiny("timm").apply(variables, images)
    without = tiny("timm", class_token=False).apply(variables, images)
    assert with_token.extra.shape == (2, 1, golden.TINY["width"])
    assert without.extra.shape == (2, 0, golden.TINY["width"])
    np.testing.assert_array_equal(with_token.positions, without.positions)
    assert with_token.attentions is None


def test_an_image_is_encoded_alone(weight_files):
    images = golden.seeded_images((32, 48))
    encoder = tiny("timm")
    variables = load_encoder_weights(encoder, weight_files["timm"])
    both = encoder.apply(variables, images).positions
    alone = encoder.apply(variables, images[1:]).positions
    np.testing.assert_allclose(both[1:], alone, atol=2e-5)


def test_gradients_reach_every_pixel_and_parameter(weight_files):
    images = golden.seeded_images((32, 48))[:1]
    encoder = tiny("timm")
    variables = load_encoder_weights(encoder, weight_files["timm"])

    def loss(variables, images):
        return jnp.sum(encoder.apply(variables, images).positions[..., 0] ** 2)

    of_weights, of_images = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, images)
    assert np.isfinite(of_images).all()
    assert (np.abs(of_images) > 0).mean() > 0.99
    for path, leaf in jax.tree_util.tree_leaves_with_path(of_weights):
        if "key" in str(path) and "bias" in str(path):
            continue  # softmax cancels the bias of keys
        assert float(jnp.abs(leaf).max()) > 0, path


def test_preprocessing_is_that_of_the_weights():
    assert ViT().preprocessing().size == (224, 224)
    assert ViT().preprocessing().resample == "bilinear"
    assert ViT(weights_of="timm").preprocessing().resample == "bicubic"
    assert ViT().preprocessing((32, 64)).size == (32, 64)
    half = ViT().preprocessing()
    pixels = np.array([0, 127.5, 255])
    np.testing.assert_allclose((pixels - half.mean[0]) / half.std[0], [-1, 0, 1])
    imagenet = ViT(weights_of="torchvision").preprocessing()
    assert imagenet.resample == "bilinear"
    np.testing.assert_allclose(np.array(imagenet.mean) / 255, [0.485, 0.456, 0.406])
    np.testing.assert_allclose(np.array(imagenet.std) / 255, [0.229, 0.224, 0.225])


def test_fields_survive_json():
    encoder = ViT(patch=32, size=(64, 32), weights_of="timm", dtype=jnp.bfloat16)
    assert module_from_json(
        json.loads(json.dumps(module_to_json(encoder, ENCODERS))), ENCODERS
    ) == (encoder)


def test_bfloat16_features_are_usable(weight_files):
    images = golden.seeded_images((32, 48))
    variables = load_encoder_weights(tiny("timm"), weight_files["timm"])
    exact = tiny("timm").apply(variables, images).positions
    rounded = tiny("timm", dtype=jnp.bfloat16).apply(variables, images).positions
    assert rounded.dtype == jnp.bfloat16
    difference = np.linalg.norm(np.asarray(rounded, np.float32) - exact) / np.linalg.norm(exact)
    assert difference < 0.05


def test_quick_gelu():
    np.testing.assert_allclose(quick_gelu(jnp.array([0.0, 1.0])), [0, 0.845796], atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"weights_of": "keras"}, "transformers, timm, torchvision"), ({"heads": 7}, "heads divide")],
)
def test_wrong_fields_are_named(fields, said):
    encoder = ViT(**{**golden.TINY, "size": (32, 32), **fields})
    with pytest.raises(ValueError, match=said):
        encoder.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", golden.LIBRARIES)
@pytest.mark.parametrize("patch", [16, 32])
def test_parity_on_photographs(library, patch, shared_data, tmp_path):
    """ViT-B at 224 x 224 on three photographs; every layer where the library gives them."""
    pytest.importorskip("torch")
    encoder = ViT(patch=patch, weights_of=library, keep_attention=True)
    preprocessing = encoder.preprocessing()
    mean, deviation = np.float32(preprocessing.mean), np.float32(preprocessing.std)
    pixels = photographs(shared_data, preprocessing)
    images = (pixels - mean.reshape(1, 1, 1, 3)) / deviation.reshape(1, 1, 1, 3)
    state, expected = golden.LIBRARIES[library]({**vit.BASE, "patch": patch}, images)
    save_file(state, tmp_path / "model.safetensors")
    variables = load_encoder_weights(encoder, tmp_path / "model.safetensors")
    found = every_layer(encoder, variables, images)
    errors = {name: relative_error(found[name], expected[name]) for name in expected}
    print(library, patch, {name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) <= 1e-4
