"""Objects shaded by how much they matter, as in Fosado et al., and captions with and without."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from capjax.studies.counterfactual.alignment import changes
from capjax.studies.counterfactual.measures import BITS
from capjax.studies.counterfactual.record import Counterfactuals, Without
from capjax.viz.colormaps import colour_table
from capjax.viz.fonts.lettering import LINE, Lettering
from capjax.viz.overlay import drawn, paint

DIM, OPACITY, LEAST = 0.35, 0.65, 0.1
"""Light left to what is no object; of the colour on objects; lightest place on the colours, so that
the least object of all is still seen."""
LONGEST = 480
"""Pixels of the longest side."""
LABEL, TEXT, GAP = 13, 14, 8
TILE = 220
"""Height of a photograph on the sheet."""
INK, PALE, PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)
LOST, GAINED = (178, 24, 43), (27, 120, 55)
MOST_ROWS = 4
"""Objects on the sheet."""
_LOOKED = "where the captioner looked"
HEADINGS = {2: ("with it", "without it"), 4: ("with it", _LOOKED, "without it", _LOOKED)}
"""Of the sheet, by its columns."""


def pictures(record: Counterfactuals) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
    """Title -> picture; the first one is the photograph, so that places on it can be tapped."""
    return {
        f"importance: {record.distance}": importance(record, record.distance),
        f"importance: {BITS}": importance(record, BITS),
        "with and without": sheet(record),
    }


def importance(record: Counterfactuals, measure: str) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph, dimmed, each object's mask coloured by its importance among the others.

    Colours go from 0 to the most important object, so that an object without any importance looks
    so (theirs go from the least important one); the numbers on them are raw. Smaller objects
    lie over larger ones, and names that find no room are left out, the least important ones first.

    Args:
      record: of one photograph.
      measure: among the numbers of its objects.
    """
    small = _small(Image.fromarray(record.image))
    shade = np.asarray(small.convert("L"), np.float32)[..., None] * DIM + 255 * (1 - DIM) * 0.35
    canvas = np.repeat(shade, 3, axis=2)
    original = np.asarray(small, np.float32)
    own = sorted(record.first, key=lambda each: -each.region.area)
    values = np.array([each.numbers[measure] or 0.0 for each in own])
    inks = colour_table("heat")[_levels(values)].astype(np.float32)
    masks = [_mask(each.region.mask, small.size) for each in own]
    for mask, ink in zip(masks, inks, strict=True):
        mixed = OPACITY * ink + (1 - OPACITY) * original
        canvas = np.where(mask[..., None], mixed, canvas)
        canvas = np.where(_rim(mask)[..., None], np.float32(255), canvas)
    sheet = Image.fromarray(np.rint(canvas).astype(np.uint8))
    draw, lettering = ImageDraw.Draw(sheet), Lettering.of(None)
    taken: list[tuple[float, float, float, float]] = []
    for at in np.argsort(-values, kind="stable"):
        _tag(draw, lettering, masks[at], f"{own[at].title} {values[at]:.2f}", sheet.size, taken)
    return np.asarray(sheet)


def _levels(values: Float[np.ndarray, " N"]) -> np.ndarray:
    """Places on the colours, 0 to 255: from 0 to the most important object."""
    place = np.clip(values / max(float(values.max(initial=0)), 1e-12), 0, 1)
    place = LEAST + (1 - LEAST) * place
    levels: np.ndarray = np.rint(255 * place).astype(int)
    return levels


