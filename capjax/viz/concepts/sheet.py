"""A concept sheet: for every significant concept of a word its patches, and where they lie."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from capjax.runtime.files import counted
from capjax.studies.concepts.concept import Concept, ConceptSet
from capjax.studies.concepts.patches import box_of
from capjax.viz.fonts.lettering import LINE, FontFiles, Lettering

TILE, GAP, TEXT = 104, 8, 236
"""Pixels of a patch, between two, and of the column of words."""
TITLE, LABEL, NUMBERS = 22, 15, 12
INK, PALE, PAPER, GREY = (20, 20, 20), (110, 110, 110), (255, 255, 255), (117, 117, 117)
FOR, AGAINST = (178, 24, 43), (33, 102, 172)
"""The two ends of the signed colour map."""
NEAREST = 3
"""Concepts that are shown where none is significant."""
DIM = 0.5
"""Share of the light that is left around a patch in its photograph."""
EDGE = (255, 221, 51)
"""Of a patch in its photograph."""


_AROUND = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]


def concept_sheet(
    concepts: ConceptSet,
    load: Callable[[str], UInt8[np.ndarray, "H W 3"]],
    *,
    font: FontFiles | None = None,
) -> Image.Image:
    """One row a significant concept: what was found of it, patches, their places in photographs.

    Concepts that speak for the word (TCAV above ½) come before those that speak against it. Where
    none is significant, those that were furthest from ½ are shown in grey, and said to be chance.

    Args:
      concepts: of one word.
      load: the prepared picture of a file.
      font: a file with letters that no font of this machine has, or several in order of preference.

    Raises:
      ValueError: a picture has another size than the one that the concepts were found in.
    """
    lettering = _one_face(Lettering.of(font), concepts.word)
    rows = sorted(concepts.kept or concepts.concepts[:NEAREST], key=lambda one: one.tcav <= 0.5)
    columns = max((len(one.examples) for one in rows), default=4)
    width = GAP + TEXT + columns * (TILE + GAP) + GAP
    about = lettering.lines(_about(concepts), NUMBERS, width - 2 * GAP)
    top = round(GAP + LINE * (TITLE + len(about) * NUMBERS)) + GAP
    height = 2 * TILE + 3 * GAP
    sheet = Image.new("RGB", (width, top + len(rows) * (height + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    lettering.draw(draw, (GAP, GAP), f"“{concepts.word}”", size=TITLE, fill=INK)
    for row, line in enumerate(about):
        at = (GAP, GAP + LINE * (TITLE + row * NUMBERS))
        lettering.draw(draw, at, line, size=NUMBERS, fill=PALE)
    for row, one in enumerate(rows):
        here = top + row * (height + GAP)
        draw.line((GAP, here, width - GAP, here), fill=(215, 215, 215))
        own = concepts.kept.index(one) + 1 if concepts.kept else None
        _write(draw, lettering, here + GAP, own, one)
        for column, example in enumerate(one.examples):
            picture = load(example.file)
            if picture.shape[:2] != example.mask.shape:
                raise ValueError(
                    f"{example.file} is {picture.shape[:2]} pixels as prepared; its concept was "
                    f"found in {example.mask.shape}: give the folder and model of the fit"
                )
            left = GAP + TEXT + column * (TILE + GAP)
            sheet.paste(_patch(picture, example.mask), (left, here + GAP))
            sheet.paste(_place(picture, example.mask), (left, here + 2 * GAP + TILE))
    return sheet


def _one_face(lettering: Lettering, word: str) -> Lettering:
    """The same, with one face for all lines where one has all letters."""
    try:
        return Lettering(lettering.given, lettering.face(f"{word}“”±≤·"))
    except LookupError:
        return lettering


def _about(concepts: ConceptSet) -> str:
    tested, kept = len(concepts.concepts), len(concepts.kept)
    where = f"stage {concepts.stage}" if concepts.stage else "the map that the decoder reads"
    random = concepts.random
    limit = f"p ≤ {concepts.significance:g}, adjusted for all"
    found = f"{kept} of {counted(tested, 'concept')} significant at {limit}"
    chance = f"random concepts: TCAV {random.mean():.2f} ± {random.std(ddof=1):.2f} (their spread)"
    return f"{found} · {chance} · {where} · model {str(concepts.made_from.get('model'))[:12]}"


def _write(
    draw: ImageDraw.ImageDraw, lettering: Lettering, top: float, number: int | None, one: Concept
) -> None:
    speaks, colour = ("for", FOR) if one.tcav > 0.5 else ("against", AGAINST)
    title = f"{number}  {speaks} the word"
    if number is None:
        title, colour = "not significant", PALE
    lettering.draw(draw, (GAP, top), title, size=LABEL, fill=colour)
    lines = [
        f"TCAV {one.tcav:.2f} ± {one.error:.2f} (standard error)",
        f"p {one.p:.2g}",
        f"{one.members} patches of {counted(one.pictures, 'picture')}",
        f"classifiers right: {100 * one.accuracy:.0f} %",
    ]
    for at, line in enumerate(lines):
        where = (GAP, top + LINE * (LABEL + 4 + at * NUMBERS))
        lettering.draw(draw, where, line, size=NUMBERS, fill=INK if at < 2 else PALE)
    # The score on its scale, with a half in the middle.
    left, right, middle = GAP, TEXT - 2 * GAP, round(top + LINE * (LABEL + 8 + 4.4 * NUMBERS))
    draw.rectangle((left, middle - 3, right, middle + 3), fill=(232, 232, 232))
    half, end = (left + right) / 2, left + one.tcav * (right - left)
    draw.rectangle((min(half, end), middle - 3, max(half, end), middle + 3), fill=colour)
    draw.line((half, middle - 6, half, middle + 6), fill=INK)


def _patch(picture: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> Image.Image:
    """The segment on grey, in its own proportions: the encoder saw it stretched to a square."""
    top, left, bottom, right = box_of(mask)
    alone = np.where(mask[..., None], picture, np.uint8(GREY[0]))[top:bottom, left:right]
    return _tile(Image.fromarray(alone))


def _place(picture: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> Image.Image:
    dimmed = (picture * DIM).astype(np.uint8)
    lit = np.where(mask[..., None], picture, dimmed)
    wide = np.pad(mask, 2)
    near = [wide[2 + y :, 2 + x :][: mask.shape[0], : mask.shape[1]] for y, x in _AROUND]
    lit[np.any(near, axis=0) & ~mask] = EDGE
    return _tile(Image.fromarray(lit))


def _tile(picture: Image.Image) -> Image.Image:
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    tile = Image.new("RGB", (TILE, TILE), GREY)
    inside = picture.resize(size, Image.Resampling.BICUBIC)
    tile.paste(inside, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile
