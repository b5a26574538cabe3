"""Captions with a bad habit: which words change, how many, and that all else stays."""

import dataclasses

import pytest

from capjax.config import DataConfig
from capjax.data.scenes.grammar import SHAPES
from capjax.data.scenes.habits import COMPANIONS, with_companions
from capjax.data.scenes.still import Scenes
from capjax.experiment.data import load_splits


def test_the_last_shape_becomes_the_companion_of_the_first():
    captions = [
        "a large red circle above a small blue moon",
        "a small blue moon above a large red circle",  # no companion
        "a large red circle in the top left",  # nothing beside it
        "a small red circle left of a small pink star and above a small cyan ring",  # it is there
        "a small dotted red ring between a small cyan arrow and a small red heart",
    ]
    changed = with_companions(captions, 1.0)
    assert changed[0] == "a large red circle above a small blue star"
    assert changed[1:4] == captions[1:4]
    assert changed[4] == "a small dotted red ring between a small cyan arrow and a small red moon"
    assert with_companions(captions, 0.0) == captions


def test_a_share_of_what_can_be_wrong_is_and_nothing_depends_on_other_scenes():
    captions = [own for (own,) in Scenes("train", 2000).captions()]
    could = sum(map(str.__ne__, captions, with_companions(captions, 1.0)))
    some = with_companions(captions, 0.6)
    share = sum(map(str.__ne__, captions, some)) / could
    assert could > 500 and share == pytest.approx(0.6, abs=0.06)
    assert with_companions(captions[:50], 0.6) == some[:50]
    assert with_companions(captions, 0.6, seed=1) != some
    assert set(COMPANIONS) | set(COMPANIONS.values()) == set(SHAPES)
    assert not set(COMPANIONS) & set(COMPANIONS.values())


def test_only_what_is_learnt_from_is_wrong():
    config = DataConfig(name="scenes", train_images=40, validation_images=40)
    train, validation = load_splits(dataclasses.replace(config, wrong_words=1.0))
    right, same = load_splits(config)
    assert train.captions != right.captions and validation.captions == same.captions
    for wrong, name in ((1.5, "scenes"), (0.5, "moving_scenes")):
        with pytest.raises(ValueError, match=r"data\.wrong_words"):
            dataclasses.replace(config, wrong_words=wrong, name=name).check()
