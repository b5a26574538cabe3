"""Figures: one subplot a word, maps where they belong, and nothing global touched."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from capjax.types import Preprocessing
from capjax.viz import plot_attention

pytest.importorskip("matplotlib", reason="figures need the extra capjax[viz]")


def photograph(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize("size", [(40, 90), (90, 40), (50, 50)])
def test_one_subplot_a_word(count: int, size: tuple[int, int]) -> None:
    words = [f"word{index}" for index in range(count)]
    maps = np.random.default_rng(0).random((count, 3, 3))
    figure = plot_attention(photograph(*size), words, maps)
    assert [axis.get_title() for axis in figure.axes] == words
    for axis in figure.axes:
        below, *_, above = axis.get_images()
        assert below.get_array().shape[:2] == above.get_array().shape == size


def test_it_can_be_saved_and_touches_nothing_global() -> None:
    import matplotlib._pylab_helpers

    figure = plot_attention(
        photograph(40, 60), ["a", "dog"], np.random.default_rng(0).random((2, 1, 4, 4))
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert Image.open(stream).width > 200
    assert not matplotlib._pylab_helpers.Gcf.figs


@pytest.mark.parametrize("smooth", [0.0, 0.5])
def test_maps_lie_where_the_geometry_says(smooth: float) -> None:
    geometry = Preprocessing((64, 64), "crop", shorter=72).geometry((60, 100), (4, 4))
    maps = np.zeros((2, 4, 4))
    maps[0, 0, 3] = maps[1, 2, 1] = 1.0
    figure = plot_attention(
        photograph(60, 100), ["a", "dog"], maps, geometry=geometry, smooth=smooth
    )
    for axis, cell in zip(figure.axes, [(0, 3), (2, 1)], strict=True):
        drawn = axis.get_images()[-1].get_array()
        assert drawn.max() == pytest.approx(1.0, abs=0.1)  # the colours span the map
        y, x = np.unravel_index(np.argmax(drawn.filled(-1)), drawn.shape)
        x0, y0, x1, y1 = geometry.cell_box(*cell)
        assert x0 <= x + 0.5 <= x1 and y0 <= y + 0.5 <= y1
        assert drawn.mask.sum() > 0  # outside the crop


def test_looks() -> None:
    words, image = ["a", "dog"], photograph(40, 60)
    plain = plot_attention(image, words, np.arange(8.0).reshape(2, 2, 2), cmap="viridis", alpha=0.5)
    layer = plain.axes[0].get_images()[-1]
    assert (layer.get_cmap().name, layer.get_alpha()) == ("viridis", 0.5)
    default = plot_attention(image, words, np.arange(8.0).reshape(2, 2, 2)).axes[0].get_images()[-1]
    assert (default.get_cmap().name, default.get_alpha()) == ("gray", 0.8)
    signed = plot_attention(image, words, np.arange(8.0).reshape(2, 2, 2) - 3)
    assert signed.axes[0].get_images()[-1].get_cmap().name == "RdBu_r"
    flat = plot_attention(Image.fromarray(image), words, np.ones((2, 2, 2)))
    assert [axis.get_title() for axis in flat.axes] == ["a", "dog"]
    assert [axis.texts[0].get_text() for axis in flat.axes] == ["constant", "constant"]
    assert len(flat.axes[0].get_images()) == 1


def test_large_photographs_are_reduced() -> None:
    """Thirty maps at the resolution of a camera would take gigabytes."""
    figure = plot_attention(np.zeros((3000, 1500, 3), np.uint8), ["a"], np.eye(3)[None])
    assert figure.axes[0].get_images()[-1].get_array().shape == (1000, 500)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="got no words"):
        plot_attention(photograph(4, 4), [], np.zeros((0, 2, 2)))
    with pytest.raises(ValueError, match=r"expected \[2 h w\]"):
        plot_attention(photograph(4, 4), ["a", "dog"], np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match=r"\(2, 3, 2, 2\)"):
        plot_attention(photograph(4, 4), ["a", "dog"], np.zeros((2, 3, 2, 2)))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'capjax\[viz\]'"):
        plot_attention(photograph(4, 4), ["a"], np.zeros((1, 2, 2)))
