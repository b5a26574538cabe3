"""Figures of clips: bar, outlines, arrows and colours, read back from the figure."""

import io

import numpy as np
import pytest
from PIL import Image

from capjax.viz import OMITTED, plot_attention, plot_clip, plot_representativeness
from tests.viz.sentences import explained, single_cells

NEEDED = "figures need the extra capjax[viz]"
to_hex = pytest.importorskip("matplotlib.colors", reason=NEEDED).to_hex
ConnectionPatch = pytest.importorskip("matplotlib.patches", reason=NEEDED).ConnectionPatch

SECONDS = np.array([0.0, 0.5, 1.5, 4.0])
FRAMES = np.stack([np.full((60, 100, 3), 60 * index, np.uint8) for index in range(4)])
# Most relevant frames: boy 2, throws 0, ball 3. The maps alone would say 1, 1, 1.
RELEVANCE = np.array(
    [[-1, -2, -3, -4], [-6, -5, -3, -8], [-2, -7, -4, -3], [-1, -1, -1, -1], [-9, -8, -6, -5]],
    np.float32,
)
CLIP = explained(
    "A boy throws the ball",
    single_cells((1, 0, 0), (1, 0, 3), (1, 2, 1), (1, 1, 1), (1, 3, 0), frames=4),
    frame_maps=RELEVANCE,
    phrases=((0, 2),),
)


def panels(figure) -> list:
    return figure.axes[1:]


def test_the_bar_is_linear_between_each_words_extremes() -> None:
    figure = plot_clip(FRAMES, CLIP)
    bar = figure.axes[0]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["boy", "throws", "ball"]
    (drawn,) = bar.get_images()
    expected = [[0.4, 0.6, 1.0, 0.0], [1.0, 0.0, 0.6, 0.8], [0.0, 0.25, 0.75, 1.0]]
    np.testing.assert_allclose(drawn.get_array(), expected, atol=1e-6)
    colour = drawn.get_cmap()
    assert to_hex(colour(drawn.norm(1.0))) == "#000000" and to_hex(colour(0.0)) == "#ffffff"
    assert to_hex(colour(0.5)) in ("#7f7f7f", "#808080")  # linear in grey
    together = plot_clip(FRAMES, CLIP, by="sentence").axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(together, (RELEVANCE[[1, 2, 4]] + 9) / 7, atol=1e-6)


def test_outlines_and_arrows_point_to_the_most_relevant_frames() -> None:
    figure = plot_clip(FRAMES, CLIP)
    bar = figure.axes[0]
    colours = [to_hex(label.get_color()) for label in bar.get_yticklabels()]
    assert len(set(colours)) == 3
    best = [2, 0, 3]
    for word, (patch, axis) in enumerate(zip(bar.patches, panels(figure), strict=True)):
        frame = best[word]
        assert patch.get_xy() == (frame - 0.5, word - 0.5) and patch.get_width() == 1
        assert to_hex(patch.get_edgecolor()) == to_hex(axis.spines["top"].get_edgecolor())
        assert to_hex(patch.get_edgecolor()) == colours[word]
        assert (axis.get_images()[0].get_array() == 60 * frame).all()
        assert axis.get_xlabel() == ["boy", "throws", "ball"][word]
        assert axis.texts[0].get_text() == f"frame {frame + 1}"
    arrows = [artist for artist in figure.artists if isinstance(artist, ConnectionPatch)]
    for word, (arrow, axis) in enumerate(zip(arrows, panels(figure), strict=True)):
        assert arrow.xy1 == (best[word], word + 0.5) and arrow.coords1 is bar.transData
        assert arrow.xy2[0] == 0.5 and arrow.coords2 is axis.transAxes
        assert to_hex(arrow.get_edgecolor()) == colours[word]


