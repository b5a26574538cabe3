"""Clips are sent to a captioner of clips as pictures are to others, within limits of their own."""

import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

import capjax
from tests.serve.malformed import malformed
from tests.serve.serving import animated, held, of_clips, picture, post, running, served

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from capjax.serve.app import make_app  # noqa: E402
from capjax.serve.guard import Access  # noqa: E402
from capjax.serve.limits import Limits, RefusedError  # noqa: E402
from capjax.serve.uploads import read_upload  # noqa: E402
from capjax.types import Preprocessing  # noqa: E402

LIMITS = Limits(frames=20, moving_pixels=100_000)
CLIPS = Preprocessing((64, 64), frames=4)


def video(frames=8, size=(48, 36)):
    """The same as MP4."""
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), 30 * (number % 8), np.uint8)
            for packet in track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in track.encode():
            container.mux(packet)
    return stream.getvalue()


@pytest.mark.parametrize("make", [animated, video])
def test_frames_are_spread_over_the_clip(make):
    upload = read_upload(make(), "clip", CLIPS, LIMITS)
    assert upload.picture.prepared.shape == (4, 64, 64, 3)
    assert upload.picture.shown.shape == (4, 36, 48, 3)
    assert upload.picture.seconds == pytest.approx([0, 0.2, 0.5, 0.7], abs=0.11)
    assert len({frame.tobytes() for frame in upload.picture.prepared}) == 4


def test_pictures_are_clips_of_one_frame_and_keep_their_orientation():
    stream = io.BytesIO()
    own = Image.new("RGB", (60, 30), "red")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees
    own.save(stream, "JPEG", exif=turned)
    upload = read_upload(stream.getvalue(), "turned.jpg", CLIPS, LIMITS)
    assert upload.picture.original == (60, 30)
    assert (upload.picture.prepared == upload.picture.prepared[:1]).all()


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (lambda: animated(21), 413, "more than 20 frames"),
        (lambda: video(25), 413, "more than 20 frames"),
        (lambda: animated(8, (200, 100)), 413, "of all frames together"),
        (lambda: video(8, (200, 100)), 413, "of all frames together"),
        (lambda: video()[:900], 422, "damaged"),
        (lambda: b"\0\0\0\x18ftypmp42" + b"\0" * 99, 422, "damaged|no picture track"),
        (lambda: b"\x1a\x45\xdf\xa3" + b"\0" * 99, 422, "damaged|no picture track"),
        (lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415, "no picture"),
        (lambda: b"ffconcat version 1.0\nfile /etc/passwd\n", 415, "no picture"),
    ],
    ids=["gif", "mp4", "wide-gif", "wide-mp4", "cut", "mp4-none", "webm-none", "list", "concat"],
)
def test_other_clips_are_refused(content, status, told):
    with pytest.raises(RefusedError, match=told) as caught:
        read_upload(content(), "clip", CLIPS, LIMITS)
    assert caught.value.status == status


def test_videos_are_no_pictures():
    with pytest.raises(RefusedError, match="a clip") as caught:
        read_upload(video(), "clip.mp4", dataclasses.replace(CLIPS, frames=0), LIMITS)
    assert caught.value.status == 415


def test_malformed_uploads_fail_no_captioner_of_clips():
    refused = 0
    for name, content in malformed():
        try:
            read_upload(content, name, CLIPS, Limits(bytes=200_000, pixels=1_000_000))
        except RefusedError as error:
            refused += 1
            assert error.status in (400, 413, 415, 422), name
    assert refused > 100


def test_a_clip_is_explained_frame_by_frame():
    captioner = of_clips(frames=3)
    model = served("clips", captioner=captioner)
    with running(make_app(held(model), Limits(), Access(), warm=False)) as port:
        path = "/explain?methods=caption_guided&query=two+dogs+play&view=true"
        status, answer = post(port, path, animated(12))
        assert status == 200, answer
        (expected,) = capjax.explain(
            captioner, animated(12), methods="caption_guided", query="two dogs play", max_len=5
        )
        found = answer["methods"]["caption_guided"]["maps"]
        values = np.frombuffer(base64.b64decode(found["float32"]), "<f4").reshape(found["shape"])
        assert found["shape"][:2] == [3, 3]
        np.testing.assert_allclose(values, expected["caption_guided"].maps, atol=1e-4)
        assert "data-play" in answer["view"]["html"]
        status, answer = post(port, "/counterfactual?at=0.5,0.5", picture())
        assert status == 422 and "captioner of images" in answer["detail"]
        status, answer = post(port, "/adversarial?attack=fgsm", animated(4))
        assert status == 200 and answer["numbers"]["largest change"] <= 8, answer
