"""DETR against transformers: weights by name, logits and boxes, sizes; and whole photographs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from capjax.data.objects.detected import FoundObjects
from capjax.detectors.detector import Detector, resized_sides
from capjax.detectors.detr import Detr, Found, sine_places
from capjax.studies.counterfactual import named
from capjax.weights.detectors import load_detector
from tests.golden import detr_outputs as golden
from tests.golden.resnet_torchvision import seeded_state

SETTINGS = json.loads(golden.SETTINGS.read_text())
BACKBONES = ("timm resnet18", "own resnet18")
SEEN = {
    "size": {"shortest_edge": 64, "longest_edge": 100},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.25],
}


def folder(path, backbone, settings=None, seen=SEEN, state=None):
    path.mkdir(exist_ok=True)
    own = SETTINGS[backbone]
    settings = {**own["config"], **(settings or {})}
    (path / "config.json").write_text(json.dumps(settings))
    (path / "preprocessor_config.json").write_text(json.dumps(seen))
    shapes = {name: tuple(shape) for name, shape in own["shapes"].items()}
    save_file(state or seeded_state(shapes), path / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def outputs():
    with np.load(golden.OUTPUTS) as archive:
        return dict(archive)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_logits_and_boxes_are_those_of_transformers(backbone, outputs, tmp_path):
    detector = load_detector(folder(tmp_path / "detr", backbone))
    images, valid = golden.images()
    found = jax.jit(detector.net.apply)(detector.variables, images, valid)
    for name, own in (("logits", found.logits), ("boxes", found.boxes)):
        theirs = outputs[f"{backbone} {name}"]
        assert np.ptp(theirs) > 0.1
        np.testing.assert_allclose(own, theirs, atol=2e-5 * np.abs(theirs).max())


def test_places_are_sines_of_shares_of_the_valid_part():
    cells = np.zeros((1, 3, 4), bool)
    cells[:, :2, :3] = True
    found = np.asarray(sine_places(jnp.asarray(cells), 8))[0]
    for row, column in ((0, 0), (1, 2), (0, 1)):
        y, x = 2 * np.pi * (row + 1) / 2, 2 * np.pi * (column + 1) / 3
        expected = [f(angle / t) for angle in (y, x) for t in (1, 100) for f in (np.sin, np.cos)]
        np.testing.assert_allclose(found[row, column], expected, atol=1e-5)


def test_sizes_are_those_of_transformers():
    found = [list(resized_sides(size, 800, 1333)) for size in golden.PHOTOGRAPHS]
    assert found == SETTINGS["resized"]


def test_a_detector_of_full_size_has_the_published_number_of_parameters():
    shapes = jax.eval_shape(
        Detr().init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)), jnp.ones((1, 64, 64), bool)
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count == SETTINGS["parameters"] == 41_577_888


class Told(Detr):
    """Says what it is told."""

    def __call__(self, images, valid):
        logits = jnp.log(jnp.array([[[0.7, 0.2, 0.1], [0.1, 0.4, 0.5], [0.05, 0.9, 0.05]]]))
        boxes = jnp.array([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1], [1.0, 0.25, 0.5, 0.5]]])
        return Found(logits, boxes)


def test_boxes_are_in_pixels_of_the_photograph_and_cut_at_its_borders():
    told = Detector(Told(), {}, {0: "dog", 1: "cat"}, "here", shorter=32, longest=64)
    image = np.zeros((100, 200, 3), np.uint8)
    cat, dog = told(image)
    assert (cat.category, dog.category) == ("cat", "dog")
    np.testing.assert_allclose((cat.score, dog.score), (0.9, 0.7), rtol=1e-5)
    np.testing.assert_allclose(dog.box, (80, 30, 40, 40), atol=1e-4)
    np.testing.assert_allclose(cat.box, (150, 0, 50, 50), atol=1e-4)
    assert [one.category for one in told(image, 0.3)] == ["cat", "dog", "cat"]
    only_dogs = Detector(Told(), {}, {0: "dog"}, "here", shorter=32, longest=64)
    assert [one.category for one in only_dogs(image)] == ["dog"]  # a number without a name
    (first, second) = FoundObjects(told).regions("a.jpg", image)[:2]
    assert (first.category, first.outline, first.score) == ("cat", "box", cat.score)
    assert np.flatnonzero(second.mask.any(axis=0)).tolist() == list(range(80, 120))


def test_pictures_are_resized_normalised_and_padded(tmp_path):
    detector = load_detector(folder(tmp_path / "detr", BACKBONES[0]))
    image = np.full((30, 60, 3), (255, 102, 0), np.uint8)
    pixels, valid = detector.prepared(image)
    assert pixels.shape == (128, 128, 3) and valid.sum() == 50 * 100
    np.testing.assert_allclose(pixels[0, 0], [0.5 / 0.2, 0, -0.3 / 0.25], atol=1e-5)
    assert not pixels[~valid].any()
    with pytest.raises(ValueError, match=r"got an image \(30, 60\) of float64; expected uint8"):
        detector.prepared(np.zeros((30, 60)))


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"model_type": "yolos"}, "model_type 'yolos'; expected detr"),
        ({"dilation": True}, "dilation=True; expected False"),
        ({"decoder_ffn_dim": 96}, "decoder_ffn_dim=96; expected encoder_ffn_dim, which is 48"),
        ({"id2label": {"a": "b"}}, "expected names by the numbers of classes"),
        ({"backbone_config": {"backbone": "resnet19"}}, "a ResNet"),
        ({"d_model": 64}, "do not fit the module"),
    ],
)
def test_other_architectures_are_refused(settings, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        load_detector(folder(tmp_path / "detr", BACKBONES[0], settings))


def test_a_key_too_many_or_too_few_is_named(tmp_path):
    shapes = {k: tuple(v) for k, v in SETTINGS[BACKBONES[1]]["shapes"].items()}
    state = seeded_state(shapes)
    state["model.more"] = state.pop("model.query_position_embeddings.weight")
    with pytest.raises(ValueError) as error:
        load_detector(folder(tmp_path / "detr", BACKBONES[1], state=state))
    assert "model.more" in str(error.value) and "params/queries" in str(error.value)


def test_a_name_on_a_command_line_opens_it(tmp_path):
    path = folder(tmp_path / "detr", BACKBONES[0])
    named._detector.cache_clear()
    source = named.object_source(f"detr:{path}", captioner=None)
    assert isinstance(source, FoundObjects) and named.finds_itself(f"detr:{path}")
    first = named.content_of(f"detr:{path}")
    assert isinstance(source.regions("x.jpg", np.zeros((40, 50, 3), np.uint8)), list)
    state = seeded_state({k: tuple(v) for k, v in SETTINGS[BACKBONES[0]]["shapes"].items()})
    other = folder(tmp_path / "other", BACKBONES[0], state={k: 2 * v for k, v in state.items()})
    assert named.content_of(f"detr:{other}") != first
    with pytest.raises(FileNotFoundError, match="nowhere"):
        named.object_source(f"detr:{tmp_path}/nowhere", captioner=None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_transformers_says_so_still_at_full_size(tmp_path):
    pytest.importorskip("transformers", reason="the parity extra is not installed")
    pytest.importorskip("torch", reason="the parity extra is not installed")
    images, valid = golden.images()
    state, settings, outputs = golden.detected(golden.FULL, "timm resnet50", images, valid)
    path = tmp_path / "detr"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(settings))
    (path / "preprocessor_config.json").write_text(json.dumps(SEEN))
    save_file(state, path / "model.safetensors")
    detector = load_detector(path)
    found = jax.jit(detector.net.apply)(detector.variables, images, valid)
    for name, own in (("logits", found.logits), ("boxes", found.boxes)):
        np.testing.assert_allclose(own, outputs[name], atol=1e-4 * np.abs(outputs[name]).max())
