"""bfloat16 from the encoder to the maps, beside float32, on scenes that the captioner never saw."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from capjax.api import load
from capjax.data.scenes import scene
from capjax.decoding import Greedy
from capjax.decoding.captions import see
from capjax.explainers.batch import check_methods, explain_batch

METHODS = ("attention", "caption_guided", "gradcam", "ig")
SCENES = 4


@pytest.fixture(scope="module")
def answers():
    """Maps and log-probabilities of float32's captions, in both precisions."""
    exact = load("scenes-soft")
    images = np.stack([scene(number, split="val").image for number in range(SCENES)])
    sizes = [image.shape[:2] for image in images]
    found, captions = {}, None
    for name in ("float32", "bfloat16"):
        captioner = exact.in_precision(name)
        chosen = check_methods(captioner, METHODS)
        given = {"methods": chosen, "decoding": Greedy(), "max_len": 16, "captions": captions}
        found[name] = explain_batch(captioner, images, sizes, **given)
        captions = [explained.caption for (explained,) in found[name]]
    return exact, images, found


def test_features_and_maps_have_the_precision_they_should(answers):
    exact, images, found = answers
    rounded = exact.in_precision("bfloat16")
    assert rounded.precision == "bfloat16" and exact.in_precision(None) is exact
    assert see(rounded.net, rounded.variables, images).positions.dtype == jnp.bfloat16
    assert see(exact.net, exact.variables, images).positions.dtype == jnp.float32
    for (explained,) in found["bfloat16"]:
        assert explained.log_probs.dtype == np.float32
        for explanation in explained.explanations.values():
            bits = explanation.maps.view(np.uint32)
            assert explanation.maps.dtype == np.float32
            assert np.any(bits & 0xFFFF)  # a map that was rounded to bfloat16 has none of these


@pytest.mark.parametrize("method", METHODS)
def test_maps_rank_positions_as_float32_does(answers, method):
    _, _, found = answers
    ranks = []
    for (one,), (other,) in zip(found["float32"], found["bfloat16"], strict=True):
        assert one.caption.tokens == other.caption.tokens
        pairs = (one.explanations[method].maps, other.explanations[method].maps)
        for exact, rounded in zip(*pairs, strict=True):
            ranks.append(spearmanr(exact.ravel(), rounded.ravel()).statistic)
    print(f"{method}: median {np.median(ranks):.5f}, 5th percentile {np.percentile(ranks, 5):.5f}")
    assert np.median(ranks) >= 0.999
    assert np.percentile(ranks, 5) >= 0.995
