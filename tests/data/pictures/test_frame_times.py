"""Frames are spread over a clip's time: against the clip of constant rate that it is short for."""

import numpy as np
import pytest
from PIL import Image

from capjax.data.pictures.clips import load_clip
from capjax.data.pictures.frame_times import choose_frames, frame_indices
from tests.data.movies import index_of, shade, write_movie

RATES = (10.0, 24.0, 24000 / 1001, 25.0, 30000 / 1001, 50.0, 60.0, 120.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("rounded", [False, True], ids=["exact", "milliseconds"])
def test_a_constant_rate_is_sampled_by_index(rate, rounded):
    for total in (1, 2, 3, 6, 25, 26, 27, 301):
        begin = np.arange(total) / rate + 0.7
        begin = begin.round(3) if rounded else begin
        for last in (1 / rate, 0.0, 0.001, 1.4 / rate):  # containers often do not know the last one
            for count in (1, 3, 4, 26):
                found = choose_frames(begin.tolist(), last, count)
                indices = frame_indices(total, count)
                np.testing.assert_array_equal(found.indices, indices)
                np.testing.assert_allclose(found.seconds, begin[indices] - begin[0], atol=1e-12)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("rounded", [False, True], ids=["exact", "milliseconds"])
def test_merged_frames_are_sampled_like_the_clip_they_were_merged_from(rate, rounded):
    generator = np.random.default_rng(int(rate * 1000) + rounded)
    longest = 3 if rounded else 40  # rounding hides how many ticks of 8 ms a long frame takes
    for _ in range(60):
        lengths = generator.choice([1, 1, 1, 2, longest], size=generator.integers(2, 40))
        lengths[generator.integers(len(lengths) - 1)] = 1  # what tells how long a tick is
        owner = np.repeat(np.arange(len(lengths)), lengths)
        ticks = np.arange(len(owner)) / rate
        times = ticks.round(3) if rounded else ticks
        begin = times[np.append(0, np.cumsum(lengths)[:-1])]
        for count in (1, 2, 5, 26):
            found = choose_frames(begin.tolist(), lengths[-1] / rate, count)
            wanted = frame_indices(len(owner), count)
            np.testing.assert_array_equal(found.indices, owner[wanted])
            np.testing.assert_allclose(found.seconds, ticks[wanted], atol=2e-3)


def test_a_rate_that_varies_is_sampled_by_time():
    """Each frame seen is on screen within half the shortest frame of evenly spread moments."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        gaps = generator.uniform(0.01, 0.2, size=generator.integers(3, 60))
        begin, last = np.append(0, np.cumsum(gaps)[:-1]), gaps[-1]
        end, shortest = gaps.sum(), 1.25 * gaps[:-1].min()
        for count in (2, 4, 26):
            found = choose_frames(begin.tolist(), last, count)
            even = np.linspace(0, end - shortest, count)
            ends = np.append(begin[1:], end)
            slack = 1.6 * shortest + 1e-9  # half for the grid, half for the frame, half for the end
            assert (begin[found.indices] <= even + slack).all()
            assert (ends[found.indices] >= even - slack).all()
            assert (np.diff(found.indices) >= 0).all() and found.indices[0] == 0
            assert (np.diff(found.seconds) >= 0).all()


def test_a_still_beginning_does_not_count_as_one_frame():
    """Ten seconds of a title, then 24 frames in a second: ten of eleven parts are of the title."""
    begin = [0, *(10 + np.arange(24) / 24)]
    found = choose_frames(begin, 1 / 24, 12)
    assert (found.indices == 0).sum() == 11 and found.indices[-1] == 24
    np.testing.assert_allclose(found.seconds, np.linspace(0, 11 - 1 / 24, 12), atol=1 / 24)


def test_clips_without_times_and_frames_without_length():
    found = choose_frames([0.0] * 7, 0.0, 3)
    assert found.indices.tolist() == [0, 3, 6] and found.seconds.tolist() == [0, 0, 0]
    # The second frame begins when the third one does: it is never seen.
    assert choose_frames([0.0, 0.1, 0.1, 0.2], 0.1, 3).indices.tolist() == [0, 2, 3]


def pictures(order):
    return [Image.fromarray(np.full((24, 32, 3), shade(index), np.uint8)) for index in order]


def test_an_animation_whose_equal_frames_were_merged(tmp_path):
    """Pillow merges equal frames when it writes a GIF; the PNG keeps them apart by a dot."""
    order = [0, 1, 1, 1, 2]
    first, *rest = pictures(order)
    first.save(tmp_path / "merged.gif", save_all=True, append_images=rest, duration=200)
    with Image.open(tmp_path / "merged.gif") as image:
        assert image.n_frames == 3
    clip = load_clip(tmp_path / "merged.gif", 4)
    assert [index_of(frame) for frame in clip.frames] == [0, 1, 1, 2]
    np.testing.assert_allclose(clip.seconds, [0, 0.2, 0.6, 0.8])
    assert clip.duration == pytest.approx(1.0)
    apart = pictures(order)
    for number, picture in enumerate(apart):
        picture.putpixel((number, 0), (255, 0, 0))
    apart[0].save(tmp_path / "apart.png", save_all=True, append_images=apart[1:], duration=200)
    other = load_clip(tmp_path / "apart.png", 4)
    assert [index_of(frame) for frame in other.frames] == [0, 1, 1, 2]
    np.testing.assert_allclose(other.seconds, clip.seconds)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_a_video_of_variable_rate(tmp_path, ending):
    """Frame 1 stays for eight tenths of the clip."""
    pytest.importorskip("av", reason="needs the extra `video`")
    frames = [np.asarray(picture) for picture in pictures(range(4))]
    times = [0, 100, 900, 1000]
    path = write_movie(tmp_path / f"clip{ending}", frames, milliseconds=times)
    clip = load_clip(path, 6)
    assert [index_of(frame) for frame in clip.frames] == [0, 1, 1, 1, 1, 3]
    np.testing.assert_allclose(clip.seconds, [0, 0.2, 0.4, 0.6, 0.8, 1.0], atol=2e-3)
