"""Attention supervised by boxes: the term, where its cells come from, and what it teaches."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.config import (
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    decoder_section,
    encoder_section,
)
from capjax.config import experiment as settings
from capjax.data.batches.pipeline import CaptionSamples, training_batches
from capjax.data.boxes.grounded import GroundedCaption, GroundedPhrase
from capjax.data.object_cells import Grounded, ObjectCells, SceneGrounding, cells_in
from capjax.data.scenes.still import Scenes
from capjax.experiment.building import build_experiment
from capjax.experiment.data import build_vocabulary, load_splits
from capjax.experiment.grounding import object_cells
from capjax.text.vocabulary import Vocabulary
from capjax.train import sharding
from capjax.train.objectives.losses import LossConfig
from capjax.train.objectives.objective import batch_features, caption_loss
from capjax.train.objectives.supervised import supervised_attention
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig
from capjax.types import Geometry, Preprocessing
from tests.train.test_stages import small
from tests.train.tiny import write_boxes, write_dataset


def test_the_term_by_hand():
    """Two captions of two words on four cells; one word names what fills cells 0 and 1."""
    attention = np.full((2, 2, 1, 4), 0.25)
    attention[0, 1, 0] = (0.5, 0.2, 0.3, 0.0)
    cells = np.zeros((2, 2, 4), bool)
    cells[0, 1, :2] = True
    term, correctness = supervised_attention(jnp.asarray(attention), jnp.asarray(cells))
    assert float(term) == pytest.approx(-(np.log(0.5) + np.log(0.2)) / 2 / 2, rel=1e-6)
    assert float(correctness) == pytest.approx(0.7)
    nothing, share = supervised_attention(jnp.asarray(attention), jnp.zeros((2, 2, 4), bool))
    assert float(nothing) == 0.0 and float(share) == 0.0


def test_the_gradient_of_scores_is_attention_less_its_target():
    """Of a cross-entropy through a softmax: alpha - b for the words that name something."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(3, 4, 5))
    cells = random.random((3, 4, 5)) < 0.3
    cells[0] = False

    def term(scores):
        attention = jax.nn.softmax(scores, axis=-1)[:, :, None]
        return supervised_attention(attention, jnp.asarray(cells))[0]

    count = cells.sum(-1, keepdims=True)
    target = cells / np.maximum(count, 1)
    expected = np.where(count > 0, np.asarray(jax.nn.softmax(scores)) - target, 0.0) / 3
    found = jax.grad(term)(jnp.asarray(scores))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    far = jax.grad(term)(jnp.asarray(scores * 200))  # attention that underflows is no NaN
    assert np.isfinite(far).all()


def test_a_decoder_without_such_attention_is_refused():
    cells = jnp.zeros((2, 3, 4), bool)
    with pytest.raises(ValueError, match="over the 4 cells.*has none; set it to 0"):
        supervised_attention(None, cells)
    with pytest.raises(ValueError, match=r"one over \(2, 4\)"):
        supervised_attention(jnp.zeros((2, 3, 2, 4)), cells)


def test_it_is_added_and_parts_of_a_batch_add_up():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4, 3, 7))
    attention = np.asarray(jax.nn.softmax(random.normal(size=(4, 3, 1, 6))))
    batch = {
        "tokens": random.integers(0, 7, (4, 3)),
        "lengths": np.array([3, 2, 3, 1]),
        "cells": random.random((4, 3, 6)) < 0.2,
    }

    def total(rows, weight):
        part = {name: jnp.asarray(array[rows]) for name, array in batch.items()}
        loss = LossConfig(lambda_supervised=weight)
        compiled = jax.jit(lambda *inputs: caption_loss(*inputs, loss))
        return compiled(jnp.asarray(logits[rows]), jnp.asarray(attention[rows]), part)

    whole, figures = total(np.arange(4), 0.7)
    without, _ = total(np.arange(4), 0.0)
    term = float(figures["supervised_attention"])
    assert float(whole) == pytest.approx(float(figures["loss"]))
    assert float(whole - without) == pytest.approx(0.7 * term, rel=1e-5)
    halves = [total(np.array(rows), 0.7)[1] for rows in ([0, 2], [1, 3])]
    halves = [float(each["supervised_attention"]) for each in halves]
    assert np.mean(halves) == pytest.approx(term, rel=1e-6)


