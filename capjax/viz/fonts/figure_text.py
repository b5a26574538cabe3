"""Words of any script in figures of matplotlib, and how much room they need."""

import dataclasses
import functools
import warnings
from typing import TYPE_CHECKING

from capjax.viz.fonts.files import Face, has, system_fonts
from capjax.viz.fonts.lettering import LINE, SHAPED, FontFiles, Lettering, seen

if TYPE_CHECKING:
    from matplotlib.text import Text

POINTS = 72.0
"""In an inch."""

SCALE = 10
"""Text is measured in so many times its size: hinting rounds small letters."""


@dataclasses.dataclass(frozen=True)
class FigureText:
    """Fonts of a figure. A text has one font, which is all that matplotlib takes from a file."""

    lettering: Lettering

    @classmethod
    def of(cls, font: FontFiles | None) -> "FigureText":
        """Takes given fonts, or those of this machine."""
        given = Lettering.of(font).given
        # matplotlib, which draws the figure, has a font of its own, the first.
        return cls(Lettering(given, plain=system_fonts()[0]))

    def width(self, text: str, points: float) -> float:
        """Of the longest line, in inches."""
        size = round(SCALE * points)
        lines = text.split("\n")
        return max(self.lettering.width(line, size) for line in lines) / SCALE / POINTS

    def wrapped(self, text: str, points: float, inches: float) -> str:
        """The text in lines that fit, words without a font written as code points."""
        size = round(SCALE * points)
        lines = self.lettering.lines(self.written(text), size, inches * SCALE * POINTS)
        return "\n".join(lines)

    def height(self, text: str, points: float) -> float:
        """Of all lines, in inches."""
        return (text.count("\n") + 1) * LINE * points / POINTS

    def written(self, text: str) -> str:
        """The text; where no font has it all, code points for words that the plain one lacks."""
        words = text.split()
        face = self._face(text)
        if face is None:
            words = [self._in_plain(word) for word in words]
        # Marks of direction and the like are letters to a font.
        text = " ".join(words)
        return "".join(sign for sign in text if seen(sign) or has(face or self.plain, sign))

    def _in_plain(self, word: str) -> str:
        if has(self.plain, seen(word)):
            return word
        if self._face(word) is not None:
            _say_mixed()
        return "".join(run.text for run in self.lettering.spelled(word))

    def put(self, artist: "Text", points: float) -> None:
        """Sets the font of a text, in which "$" is a letter and no formula."""
        from matplotlib.font_manager import FontProperties

        artist.set_parse_math(False)
        text = artist.get_text()
        if SHAPED.search(text):
            _say_unshaped()
        face = self._face(text)
        if face in (None, self.plain):
            artist.set_fontsize(points)
        else:
            artist.set_fontproperties(FontProperties(fname=face[0], size=points))

    @property
    def plain(self) -> Face:
        """matplotlib's own font."""
        return system_fonts()[0]

    def _face(self, text: str) -> Face | None:
        """The font of all letters of a text, and of the blanks between, if there is one."""
        try:
            face = self.lettering.face(text)
        except LookupError:
            return None
        blank = " " in text and face is not None and not has(face, " ")
        return None if blank else face


@functools.cache
def _say_mixed() -> None:
    warnings.warn(
        "matplotlib draws a text in one font, and none here has all words of some; the others are "
        "written as code points (word_strip takes a font for each word)",
        stacklevel=2,
    )


@functools.cache
def _say_unshaped() -> None:
    import matplotlib

    if matplotlib.__version_info__[:2] < (3, 11):
        warnings.warn(
            f"matplotlib {matplotlib.__version__} draws letters of Arabic, Hebrew and Indian "
            "scripts one by one, from left to right and unjoined; run: "
            "pip install 'matplotlib>=3.11', or use word_strip",
            stacklevel=2,
        )
