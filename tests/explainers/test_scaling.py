"""Scalings against literal loops over words, frames and cells, and the published toy numbers."""

import functools

import numpy as np
import pytest

from capjax.explainers.scaling import distribution, scale


def log_probabilities(*shape: int) -> np.ndarray:
    """Like word log-probabilities: none above zero, each word around a level of its own."""
    draw = np.random.default_rng(0)
    levels = draw.uniform(2, 8, (shape[0], *(1,) * (len(shape) - 1)))
    return -(levels + draw.normal(size=shape) ** 2).astype(np.float32)


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return np.zeros_like(values) if low == high else (values - low) / (high - low)


def literal(maps: np.ndarray, by: str) -> np.ndarray:
    """Methods written out, one word, frame and cell after the other."""
    out = maps.astype(np.float64)
    words, frames = maps.shape[:2]
    if by == "sentence":
        return stretched(out)
    for word in range(words):
        if by == "map":
            for frame in range(frames):
                out[word, frame] = stretched(out[word, frame])
        else:
            out[word] = stretched(out[word])
    if by == "cgs":
        for word in range(words):
            mean = sum(out[word].ravel()) / out[word].size
            for place in np.ndindex(out[word].shape):
                out[word][place] = min(max(out[word][place] - mean, 0.0), 1.0)
        for frame in range(frames):
            out[:, frame] = stretched(out[:, frame])
    return out


@pytest.mark.parametrize("by", ["map", "video", "sentence", "cgs"])
@pytest.mark.parametrize("frames", [1, 5])
def test_same_as_literal_loops(by: str, frames: int) -> None:
    maps = log_probabilities(3, frames, 2, 4)
    maps[1] = -2.5  # a word without any contrast
    scaled = scale(maps, by=by)
    np.testing.assert_allclose(scaled, literal(maps, by), atol=2e-6)
    assert scaled.dtype == np.float32 and scaled.min() == 0 and scaled.max() == 1
    if by != "sentence":
        assert not scaled[1].any()


@pytest.mark.parametrize("by", ["map", "video", "sentence", "cgs"])
def test_images_are_clips_of_one_frame(by: str) -> None:
    maps = log_probabilities(3, 1, 4, 4)
    np.testing.assert_array_equal(scale(maps[:, 0], by=by), scale(maps, by=by)[:, 0])
    assert scale(maps[:0], by=by).shape == (0, 1, 4, 4)


def test_a_phrase_is_summed_before_it_is_scaled() -> None:
    """The toy of the methods page: words 0 and 1 over four positions."""
    logs = np.array([[-1.206906, -1.213171, -1.213274, -1.213374]])
    logs = np.vstack([logs, [[-2.184959, -2.187265, -2.186809, -2.186355]]])
    phrase = scale(logs.sum(0).reshape(1, 2, 2))
    np.testing.assert_allclose(phrase.ravel(), (1, 0, 0.041256, 0.082525), atol=3e-4)
    assert np.abs(stretched(scale(logs.reshape(2, 2, 2)).sum(0)) - phrase[0]).max() > 0.05


def test_rounding_is_not_contrast() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 2, 3, 3))
    assert not scale(-3 * (1 + 1e-7 * noise)).any()


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 5)])
def test_shares(shape: tuple[int, ...]) -> None:
    values = log_probabilities(*shape)
    for word, share in zip(values, distribution(values), strict=True):
        expected = np.exp(word.astype(np.float64))
        np.testing.assert_allclose(share, expected / expected.sum(), rtol=1e-5)
    positive = values - values.min()
    for word, share in zip(positive, distribution(positive, how="sum"), strict=True):
        np.testing.assert_allclose(share, word / word.sum(), rtol=1e-5)
    assert not distribution(np.zeros(shape), how="sum").any()
    np.testing.assert_allclose(distribution(np.full(shape, -900.0)), 2 / np.prod(shape))


@pytest.mark.parametrize("by", ["map", "video", "sentence", "cgs"])
def test_padding_counts_for_nothing(by: str) -> None:
    maps = log_probabilities(3, 2, 2, 4)
    padded = np.concatenate([maps, np.full((3, 2, 2, 1), np.nan)], axis=-1)
    padded[:, 1] = np.nan  # a frame that is all padding
    for change in (functools.partial(scale, by=by), distribution):
        changed = change(padded)
        np.testing.assert_allclose(changed[:, :1, :, :4], change(maps[:, :1]), rtol=1e-6, atol=1e-6)
        assert np.isnan(changed[:, 1]).all() and np.isnan(changed[..., 4]).all()


def test_wrong_arguments_are_refused() -> None:
    maps = log_probabilities(2, 1, 2, 2)
    with pytest.raises(ValueError, match="unknown scaling 'word'.*cgs"):
        scale(maps, by="word")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected \[N h w\]"):
        scale(maps[0, 0])
    with pytest.raises(ValueError, match="zero or more"):
        distribution(maps, how="sum")
    with pytest.raises(ValueError, match="unknown distribution"):
        distribution(maps, how="max")  # type: ignore[arg-type]
