"""Small clips of every kind, made here. Frame i is a flat colour that tells i; see `shade`."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

CODECS = {
    ".mp4": "libx264",
    ".m4v": "mpeg4",
    ".avi": "mpeg4",
    ".mkv": "libx264",
    ".mov": "mjpeg",
    ".webm": "libvpx",
    ".mpg": "mpeg2video",
    ".mpeg": "mpeg1video",
    ".wmv": "wmv2",
    ".flv": "flv",
}
RATE = 25


def shade(index: int) -> int:
    """The grey of frame `index`, so far from its neighbours' that no codec mixes them up."""
    return 20 + 40 * (index % 6)


def index_of(frame: np.ndarray) -> int:
    """The number of a frame of `grey_frames`, modulo 6."""
    return round((float(frame.mean()) - 20) / 40)


def grey_frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    return [np.full((height, width, 3), shade(index), np.uint8) for index in range(count)]


def write_movie(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "",
    milliseconds: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encodes frames; with `milliseconds`, each is shown from its own time on."""
    import av

    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if stream.codec_context.name == "mjpeg" else "yuv420p"
        if stream.codec_context.name == "libx264":
            stream.codec_context.gop_size = 12
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if milliseconds:
                frame.pts, frame.time_base = milliseconds[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_tone(path: Path) -> Path:
    """A second of silence without any picture."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        sound.rate, sound.pts = 16000, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Writes (a, b, c, d) into an MP4's track header: shown (x, y) = (ax + cy, bx + dy)."""
    raw = bytearray(path.read_bytes())
    at = raw.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2: the matrix of a version 0 box
    assert struct.unpack_from(">9i", raw, at) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (entry << 16 for entry in matrix)
    struct.pack_into(">9i", raw, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)
