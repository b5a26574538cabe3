"""Photographs with what people and captioners say of them, as one picture."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from capjax.viz.fonts.lettering import LINE, FontFiles, Lettering

WIDTH, HEIGHT, GAP = 232, 174, 14
"""Pixels of a photograph's room, and between two."""
TITLE, LABEL, TEXT, SPACE = 20, 14, 12, 4
INK, PALE, PAPER, RULE = (20, 20, 20), (110, 110, 110), (255, 255, 255), (215, 215, 215)
LIGHT = (244, 244, 244)


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """One photograph of a gallery.

    Attributes:
      name: of its file.
      picture: the photograph.
      lines: (who, sentence, number) of each sentence about it; the number is empty where it has
        none.
    """

    name: str
    picture: Image.Image
    lines: tuple[tuple[str, str, str], ...]


def gallery(
    sections: Mapping[str, Sequence[Shown]],
    *,
    title: str,
    about: str,
    font: FontFiles | None = None,
) -> Image.Image:
    """Sections one under the other, their photographs side by side, sentences under each.

    Args:
      sections: heading -> photographs, as many in each.
      title, about: above all, in large and in small letters.
      font: a file with letters that no font of this machine has, or several in order of preference.

    Raises:
      ValueError: no photograph.
    """
    columns = max((len(own) for own in sections.values()), default=0)
    if not columns:
        raise ValueError("got no photograph for the gallery; give one section with one or more")
    lettering = Lettering.of(font)
    width = GAP + columns * (WIDTH + GAP)
    head = [(line, TITLE, INK) for line in lettering.lines(title, TITLE, width - 2 * GAP)]
    head += [(line, TEXT, PALE) for line in lettering.lines(about, TEXT, width - 2 * GAP)]
    texts = {heading: [_lines(one, lettering) for one in own] for heading, own in sections.items()}
    heights = [
        round(LINE * LABEL + GAP + HEIGHT + GAP / 2 + max(map(_height, own)) + GAP)
        for own in texts.values()
    ]
    top = math.ceil(GAP + sum(LINE * size for _, size, _ in head)) + GAP
    sheet = Image.new("RGB", (width, top + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, lettering, (GAP, GAP), head)
    for (heading, own), height in zip(sections.items(), heights, strict=True):
        draw.line((GAP, top, width - GAP, top), fill=RULE)
        lettering.draw(draw, (GAP, top + 4), heading, size=LABEL, fill=INK)
        below = top + round(LINE * LABEL) + GAP // 2
        for column, (one, lines) in enumerate(zip(own, texts[heading], strict=True)):
            left = GAP + column * (WIDTH + GAP)
            sheet.paste(_framed(one.picture), (left, below))
            _write(draw, lettering, (left, below + HEIGHT + GAP // 2), lines)
        top += height
    return sheet


_Line = tuple[str, int, tuple[int, int, int]]


def _lines(one: Shown, lettering: Lettering) -> list[_Line]:
    """Who speaks and the number in pale letters, the sentence under them."""
    found: list[_Line] = [(line, TEXT, PALE) for line in lettering.lines(one.name, TEXT, WIDTH)]
    for who, sentence, number in one.lines:
        label = f"{who}  {number}" if number else who
        found.append(("", SPACE, PALE))
        found += [(line, TEXT, PALE) for line in lettering.lines(label, TEXT, WIDTH)]
        said = sentence or "(nothing)"
        found += [(line, LABEL, INK) for line in lettering.lines(said, LABEL, WIDTH)]
    return found


def _height(lines: Sequence[_Line]) -> float:
    return sum(LINE * size for _, size, _ in lines)


def _write(
    draw: ImageDraw.ImageDraw,
    lettering: Lettering,
    at: tuple[float, float],
    lines: Sequence[_Line],
) -> None:
    left, top = at
    for text, size, fill in lines:
        if text:
            lettering.draw(draw, (left, top), text, size=size, fill=fill)
        top += LINE * size


def _framed(picture: Image.Image) -> Image.Image:
    """The whole photograph in the middle of its room."""
    scale = min(WIDTH / picture.width, HEIGHT / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    frame = Image.new("RGB", (WIDTH, HEIGHT), LIGHT)
    small = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    frame.paste(small, ((WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    return frame
