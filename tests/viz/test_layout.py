"""Texts of figures can be read: none cut, none over another, at odd shapes and numbers of words."""

import numpy as np
import pytest

from capjax.types import Explanation, Geometry
from capjax.viz import plot_attention, plot_caption, plot_clip

WORDS = ("a", "Donaudampfschifffahrtsgesellschaft", "dog", "skateboarding", "on", "$5", "grass")
CASES = [((60, 80), 21), ((60, 960), 7), ((960, 60), 7), ((8, 8), 2), ((90, 51), 7)]
"""Height and width of a picture, and the number of words."""


def sentence(count: int, size: tuple[int, int], frames: int = 1) -> Explanation:
    words = (WORDS * 6)[:count]
    maps = -np.random.default_rng(0).gamma(1.5, 2, (count, frames, 4, 4)).astype(np.float32)
    return Explanation(
        maps=maps,
        words=words,
        word_spans=tuple((index, index + 1) for index in range(count)),
        score=np.zeros(count, np.float32),
        method="caption_guided",
        unit="p",
        geometry=Geometry(size, size, (0, 0, *size), (4, 4)),
        frame_maps=maps.mean(axis=(2, 3)) if frames > 1 else None,
    )


def check_texts(figure) -> None:
    """Every text lies within the figure, and no two lie over each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axis in figure.axes:
        for image in axis.get_images():
            image.set_visible(False)  # only texts are looked at
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [
        text.get_window_extent(renderer)
        for axis in figure.axes
        for text in [axis.title, *axis.texts, *(_around(axis) if axis.axison else ())]
        if text.get_text()
    ]
    boxes += [text.get_window_extent(renderer) for text in figure.texts]
    edges = np.array([box.extents for box in boxes])
    width, height = figure.bbox.size
    assert (edges[:, :2] >= -1).all() and (edges[:, 2] <= width + 1).all()
    assert (edges[:, 3] <= height + 1).all()
    inner = edges + [1, 1, -1, -1]
    for index, (left, low, right, high) in enumerate(inner):
        others = inner[index + 1 :]
        across = (others[:, 0] < right) & (others[:, 2] > left)
        assert not (across & (others[:, 1] < high) & (others[:, 3] > low)).any(), index


def _around(axis) -> list:
    return [axis.xaxis.label, *axis.get_yticklabels()]


@pytest.mark.parametrize(("size", "count"), CASES)
def test_titles_of_words(size, count):
    own = sentence(count, size)
    image = np.zeros((*size, 3), np.uint8)
    figure = plot_attention(image, own.words, np.exp(own.maps), unit="p", geometry=own.geometry)
    check_texts(figure)
    assert max(figure.get_size_inches()) < 25


@pytest.mark.parametrize(("size", "count"), CASES)
def test_figures_of_captions(size, count):
    figure = plot_caption(np.zeros((*size, 3), np.uint8), sentence(count, size))
    check_texts(figure)
    assert figure.get_size_inches()[0] < 25


@pytest.mark.parametrize(("size", "count"), CASES)
def test_figures_of_clips(size, count):
    frames = np.zeros((3, *size, 3), np.uint8)
    figure = plot_clip(frames, sentence(count, size, 3))
    check_texts(figure)
    assert figure.get_size_inches()[0] < 45
    panels = [axis.get_position() for axis in figure.axes[1:]]
    inches = [(box.width, box.height) * figure.get_size_inches() for box in panels]
    assert np.min(inches) > 1.0  # a portrait clip is as large as another
