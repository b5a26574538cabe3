"""`data.resize=crop`: training, feature cache, saved model, scores and maps see the same square."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capjax.captioner import load_captioner
from capjax.config import encoder_section
from capjax.config import experiment as settings
from capjax.data.inputs import ImageFiles
from capjax.data.pictures.resizers import resizing
from capjax.evaluate.queries import with_crop
from capjax.experiment.building import build_experiment
from capjax.types import Preprocessing
from tests.explainers.toys import attentive
from tests.train.tiny import shrink, write_dataset

COCO_SOFT = str(Path(__file__).parents[2] / "configs" / "coco_soft.py")


def cropping(root, **data):
    config = runpy.run_path(COCO_SOFT)["get_config"]()
    config.encoder = encoder_section("convnet", widths=(8,), residuals=(0,))
    config = shrink(config, root)
    for name, value in data.items():
        setattr(config.data, name, value)
    return settings.resolve(config)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Photographs of 20 x 24 pixels."""
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("caching", [True, False])
def test_all_of_an_experiment_sees_the_crop(root, tmp_path, caching):
    config = cropping(root, resize="crop", shorter=40, cache_features=caching)
    experiment = build_experiment(config, tmp_path / "features")
    experiment.captioner(experiment.model.variables, {}).save(tmp_path)
    captioner = load_captioner(tmp_path)
    seen = captioner.preprocessing
    assert seen == resizing(experiment.model.preprocessing, "crop", 40)
    assert (seen.size, seen.resize, seen.shorter) == ((32, 32), "crop", 40)
    # By hand: 20 x 24 to 40 x 48, of which the middle 32 x 32.
    path = root / "flickr8k/images/0.png"
    with Image.open(path) as image:
        by_hand = np.asarray(image.resize((48, 40), Image.Resampling.BILINEAR))[4:36, 8:40]
    np.testing.assert_array_equal(ImageFiles((path,), seen)(0), by_hand)
    geometry = seen.geometry((20, 24), (16, 16))
    assert geometry.cell_box(0, 0) == (4.0, 2.0, 5.0, 3.0)
    assert geometry.pixel_to_cell(3.9, 10) is None and geometry.pixel_to_cell(4.1, 2.1) == (0, 0)
    batch = next(iter(experiment.batches()(0)))
    if caching:
        features = captioner.net.apply(captioner.variables, by_hand[None], method="encode")
        ours = np.asarray(batch["features"], np.float32)
        found = np.abs(ours - np.asarray(features.positions)).max((1, 2, 3))
        assert found.min() < 1e-2  # one of the batch's is of that image, in float16
    else:
        assert (batch["image"] == by_hand).all((1, 2, 3)).any()


def test_caches_of_a_crop_and_of_a_squash_are_two(root, tmp_path):
    for resize in ("crop", "squash", ""):
        build_experiment(cropping(root, resize=resize), tmp_path)
    assert len(list(tmp_path.glob("*-train-*/manifest.json"))) == 2  # squash is the default


def test_settings_without_meaning_are_refused(root):
    for data, said in (
        ({"resize": "stretch"}, "data.resize is 'stretch'; choose squash or crop"),
        ({"shorter": 256}, "data.shorter=256 is the shorter side before a crop"),
        ({"resize": "squash", "shorter": 256}, "set data.resize=crop"),
        ({"resize": "crop", "shorter": -1}, "data.shorter is -1; expected 0 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            cropping(root, **data)
    with pytest.raises(ValueError, match="needs shorter >= 32; got shorter=20"):
        build_experiment(cropping(root, resize="crop", shorter=20), None)


def test_the_usual_crop_is_that_of_show_attend_and_tell():
    wide = Preprocessing((224, 224))
    assert resizing(wide, "crop").shorter == 256
    assert resizing(Preprocessing((112, 224)), "crop") == Preprocessing((112, 224), "crop", 256)
    assert resizing(resizing(wide, "crop", 300), "squash") == resizing(wide, "") == wide


def test_the_protocol_of_evaluation_agrees_with_a_trained_crop_or_refuses():
    captioner = attentive()
    central = with_crop(captioner, "central")
    assert with_crop(central, "central").preprocessing == central.preprocessing
    assert with_crop(central, "none") is central
    other = resizing(captioner.preprocessing, "crop", 2 * captioner.preprocessing.size[0])
    object.__setattr__(central, "preprocessing", other)
    with pytest.raises(ValueError, match="trained on a crop after.*use --crop=none"):
        with_crop(central, "central")
