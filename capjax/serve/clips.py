"""Uploaded clips, judged by their headers before a frame of them is decoded."""

import importlib.util
import io
from typing import Any

from PIL import Image

from capjax.data.pictures.clips import ANIMATED, import_pyav
from capjax.serve.limits import Limits, RefusedError

VIDEOS = ("MP4", "WebM") if importlib.util.find_spec("av") else ()
"""Containers that browsers play; FFmpeg, behind PyAV, would open far more."""
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
"""Of files that begin as MP4 does and hold photographs."""


def video_kind(content: bytes) -> str | None:
    """Which of `VIDEOS` a file is; None for another one."""
    kind = None
    if content[4:8] == b"ftyp" and content[8:12] not in _BRANDS:
        kind = "MP4"
    elif content[:4] == b"\x1a\x45\xdf\xa3":
        kind = "WebM"
    return kind if kind in VIDEOS else None


def check_frames(image: Image.Image, limits: Limits) -> None:
    """Judges a picture that may move.

    Raises:
      RefusedError: too many frames, or pixels of all of them (413).
    """
    frames = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
    _check(frames, *image.size, limits)


def check_video(content: bytes, limits: Limits) -> None:
    """Judges a video by its tracks and packets; nothing is decoded.

    Raises:
      RefusedError: it is damaged or has no picture track (422), or has too many frames or pixels
        (413).
    """
    av = import_pyav()
    options = {"protocol_whitelist": "file"}  # as where it is decoded: no addresses
    try:
        with av.open(io.BytesIO(content), container_options=options) as container:
            if not container.streams.video:
                raise ValueError("it has no picture track")
            for track in container.streams.video:
                _check(1, track.width, track.height, limits)
            _count(container, limits)
    except RefusedError:
        raise
    except Exception as error:  # demuxers raise nearly anything on damaged input
        why = getattr(error, "strerror", None) or error
        raise RefusedError(
            422, f"the clip is damaged: {why}; expected a whole file of {' or '.join(VIDEOS)}"
        ) from error


def _count(container: Any, limits: Limits) -> None:
    """Raises RefusedError (413) once there are too many frames; packets are read, not decoded."""
    width, height = (
        max(getattr(track, side) for track in container.streams.video)
        for side in ("width", "height")
    )
    number = 0
    for number, _ in enumerate(container.demux(video=0), 1):
        if number > limits.frames:
            _check(number, width, height, limits)
    _check(number, width, height, limits)


def _check(frames: int, width: int, height: int, limits: Limits) -> None:
    pixels = width * height
    if pixels > limits.pixels or frames > limits.frames or frames * pixels > limits.moving_pixels:
        raise RefusedError(
            413,
            f"the clip has {'more than ' * (frames > limits.frames)}{min(frames, limits.frames)} "
            f"frames of {width} x {height} pixels, and this server takes up to {limits.frames} "
            f"frames and {limits.moving_pixels:,} pixels of all frames together; send a shorter "
            "or a smaller one",
        )
