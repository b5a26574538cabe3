"""Datasets as ArrayRecord through tensorflow-datasets, in a process that never sees TensorFlow."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capjax.data.scenes.grammar import COLOURS, SHAPES
from capjax.data.scenes.moving import MovingScenes
from capjax.data.scenes.moving_grammar import VERBS
from capjax.data.scenes.still import Scenes
from tests.train.clips import write_clips

pytest.importorskip("tensorflow_datasets", reason="needs the extra `tfds`")
ROOT = Path(__file__).resolve().parents[3]

SCENES = """
from capjax.data.builders.images import RenderedScenes, ScenesConfig
config = ScenesConfig(name="few", train=4, val=3, test=0, seed=5)
builder = RenderedScenes(config=config, data_dir=folder)
"""
MOVING = """
from capjax.data.builders.moving import MovingScenesConfig, RenderedMovingScenes
config = MovingScenesConfig(name="few", train=2, val=0, test=1, seed=5)
builder = RenderedMovingScenes(config=config, data_dir=folder)
"""
CLIPS = """
import io
from capjax.data.builders.images import Captions
from capjax.data.builders.clips import Clips, CaptionsConfig
from capjax.data.pictures.clips import load_clip
assert "msvd" in Clips.builder_configs and "msvd" not in Captions.builder_configs
config = CaptionsConfig(name="few", {settings})
builder = Clips(config=config, data_dir=folder)
builder.download_and_prepare()
for split in builder.info.splits:
    for example in builder.as_data_source(split=split):
        print(load_clip(io.BytesIO(example["clip"]), 3).seconds.tolist())
"""
CAPTIONS = """
from capjax.data.builders.images import Captions, CaptionsConfig
config = CaptionsConfig(name="few", {settings})
builder = Captions(config=config, data_dir=folder)
"""
READ = """
import json, sys
import numpy as np

builder.download_and_prepare()
sources = {split: builder.as_data_source(split=split) for split in builder.info.splits}
examples = [sources[split][i] for split in sources for i in range(len(sources[split]))]
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
print(json.dumps(examples, default=lambda x: x.decode() if isinstance(x, bytes) else x.tolist()))
"""


NO_TENSORFLOW = """
import hashlib, json, sys

sources = {split: builder.as_data_source(split=split) for split in builder.info.splits}
examples = [example for source in sources.values() for example in source]
for example in examples:
    example["clip"] = hashlib.sha256(example["clip"]).hexdigest()
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
print(json.dumps(examples, default=lambda x: x.decode() if isinstance(x, bytes) else x.tolist()))
"""


def prepared(script, folder):
    """Examples of every split, as read back from the files."""
    source = f"folder = {str(folder)!r}\n{script}\n{READ}"
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_scenes_come_back_whole(tmp_path):
    examples = prepared(SCENES, tmp_path)
    assert list(tmp_path.glob("capjax_scenes/few/*/*train.array_record*"))
    found = {example["captions"][0]: example for example in examples}
    scenes = [*Scenes("train", 4, seed=5), *Scenes("val", 3, seed=5)]
    assert len(examples) == len(scenes)
    for scene in scenes:
        example = found[scene.captions[0]]
        assert np.array_equal(example["image"], scene.image)
        instances = np.array(example["instances"])[..., 0]
        for number, item in enumerate(scene.objects):
            assert np.array_equal(instances == number + 1, item.mask)
            assert SHAPES[example["objects"]["shape"][number]] == item.shape
            assert (*COLOURS, "grey")[example["objects"]["colour"][number]] == item.colour
            ymin, xmin, ymax, xmax = example["objects"]["bbox"][number]
            height, width = item.mask.shape
            x0, y0, x1, y1 = np.array([xmin * width, ymin * height, xmax * width, ymax * height])
            assert np.allclose([x0, y0, x1 - 1, y1 - 1], item.box, atol=1e-3)
        assert [tuple(m) for m in zip(*(example["mentions"][k] for k in KEYS), strict=True)] == [
            tuple(mention) for mention in scene.mentions[0]
        ]


KEYS = ("start", "end", "object")


@pytest.fixture
def captioned(tmp_path):
    """Two photographs in Karpathy's format, as a known dataset and as a file."""
    folder = tmp_path / "ucm"
    (folder / "images").mkdir(parents=True)
    images = []
    for number, split in enumerate(("train", "val")):
        name = f"{number}.png"
        Image.fromarray(np.full((5, 7, 3), 40 * number, np.uint8)).save(folder / "images" / name)
        sentence = {"raw": f"Picture {number} .", "tokens": ["picture", str(number)]}
        images.append(
            {"filename": name, "imgid": number, "split": split, "sentences": [sentence, sentence]}
        )
    (folder / "dataset_ucm.json").write_text(json.dumps({"images": images, "dataset": "ucm"}))
    return folder


