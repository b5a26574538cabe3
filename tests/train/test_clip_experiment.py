"""From a folder of clips to a captioner of clips: inputs, caches, training, evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.api import load
from capjax.config import DataConfig, ExperimentConfig, decoder_section, encoder_section
from capjax.config import experiment as settings
from capjax.config.sections import build_module
from capjax.data.cache.feature_cache import open_cache
from capjax.data.inputs import file_inputs
from capjax.data.pictures.clips import load_prepared_clip
from capjax.data.sources.sources import read_captions
from capjax.decoders import DECODERS
from capjax.decoding import Greedy
from capjax.evaluate.captions import caption_records
from capjax.experiment import model as experiment_model
from capjax.experiment.building import build_experiment
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig
from capjax.types import Features
from tests.train.clips import write_clips

pytest.importorskip("av", reason="needs the extra `video`")
FRAMES = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("data"))


def make(root, decoder=None, **data):
    decoder = decoder or decoder_section("s2vt", hidden=8, embedding=6, scan="frames")
    settings_of_data = {"threshold": 1, "image_size": 16, "frames": FRAMES, **data}
    return ExperimentConfig(
        encoder=encoder_section("convnet", widths=(8,), residuals=(0,)),
        decoder=decoder,
        data=DataConfig(name="msvd", root=str(root), **settings_of_data),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(learning_rate=1e-3),
        train=LoopConfig(batch_size=8, steps=1, progress=False),
    )


def build(config, folder):
    config.evaluation.batch_size = 8
    return build_experiment(settings.resolve(config), folder)


def test_cached_maps_and_means_are_those_of_the_clips(root, tmp_path, monkeypatch):
    """Frames of clips are encoded once, some at a time; a decoder of frames needs their means."""
    monkeypatch.setattr(experiment_model, "ENCODE_BATCH", 2)  # a clip in two pieces
    batches = {}
    for name, data in {
        "clips": {"cache_features": False},
        "maps": {},
        "means": {"cache_frame_means": True},
    }.items():
        experiment = build(make(root, **data), tmp_path / name)
        # What is saved makes maps of all positions, however it was trained.
        assert experiment.captioner(experiment.model.variables, {}).grid == (8, 8)
        batches[name] = next(experiment.batches()(0))
        if name != "clips":
            caches = sorted(path for path in (tmp_path / name).iterdir() if path.is_dir())
            assert [len(open_cache(path)) for path in caches] == [6, 2]
    clips = batches["clips"]["image"]
    assert clips.shape == (8, FRAMES, 16, 16, 3) and clips.dtype == np.uint8
    brightness = clips.astype(float).max(-1).mean((2, 3))
    assert (np.diff(brightness, axis=1) > 30).all()
    net, variables = experiment.model.net, experiment.model.variables
    maps = np.asarray(net.apply(variables, clips, method="encode").positions)
    np.testing.assert_allclose(batches["maps"]["features"], maps, rtol=2e-3, atol=1e-5)
    means = maps.mean(2, keepdims=True)
    np.testing.assert_allclose(batches["means"]["features"], means, rtol=2e-3, atol=1e-5)
    _, metrics = experiment.train_step()(experiment.initial_state(), batches["means"])
    assert np.isfinite(metrics["loss"]) and metrics["gradient_norm"] > 0


@pytest.mark.parametrize(
    ("decoder", "fine"),
    [
        (decoder_section("s2vt", scan="frames"), True),
        (decoder_section("s2vt", scan="raster"), False),
        (decoder_section("attention_lstm", attend="frames"), True),
        (decoder_section("attention_lstm"), False),
        (decoder_section("lstm"), True),
    ],
    ids=["s2vt frames", "s2vt raster", "attention frames", "attention positions", "lstm"],
)
def test_frame_means_are_for_decoders_of_frames(root, decoder, fine):
    """Accepted exactly where the decoder cannot tell a map from its mean."""
    for name in ("hidden", "embedding"):
        decoder[name] = 8
    config = make(root, decoder, cache_frame_means=True)
    if not fine:
        with pytest.raises(ValueError, match="reads every position; set decoder.scan or"):
            settings.resolve(config)
        config.data.cache_frame_means = False
    resolved = settings.resolve(config)
    module = build_module(resolved.decoder, DECODERS, vocab_size=9, features=5)
    maps = np.random.default_rng(0).normal(size=(2, 3, 2, 2, 5)).astype(np.float32)
    features = Features.from_grid(jnp.asarray(maps))
    tokens = np.array([[4, 5], [6, 7]])
    variables = module.init(jax.random.key(0), features, tokens)
    whole, _ = module.apply(variables, features, tokens)
    means, _ = module.apply(variables, features.frame_means(), tokens)
    assert np.allclose(whole, means, atol=1e-6) == fine


def test_output_bias_starts_at_log_frequencies(root, tmp_path):
    config = make(root, cache_features=False, frequency_bias=True)
    experiment = build(config, tmp_path)
    bias = np.asarray(experiment.model.variables["params"]["decoder"]["head_bias"])
    # 6 clips, two captions each: "a red light goes on" and "red light"; three colours.
    counts = {"<end>": 12, "light": 12, "a": 6, "goes": 6, "on": 6, "red": 4, "green": 4, "blue": 4}
    entries = experiment.text.entries
    expected = [np.log(counts.get(word, 1) / 12) for word in entries]
    np.testing.assert_allclose(bias, expected, rtol=1e-6)


def test_clips_need_a_number_of_frames(root, tmp_path):
    with pytest.raises(ValueError, match=r"8 of 8 files are clips.*data\.frames=26"):
        build(make(root, frames=0), tmp_path)
    with pytest.raises(ValueError, match="data.frames is -1"):
        settings.resolve(make(root, frames=-1))


def test_inputs_keep_clips_in_memory(root):
    records = read_captions(root / "msvd" / "video_corpus.csv", root / "msvd" / "YouTubeClips")
    preprocessing = dataclasses.replace(
        settings.ENCODERS["convnet"].preprocessing((16, 16)), frames=FRAMES
    )
    inputs = file_inputs(records, preprocessing, keep_bytes=10**6)
    batch = inputs(np.array([4, 0]))["image"]
    expected, _ = load_prepared_clip(records[4].image, preprocessing)
    np.testing.assert_array_equal(batch[0], expected)
    np.testing.assert_array_equal(inputs(np.array([4]))["image"][0], expected)


def test_an_encoder_can_learn_from_clips(root, tmp_path):
    config = make(root)
    config.optimizer.encoder_learning_rate = 1e-3
    experiment = build(config, tmp_path)
    batch = next(experiment.batches()(0))
    assert batch["image"].shape == (8, FRAMES, 16, 16, 3)
    state, metrics = jax.eval_shape(experiment.train_step(), experiment.initial_state(), batch)
    assert "encoder" in state.params and metrics["loss"].shape == ()


def test_a_saved_model_captions_clips_as_its_experiment_did(root, tmp_path):
    config = make(root, cache_features=False)
    config.evaluation.beam = 1
    experiment = build(config, tmp_path)
    experiment.captioner(experiment.model.variables, {}).save(tmp_path / "model")
    captioner = load(tmp_path / "model")
    assert captioner.preprocessing.frames == FRAMES
    records = read_captions(
        root / "msvd" / "video_corpus.csv", root / "msvd" / "YouTubeClips", split="val"
    )
    captions = caption_records(
        captioner,
        records,
        decoding=Greedy(),
        max_len=experiment.scorer.max_len,
        batch_size=2,
    )
    expected = experiment.scorer.captions(experiment.model.variables, 2)
    assert [caption.text for caption in captions] == expected
