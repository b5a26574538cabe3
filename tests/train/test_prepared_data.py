"""Training from what the TFDS builders wrote is training from the files they were made from."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capjax.config import experiment as settings
from capjax.data.prepared import open_prepared
from capjax.experiment.data import load_splits
from capjax.types import Preprocessing
from tests.train.tiny import write_dataset

pytest.importorskip("tensorflow_datasets", reason="needs the extra `tfds`")
ROOT = Path(__file__).parents[2]
PREPARE = """
import sys
from capjax.data.builders.images import Captions, CaptionsConfig
from capjax.data.prepared import open_prepared

config = CaptionsConfig(name="few", dataset="flickr8k", root=sys.argv[1])
Captions(config=config, data_dir=sys.argv[2]).download_and_prepare()
assert len(open_prepared("capjax_captions", sys.argv[2]).split("train").records) == 12
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    base = write_dataset(tmp_path_factory.mktemp("data"))
    command = [sys.executable, "-c", PREPARE, str(base), str(base / "prepared")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return base


def data(root, name, **changes):
    config = runpy.run_path(str(ROOT / "configs" / "coco_soft.py"))["get_config"]()
    config.data.root, config.data.name = str(root), name
    for setting, value in changes.items():
        setattr(config.data, setting, value)
    return settings.resolve(config).data


@pytest.mark.parametrize("name", ["tfds:prepared/capjax_captions/few", "tfds:{root}/prepared"])
def test_captions_pictures_and_their_order_are_those_of_the_files(root, name):
    files = load_splits(data(root, "flickr8k"))
    stored = load_splits(data(root, name.format(root=root)))
    seen = Preprocessing(size=(16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)
    for ours, theirs in zip(stored, files, strict=True):
        assert ours.captions == theirs.captions and len(ours) in (12, 4)
        assert [r.key for r in ours.records] == [r.key for r in theirs.records]
        assert len({record.content for record in ours.records}) > 1
        numbers = np.arange(len(ours))
        pictures = (split.images(seen)(numbers)["image"] for split in (ours, theirs))
        np.testing.assert_array_equal(*pictures)
    assert stored[0].origin["prepared"] == "capjax_captions/few/1.1.0"
    assert str(root) not in json.dumps(stored[0].origin)
    assert len(load_splits(data(root, name.format(root=root), train_images=5))[0]) == 5


def test_what_does_not_fit_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="no prepared data at nowhere or .*dataset_info"):
        load_splits(data(root, "tfds:nowhere"))
    name = "tfds:prepared/capjax_captions"
    with pytest.raises(ValueError, match=r"few/1\.1\.0 has no split 'test'; it has train \(12\)"):
        load_splits(data(root, name, validation_split="test"))
    with pytest.raises(ValueError, match="holds images, and data.frames is 4"):
        load_splits(data(root, name, frames=4))
    for version in ("a", "b"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "dataset_info.json").touch()
    with pytest.raises(ValueError, match="several prepared sets: .*/a, .*/b; name one"):
        open_prepared(str(tmp_path), root)
