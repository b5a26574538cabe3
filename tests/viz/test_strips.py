"""Word strips: panels, their order, where colours land, odd photographs."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from capjax.types import Explanation, Preprocessing
from capjax.viz import side_by_side, word_strip
from capjax.viz.strips import GAP, LONGEST_WORD, reduced


def explanation(maps: np.ndarray, size: tuple[int, int], words: list[str]) -> Explanation:
    preprocessing = Preprocessing((64, 64), "crop", shorter=72)
    return Explanation(
        maps=maps.astype(np.float32),
        words=tuple(words),
        word_spans=tuple((index, index + 1) for index in range(len(words))),
        score=np.zeros(len(words), np.float32),
        method="attention",
        geometry=preprocessing.geometry(size, (4, 4)),
    )


def single_cells(*cells: tuple[int, int]) -> np.ndarray:
    maps = np.zeros((len(cells), 1, 4, 4))
    for index, (row, column) in enumerate(cells):
        maps[index, 0, row, column] = 1.0
    return maps


@pytest.mark.parametrize("size", [(120, 200), (200, 120)])
@pytest.mark.parametrize("copy", [1, 2])
def test_each_panel_shows_its_own_word(size: tuple[int, int], copy: int) -> None:
    """The brightest spot of each panel lies in its cell, also for a copy of the photograph."""
    cells = [(0, 3), (2, 1), (3, 0)]
    shown = explanation(single_cells(*cells), size, ["one", "two", "three"])
    photograph = np.zeros((size[0] // copy, size[1] // copy, 3), np.uint8)
    strip = np.asarray(word_strip(photograph, shown, height=120, cmap="gray", alpha=1.0))
    factor = min(120 / size[0], 120 * 16 / 9 / size[1])
    wide, high = round(size[1] * factor), round(size[0] * factor)
    assert strip.shape[0] > high and strip.shape[1] >= 4 * wide + 5 * GAP
    cell = (strip.shape[1] - GAP) // 4
    for index, (row, column) in enumerate(cells, start=1):
        left = GAP + index * cell + (cell - GAP - wide) // 2
        panel = strip[GAP : GAP + high, left : left + wide, 0]
        y, x = np.unravel_index(np.argmax(panel), panel.shape)
        x0, y0, x1, y1 = (edge * factor for edge in shown.geometry.cell_box(row, column))
        assert x0 - 1 <= x + 0.5 <= x1 + 1 and y0 - 1 <= y + 0.5 <= y1 + 1


def test_a_constant_map_leaves_the_photograph_as_it_is() -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    shown = explanation(np.full((1, 1, 4, 4), 0.25), (90, 120), ["word"])
    strip = np.asarray(word_strip(photograph, shown, height=90))
    cell = (strip.shape[1] - GAP) // 2
    panels = [strip[GAP : GAP + 90, GAP + at : GAP + at + 120] for at in (0, cell)]
    np.testing.assert_array_equal(*panels)


def test_long_sentences_are_broken_into_even_rows() -> None:
    words = [f"word{index}" for index in range(19)]
    maps = np.random.default_rng(0).normal(size=(19, 1, 4, 4))  # signed
    photograph = Image.new("RGB", (120, 90))
    strip = word_strip(photograph, explanation(maps, (90, 120), words), height=60, columns=8)
    one = word_strip(photograph, explanation(maps[:6], (90, 120), words[:6]), height=60)
    assert strip.width == one.width  # 20 panels in rows of 7, 7 and 6; 7 panels in one
    assert strip.height - GAP == 3 * (one.height - GAP)


@pytest.mark.parametrize("size", [(1, 700), (700, 1), (30, 31)])
def test_odd_photographs(size: tuple[int, int]) -> None:
    shown = explanation(single_cells((1, 1)), size, ["skateboarding"])
    strip = word_strip(np.zeros((*size, 3), np.uint8), shown, height=80)
    assert strip.height < 4 * 80 + 60 and strip.width < 2 * 4 * 80 + 30


@pytest.mark.parametrize("size", [(8, 8), (60, 960), (960, 60), (90, 60)])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_pictures_are_large_enough_to_see_and_strips_to_look_at(
    size: tuple[int, int], count: int
) -> None:
    words = ["a", "Donaudampfschifffahrtsgesellschaft", "dog"] * 14
    own = explanation(single_cells(*[(1, 1)] * count), size, words[:count])
    small = reduced(Image.new("RGB", size[::-1]), 160)
    assert min(small.size) >= 40 and max(small.size) <= 640
    strip = word_strip(np.zeros((*size, 3), np.uint8), own)
    assert strip.width <= 8 * 300
    assert strip.height < 60 * (count + 1) * 160 / 8


def test_larger_pictures_stand_in_as_many_columns() -> None:
    own = explanation(single_cells(*[(1, 1)] * 7), (90, 160), ["dog"] * 7)
    for height, ratio in ((90, 15), (450, 14)):  # gaps and the note are of one size
        strip = word_strip(Image.new("RGB", (160, 90)), own, height=height)
        assert round(strip.width / height) == ratio


def test_long_words_are_cut_into_lines_within_their_column() -> None:
    words = ["m" * 18, "dog", "dog"]
    own = explanation(single_cells(*[(1, 1)] * 3), (90, 30), words)
    strip = np.asarray(word_strip(np.zeros((90, 30, 3), np.uint8), own, height=90))
    column = (strip.shape[1] - GAP) // 4
    assert column <= LONGEST_WORD + GAP
    # Ink of the first word below its picture in two lines, of the second in one; none between.
    below = strip[GAP + 90 :].min(axis=2) < 80
    lines = [below[:, at * column : (at + 1) * column].any(axis=1) for at in (1, 2)]
    assert [int((np.diff(line.astype(int)) == 1).sum()) for line in lines] == [2, 1]
    for edge in range(1, 5):
        assert not below[:, edge * column + 1 : edge * column + GAP - 1].any()


def test_maps_of_logarithms_are_drawn_as_probabilities() -> None:
    """One very improbable place must not make all others look alike."""
    maps = np.log(np.array([[[[0.8, 0.4, 0.2, 6e-6]] + [[0.1] * 4] * 3]]))
    own = dataclasses.replace(explanation(maps, (80, 80), ["cat"]), unit="p")
    black = np.zeros((80, 80, 3), np.uint8)
    look = {"height": 80, "cmap": "gray", "alpha": 1.0}
    strip = np.asarray(word_strip(black, own, **look))
    same = dataclasses.replace(own, maps=np.exp(own.maps), unit="")
    plain = np.asarray(word_strip(black, same, **look))
    column = (strip.shape[1] - GAP) // 2
    panel = (slice(GAP, GAP + 80), slice(column + GAP, column + GAP + 80))
    np.testing.assert_array_equal(strip[panel], plain[panel])
    assert (strip != plain).any()  # its numbers say what they are
    raw = np.asarray(word_strip(black, own, values="raw", **look))
    middle = raw[panel][5:15, :, 0].mean(), strip[panel][5:15, :, 0].mean()
    assert middle[0] > 1.4 * middle[1]  # washed out


def test_a_caption_without_words() -> None:
    shown = explanation(np.zeros((0, 1, 4, 4)), (90, 120), [])
    strip = word_strip(np.zeros((90, 120, 3), np.uint8), shown, height=90)
    assert strip.width == 120 + 2 * GAP


def test_a_clip_has_a_row_a_word_of_its_most_relevant_frames() -> None:
    frames = np.stack([np.full((60, 100, 3), 40 * index, np.uint8) for index in range(5)])
    maps = np.full((2, 5, 4, 4), -9.0)
    maps[0, 3, 1, 1] = maps[1, 0, 2, 2] = -1.0
    relevance = np.array([[0, 1, 2, 9, 3], [9, 0, 0, 0, 5]], np.float32)
    shown = dataclasses.replace(explanation(maps, (60, 100), ["a", "kite"]), frame_maps=relevance)
    strip = np.asarray(word_strip(frames, shown, columns=3, height=60, cmap="gray", alpha=0.5))
    line, cell = (strip.shape[0] - GAP) // 3, 100 + GAP
    left = strip.shape[1] - 3 * cell

    def panel(row: int, column: int) -> np.ndarray:
        top, start = GAP + row * line, left + column * cell
        return strip[top : top + 60, start : start + 100, 0].astype(int)

    # Corners of the crop hold the least value, painted black at half strength.
    places = [[0, 2, 4], [2, 3, 4], [0, 1, 4]]
    for row, chosen in enumerate(places):
        for column, frame in enumerate(chosen):
            expected = 40 * frame * (1.0 if row == 0 else 0.5)
            assert abs(panel(row, column)[5, 26] - expected) <= 2, (row, column)
    brightest = [panel(1, column)[5:55, 26:74].max() for column in range(3)]
    assert brightest[0] <= 41 and brightest[1] > 170 and brightest[2] <= 81
    assert panel(2, 0)[5:55, 26:74].max() > 120
    with pytest.raises(ValueError, match="maps of 5 frames for a picture of 4"):
        word_strip(frames[:4], shown)


def test_phrases_have_panels_of_their_own() -> None:
    shown = explanation(single_cells((0, 3), (2, 1)), (120, 200), ["red", "kite"])
    asked = dataclasses.replace(
        shown, phrases=((0, 2),), phrase_maps=shown.maps.sum(axis=0, keepdims=True)
    )
    photograph = np.zeros((120, 200, 3), np.uint8)
    plain, strip = (
        np.asarray(word_strip(photograph, one, height=120, cmap="gray", alpha=1.0))
        for one in (shown, asked)
    )
    cell = (plain.shape[1] - GAP) // 3
    assert strip.shape[1] == plain.shape[1] + cell
    panel = strip[GAP : GAP + 120, GAP + 3 * cell : GAP + 3 * cell + 200, 0]
    for row, column in ((0, 3), (2, 1)):
        x0, y0, x1, y1 = map(round, shown.geometry.cell_box(row, column))
        assert panel[y0:y1, x0:x1].max() > 245


def test_maps_that_fit_no_strip_are_refused() -> None:
    photograph = np.zeros((90, 120, 3), np.uint8)
    shown = explanation(np.zeros((2, 3, 4, 4)), (90, 120), ["a", "dog"])
    with pytest.raises(ValueError, match="maps of 3 frames for a picture of 1"):
        word_strip(photograph, shown)
    with pytest.raises(ValueError, match="for 1 words"):
        word_strip(photograph, dataclasses.replace(shown, words=("a",)))


def test_strips_of_two_captioners_stand_under_each_other() -> None:
    photograph = np.full((90, 120, 3), 90, np.uint8)
    soft = explanation(single_cells((0, 0), (1, 1)), (90, 120), ["a", "cat"])
    hard = explanation(single_cells((2, 2)), (90, 120), ["dog"])
    sheet = np.asarray(side_by_side(photograph, {"soft": soft, "hard": hard}, height=60))
    strips = [np.asarray(word_strip(photograph, own, height=60)) for own in (soft, hard)]
    band = (len(sheet) - sum(len(strip) for strip in strips)) // 2
    top = 0
    for strip in strips:
        found = sheet[top + band : top + band + len(strip), : strip.shape[1]]
        np.testing.assert_array_equal(found, strip)
        assert (sheet[top : top + band] < 128).any()  # the name is written above
        top += band + len(strip)
    with pytest.raises(ValueError, match="no explanations"):
        side_by_side(photograph, {})
