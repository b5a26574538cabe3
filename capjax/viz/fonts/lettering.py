"""Words of any script in pictures: a font that has their letters, wrapped into lines.

Text in ASCII is drawn in Pillow's own font, other text in the first font that has its letters: one
that was given, matplotlib's, one of the system. A word whose letters no font has is drawn as their
code points, so that words can be told apart, and a warning names what is missing.
"""

import dataclasses
import functools
import os
import re
import unicodedata
import warnings
from collections.abc import Sequence

from PIL import ImageDraw, ImageFont, features

from capjax.text.normal_form import JOINERS, MARKS
from capjax.viz.fonts.files import Face, faces, has, system_fonts

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FontFiles = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

LINE = 1.4
"""Height of a line, in sizes of its letters: room for the marks of Thai and Burmese."""

BASELINE = 1.05

_OURS = frozenset(map(chr, range(32, 127))) | {"…"}
"""What Pillow's own font has."""

# A letter with its marks, joined ones together: what is never cut.
_CLUSTER = re.compile(rf"[{MARKS}]*.[{MARKS}]*(?:[{JOINERS}].[{MARKS}]*)*", re.DOTALL)

SHAPED = re.compile("[\u0590-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff]")
"""Hebrew, Arabic and their neighbours; the scripts of India, of Tibet, Burma and Cambodia."""


_SAID: set[str] = set()
"""Scripts whose missing letters the user has been told of."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A piece of text in one font; `face` is None for Pillow's own."""

    text: str
    face: Face | None


@dataclasses.dataclass(frozen=True)
class Lettering:
    """Fonts to draw with.

    Attributes:
      given: files of fonts that are tried before all others.
      plain: the font tried next; None for Pillow's own, which has ASCII.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no font.
    """

    given: tuple[str, ...] = ()
    plain: Face | None = None

    def __post_init__(self) -> None:
        for path in self.given:
            if not os.path.isfile(path):
                raise FileNotFoundError(f"there is no font at {path}")
            if not faces(path):
                raise ValueError(
                    f"{path} is no font in TrueType's or OpenType's format; give a .ttf, .otf or "
                    ".ttc file"
                )
            if not any(map(_loads, faces(path))):
                raise ValueError(
                    f"{path} has pictures of letters in one size alone; give a font of outlines"
                )

    @classmethod
    def of(cls, font: FontFiles | None) -> "Lettering":
        """Takes one font file, several in order of preference, or (None) the fonts found here."""
        if font is None:
            return cls()
        files = [font] if isinstance(font, (str, os.PathLike)) else font
        return cls(tuple(os.fspath(file) for file in files))

    def face(self, text: str) -> Face | None:
        """The first font with all letters of a text; None for Pillow's own.

        Raises:
          LookupError: there is none.
        """
        found = _search(frozenset(seen(text)), self.given, self.plain)
        if not found:
            raise LookupError(f"no font here has all letters of {text!r}")
        return found[0]

    def runs(self, text: str) -> list[Run]:
        """The text in as few fonts as can be, from left to right."""
        found: list[Run] = []
        for piece, face in self._pieces(text):
            if found and (piece.isspace() or found[-1].face == face):
                found[-1] = Run(found[-1].text + piece, found[-1].face)
            else:
                found.append(Run(piece, face))
        # Within a run Pillow orders letters; between runs a sentence from right to left turns.
        return found[::-1] if _from_the_right(text) else found

    def _pieces(self, text: str) -> list[tuple[str, Face | None]]:
        """The whole text where one font has it all, else words, else letters."""
        for parts in ([text], re.findall(r"\s+|\S+", text), _CLUSTER.findall(text)):
            try:
                return [(part, self.face(part)) for part in parts]
            except LookupError:
                continue
        return [piece for part in re.findall(r"\s+|\S+", text) for piece in self._letters(part)]

    def _letters(self, word: str) -> list[tuple[str, Face | None]]:
        try:
            return [(part, self.face(part)) for part in _CLUSTER.findall(word)]
        except LookupError:
            return [(run.text, run.face) for run in self.spelled(word)]

    def spelled(self, word: str) -> list[Run]:
        """A word as its code points, with a word on what is missing."""
        missing = "".join(letter for letter in seen(word) if not self._has(letter))
        if missing:
            _say_missing(missing)
        return [Run(f"U+{' '.join(f'{ord(letter):04X}' for letter in word)}", self.plain)]

    def _has(self, letter: str) -> bool:
        try:
            self.face(letter)
        except LookupError:
            return False
        return True

    def width(self, text: str, size: int) -> float:
        """Of a line, in pixels."""
        return sum(_font(run.face, size).getlength(run.text) for run in self.runs(text))

    def lines(self, text: str, size: int, width: float) -> list[str]:
        """The text in lines of at most `width` pixels, cut between words, long words within."""
        lines = [""]
        for word in text.split():
            for piece, blank in self._fitting(word, size, width):
                longer = f"{lines[-1]}{blank}{piece}" if lines[-1] else piece
                if self.width(longer, size) <= width:
                    lines[-1] = longer
                elif lines[-1]:
                    lines.append(piece)
                else:
                    lines[-1] = piece
        return lines

    def _fitting(self, word: str, size: int, width: float) -> list[tuple[str, str]]:
        """The word, or pieces of it that fit, each with what stands before it."""
        if self.width(word, size) <= width:
            return [(word, " ")]
        if not all(map(self._has, seen(word))):
            return [(part, " ") for run in self.runs(word) for part in run.text.split()]
        return [(piece, "" if at else " ") for at, piece in enumerate(_CLUSTER.findall(word))]

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        at: tuple[float, float],
        text: str,
        *,
        size: int,
        fill: tuple[int, int, int],
        align: float = 0.0,
    ) -> None:
        """Draws a line whose top is `at`; `align` is the share of its width left of `at`."""
        left, top = at
        left -= align * self.width(text, size)
        for run in self.runs(text):
            font = _font(run.face, size)
            draw.text((left, top + BASELINE * size), run.text, fill, font, anchor="ls")
            left += font.getlength(run.text)


