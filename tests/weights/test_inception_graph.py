"""The graph of 2015, built and run by TensorFlow itself, every constant random, against ours."""

import functools

import jax
import numpy as np
import pytest

from capjax.encoders.inception import BLOCKS, InceptionV3
from capjax.weights import load_encoder_weights
from tests.golden import inception_graph as golden
from tests.golden.photographs import photographs, relative_error
from tests.golden.resnet_torchvision import sampled

ENCODER = InceptionV3(variant="tf2015")
NAMES = dict(zip(golden.BLOCKS, BLOCKS, strict=True))


@functools.cache
def program():
    """Maps of all blocks and the pooled vector, from variables and normalised images."""

    @jax.jit
    def run(variables, images):
        features, seen = ENCODER.apply(variables, images, capture_intermediates=True)
        maps = {name: seen["intermediates"][own]["__call__"][0] for name, own in NAMES.items()}
        return maps | {
            "mixed_10": features.positions.reshape(maps["mixed_10"].shape),
            golden.POOLED: features.pooled[:, None, None],
        }

    return run


def outputs_of(path, pixels):
    """What capjax says of a file: every block's map and "pool_3", by the graph's names."""
    scale = ENCODER.preprocessing()
    images = (pixels - np.float32(scale.mean)) / np.float32(scale.std)
    found = program()(load_encoder_weights(ENCODER, path), images)
    return {name: np.asarray(maps) for name, maps in found.items()}


def test_equals_the_session_of_tensorflow(tmp_path):
    golden.write_graph(tmp_path / "graph.pb")
    ours = outputs_of(tmp_path / "graph.pb", golden.seeded_pixels())
    with np.load(golden.GOLDEN) as theirs:
        for name in golden.BLOCKS:
            assert relative_error(sampled(ours[name]), theirs[name]) <= 1e-4, name
        assert relative_error(ours[golden.POOLED], theirs[golden.POOLED]) <= 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_parity_with_tensorflow(tmp_path, shared_data):
    """Whole maps of noise, tiles and photographs, from a file that TensorFlow writes here."""
    pytest.importorskip("tensorflow")
    path = tmp_path / "graph.pb"
    path.write_bytes(golden.build().graph.SerializeToString(deterministic=True))
    seen = photographs(shared_data, ENCODER.preprocessing())
    pixels = np.concatenate([golden.seeded_pixels(), seen])
    ours, theirs = outputs_of(path, pixels), golden.session_of(path, pixels)
    errors = {name: relative_error(ours[name], theirs[name]) for name in theirs}
    print({name: f"{error:.1e}" for name, error in errors.items()})
    assert set(errors) == set(ours) and max(errors.values()) <= 1e-4