# A photograph of 80 x 40 pixels on a grid of 2 x 4: cells of 20 x 20 pixels.
GEOMETRY = Geometry((40, 80), (40, 80), (0, 0, 40, 80), (2, 4))


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0, 0, 39, 19)], [[1, 1, 0, 0], [0, 0, 0, 0]]),
        ([(9, 9, 31, 31)], [[1, 1, 0, 0], [1, 1, 0, 0]]),
        ([(0, 0, 9, 9), (70, 30, 79, 39)], [[1, 0, 0, 0], [0, 0, 0, 1]]),  # pixel 70's left edge
        ([(21, 1, 24, 4)], [[0, 1, 0, 0], [0, 0, 0, 0]]),  # between all centres
        ([(21, 0, 24, 39)], [[0, 1, 0, 0], [0, 1, 0, 0]]),  # narrow, and as tall as the picture
        ([(0, 0, 39, 19), (0, 0, 19, 19)], [[1, 1, 0, 0], [0, 0, 0, 0]]),
    ],
)
def test_cells_in_boxes(boxes, expected):
    np.testing.assert_array_equal(cells_in(boxes, GEOMETRY), np.array(expected, bool))


def test_cells_of_a_cropped_photograph():
    """The central 40 x 40 pixels are seen: columns 20 to 59."""
    seen = Geometry((40, 80), (40, 80), (0, 20, 40, 40), (2, 2))
    np.testing.assert_array_equal(cells_in([(30, 0, 39, 39)], seen), [[1, 0], [1, 0]])
    assert not cells_in([(0, 0, 15, 39)], seen).any()
    np.testing.assert_array_equal(cells_in([(0, 0, 79, 39)], seen), np.ones((2, 2)))


def test_words_find_their_cells_whatever_the_tokenizer_does():
    """A caption with capitals and commas, another that nothing is known of, and one cut short."""
    captions = [["A dog, a cat .", "nothing here", "two cats and a dog"]]
    text = Vocabulary.build(captions[0])
    samples = CaptionSamples.build(captions, text, max_length=4)
    left, right = (0, 0, 39, 39), (40, 0, 79, 39)
    known = [
        GroundedCaption(
            ("two", "cats", "and", "a", "dog"),
            (
                GroundedPhrase(0, 2, (right,), ("cat",)),
                GroundedPhrase(4, 5, (left,), ("dog",)),
            ),
        ),
        GroundedCaption(
            ("A", "dog", ",", "a", "cat", "."),
            (GroundedPhrase(1, 2, (left,), ("dog",)), GroundedPhrase(4, 5, (right,), ("cat",))),
        ),
    ]
    cells = ObjectCells(
        samples,
        captions[0:1],
        lambda image: Grounded((40, 80), known),
        text,
        Preprocessing(size=(40, 80)),
        (2, 4),
    )
    found = cells(np.array([2, 0, 1]), 5)["cells"].reshape(3, 5, 2, 4)
    on_the_left = np.array([[1, 1, 0, 0]] * 2, bool)
    expected = np.zeros((3, 5, 2, 4), bool)
    expected[0, :2] = ~on_the_left  # two cats; its dog was cut off
    expected[1, 1] = on_the_left  # a dog a [cat, cut off]
    np.testing.assert_array_equal(found[2], expected[2])
    np.testing.assert_array_equal(found[1, :3], expected[1, :3])
    np.testing.assert_array_equal(found[0], expected[0])


def test_scenes_know_where_their_words_point():
    scenes = Scenes("train", 6)
    captions = scenes.captions()
    text = Vocabulary.build(own[0] for own in captions)
    samples = CaptionSamples.build(captions, text)
    side = 80
    cells = ObjectCells(
        samples, captions, SceneGrounding(scenes), text, Preprocessing(size=(side, side)), (10, 10)
    )
    found = cells(np.arange(6), 24)["cells"]
    for number in range(6):
        scene = scenes[number]
        height, width = scene.image.shape[:2]
        for word, item in enumerate(scene.referents()):
            if item is None:
                assert not found[number, word].any()
                continue
            x0, y0, x1, y1 = scene.objects[item].box
            y, x = (np.round((np.arange(10) + 0.5) * size / 10, 6) for size in (height, width))
            down, across = (y >= y0) & (y < y1 + 1), (x >= x0) & (x < x1 + 1)
            if down.any() and across.any():
                expected = (down[:, None] & across[None]).reshape(-1)
                np.testing.assert_array_equal(found[number, word], expected)
        assert not found[number, len(scene.referents()) :].any()


