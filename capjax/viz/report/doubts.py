"""How the viewer marks words that are probably not in the picture."""

import html
from collections.abc import Sequence

from capjax.types import WordDoubt


def doubted(doubts: Sequence[WordDoubt] | None, threshold: float) -> tuple[WordDoubt, ...]:
    """Those whose probability of being hallucinated is at least the threshold."""
    return tuple(own for own in doubts or () if own.hallucinated >= threshold)


def doubts_legend(named: Sequence[int], threshold: float) -> dict[str, str]:
    """The line of a report's head on its marks.

    Args:
      named: how many object words there are, and how many are marked; empty where nobody asked.
      threshold: from which they are.
    """
    if not named:
        return {}
    words, marked = named
    return {
        "doubtful words": f"{marked:,} of {words:,} object words, marked “?”: hallucinated with a "
        f"probability of {percent(threshold)} or more"
    }


def mark(doubts: Sequence[WordDoubt], index: int) -> str:
    """What stands under one word of the caption; nothing under one that is not doubtful."""
    for own in doubts:
        if own.start <= index < own.end:
            title = html.escape(_sentence(own), quote=True)
            told = f"? {percent(own.hallucinated)}"
            return f'<small class="doubt" title="{title}">{told}</small>'
    return ""


def listed(doubts: Sequence[WordDoubt]) -> str:
    """The doubtful words with their reasons, as a list for everybody to read."""
    if not doubts:
        return ""
    rows = "".join(f"<li>{html.escape(_sentence(own), quote=True)}</li>" for own in doubts)
    return f'<ul class="doubts" aria-label="doubtful words">{rows}</ul>'


def _sentence(own: WordDoubt) -> str:
    return f"“{own.word}” is doubtful ({percent(own.hallucinated)}): {own.reason}"


def percent(share: float) -> str:
    """As people write it; 0 and 100 for those alone."""
    whole = round(100 * share)
    if share < 1 and whole == 100:
        return "over 99 %"
    return "under 1 %" if share > 0 and whole == 0 else f"{whole} %"