@functools.cache
def _search(
    wanted: frozenset[str], given: tuple[str, ...], plain: Face | None
) -> tuple[Face | None] | None:
    """The first font with these letters; None where there is none, which is remembered too."""
    for path in given:
        for face in faces(path):
            if has(face, wanted):
                return (face,)
    if wanted <= _OURS if plain is None else has(plain, wanted):
        return (plain,)
    if any(map(SHAPED.match, wanted)) and not features.check("raqm"):
        _say_unshaped()
    for face in system_fonts():
        if has(face, wanted) and _loads(face):
            return (face,)
    return None


@functools.lru_cache(maxsize=64)
def _font(face: Face | None, size: int) -> Font:
    if face is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(face[0], size, index=face[1])


def _loads(face: Face) -> bool:
    """False for fonts of pictures of one size, as some have for emoji."""
    try:
        _font(face, 16)
    except OSError:
        return False
    return True


def seen(text: str) -> str:
    """The text without blanks, joiners, marks of direction and variation selectors."""
    return "".join(
        letter
        for letter in text
        if unicodedata.category(letter)[0] not in "ZC" and not "\ufe00" <= letter <= "\ufe0f"
    )


def _from_the_right(text: str) -> bool:
    """By the first letter that has a direction (Unicode's bidirectional algorithm, rule P2)."""
    ways = map(unicodedata.bidirectional, text)
    return next((way for way in ways if way in ("L", "R", "AL")), "L") != "L"


def _say_missing(letters: str) -> None:
    """Once for each script: a folder has thousands of words."""
    script = unicodedata.name(letters[0], "NO").split(" ")[0]
    if script in _SAID:
        return
    _SAID.add(script)
    warnings.warn(
        f"no font here has {letters} (script: {script.lower()}); words with such letters are drawn "
        "as code points. Give a font (explain.py --font=FILE, in Python font=FILE), or install "
        "one: on Debian and Ubuntu apt-get install fonts-noto-core, for Chinese, Japanese and "
        "Korean fonts-noto-cjk",
        stacklevel=2,
    )


@functools.cache
def _say_unshaped() -> None:
    warnings.warn(
        "Pillow lacks libraqm or fribidi here: letters of Arabic, Hebrew and Indian scripts are "
        "drawn one by one, from left to right and unjoined; install fribidi (on Debian and Ubuntu "
        "apt-get install libfribidi0)",
        stacklevel=2,
    )