def _small(image: Image.Image, longest: int = LONGEST) -> Image.Image:
    scale = longest / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _mask(mask: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    resized = Image.fromarray(255 * mask.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized) > 127


def _rim(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels of a mask next to others, at the picture's border too."""
    wide = np.pad(mask, 1)
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inner


def _tag(
    draw: ImageDraw.ImageDraw,
    lettering: Lettering,
    mask: Bool[np.ndarray, "h w"],
    text: str,
    size: tuple[int, int],
    taken: list[tuple[float, float, float, float]],
) -> None:
    """The object's name and number, dark on light, over its middle or, where that is taken, under
    what is there; what would leave the picture is left out."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return
    width, height = lettering.width(text, LABEL) + 6, LINE * LABEL
    left = min(max(0, float(columns.mean()) - width / 2), max(0, size[0] - width))
    top = min(max(0, float(rows.mean()) - height / 2), max(0, size[1] - height))
    box = (left, top, left + width, top + height)
    while over := [own for own in taken if _overlap(own, box)]:
        top = max(own[3] for own in over) + 1
        box = (left, top, left + width, top + height)
    if box[3] > size[1]:
        return
    taken.append(box)
    draw.rectangle(box, fill=PAPER)
    lettering.draw(draw, (left + 3, top), text, size=LABEL, fill=INK)


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]


def sheet(record: Counterfactuals) -> UInt8[np.ndarray, "H W 3"]:
    """A row for each of the most important objects: with it and without it, what is said, and
    where the captioner looked, the mean over the words, before and after."""
    rows = sorted(record.first, key=lambda one: -(one.numbers[record.distance] or 0.0))
    panels = [_row(record, own) for own in rows[:MOST_ROWS]]
    lettering = Lettering.of(None)
    width = sum(panel.width for panel in panels[0]) + GAP * (len(panels[0]) + 1)
    blocks = [_written(record, own, lettering, width - 2 * GAP) for own in rows[:MOST_ROWS]]
    heights = [
        row[0].height + block.height + 2 * GAP for row, block in zip(panels, blocks, strict=True)
    ]
    heading = round(LINE * LABEL)
    page = Image.new("RGB", (width, heading + sum(heights) + GAP), PAPER)
    draw, left = ImageDraw.Draw(page), float(GAP)
    for panel, title in zip(panels[0], HEADINGS[len(panels[0])], strict=True):
        lettering.draw(draw, (left, GAP // 2), title, size=LABEL, fill=PALE)
        left += panel.width + GAP
    top = heading + GAP
    for row, block, height in zip(panels, blocks, heights, strict=True):
        place = GAP
        for panel in row:
            page.paste(panel, (place, top))
            place += panel.width + GAP
        page.paste(block, (GAP, top + row[0].height + GAP // 2))
        top += height
    return np.asarray(page)


def _row(record: Counterfactuals, own: Without) -> list[Image.Image]:
    assert own.picture is not None, "pictures of the first fill are kept"
    pair = [_tile(Image.fromarray(picture)) for picture in (record.image, own.picture)]
    if record.attention is None or own.attention is None:
        return pair
    maps = np.stack([record.attention, own.attention])[:, None].astype(np.float32)
    size = (pair[0].height, pair[0].width)
    place, bars = drawn(maps, record.geometry, size=size, scope="sentence")
    looked = [
        paint(photograph, place[at, 0], signed=bars.signed) for at, photograph in enumerate(pair)
    ]
    return [pair[0], looked[0], pair[1], looked[1]]


def _tile(picture: Image.Image) -> Image.Image:
    width = max(1, round(picture.width * TILE / picture.height))
    return picture.resize((width, TILE), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _written(
    record: Counterfactuals, own: Without, lettering: Lettering, width: int
) -> Image.Image:
    """What is said, with the words that are lost struck out and those that come underlined."""
    pieces: list[tuple[str, str]] = [(f"without {own.title}:", "title")]
    pieces += changes(record.caption.words, own.caption.words)
    numbers = [
        f"{name} {value:.2f}"
        for name in (record.distance, BITS)
        if (value := own.numbers[name]) is not None
    ]
    lines = _broken(pieces, lettering, width)
    line = round(LINE * TEXT)
    block = Image.new("RGB", (width, line * (len(lines) + 1)), PAPER)
    draw = ImageDraw.Draw(block)
    for number, pieces_of_line in enumerate(lines):
        left = 0.0
        for word, kind in pieces_of_line:
            wide = lettering.width(word, TEXT)
            ink = {"lost": LOST, "gained": GAINED, "title": PALE}.get(kind, INK)
            lettering.draw(draw, (left, number * line), word, size=TEXT, fill=ink)
            if kind in ("lost", "gained"):
                at = number * line + TEXT * (0.72 if kind == "lost" else 1.22)
                draw.line((left, at, left + wide, at), fill=ink, width=2 if kind == "lost" else 1)
            left += wide + lettering.width(" ", TEXT)
    lettering.draw(draw, (0, len(lines) * line), ", ".join(numbers), size=LABEL, fill=PALE)
    return block


def _broken(
    pieces: Sequence[tuple[str, str]], lettering: Lettering, width: int
) -> list[list[tuple[str, str]]]:
    lines: list[list[tuple[str, str]]] = [[]]
    used = 0.0
    for word, kind in pieces:
        wide = lettering.width(f"{word} ", TEXT)
        if lines[-1] and used + wide > width:
            lines.append([])
            used = 0.0
        lines[-1].append((word, kind))
        used += wide
    return lines
