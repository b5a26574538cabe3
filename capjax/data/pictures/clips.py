"""Video files to what an encoder sees: a fixed number of upright RGB frames, evenly spread.

Any container and codec that PyAV (FFmpeg) reads, animated GIF, PNG and WebP, and still images,
which are clips of one frame. Videos need the extra `video`. A recording that simply stops, as MKV,
WebM and MPEG may, is the clip that it holds. Frames are spread over a clip's time, not over their
numbers: `capjax.data.pictures.frame_times` has the rule.

Letters: F frames asked for, H W the frame, N frames that decode.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Generic, NoReturn, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from capjax.data.captions.records import is_foreign_name, is_image_name
from capjax.data.pictures.frame_times import choose_frames, frame_indices
from capjax.data.pictures.images import UnreadableFileError, from_pillow, prepare, reason
from capjax.data.pictures.opening import called, check_content, opened
from capjax.types import Geometry, Preprocessing

ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
"""Pillow's formats whose further frames are later moments; a TIFF's are other pages."""
# A playlist is a container too: without this, a text file could make FFmpeg fetch addresses.
PROTOCOLS = "file"
DEFAULT_RATE = 25.0
"""Frames a second where neither frames nor container tell time, as FFmpeg assumes."""

ClipFile = str | os.PathLike[str] | BinaryIO
Kept = TypeVar("Kept")


@dataclasses.dataclass(frozen=True)
class Clip:
    """Frames of a clip and when they are shown.

    Attributes:
      frames: [F H W 3] upright RGB.
      seconds: [F] since the clip's first frame.
      duration: of the whole clip in seconds, its last frame included; 0 for a still image.
    """

    frames: UInt8[np.ndarray, "F H W 3"]
    seconds: Float[np.ndarray, " F"]
    duration: float


@dataclasses.dataclass(frozen=True)
class Sample(Generic[Kept]):
    """What `sample_clip` kept: one entry a frame asked for; `seconds`, `duration` as in `Clip`."""

    kept: list[Kept]
    seconds: Float[np.ndarray, " F"]
    duration: float


def load_clip(file: ClipFile, frames: int) -> Clip:
    """`frames` frames of a clip at full size.

    Args:
      file: path, or the file's content as a seekable binary stream.
      frames: how many, F.

    Raises:
      UnreadableFileError: a file that is missing, empty, damaged, cut short, or without a picture
        track; the text names it and why.
      ImportError: PyAV is not installed.
    """
    sample = sample_clip(file, frames, keep=lambda frame: frame)
    return Clip(np.stack(sample.kept), sample.seconds, sample.duration)


def load_prepared_clip(
    file: ClipFile, preprocessing: Preprocessing, *, grid: tuple[int, int] = (1, 1)
) -> tuple[UInt8[np.ndarray, "F H2 W2 3"], Geometry]:
    """The frames of a clip as the encoder wants them, and where its grid lies on each.

    Args:
      file: path, or the file's content as a seekable binary stream.
      preprocessing: of a captioner of clips: `frames` > 0.
      grid: (h, w) of the feature map, for the geometry (`Captioner.grid`).

    Raises:
      ValueError: `preprocessing` is of images.
      UnreadableFileError, ImportError: as `load_clip`.
    """
    if not preprocessing.frames:
        raise ValueError(
            f"{called(file)} is read as a clip, but this captioner reads images "
            "(Preprocessing.frames is 0); give images, or a captioner trained on clips"
        )
    sample = sample_clip(
        file, preprocessing.frames, keep=lambda frame: prepare(frame, preprocessing, grid=grid)
    )
    return np.stack([frame for frame, _ in sample.kept]), sample.kept[0][1]


def prepare_clip(
    frames: UInt8[np.ndarray, "N H W 3"], preprocessing: Preprocessing
) -> tuple[UInt8[np.ndarray, "F H2 W2 3"], Geometry]:
    """`load_prepared_clip` of frames in memory; N may be any number, 1 included."""
    chosen = frame_indices(len(frames), preprocessing.frames)
    prepared = {index: prepare(frames[index], preprocessing) for index in set(chosen.tolist())}
    return np.stack([prepared[index][0] for index in chosen.tolist()]), prepared[int(chosen[0])][1]


def sample_clip(
    file: ClipFile, count: int, keep: Callable[[UInt8[np.ndarray, "H W 3"]], Kept]
) -> Sample[Kept]:
    """Applies `keep` to `count` frames that `choose_frames` chooses from those that decode.

    The frames and their times are known only once all are decoded: containers often claim others,
    or none. So packets are read first, which decodes nothing, and the clip is decoded as if each
    gave a frame, keeping only what is asked for. Where that turns out wrong (hidden or
    undecodable frames), it is decoded once more. Memory holds `count` kept frames and no more,
    however long the clip.

    Args:
      file: path, or the file's content as a seekable binary stream.
      count: frames asked for, F.
      keep: applied once to each chosen frame, upright RGB at full size. Frames of another size
        than the first are scaled to it. A pixel aspect ratio other than 1 is not applied.

    Raises:
      UnreadableFileError, ImportError: as `load_clip`.
    """
    frame_indices(1, count)
    try:
        if _is_picture(file):
            return _sample(_picture_frames, file, _picture_times(file), count, keep)
        check_content(file)
        import_pyav()
        return _sample(_video_frames, file, _packet_times(file), count, keep)
    except ImportError:
        raise
    except Exception as error:
        # Demuxers and decoders raise nearly anything on damaged input, and one file must not end
        # a run.
        _refuse(file, error)


def import_pyav() -> Any:
    """PyAV, or an ImportError that says how to install it."""
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "clips need PyAV; install it with: pip install 'capjax[video]'"
        ) from error
    return av


@dataclasses.dataclass(frozen=True)
class _Moment:
    """One decoded frame: when it begins and for how long it shows, and its pixels on demand."""

    begin: float
    length: float
    pixels: Callable[[], np.ndarray]


_Times = tuple[list[float], float]
"""When each frame begins, and for how long the last one shows, in seconds."""


def _sample(
    decode: Callable[[Any], Iterator[_Moment]],
    file: ClipFile,
    expected: _Times,
    count: int,
    keep: Callable[[np.ndarray], Kept],
) -> Sample[Kept]:
    for _ in range(2):
        chosen = choose_frames(*expected, count).indices.tolist() if expected[0] else []
        wanted = set(chosen)
        kept: dict[int, Kept] = {}
        begins, last = list[float](), 0.0
        with contextlib.closing(decode(file)) as moments:  # type: ignore[type-var]
            for index, moment in enumerate(moments):
                if index in wanted:
                    kept[index] = keep(moment.pixels())
                begins.append(moment.begin)
                last = moment.length
        if not begins:
            raise ValueError("not one frame of it could be decoded")
        found = choose_frames(begins, last, count)
        if found.indices.tolist() == chosen:
            duration = begins[-1] + last - begins[0]
            return Sample([kept[index] for index in chosen], found.seconds, duration)
        expected = (begins, last)
    raise ValueError("it decodes to other frames each time; is it being written?")


def _is_picture(file: ClipFile) -> bool:
    if not isinstance(file, (str, os.PathLike)):  # its content alone says what it is
        with contextlib.suppress(Exception), opened(file):
            return True
        return False
    # FFmpeg would read a HEIC photograph too, but only one of its tiles.
    return is_image_name(os.fspath(file)) or is_foreign_name(os.fspath(file))


def _picture_times(file: ClipFile) -> _Times:
    moments = list(_picture_frames(file))
    return [moment.begin for moment in moments], moments[-1].length


def _picture_frames(file: ClipFile) -> Iterator[_Moment]:
    begin = 0.0
    with opened(file) as image:
        frames = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
        for index in range(frames):
            image.seek(index)
            length = float(image.info.get("duration", 0)) / 1000
            yield _Moment(begin, length, lambda: from_pillow(image))
            begin += length


@contextlib.contextmanager
def _opened(file: ClipFile) -> Iterator[tuple[Any, Any]]:
    """The container and its best picture track."""
    av = import_pyav()
    if isinstance(file, (str, os.PathLike)):
        source: Any = f"file:{os.fspath(file)}"  # a name with a colon would be an address
    else:
        file.seek(0)
        source = file
    # With `options`, older PyAV crashes on files that reveal their streams late, such as MPEG.
    with av.open(source, container_options={"protocol_whitelist": PROTOCOLS}) as container:
        # Cover art is a picture track too.
        cover = av.stream.Disposition.attached_pic
        tracks = [track for track in container.streams.video if not track.disposition & cover]
        if not tracks:
            raise ValueError("it has no picture track")
        best = container.streams.best("video")
        yield container, best if best in tracks else tracks[0]


def _packet_times(file: ClipFile) -> _Times:
    with _opened(file) as (container, track):
        rate = _rate(track)
        found: list[tuple[float, float]] = []
        for packet in container.demux(track):
            if packet.is_corrupt:
                raise ValueError("it is cut short or damaged")
            if packet.size > 0:
                known = packet.pts is not None
                begin = float(packet.pts * packet.time_base) if known else len(found) / rate
                found.append((begin, _length(packet, rate)))
    found.sort()  # packets come in the order of decoding
    return [begin for begin, _ in found], found[-1][1] if found else 0.0


def _video_frames(file: ClipFile) -> Iterator[_Moment]:
    with _opened(file) as (container, track):
        rate = _rate(track)
        size = None
        for index, frame in enumerate(container.decode(track)):
            size = size or (frame.width, frame.height)
            begin = index / rate if frame.time is None else frame.time
            pixels = functools.partial(_upright, frame, size)
            yield _Moment(begin, _length(frame, rate), pixels)


def _rate(track: Any) -> float:
    return float(track.average_rate or track.guessed_rate or DEFAULT_RATE)


def _length(part: Any, rate: float) -> float:
    """Seconds for which a packet or a frame shows."""
    return float(part.duration * part.time_base) if part.duration else 1 / rate


def _upright(frame: Any, size: tuple[int, int]) -> np.ndarray:
    """RGB pixels [H W 3] of a frame scaled to `size` (width, height), turned as it asks for."""
    scaled = frame.reformat(width=size[0], height=size[1], format="rgb24")
    return np.ascontiguousarray(_turned(scaled.to_ndarray(), _display_matrix(frame)))


def _display_matrix(frame: Any) -> np.ndarray:
    """[2 2] of FFmpeg's display matrix: shown (x, y) = stored (x, y) @ matrix, up to a shift."""
    # By its key: iterating gives values before PyAV 19, keys from then on.
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2)
    return np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]].reshape(2, 2)


def _turned(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The picture under the quarter turn or flip nearest to `matrix`."""
    (a, b), (c, d) = matrix.tolist()
    across, down = a, d
    if abs(b) > abs(a):  # stored columns are shown as rows
        pixels, across, down = pixels.transpose(1, 0, 2), c, b
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def _refuse(file: ClipFile, error: Exception) -> NoReturn:
    if _is_picture(file):
        why = reason(file, error)
    elif isinstance(error, FileNotFoundError):
        why = "there is no such file"
    elif type(error) is ValueError:
        why = str(error)
    else:
        # FFmpeg's errors repeat a name that is not the one given.
        why = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
    raise UnreadableFileError(
        f"cannot read clip {called(file)}: {why}; expected a whole video file (MP4, MOV, AVI, "
        "MKV, WebM, MPEG, WMV, FLV …), an animated GIF or an image"
    ) from error
