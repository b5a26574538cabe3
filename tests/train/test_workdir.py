"""What a workdir holds is compared with what a run would go on with, before anything is written."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capjax.captioner import SHIPPED
from capjax.config import DataConfig, encoder_section
from capjax.config import experiment as settings
from capjax.data.cache.feature_cache import FeatureCache
from capjax.data.inputs import FeatureInputs
from capjax.experiment.material import Material, describe_samples, read_material
from capjax.experiment.workdir import (
    check_workdir,
    enter_workdir,
    locked_workdir,
    shared_settings,
)
from capjax.runtime.files import without_places
from capjax.runtime.locks import LockedError
from capjax.types import Preprocessing
from tests.train.tiny import shrink, write_dataset

ROOT = Path(__file__).parents[2]
SEEN = Preprocessing((32, 32))


class Run:
    """A dataset, and a workdir in which a run of it has begun."""

    def __init__(self, folder: Path) -> None:
        self.root = write_dataset(folder / "data")
        self.captions = self.root / "flickr8k" / "dataset_flickr8k.json"
        self.workdir = folder / "run"
        config = runpy.run_path(str(ROOT / "configs" / "coco_soft.py"))["get_config"]()
        config.encoder = encoder_section("convnet", widths=(8,), residuals=(0,))
        self.config = settings.resolve(shrink(config, self.root))
        material = self.material()
        samples = describe_samples(material, preprocessing=SEEN)
        enter_workdir(self.workdir, self.described(), samples, material.text)
        (self.workdir / "checkpoints" / "2").mkdir(parents=True)

    def material(self) -> Material:
        return read_material(self.config)

    def described(self, **data) -> dict:
        described = settings.to_json(self.config)
        return {**described, "data": {**described["data"], **data}}

    def check(self, described: dict | None = None, **samples) -> None:
        material = self.material()
        described = described or self.described()
        found = describe_samples(material, **{"preprocessing": SEEN, **samples})
        check_workdir(self.workdir, described, found, material)

    def refusal(self) -> str:
        """Why it may not go on; nothing in the folder has changed by that."""
        before = {path: path.stat().st_mtime_ns for path in self.workdir.rglob("*")}
        with pytest.raises(ValueError) as caught:
            self.check()
        assert before == {path: path.stat().st_mtime_ns for path in self.workdir.rglob("*")}
        return str(caught.value)

    def edit(self, change) -> None:
        body = json.loads(self.captions.read_text())
        change(body["images"])
        self.captions.write_text(json.dumps(body))


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def say(images: list, number: int, text: str) -> None:
    images[number]["sentences"][0] = {"raw": text, "tokens": text.split()}


def test_the_same_run_goes_on(run):
    run.check()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda images: say(images, 3, "a red square on a square"),
            ["'train': 1 images have other captions, e.g. 3.png (a red square on a square /"],
        ),
        (
            lambda images: say(images, 3, "a very red square"),
            ["words: ", "'very' now", "1 images have other captions"],
        ),
        (lambda images: say(images, 14, "a red ring"), ["'val': 1 images have other captions"]),
        (lambda images: images.pop(0), ["'train': 1 images are there and not here, e.g. 0.png"]),
        (
            lambda images: images[0].update(split="val"),
            ["'train': 1 images are there and", "'val': 1 images are here and not there, e.g. 0"],
        ),
        (
            lambda images: images.insert(0, images.pop(1)),
            ["'train': the images come in another order"],
        ),
        (
            lambda images: images[2]["sentences"].reverse(),
            ["'train': 1 images have other captions, e.g. 2.png"],
        ),
    ],
)
def test_edited_captions_are_named(run, change, expected):
    run.edit(change)
    text = run.refusal()
    assert text.startswith(f"{run.workdir} holds a run with other samples:\n  ")
    assert all(part in text for part in expected), text
    assert "choose another --workdir to start anew" in text


def test_a_replaced_picture_is_named(run):
    path = run.root / "flickr8k" / "images" / "5.png"
    Image.effect_noise((20, 24), 90).convert("RGB").save(path)
    assert "'train': 1 images were replaced by others, e.g. 5.png" in run.refusal()


def test_of_cached_features_the_content_is_compared(run):
    def cached(sha256: str) -> tuple[FeatureInputs, FeatureInputs]:
        keys = [record.key for split in run.material().splits for record in split.records]
        cache = FeatureCache(Path(), {}, tuple(keys), (1, 1, 1), (), images=(sha256,) * len(keys))
        return (FeatureInputs(cache, np.arange(12)), FeatureInputs(cache, np.arange(4)))

    material = run.material()
    samples = describe_samples(material, cached("aa"), SEEN)
    enter_workdir(run.workdir, run.described(), samples, material.text)
    run.check(inputs=cached("aa"))
    run.check()  # before the cache is opened, or without one
    with pytest.raises(ValueError, match="12 images were replaced by others"):
        run.check(inputs=cached("bb"))


def test_another_preprocessing_is_named_also_by_older_runs(run):
    other = dataclasses.replace(SEEN, mean=(0.0, 0.0, 0.0))
    expected = r"preprocessing: mean is \[127.5, 127.5, 127.5\] there, \[0.0, 0.0, 0.0\] now"
    with pytest.raises(ValueError, match=expected):
        run.check(preprocessing=other)
    (run.workdir / "samples.json").unlink()
    run.check(preprocessing=other)  # nothing says which it was
    model = {"preprocessing": json.loads(json.dumps(dataclasses.asdict(SEEN)))}
    (run.workdir / "model.json").write_text(json.dumps(model))
    with pytest.raises(ValueError, match=expected):
        run.check(preprocessing=other)
    run.check()


def test_older_runs_are_compared_by_their_words(run):
    (run.workdir / "samples.json").unlink()
    run.check()
    run.edit(lambda images: say(images, 3, "a very red square"))
    assert "words: " in run.refusal()


def test_files_may_have_moved(run):
    run.check(run.described(root="/elsewhere/data", cache="/tmp/cache", glove=""))
    described = run.described(glove="/one/place/glove.txt")
    samples = describe_samples(run.material(), preprocessing=SEEN)
    enter_workdir(run.workdir, described, samples, run.material().text)
    run.check(run.described(glove="/another/place/glove.txt"))
    with pytest.raises(ValueError, match=r"data.glove: 'glove.txt' there, 'other.txt' now"):
        run.check(run.described(glove="/one/place/other.txt"))


def test_a_folder_without_a_run_takes_any(run):
    (run.workdir / "checkpoints" / "2").rmdir()
    run.edit(lambda images: say(images, 3, "a very red square"))
    run.check()


def test_a_model_that_no_run_left_is_not_overwritten(run):
    material = run.material()
    with pytest.raises(ValueError, match="holds a model and no config.json: no run of train.py"):
        check_workdir(SHIPPED / "scenes-soft", run.described(), {}, material)


@pytest.mark.parametrize("name", ["samples.json", "config.json", "vocabulary.json"])
def test_a_torn_file_is_named(run, name):
    path = run.workdir / name
    path.write_text(path.read_text()[:20])
    with pytest.raises(ValueError, match=name):
        run.check()


def test_what_is_drawn_otherwise_is_named(run, monkeypatch):
    data = DataConfig(name="scenes", train_images=3, validation_images=2, threshold=1)
    run.config = dataclasses.replace(run.config, data=data)
    material = run.material()
    samples = describe_samples(material, preprocessing=SEEN)
    enter_workdir(run.workdir, run.described(), samples, material.text)
    run.check()
    samples["train"]["first"] = "of another version"
    enter_workdir(run.workdir, run.described(), samples, material.text)
    assert "'train': images are drawn otherwise, by another version" in run.refusal()


def test_a_run_holds_the_lock_of_its_workdir(tmp_path):
    with locked_workdir(tmp_path / "run"):
        with pytest.raises(LockedError, match="is being written by"):
            with locked_workdir(tmp_path / "run"):
                pass
    assert not (tmp_path / "run").exists()


def test_processes_compare_all_settings_but_where_their_copies_are(run):
    one = shared_settings(run.described())
    assert one == shared_settings(run.described(root="/copy", workers=3, cache="/tmp"))
    assert one != shared_settings(run.described(threshold=2))


def test_absolute_paths_lose_their_folders():
    given = {
        "root": "/home/someone/data",
        "list": ["~/weights/vgg.pth", "C:\\Users\\someone\\glove.txt"],
        "kept": ["data/coco", "hf:timm/vgg19", "", "a/b", "1:2"],
        "number": 3,
        "nothing": None,
    }
    assert without_places(given) == {
        "root": "data",
        "list": ["vgg.pth", "glove.txt"],
        "kept": ["data/coco", "hf:timm/vgg19", "", "a/b", "1:2"],
        "number": 3,
        "nothing": None,
    }