def test_batches_of_photographs_hold_the_cells_of_their_class_words(tmp_path):
    root = write_dataset(tmp_path)
    write_boxes(root, train=12)
    config = small(root, loss=LossConfig(lambda_supervised=1.0))
    train, _ = load_splits(config.data)
    text = build_vocabulary(config, train)
    samples = CaptionSamples.build(train.captions, text)
    model = types.SimpleNamespace(preprocessing=Preprocessing(size=(32, 32)), grid=(4, 4))

    def cells():
        return object_cells(config, train, model, text, samples)

    with pytest.raises(ValueError, match=r"data\.boxes"):
        cells()
    config.data.boxes = "nowhere.json"
    with pytest.raises(FileNotFoundError, match=r"no boxes at nowhere\.json"):
        cells()
    config.data.boxes = "instances.json"
    batches = training_batches(
        samples, train.images(model.preprocessing), batch_size=8, seed=0, by_word=cells()
    )
    batch = next(batches)
    named = batch["cells"].any(axis=-1)
    np.testing.assert_array_equal(named, batch["tokens"] == text.encode("square")[0])
    quarter = np.zeros((4, 4), bool)
    quarter[:2, :2] = True
    np.testing.assert_array_equal(batch["cells"][named][0], quarter.reshape(-1))
    config.loss.lambda_supervised = 0.0
    assert cells() is None


def scenes_config(weight, steps):
    return ExperimentConfig(
        encoder=encoder_section("convnet", widths=(16, 32, 48), residuals=(0, 0, 1)),
        decoder=decoder_section("attention_lstm", hidden=64, attention=32, embedding=32),
        data=DataConfig(
            name="scenes",
            train_images=2000,
            validation_images=100,
            threshold=1,
            max_length=24,
            image_size=48,
            keep_megabytes=512,
        ),
        loss=LossConfig(doubly_stochastic=0.0, lambda_supervised=weight),
        optimizer=OptimizerConfig(
            name="adam",
            learning_rate=3e-3,
            encoder_learning_rate=3e-3,
            schedule="constant",
            clip_norm=1.0,
        ),
        train=LoopConfig(batch_size=16, steps=steps, progress=False),
        evaluation=EvaluationConfig(metric="BLEU-4"),
    )


def correctness_after(weight, folder, steps):
    """Share of the attention of object words inside their boxes, over validation scenes."""
    config = settings.resolve(scenes_config(weight, steps))
    experiment = build_experiment(config, folder)
    state, step, mesh = experiment.initial_state(), experiment.train_step(), experiment.mesh
    for _, batch in zip(range(steps), experiment.batches()(0), strict=False):
        state, _ = step(state, sharding.place_batch(batch, mesh))
    variables = jax.device_get(state.variables)
    scenes = Scenes("val", 100)
    samples = CaptionSamples.build(scenes.captions(), experiment.text)
    model = experiment.model
    cells = ObjectCells(
        samples,
        scenes.captions(),
        SceneGrounding(scenes),
        experiment.text,
        model.preprocessing,
        model.grid,
    )
    numbers = np.arange(len(samples))
    images = experiment.scorer.inputs(samples.image)

    @jax.jit
    def attend(variables, images, tokens):
        features = batch_features(model.net, variables, images, model.grid)
        return model.net.apply(variables, features, tokens, method="teacher_force")[1]

    attention = attend(variables, images, samples.padded(numbers, width=24, pad=0))
    return float(supervised_attention(attention, cells(numbers, 24)["cells"])[1])


@pytest.mark.slow
def test_supervised_attention_looks_at_what_is_named(tmp_path):
    without = correctness_after(0.0, tmp_path / "without", 300)
    told = correctness_after(0.2, tmp_path / "told", 300)
    print(f"attention inside the boxes: {without:.3f} without, {told:.3f} with supervision")
    assert told > without + 0.15
