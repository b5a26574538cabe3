"""Every kind of clip people have, made here and read back frame by frame."""

import http.server
import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capjax.data.captions.records import VIDEO_SUFFIXES, is_clip_name
from capjax.data.pictures.clips import (
    load_clip,
    load_prepared_clip,
    prepare_clip,
    sample_clip,
)
from capjax.data.pictures.frame_times import frame_indices
from capjax.data.pictures.images import UnreadableFileError, load_image, prepare
from capjax.types import Preprocessing
from tests.data.movies import (
    CODECS,
    RATE,
    grey_frames,
    index_of,
    shade,
    turn,
    write_movie,
    write_tone,
)

pytest.importorskip("av", reason="needs the extra `video`")
ROOT = Path(__file__).resolve().parents[3]
RED, GREEN, BLUE, YELLOW = (230, 20, 20), (20, 200, 20), (20, 20, 230), (230, 230, 20)


def quadrants(height=48, width=80):
    """Red, green / blue, yellow: any turn or flip shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = YELLOW
    return image


def corners(image):
    """The colours of the four quadrants, by name, row by row."""
    height, width = image.shape[:2]
    names = {RED: "red", GREEN: "green", BLUE: "blue", YELLOW: "yellow"}
    found = []
    for row, column in ((1, 1), (1, 3), (3, 1), (3, 3)):
        pixel = image[row * height // 4, column * width // 4].astype(int)
        best = min(names, key=lambda colour: np.abs(pixel - colour).sum())
        assert np.abs(pixel - best).max() < 30
        found.append(names[best])
    return found


def test_indices_are_spread_evenly_with_halves_to_even():
    assert frame_indices(1, 26).tolist() == [0] * 26
    # 24 i / 25 rounds to i up to i = 12 (11.52) and to i - 1 from i = 13 (12.48): 12 comes twice.
    assert frame_indices(25, 26).tolist() == [*range(13), *range(12, 25)]
    assert frame_indices(26, 26).tolist() == list(range(26))
    # 999 i / 25 = 39.96 i
    assert frame_indices(1000, 26).tolist() == [round(39.96 * i) for i in range(26)]
    assert frame_indices(4, 3).tolist() == [0, 2, 3]  # 1.5 is a half: to the even 2
    assert frame_indices(6, 3).tolist() == [0, 2, 5]  # 2.5 too
    assert frame_indices(1000, 1).tolist() == [0]
    with pytest.raises(ValueError, match="expected at least 1"):
        frame_indices(3, 0)


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_every_container(tmp_path, suffix):
    path = write_movie(tmp_path / f"clip{suffix}", grey_frames(11))
    assert is_clip_name(path.name.upper()) and suffix in CODECS
    clip = load_clip(path, 6)
    assert clip.frames.shape == (6, 48, 64, 3) and clip.frames.dtype == np.uint8
    chosen = [0, 2, 4, 6, 8, 10]
    assert [index_of(frame) for frame in clip.frames] == [index % 6 for index in chosen]
    assert np.abs(clip.frames[0].astype(int) - shade(0)).max() < 8
    np.testing.assert_allclose(clip.seconds, np.array(chosen) / RATE, atol=2e-3)
    assert clip.duration == pytest.approx(11 / RATE, abs=2e-3)


@pytest.mark.parametrize("count", [1, 25, 26, 120])
def test_any_number_of_frames(tmp_path, count):
    """Of fewer frames than asked for, some come again."""
    path = write_movie(tmp_path / "clip.mp4", grey_frames(count, 16, 16))
    clip = load_clip(path, 26)
    expected = np.round(np.linspace(0, count - 1, 26)).astype(int)
    assert [index_of(frame) for frame in clip.frames] == (expected % 6).tolist()
    np.testing.assert_allclose(clip.seconds, expected / RATE, atol=1e-6)


def test_variable_frame_rate(tmp_path):
    """Seconds are counted, not frames: 1.58 s are 79 ticks of the shortest frame, of which number
    0, 26, 52 and 78 are seen, at 0.52 s the frame that has shown since 0.42 s."""
    times = [0, 40, 400, 420, 1000, 1500, 1540]
    path = write_movie(tmp_path / "clip.mp4", grey_frames(7, 16, 16), milliseconds=times)
    clip = load_clip(path, 4)
    assert [index_of(frame) for frame in clip.frames] == [0, 3, 4, 0]
    np.testing.assert_allclose(clip.seconds, [0, 0.52, 1.04, 1.56], atol=5e-3)


def test_time_starts_with_the_first_frame(tmp_path):
    path = write_movie(tmp_path / "clip.mpg", grey_frames(6))  # MPEG begins at half a second
    assert load_clip(path, 2).seconds[0] == 0


@pytest.mark.parametrize(
    ("matrix", "shape", "expected"),
    [
        ((0, 1, -1, 0), (80, 48), ["blue", "red", "yellow", "green"]),  # clockwise, as telephones
        ((0, -1, 1, 0), (80, 48), ["green", "yellow", "red", "blue"]),
        ((-1, 0, 0, -1), (48, 80), ["yellow", "blue", "green", "red"]),
        ((-1, 0, 0, 1), (48, 80), ["green", "red", "yellow", "blue"]),
        ((1, 0, 0, -1), (48, 80), ["blue", "yellow", "red", "green"]),
        ((0, 1, 1, 0), (80, 48), ["red", "blue", "green", "yellow"]),
    ],
    ids=["clockwise", "anticlockwise", "half turn", "mirror", "flip", "transpose"],
)
def test_clips_are_turned_upright(tmp_path, matrix, shape, expected):
    path = write_movie(tmp_path / "clip.mp4", [quadrants()] * 3)
    assert corners(load_clip(path, 2).frames[1]) == ["red", "green", "blue", "yellow"]
    turn(path, matrix)
    clip = load_clip(path, 2)
    assert clip.frames.shape == (2, *shape, 3)
    assert corners(clip.frames[0]) == corners(clip.frames[1]) == expected
    _, geometry = load_prepared_clip(path, Preprocessing((16, 16), frames=2), grid=(4, 4))
    assert geometry.original == shape and geometry.grid == (4, 4)


def test_a_container_may_claim_any_number_of_frames(tmp_path):
    """The count comes from what decodes: here the header says 1,000."""
    path = write_movie(tmp_path / "clip.avi", grey_frames(7))
    raw = bytearray(path.read_bytes())
    at = raw.index(b"avih") + 8 + 16  # dwTotalFrames
    assert int.from_bytes(raw[at : at + 4], "little") == 7
    raw[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(raw)
    assert [index_of(frame) for frame in load_clip(path, 3).frames] == [0, 3, 0]


def test_frames_that_stay_hidden_do_not_count(tmp_path):
    """An edit list that begins at the sixth frame: 30 packets, 25 frames."""
    path = write_movie(tmp_path / "clip.mp4", grey_frames(30))
    raw = bytearray(path.read_bytes())
    at = raw.index(b"elst") + 16  # ISO 14496-12, 8.6.6: media_time of the first entry
    begin = int.from_bytes(raw[at : at + 4]) + 5 * 512  # of 12,800 a second
    raw[at : at + 4] = begin.to_bytes(4)
    path.write_bytes(raw)
    clip = load_clip(path, 4)
    assert [index_of(frame) for frame in clip.frames] == [(5 + i) % 6 for i in (0, 8, 16, 24)]
    np.testing.assert_allclose(clip.seconds, np.array([0, 8, 16, 24]) / RATE, atol=1e-6)


def test_only_chosen_frames_are_kept(tmp_path):
    path = write_movie(tmp_path / "clip.mp4", grey_frames(50, 16, 16))
    kept = []
    sample = sample_clip(path, 3, lambda frame: kept.append(index_of(frame)) or len(kept))
    assert kept == [0, 24 % 6, 49 % 6] and sample.kept == [1, 2, 3]
    del kept[:]
    assert sample_clip(write_movie(tmp_path / "one.mp4", grey_frames(1)), 3, lambda _: 7).kept == [
        7,
        7,
        7,
    ]


def test_prepared_frames_are_prepared_images(tmp_path):
    path = write_movie(tmp_path / "clip.mp4", [quadrants()] * 5)
    for preprocessing in (
        Preprocessing((12, 20), frames=3),
        Preprocessing((16, 16), resize="crop", shorter=20, resample="bicubic", frames=3),
    ):
        clip = load_clip(path, 3)
        prepared, geometry = load_prepared_clip(path, preprocessing, grid=(2, 2))
        expected = [prepare(frame, preprocessing, grid=(2, 2)) for frame in clip.frames]
        np.testing.assert_array_equal(prepared, np.stack([image for image, _ in expected]))
        assert geometry == expected[0][1]
        again, _ = prepare_clip(clip.frames, preprocessing)
        np.testing.assert_array_equal(prepared, again)


def test_content_in_memory(tmp_path):
    path = write_movie(tmp_path / "clip.mkv", grey_frames(5))
    clip = load_clip(io.BytesIO(path.read_bytes()), 3)
    np.testing.assert_array_equal(clip.frames, load_clip(path, 3).frames)


def test_names_are_never_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_movie(tmp_path / "plain.mkv", grey_frames(5)).rename("http:clip.mkv")
    assert len(load_clip("http:clip.mkv", 2).frames) == 2


def test_animations_and_stills_are_clips(tmp_path):
    """An animated GIF has frames and times; a still image is its own clip, upright.

    Six ticks of 50 ms, the last frame two of them long: number 0, 2 and 5 are seen.
    """
    frames = [Image.fromarray(frame) for frame in grey_frames(4)]
    frames[0].save(
        tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=[100, 50, 50, 80]
    )
    clip = load_clip(tmp_path / "moving.gif", 3)
    assert [index_of(frame) for frame in clip.frames] == [0, 1, 3]
    np.testing.assert_allclose(clip.seconds, [0, 0.1, 0.25])
    assert clip.duration == pytest.approx(0.28)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(quadrants()).save(tmp_path / "still.jpg", exif=exif, quality=95)
    clip = load_clip(tmp_path / "still.jpg", 2)
    np.testing.assert_array_equal(clip.frames, [load_image(tmp_path / "still.jpg")] * 2)
    assert clip.seconds.tolist() == [0, 0] and clip.duration == 0


def broken(folder):
    """(file, what is said of it)."""
    whole = write_movie(folder / "whole.mp4", grey_frames(30)).read_bytes()
    early = write_movie(folder / "early.mp4", grey_frames(30), options={"movflags": "faststart"})
    early.write_bytes(early.read_bytes()[: early.stat().st_size * 2 // 3])
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("no clip at all\n" * 50)
    (folder / "empty.avi").write_bytes(b"")
    (folder / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nfile:{folder}/whole.mp4\n")
    write_tone(folder / "sound.mp4")
    return {
        "early.mp4": "cut short or damaged",
        "truncated.mp4": "Invalid data",
        "text.mp4": "Invalid data",
        "empty.avi": "the file is empty",
        "noise.mkv": "Invalid data",
        "list.mp4": "",
        "sound.mp4": "no picture track",
        "absent.webm": "there is no such file",
    }


def test_what_cannot_be_read_is_named_with_its_reason(tmp_path):
    for name, reason in broken(tmp_path).items():
        with pytest.raises(UnreadableFileError, match=f"{name}: .*{reason}.*; expected"):
            load_clip(tmp_path / name, 4)


def test_no_file_makes_a_request(tmp_path):
    """A playlist is a container of addresses, whatever its name says."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/clip.ts"
        path = tmp_path / "clip.mp4"
        path.write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n"
        )
        with pytest.raises(UnreadableFileError, match="clip.mp4"):
            load_clip(path, 2)
        with pytest.raises(UnreadableFileError):
            load_clip(io.BytesIO(path.read_bytes()), 2)
        with pytest.raises(UnreadableFileError):
            load_clip(address, 2)
        server.shutdown()
    assert asked == []


def test_damaged_frames_are_an_error(tmp_path):
    """Zeros over the middle of the pictures."""
    frames = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
    path = write_movie(tmp_path / "clip.mp4", list(frames))
    raw = bytearray(path.read_bytes())
    middle = raw.index(b"mdat") + len(raw) // 3
    raw[middle : middle + 4000] = bytes(4000)
    path.write_bytes(raw)
    with pytest.raises(UnreadableFileError, match="clip.mp4"):
        load_clip(path, 4)


def test_images_and_clips_are_told_apart(tmp_path):
    path = write_movie(tmp_path / "clip.mp4", grey_frames(3))
    with pytest.raises(UnreadableFileError, match="it is a clip, and images are read here"):
        load_image(path)
    with pytest.raises(ValueError, match="captioner reads images"):
        load_prepared_clip(path, Preprocessing((8, 8)))


def test_absence_of_the_extra_is_explained(tmp_path):
    (tmp_path / "av.py").write_text("raise ImportError('no such package')")
    source = "from capjax.data.pictures.clips import load_clip; load_clip('clip.mp4', 2)"
    (tmp_path / "clip.mp4").write_bytes(b"x")
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "pip install 'capjax[video]'" in done.stderr
