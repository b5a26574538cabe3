"""What the report says under each word, and its arrows and table of earlier words."""

import html
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.explainers.language.visual_information import THRESHOLD, VisualInformation
from capjax.viz.language.arrows import LEAST_BITS, Arrow, arrows
from capjax.viz.scrolled import scrolled

WAYS = {
    "leave_one_out": "an unknown word read in place of the earlier one",
    "gradient": "gradient × input of the earlier word’s embedding",
}
"""Way to find the effect of an earlier word -> what a reader is told of it."""

LETTER, GAP, LINE = 7.3, 10.0, 18.0
"""Of the letters under arrows: width, space between words and height, in pixels."""
SMALLEST = 0.7
"""Share of its size that a sentence shrinks to, before it has to be scrolled."""
DEEPEST = 96.0
"""Of an arrow, in pixels below the words."""
SLOPE = 0.3
"""Depth of an arrow by its length, until it is `DEEPEST`."""


def legend(pictures: int | None) -> dict[str, str]:
    """The lines of a report's head on what stands under its words.

    Args:
      pictures: how many others a captioner compares with, 0 for none; None where nobody asked.
    """
    if pictures is None:
        return {}
    if not pictures:
        return {
            "under each word": "bits that the image’s layout adds. This captioner has no other "
            "pictures to compare with, so that it cannot be told which words are the image’s: "
            "python -m capjax.explainers.language adds some"
        }
    return {
        "under each word": f"bits by which this image makes it more probable than {pictures} other "
        f"pictures do, after the same words: “image” from {THRESHOLD:g} bit, “language” below, "
        f"“against” from −{THRESHOLD:g}"
    }


def under_word(visual: VisualInformation | None, index: int) -> str:
    """What stands under one word or phrase; nothing where nothing is known, or under others."""
    if visual is None or index >= len(visual.image) or np.isnan(visual.layout[index]):
        return ""
    bits, source = visual.layout[index], "layout"
    if visual.bits is not None:
        bits, source = visual.bits[index], visual.sources()[index] or ""
    told = [f"p {_probability(visual.image[index])} with this image"]
    told.append(f"{_probability(visual.without_layout[index])} with its mean feature everywhere")
    if visual.others is not None:
        told.append(f"{_probability(visual.others[index])} with {visual.pictures} other pictures")
    title = html.escape("; ".join(told), quote=True)
    return f'<small class="{source}" title="{title}">{source} {signed(bits)}</small>'


def numbers(visual: VisualInformation | None) -> dict[str, Any]:
    """What the page's script says of a word that is pointed at."""
    if visual is None:
        return {}
    known = {**({} if visual.bits is None else {"image": visual.bits}), "layout": visual.layout}
    return {
        "bits": {
            name: [None if np.isnan(bits) else round(float(bits), 2) for bits in values]
            for name, values in known.items()
        }
    }


def earlier_words(way: str, words: Sequence[str], effects: Float[np.ndarray, "N N"]) -> str:
    """Arrows under the words, and a table of all effects.

    Args:
      way: how the effects were found.
      words: of the sentence.
      effects: bits that each word (row) owes to each earlier one (column).
    """
    if len(words) < 2:
        return ""
    told = html.escape(WAYS.get(way, way))
    return (
        f'<figure class="earlier"><figcaption>Bits that words owe to words before them: {told}. '
        f"Red: more probable; blue: less. Arrows from {LEAST_BITS:g} bit.</figcaption>"
        f"{scrolled(_drawn(words, effects), 'arrows between words')}"
        f"<details><summary>word × word</summary>"
        f"{scrolled(_table(words, effects), 'bits, word by word')}</details></figure>"
    )


def signed(bits: float) -> str:
    """One decimal, with a true minus; never minus zero."""
    return f"{round(float(bits), 1) + 0.0:.1f}".replace("-", "−")


def _drawn(words: Sequence[str], effects: Float[np.ndarray, "N N"]) -> str:
    widths = [sum(_wide(letter) for letter in word) * LETTER for word in words]
    starts = np.cumsum([0.0, *(width + GAP for width in widths)])
    total = float(starts[-1])
    middles = [
        float(start) + (width + GAP) / 2 for start, width in zip(starts, widths, strict=False)
    ]
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in words[0]):
        middles = [total - middle for middle in middles]
    drawn = arrows(effects)
    depth = max((_depth(arrow, middles) for arrow in drawn), default=0.0)
    height = LINE + depth + 8
    label = "; ".join(
        f"{words[arrow.end]} owes {signed(arrow.bits)} bits to {words[arrow.start]}"
        for arrow in drawn
    )
    texts = "".join(
        f'<text x="{middle:.1f}" y="13">{html.escape(word)}</text>'
        for word, middle in zip(words, middles, strict=True)
    )
    paths = "".join(_path(arrow, middles, words) for arrow in drawn)
    return (
        f'<svg viewBox="0 0 {total:.0f} {height:.0f}" width="{total:.0f}" height="{height:.0f}" '
        f'style="min-width:{SMALLEST * total:.0f}px" '
        f'role="img" aria-label="{html.escape(label or "no effect is drawn", quote=True)}">'
        f"{texts}{paths}</svg>"
    )


def _path(arrow: Arrow, middles: Sequence[float], words: Sequence[str]) -> str:
    """An arc from one word to a later one, its head at the later one."""
    one, other = middles[arrow.start], middles[arrow.end]
    inward = 3.0 if one < other else -3.0  # arrows that leave a word and those that end there
    one, other = one + inward, other - inward
    deep = LINE + _depth(arrow, middles) * 4 / 3  # a curve's points, of which it reaches 3 / 4
    thick = 1 + 3.5 * arrow.strength
    head = 3 + 1.2 * thick
    title = f"{words[arrow.start]} → {words[arrow.end]}: {signed(arrow.bits)} bits"
    return (
        f'<g class="{"for" if arrow.bits > 0 else "less"}" data-to="{arrow.end}">'
        f"<title>{html.escape(title)}</title>"
        f'<path d="M{one:.1f} {LINE} C{one:.1f} {deep:.1f} {other:.1f} {deep:.1f} '
        f'{other:.1f} {LINE + head:.1f}" stroke-width="{thick:.1f}"/>'
        f'<polygon points="{other:.1f},{LINE} {other - head / 1.6:.1f},{LINE + head + 1:.1f} '
        f'{other + head / 1.6:.1f},{LINE + head + 1:.1f}"/></g>'
    )


def _depth(arrow: Arrow, middles: Sequence[float]) -> float:
    return min(DEEPEST, 14 + SLOPE * abs(middles[arrow.end] - middles[arrow.start]))


def _table(words: Sequence[str], effects: Float[np.ndarray, "N N"]) -> str:
    """A row a word, a column an earlier one; colours are full at the largest effect."""
    largest = max(float(np.abs(effects).max()), LEAST_BITS)
    heads = "".join(f'<th scope="col">{html.escape(word)}</th>' for word in words[:-1])
    rows = []
    for number, word in enumerate(words[1:], start=1):
        cells = "".join(_cell(float(bits), largest) for bits in effects[number, :number])
        rows.append(f'<tr><th scope="row">{html.escape(word)}</th>{cells}</tr>')
    return f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(bits: float, largest: float) -> str:
    share = round(100 * abs(bits) / largest)
    kind = "for" if bits > 0 else "less"
    return f'<td class="{kind}" style="--share:{share}%">{signed(bits)}</td>'


def _wide(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    return 2.0 if unicodedata.east_asian_width(letter) in ("W", "F") else 1.0


def _probability(log_prob: float) -> str:
    return f"{float(np.exp(log_prob)):.2g}"
