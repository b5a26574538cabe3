"""What each training image shows: its boxes and its captions, for a penalty on what it does not."""

import json

import pytest

from capjax.config import DataConfig, ExperimentConfig, decoder_section, encoder_section
from capjax.experiment.data import load_splits
from capjax.experiment.grounding import shown_classes
from capjax.train.self_critical import SelfCriticalConfig
from tests.train.tiny import write_boxes, write_dataset


@pytest.fixture
def config(tmp_path) -> ExperimentConfig:
    root = write_dataset(tmp_path)
    write_boxes(root, train=11)  # of twelve
    return ExperimentConfig(
        encoder=encoder_section("convnet"),
        decoder=decoder_section("attention_lstm"),
        data=DataConfig(name="flickr8k", root=str(root), boxes="instances.json"),
        self_critical=SelfCriticalConfig(samples=2, hallucination_penalty=0.5),
    )


def test_boxes_and_captions_say_what_is_shown(config, tmp_path):
    file = tmp_path / "flickr8k" / "dataset_flickr8k.json"
    body = json.loads(file.read_text())
    body["images"][1]["sentences"].append({"raw": "two dogs", "tokens": ["two", "dogs"]})
    file.write_text(json.dumps(body))
    train, _ = load_splits(config.data)
    words, shown = shown_classes(config, train)
    assert words.named(["a dog beside squares"]) == {"dog", "square"}
    assert shown[:3] == [{"square"}, {"square", "dog"}, {"square"}]
    assert len(shown) == 12 and shown[11] is None


def test_without_a_penalty_nothing_is_read(config):
    train, _ = load_splits(config.data)
    config.self_critical.hallucination_penalty = 0.0
    config.data.boxes = "nowhere.json"
    assert shown_classes(config, train) is None


def test_a_penalty_needs_boxes_with_classes(config, tmp_path):
    train, _ = load_splits(config.data)
    for boxes, error in [("", ValueError), ("nowhere.json", FileNotFoundError)]:
        config.data.boxes = boxes
        with pytest.raises(error, match=r"data\.boxes"):
            shown_classes(config, train)
    config.data.name = "scenes"
    with pytest.raises(ValueError, match=r"data\.name is 'scenes'"):
        shown_classes(config, train)
