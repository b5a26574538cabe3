"""A dataset of a few coloured squares on disk, and any config cut down to train on it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from capjax.config import ExperimentConfig
from capjax.data.scenes.still import SPLITS
from capjax.experiment.data import RENDERED
from tests.text.small_clip import small_clip

# What the first layers give is enough for a step, and fits into tiny images.
SMALL_OUTPUTS = {"efficientnet_v2": "stage1", "inception_v3": "mixed_0", "vgg": "conv1_2"}
GLOVE = (("red", 0.0), ("square", 0.5))
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


def write_dataset(folder: Path, *, train: int = 12, validation: int = 4) -> Path:
    """Writes `flickr8k/` in Karpathy's format below `folder` and returns `folder`."""
    images = folder / "flickr8k" / "images"
    images.mkdir(parents=True)
    entries = []
    for number in range(train + validation):
        name, colour = list(COLOURS.items())[number % 3]
        pixels = np.zeros((20, 24, 3), np.uint8)
        pixels[4:16, 4 + number % 8 : 14 + number % 8] = colour
        Image.fromarray(pixels).save(images / f"{number}.png")
        sentences = [f"a {name} square", f"there is a {name} square on a black background"]
        entries.append(
            {
                "imgid": number,
                "filename": f"{number}.png",
                "split": "train" if number < train else "val",
                "sentences": [{"raw": text, "tokens": text.split()} for text in sentences],
            }
        )
    body = {"dataset": "flickr8k", "images": entries}
    (folder / "flickr8k" / "dataset_flickr8k.json").write_text(json.dumps(body))
    return folder


def write_glove(path: Path) -> None:
    """Vectors of 8 numbers for the words "red" and "square"."""
    path.parent.mkdir(exist_ok=True)
    lines = [f"{word} " + " ".join(str(start + n) for n in range(8)) for word, start in GLOVE]
    path.write_text("\n".join(lines) + "\n")


def write_boxes(folder: Path, *, train: int = 12) -> None:
    """Writes `instances.json`: a square in the upper left quarter of each training image."""
    body = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": 20, "width": 24}
            for number in range(train)
        ],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [0, 0, 12, 10],
                "area": 120,
                "iscrowd": 0,
            }
            for number in range(train)
        ],
    }
    (folder / "instances.json").write_text(json.dumps(body))


def shrink(config: ExperimentConfig, root: Path) -> ExperimentConfig:
    """The same experiment, a few numbers wide: random weights, tiny images, the dataset above."""
    config.data.root = str(root)
    config.data.captions = ""
    if config.data.name not in RENDERED:
        config.data.name = "flickr8k"
        config.data.threshold = 1
    config.data.train_images, config.data.validation_images = 12, 4
    config.data.image_size = 32
    config.data.frames = min(config.data.frames, 3)
    config.data.workers = 0
    assert config.data.train_split in SPLITS
    if config.data.glove:
        write_glove(root / "glove" / config.data.glove)
    if config.data.boxes:
        write_boxes(root)
        config.data.boxes = "instances.json"
    config.encoder.weights = ""
    config.init_from = ""
    if config.encoder.name == "resnet":
        config.encoder.update(depth=18, stage=1)
    elif config.encoder.name in SMALL_OUTPUTS:
        config.encoder.output = SMALL_OUTPUTS[config.encoder.name]
    elif config.encoder.name == "vit":
        config.encoder.update(size=(32, 32), width=8, layers=1, heads=2, mlp=16)
    if config.decoder.name == "gpt2":
        config.decoder.update(width=8, layers=1, heads=2, mlp=16, positions=64, start_token=1)
    for name in ("hidden", "attention", "embedding", "projection"):
        if config.decoder.get(name):
            config.decoder[name] = 8
    for section in (config.loss, config.self_critical, config.evaluation):
        if section.clip_text:
            section.clip_text = str(small_clip(root / "clip"))
    config.train.batch_size = 8
    config.train.steps = 1
    config.train.progress = False
    config.evaluation.batch_size = 4
    config.evaluation.beam = 2
    config.evaluation.others = 0
    return config
