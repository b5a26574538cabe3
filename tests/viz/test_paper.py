"""The paper's figures of images: what stands where, read back from the figure."""

import io

import numpy as np
import pytest
from PIL import Image

from capjax.viz import plot_caption, plot_queries
from tests.viz.sentences import explained, single_cells

pytest.importorskip("matplotlib", reason="figures need the extra capjax[viz]")

PHOTO = np.full((60, 100, 3), 90, np.uint8)
QUERY = explained(
    "a boy on a bench",
    single_cells((0, 0, 3), (0, 0, 3), (0, 2, 1), (0, 3, 0), (0, 3, 0)),
    phrases=((0, 2), (3, 5)),
)
# (x, y) of the middle of the highest cells: cell (0, 3) is centred on (56, 8) of the crop, (84, 12)
# of the resized photograph of 72 x 120, and so on.
BOY, ON, BENCH = (84 / 1.2, 12 / 1.2), (52 / 1.2, 44 / 1.2), (36 / 1.2, 60 / 1.2)


def stars(axis) -> list[tuple[float, float]]:
    return [tuple(np.ravel(line.get_data())) for line in axis.lines]


def test_a_panel_a_phrase_with_its_asterisk_and_boxes() -> None:
    box = (10.0, 20.0, 55.0, 50.0)
    figure = plot_queries(PHOTO, [QUERY], boxes=[{1: [box]}])
    assert [axis.texts[0].get_text() for axis in figure.axes] == ["a boy", "a bench"]
    for axis, place in zip(figure.axes, (BOY, BENCH), strict=True):
        np.testing.assert_allclose(stars(axis), [place], rtol=1e-6)
        x, y = axis.texts[0].get_position()
        assert x < 0.05 and y > 0.9 and axis.texts[0].get_transform() == axis.transAxes
    assert not figure.axes[0].patches
    (drawn,) = figure.axes[1].patches
    assert (*drawn.get_xy(), drawn.get_x() + drawn.get_width()) == box[:2] + (box[2],)
    assert drawn.get_y() + drawn.get_height() == box[3]
    assert drawn.get_edgecolor() == (1, 1, 1, 1) and not drawn.get_fill()
    assert [text.get_text() for text in figure.texts] == ["a boy on a bench"]


def test_where_it_lands_on_paper() -> None:
    """In pixels of the file: the asterisk is white, the map around it red, far from it blue."""
    figure = plot_queries(PHOTO, [QUERY], alpha=1.0)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=figure.dpi)
    pixels = np.asarray(Image.open(stream).convert("RGB")).astype(int)
    axis = figure.axes[0]
    left, bottom, wide, high = axis.get_window_extent().bounds

    def at(x: float, y: float) -> np.ndarray:
        top = pixels.shape[0] - bottom - high
        return pixels[round(top + high * y / 60), round(left + wide * x / 100)]

    assert at(*BOY).min() > 200
    red, blue = at(BOY[0], BOY[1] - 6), at(BENCH[0], BENCH[1])
    assert red[0] > 1.5 * red[2] and blue[2] > 1.2 * blue[0]
    outside = at(5, 30)  # the encoder did not see it
    assert np.ptp(outside) < 10


def test_a_row_a_query() -> None:
    """Photographs of different shapes; a query without phrases has a panel a word."""
    portrait = np.zeros((100, 60, 3), np.uint8)
    other = explained("red kites", single_cells((0, 1, 1), (0, 2, 2)), size=(100, 60))
    figure = plot_queries([PHOTO, portrait], [QUERY, other])
    names = [axis.texts[0].get_text() for axis in figure.axes]
    assert names == ["a boy", "a bench", "red", "kites"]
    assert [text.get_text() for text in figure.texts] == ["(a) a boy on a bench", "(b) red kites"]
    heights = [axis.get_position().y0 for axis in figure.axes]
    below = [text.get_position()[1] for text in figure.texts]
    assert heights[0] == heights[1] > below[0] > heights[2] == heights[3] > below[1] > 0
    for axis, aspect in zip(figure.axes, (100 / 60, 100 / 60, 0.6, 0.6), strict=True):
        box = axis.get_window_extent()
        assert box.width / box.height == pytest.approx(aspect, rel=1e-3)


def test_a_caption_word_by_word() -> None:
    figure = plot_caption(PHOTO, QUERY, columns=3)
    assert [axis.texts[0].get_text() for axis in figure.axes] == list(QUERY.words)
    for axis, place in zip(figure.axes, (BOY, BOY, ON, BENCH, BENCH), strict=True):
        np.testing.assert_allclose(stars(axis), [place], rtol=1e-6)
    tops = [round(axis.get_position().y0, 4) for axis in figure.axes]
    assert len(set(tops[:3])) == len(set(tops[3:])) == 1 and tops[0] > tops[3]


def test_constant_maps_point_nowhere() -> None:
    figure = plot_caption(PHOTO, explained("a dog", np.full((2, 1, 4, 4), -3, np.float32)))
    assert [axis.texts[0].get_text() for axis in figure.axes] == ["a (constant)", "dog (constant)"]
    assert not any(axis.lines for axis in figure.axes)
    assert all(len(axis.get_images()) == 1 for axis in figure.axes)


def test_maps_of_both_signs_are_blue_below_zero() -> None:
    both = explained("a dog", single_cells((0, 1, 1), (0, 2, 2)) + 5)
    figure = plot_caption(PHOTO, both, values="raw")
    assert figure.axes[0].get_images()[-1].get_cmap().name == "RdBu_r"
    figure = plot_caption(PHOTO, QUERY)
    assert figure.axes[0].get_images()[-1].get_cmap().name == "turbo"


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="1 queries, 2 images"):
        plot_queries([PHOTO, PHOTO], [QUERY])
    with pytest.raises(ValueError, match="at least one query"):
        plot_queries(PHOTO, [])
    with pytest.raises(ValueError, match=r"panels \[2\]; there are 2"):
        plot_queries(PHOTO, [QUERY], boxes=[{2: []}])
    clip = explained("a dog", single_cells((0, 1, 1), (2, 2, 2), frames=3))
    with pytest.raises(ValueError, match="plot_clip"):
        plot_caption(PHOTO, clip)
    with pytest.raises(ValueError, match="without words"):
        plot_caption(PHOTO, explained("", np.zeros((0, 1, 4, 4))))
