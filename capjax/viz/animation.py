"""Clips with their maps, moving: GIF by Pillow, MP4 by PyAV."""

import fractions
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from capjax.explainers.scaling import Values, scale
from capjax.types import Explanation
from capjax.viz import parts
from capjax.viz.fonts.lettering import FontFiles, Lettering
from capjax.viz.overlay import Scope
from capjax.viz.strips import LABEL, Panel, pictures, reduced, word_panels, wrapped

TIMELINE = 12
"""Height in pixels of the row of frames under the picture."""

NOW = (224, 101, 31)

ALONE, BESIDE = 240, 120


def save_animation(
    path: str | os.PathLike[str],
    frames: UInt8[np.ndarray, "F H W 3"],
    explanation: Explanation,
    *,
    word: int | str | None = None,
    fps: float = 4.0,
    height: int | None = None,
    columns: int = 4,
    cmap: str = "heat",
    alpha: float = 0.6,
    scope: Scope = "word",
    values: Values | None = None,
    font: FontFiles | None = None,
) -> None:
    """Writes an animation of a clip: as many pictures as frames, maps over them.

    Underneath runs a row of all frames, the present one marked; with one word it is grey, darker
    for what is more relevant to that word (white to black between its extremes).

    Args:
      path: ending in .gif (needs nothing more) or .mp4 (needs the extra `video`).
      frames: of the clip, whole and upright, of any size.
      explanation: of these frames.
      word: the number of one word or, as text, a word or phrase, the first of that text; default
        the clip and all words, and what else was asked about, beside each other.
      fps: pictures a second.
      height: of a panel, in pixels; default `ALONE` for one word, `BESIDE` for all.
      columns: most panels beside each other.
      cmap, alpha, scope, values, font: as `word_strip`; colours span a word's values in all frames.

    Raises:
      ValueError: another ending, a photograph, other frames than the maps', or no such word.
      ImportError: PyAV is not installed; the text says how to get it.
    """
    target = pathlib.Path(path)
    if target.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"got {target.name!r}; an animation ends in .gif or .mp4")
    lettering = Lettering.of(font)
    part = parts.all_parts(explanation).shown(explanation, values)
    if part.frames < 2 or len(frames) != part.frames:
        raise ValueError(
            f"got maps of {part.frames} frames and {len(frames)} frames; expected a clip of two or "
            "more, and maps of it"
        )
    if word is not None:
        part = _only(part, word)
    height = height or (BESIDE if word is None else ALONE)
    look = {"scope": scope, "limits": None, "smooth": 0.0}
    inks = {"cmap": cmap, "alpha": alpha}
    room = math.ceil(lettering.width(f"frame {len(frames)}", LABEL))  # one size for all frames

    def sheets() -> Iterator[Image.Image]:
        for frame, picture in enumerate(pictures(frames)):
            small = reduced(picture, height)
            panels = word_panels(small, part, explanation.geometry, look, inks, frame=frame)
            if word is None:
                panels.insert(0, Panel(small, f"frame {frame + 1}"))
            sheet = wrapped(panels, columns, lettering, height=height, room=room)
            yield _with_timeline(sheet, part, frame, graded=word is not None)

    if target.suffix.lower() == ".gif":
        first, *others = sheets()
        wait = round(1000 / fps)
        first.save(target, "GIF", save_all=True, append_images=others, duration=wait, loop=0)
    else:
        _save_mp4(target, sheets(), fps)


def _only(part: parts.Parts, word: int | str) -> parts.Parts:
    """One word or phrase."""
    count = len(part.labels)
    known = part.labels if isinstance(word, str) else range(count)
    if word not in known:
        raise ValueError(
            f"no word {word!r}; choose one of: {', '.join(part.labels)}, or a number below {count}"
        )
    at = part.labels.index(word) if isinstance(word, str) else word
    return parts.Parts(
        part.labels[at : at + 1],
        part.maps[at : at + 1],
        part.relevance[at : at + 1],
        part.spans[at : at + 1],
        part.score[at : at + 1],
        part.unit,
    )


def _with_timeline(
    sheet: Image.Image, part: parts.Parts, frame: int, *, graded: bool
) -> Image.Image:
    """The sheet on paper of even sides, which video needs, with the row of frames underneath."""
    size = (sheet.width + sheet.width % 2, sheet.height + TIMELINE + sheet.height % 2)
    paper = Image.new("RGB", size, (255, 255, 255))
    paper.paste(sheet)
    draw = ImageDraw.Draw(paper)
    count = part.frames
    values = np.zeros(count)
    if graded:
        values = scale(part.relevance[:1, :, None, None])[0, :, 0, 0]
    edges = np.round(np.linspace(0, size[0] - 1, count + 1)).astype(int).tolist()
    top, bottom = size[1] - TIMELINE, size[1] - 1
    for index, value in enumerate(values):
        grey = round(255 * (1 - float(value)))
        box = (edges[index], top, edges[index + 1], bottom)
        draw.rectangle(box, fill=(grey, grey, grey), outline=(200, 200, 200))
    draw.rectangle((edges[frame], top, edges[frame + 1], bottom), outline=NOW, width=3)
    return paper


def _save_mp4(path: pathlib.Path, sheets: Iterator[Image.Image], fps: float) -> None:
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "MP4 files are written with PyAV, which is not installed; "
            "run: pip install 'capjax[video]', or save a .gif"
        ) from error
    # FFmpeg may be built without x264; MPEG-4 part 2 is in every build.
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w") as container:
        rate = fractions.Fraction(fps).limit_denominator(1000)
        stream: Any = container.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for number, sheet in enumerate(sheets):
            if number == 0:
                stream.width, stream.height = sheet.size
            container.mux(stream.encode(av.VideoFrame.from_image(sheet)))
        container.mux(stream.encode())