def test_the_words_map_of_that_frame_is_drawn() -> None:
    """Where the relevance of frames says otherwise than the maps, the map of that frame shows."""
    maps = single_cells((2, 1, 2), frames=4)
    figure = plot_clip(FRAMES, explained("kites", maps, frame_maps=RELEVANCE[1:2]))
    level = panels(figure)[0].get_images()[-1].get_array()
    assert level.max() == pytest.approx(1.0, abs=0.05)
    y, x = np.unravel_index(np.argmax(level.filled(-1)), level.shape)
    assert abs(x + 0.5 - 68 / 1.2) <= 1 and abs(y + 0.5 - 28 / 1.2) <= 1
    # Without relevance of frames it is the mean of each map: the same frame here.
    figure = plot_clip(FRAMES, explained("kites", maps))
    assert (panels(figure)[0].get_images()[0].get_array() == 120).all()


def test_which_words_are_omitted_can_be_chosen() -> None:
    assert {"a", "an", "the", "is", "are", "on", "with"} <= OMITTED
    figure = plot_clip(FRAMES, CLIP, omit=(OMITTED | {"ball"}) - {"the"})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["boy", "throws", "the"]
    everything = plot_clip(FRAMES, CLIP, omit=())
    assert len(panels(everything)) == 5
    with pytest.raises(ValueError, match="nothing to show of 'A boy throws the ball'"):
        plot_clip(FRAMES, CLIP, omit={"a", "boy", "throws", "the", "ball"})


def test_several_frames_a_word_and_times() -> None:
    figure = plot_clip(FRAMES, CLIP, per_word=2, seconds=SECONDS)
    stamps = [axis.texts[0].get_text() for axis in panels(figure)]
    assert stamps == ["0.5 s", "1.5 s", "0.0 s", "4.0 s", "1.5 s", "4.0 s"]
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["0.0 s", "0.5 s", "1.5 s", "4.0 s"]
    assert len(panels(plot_clip(FRAMES, CLIP, per_word=9))) == 12


def test_it_can_be_saved() -> None:
    stream = io.BytesIO()
    plot_clip(FRAMES, CLIP, seconds=SECONDS).savefig(stream, format="png")
    assert Image.open(stream).width > 300


def test_other_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="maps of 4 frames and 3 frames"):
        plot_clip(FRAMES[:3], CLIP)
    with pytest.raises(ValueError, match="two or more"):
        plot_clip(FRAMES[:1], explained("kites", single_cells((0, 1, 1))))


def test_representativeness() -> None:
    kl = np.array([[3.0, 1.0, 2.0, 4.0], [1.0, 1.0, 3.0, 2.0]])
    axis = plot_representativeness(kl, SECONDS).axes[0]
    *words, mean, best = axis.lines
    np.testing.assert_array_equal([line.get_ydata() for line in words], kl)
    np.testing.assert_array_equal(mean.get_ydata(), [2, 1, 2.5, 3])
    np.testing.assert_array_equal(mean.get_xdata(), SECONDS)
    assert np.ravel(best.get_data()).tolist() == [0.5, 1.0]
    alone = plot_representativeness(kl[0]).axes[0]
    assert "frame 2" in alone.get_title(loc="left") and len(alone.lines) == 2
    with pytest.raises(ValueError, match="their negative"):
        plot_representativeness(-kl)
    with pytest.raises(ValueError, match="and 4 seconds"):
        plot_representativeness(kl[:, :3], SECONDS)


def test_attention_figures_of_clips() -> None:
    """A row a word: the frames most relevant to it, in the order of time."""
    figure = plot_attention(
        FRAMES, CLIP.words[1:3], CLIP.maps[1:3], columns=3, relevance=RELEVANCE[1:3]
    )
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["boy · 1", "boy · 2", "boy · 3", "throws · 1", "throws · 3", "throws · 4"]
    shown = [int(axis.get_images()[0].get_array()[0, 0, 0]) // 60 + 1 for axis in figure.axes]
    assert shown == [1, 2, 3, 1, 3, 4]
    hot = [float(axis.get_images()[-1].get_array().max()) for axis in figure.axes]
    assert hot[1] == pytest.approx(1, abs=0.05) and max(hot[0], hot[2]) == 0  # one scale a word
    assert len(plot_attention(FRAMES, ["kites"], CLIP.maps[:1]).axes) == 4