@pytest.mark.parametrize(
    "settings",
    ["dataset='ucm', root={root!r}", "captions={captions!r}, images={images!r}"],
    ids=["known dataset", "own file"],
)
def test_captions_come_back_whole(captioned, tmp_path, settings):
    settings = settings.format(
        root=str(captioned.parent),
        captions=str(captioned / "dataset_ucm.json"),
        images=str(captioned / "images"),
    )
    examples = prepared(CAPTIONS.format(settings=settings), tmp_path / "prepared")
    assert {(e["key"], e["image_id"]) for e in examples} == {("0.png", 0), ("1.png", 1)}
    for example in examples:
        number = example["image_id"]
        assert example["captions"] == [f"Picture {number} ."] * 2
        assert np.array_equal(example["image"], np.full((5, 7, 3), 40 * number))
    names = {path.name for path in tmp_path.glob("prepared/capjax_captions/few/*/*array_record*")}
    assert {name.split("-")[1].split(".")[0] for name in names} == {"train", "val"}


def test_absence_of_the_extra_is_explained(tmp_path):
    (tmp_path / "tensorflow_datasets.py").write_text("raise ImportError('no such package')")
    done = subprocess.run(
        [sys.executable, "-c", "import capjax.data.builders.images"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "pip install 'capjax[tfds]'" in done.stderr


def test_moving_scenes_come_back_whole(tmp_path):
    found = {example["captions"][0]: example for example in prepared(MOVING, tmp_path)}
    clips = [*MovingScenes("train", 2, seed=5), *MovingScenes("test", 1, seed=5)]
    assert set(found) == {clip.caption for clip in clips}
    for clip in clips:
        example = found[clip.caption]
        assert np.array_equal(example["frames"], clip.frames)
        boxes = [item.boxes for item in clip.objects]
        assert np.array_equal(example["objects"]["boxes"], boxes)
        assert [SHAPES[i] for i in example["objects"]["shape"]] == [o.shape for o in clip.objects]
        assert example["mentions"]["object"] == [m.object_index for m in clip.mentions]
        events = example["events"]
        assert [VERBS[i] for i in events["verb"]] == [e.verb for e in clip.events]
        assert events["first"] == [e.start for e in clip.events]
        assert events["last"] == [e.end for e in clip.events]
        words = clip.caption.split()
        for start, end, event in zip(events["start"], events["end"], clip.events, strict=True):
            assert " ".join(words[start:end]) == event.verb


def test_clips_come_back_byte_for_byte(tmp_path):
    """Whole files, which any number of frames is read from later."""
    pytest.importorskip("av", reason="needs the extra `video`")
    root = write_clips(tmp_path, train=2, validation=1)
    clips = root / "msvd" / "YouTubeClips"
    for settings in (
        f"dataset='msvd', root={str(root)!r}",
        f"captions={str(root / 'msvd' / 'video_corpus.csv')!r}, images={str(clips)!r}",
    ):
        script = CLIPS.format(settings=settings)
        source = f"folder = {str(tmp_path / settings.split('=')[0])!r}\n{script}\n{NO_TENSORFLOW}"
        done = subprocess.run(
            [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        *seconds, examples = map(json.loads, done.stdout.splitlines()[-4:])
        assert sorted(seconds) == [[0.0, 0.16, 0.32], [0.0, 0.16, 0.36], [0.0, 0.2, 0.4]]
        found = {example["key"]: example for example in examples}
        assert sorted(found) == [f"v-_{number}_0_1" for number in range(3)]
        for number, example in enumerate(found[key] for key in sorted(found)):
            path = clips / f"{example['key']}.avi"
            assert example["clip"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert len(example["captions"]) == 2 and example["interval"] == [0, 1]
            assert example["image_id"] == (number + 1 if number < 2 else 1202)


PICTURES = """
import os
import numpy as np
from capjax.data.inpainting.builder import Pictures, PicturesConfig
from capjax.data.inpainting.examples import load_pictures
from capjax.data.inpainting.settings import PictureConfig
config = PicturesConfig(name="few", dataset="celeba", root=os.path.dirname(folder))
builder = Pictures(config=config, data_dir=folder)
builder.download_and_prepare()
found = load_pictures(PictureConfig(name=f"tfds:{folder}", side=32))
for split in (found.train, found.validation):
    parts = split.parts(np.arange(len(split)))["image"]
    print(split.name, [int(part[0, 0, 0]) for part in parts], parts.shape)
"""


def test_pictures_without_captions_are_prepared_and_learnt_from(tmp_path):
    """CelebA's, by its list of partitions."""
    faces = tmp_path / "celeba" / "img_align_celeba"
    faces.mkdir(parents=True)
    for number in range(3):
        picture = np.full((40, 30, 3), 80 * number, np.uint8)
        Image.fromarray(picture).save(faces / f"{number}.png")
    listed = "0.png 0\n1.png 0\n2.png 1\n"
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text(listed)
    source = f"folder = {str(tmp_path / 'prepared')!r}\n{PICTURES}"
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-2:] == [
        "train [0, 80] (2, 32, 32, 3)",
        "val [160] (1, 32, 32, 3)",
    ]
