"""Animations are decoded again: as many pictures as frames, and the colours of each."""

import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from capjax.types import Preprocessing
from capjax.viz import save_animation
from capjax.viz.strips import GAP
from tests.viz.sentences import explained, single_cells

COUNT = 5
FRAMES = np.stack(
    [np.full((60, 100, 3), (40 * index, 90, 200 - 40 * index), np.uint8) for index in range(COUNT)]
)
# Everything is seen: cells are 25 x 15 pixels of the frame.
SENTENCE = explained(
    "kites fly",
    single_cells((3, 0, 3), (1, 2, 0), frames=COUNT),
    geometry=Preprocessing((64, 64)).geometry((60, 100), (4, 4)),
    phrases=((0, 2),),
)


def decoded(path: pathlib.Path) -> np.ndarray:
    if path.suffix == ".gif":
        with Image.open(path) as picture:
            frames = []
            for index in range(picture.n_frames):
                picture.seek(index)
                frames.append(np.asarray(picture.convert("RGB")))
        return np.stack(frames).astype(int)
    av = pytest.importorskip("av", reason="MP4 needs the extra capjax[video]")
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(
            int
        )


@pytest.mark.parametrize("name", ["clip.gif", "clip.mp4"])
def test_all_words(tmp_path: pathlib.Path, name: str) -> None:
    if name.endswith("mp4"):
        pytest.importorskip("av", reason="MP4 needs the extra capjax[video]")
    path = tmp_path / name
    save_animation(path, FRAMES, SENTENCE, height=60, cmap="gray", alpha=1.0)
    pictures = decoded(path)
    assert len(pictures) == COUNT and pictures.shape[1] % 2 == pictures.shape[2] % 2 == 0
    cell = (pictures.shape[2] - GAP) // 4  # frame, kites, fly, kites fly
    for index, picture in enumerate(pictures):
        plain = picture[GAP + 20 : GAP + 40, GAP + 30 : GAP + 70].mean(axis=(0, 1))
        np.testing.assert_allclose(plain, FRAMES[index, 0, 0], atol=12)

        def hottest(panel: int, picture: np.ndarray = picture) -> float:
            left = GAP + panel * cell
            return float(picture[GAP : GAP + 60, left : left + 100].mean(axis=-1).max())

        assert (hottest(1) > 200) == (index == 3) and (hottest(2) > 200) == (index == 1)
        assert (hottest(3) > 200) == (index in (1, 3))


def test_one_word_and_the_row_of_frames(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "fly.gif"
    save_animation(path, FRAMES, SENTENCE, word="fly", height=60, cmap="gray", alpha=1.0, fps=10)
    with Image.open(path) as picture:
        assert picture.info["duration"] == 100
    pictures = decoded(path)
    wide = pictures.shape[2] // COUNT
    for index, picture in enumerate(pictures):
        row = picture[-6]  # through the middle of the row of frames
        for frame in range(COUNT):
            middle = row[frame * wide + wide // 2].mean()
            assert (middle < 40) == (frame == 1), (index, frame)
            edge = row[frame * wide + 2]
            assert (edge[0] > edge[2] + 80) == (frame == index), (index, frame)
    y, x = np.unravel_index(
        np.argmax(pictures[1][GAP : GAP + 60, GAP : GAP + 100].mean(axis=-1)), (60, 100)
    )
    assert abs(x + 0.5 - 12.5) <= 13 and abs(y + 0.5 - 37.5) <= 3
    save_animation(tmp_path / "same.gif", FRAMES, SENTENCE, word=1, height=60, cmap="gray", alpha=1)
    np.testing.assert_array_equal(decoded(tmp_path / "same.gif"), pictures)


def test_wrong_arguments_are_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"ends in \.gif or \.mp4"):
        save_animation(tmp_path / "clip.avi", FRAMES, SENTENCE)
    with pytest.raises(ValueError, match="maps of 5 frames and 4 frames"):
        save_animation(tmp_path / "clip.gif", FRAMES[:4], SENTENCE)
    for word in ("dog", 3, -1):
        with pytest.raises(ValueError, match="choose one of: kites, fly, kites fly"):
            save_animation(tmp_path / "clip.gif", FRAMES, SENTENCE, word=word)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'capjax\[video\]'"):
        save_animation(tmp_path / "clip.mp4", FRAMES, SENTENCE)
