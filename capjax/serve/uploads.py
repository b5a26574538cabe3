"""Uploaded bytes to a picture, suspiciously: nothing is decoded before its header is judged.

The content alone says what a file is; neither its name nor its stated type is believed.
"""

import dataclasses
import hashlib
import io

from PIL import Image

from capjax.data.pictures.given import SHOWN_SIDE, Picture, read_picture
from capjax.data.pictures.images import UnreadableFileError, reason
from capjax.data.pictures.opening import FORMATS, opened
from capjax.runtime.fingerprint import Fingerprint
from capjax.serve.clips import VIDEOS, check_frames, check_video, video_kind
from capjax.serve.limits import Limits, RefusedError
from capjax.types import Preprocessing

TAKEN = tuple(name for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF") if name in FORMATS)
"""Formats that browsers show; others only widen what a stranger's bytes can reach."""
SEVERAL = "MPO"
"""What Pillow calls a JPEG that holds previews or a second view behind the picture, as many cameras
write it; browsers show the picture, and so does the page."""


@dataclasses.dataclass(frozen=True, eq=False)
class Upload:
    """One picture, known to be whole. The file itself is not kept.

    Attributes:
      name: what the client calls it; nothing is opened by it.
      picture: what the encoder sees, and what people see.
      known: size and digest of the content.
    """

    name: str
    picture: Picture
    known: Fingerprint


def read_upload(content: bytes, name: str, preprocessing: Preprocessing, limits: Limits) -> Upload:
    """The picture in a file, or the clip, for a captioner of clips.

    Raises:
      RefusedError: no bytes (400), none of `TAKEN` (415), too many bytes or pixels (413), or a file
        that is damaged (422).
    """
    if not content:
        raise RefusedError(400, "the request has no body; send the bytes of one picture")
    check_length(len(content), limits)
    clips = preprocessing.frames > 0
    if clips and video_kind(content) is not None:
        check_video(content, limits)
        return _read(content, name, preprocessing)
    expected = f"expected a picture of one of these kinds: {', '.join(taken(clips))}"
    try:
        with opened(_named(content, name)) as image:
            kind, (width, height) = image.format, image.size
            if clips:
                check_frames(image, limits)
    except RefusedError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RefusedError(413, f"{error}; send a smaller copy") from error
    except Exception as error:  # Pillow's plug-ins raise nearly anything on damaged headers
        why = reason(_named(content, name), error)
        raise RefusedError(415, f"the body is no picture: {why}; {expected}") from error
    if kind not in (*TAKEN, SEVERAL):
        raise RefusedError(415, f"the body is a picture of the kind {kind}; {expected}")
    if width * height > limits.pixels:
        raise RefusedError(
            413,
            f"the picture has {width} x {height} pixels and this server takes up to "
            f"{limits.pixels:,}; send a smaller copy",
        )
    return _read(content, name, preprocessing)


def taken(clips: bool) -> tuple[str, ...]:
    """Formats that a captioner of pictures, or of clips, is sent."""
    return (*TAKEN, *VIDEOS) if clips else TAKEN


def _read(content: bytes, name: str, preprocessing: Preprocessing) -> Upload:
    try:
        picture = read_picture(_named(content, name), preprocessing, side=SHOWN_SIDE)
    except UnreadableFileError as error:
        raise RefusedError(422, f"the picture is damaged: {error}") from error
    known = Fingerprint(len(content), hashlib.sha256(content).hexdigest(), None)
    return Upload(name, picture, known)


def check_length(length: int, limits: Limits) -> None:
    """Raises RefusedError (413) for more bytes than are taken."""
    if length > limits.bytes:
        raise RefusedError(
            413,
            f"the body has more than {limits.bytes:,} bytes, which this server does not take; "
            "send a smaller copy",
        )


def check_name(name: str) -> str:
    """A name as it stands in the answer; raises RefusedError (422) for one that is a path."""
    if not name or name in (".", "..") or set(name) & set("/\\:") or not name.isprintable():
        raise RefusedError(
            422, f"got the name {name[:40]!r}; expected a plain name of the picture, without a path"
        )
    return name


def _named(content: bytes, name: str) -> io.BytesIO:
    stream = io.BytesIO(content)
    stream.name = name
    return stream
