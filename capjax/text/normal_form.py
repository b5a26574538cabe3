"""One spelling for every text that looks the same, in any script.

Unicode writes one word in many ways: composed or decomposed, in forms for old printers, with
characters that nobody sees. Two captions that look the same must give the same words.
"""

import re
import unicodedata

MARKS = "".join(
    chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code)).startswith("M")
)
"""Combining marks: they belong to the letter before them. Beyond lie variation selectors alone."""

JOINERS = "\u200c\u200d"
"""Inside a word they say how its letters join, or that several emoji are one."""

PICTURES = "\u2190-\u2bff\U0001f000-\U0001faff"
"""Symbols that may be emoji, as ranges of a regular expression."""

SKINS = "\U0001f3fb-\U0001f3ff"
TAGS = "\U000e0020-\U000e007f"

# Full-width and half-width forms, ligatures, letters of Hebrew and Arabic as they were printed.
_PRINTED = re.compile("[\ufb00-\ufdff\ufe80-\ufefc\uff00-\uffef]+")

# Scripts in which a joiner inside a word says how letters join, as in Persian and Hindi.
_JOINING = "\u0600-\u109f\u1780-\u1cff\ua800-\uabff"
_IDLE_JOINER = re.compile(
    rf"""
      (?<![{JOINERS}{_JOINING}{PICTURES}{TAGS}])[{JOINERS}]          # after nothing it could join
    | (?<=[{JOINERS}])[{JOINERS}]                                    # repeated
    | (?<!\u0d4d)[{JOINERS}](?![{JOINERS}]*[{_JOINING}{PICTURES}])   # words of Malayalam end so
    """,
    re.VERBOSE,
)

# Seen by nobody and of no meaning for the word: soft hyphens, marks of direction and of encoding,
# variation selectors, fillers of Hangul, the stretched line of Arabic.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u0640\u115f\u1160\u180b-\u180f\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)
# What parts words without a blank: the zero-width space, an empty Braille cell, the place of an
# object, control characters, halves of a character that was cut.
_PARTING = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u2800\ufff9-\ufffc\ud800-\udfff]")

_QUOTES = str.maketrans(
    {
        **dict.fromkeys("‘’‛׳\x91\x92", "'"),  # \x91 to \x97: Windows' own, read as Latin-1
        **dict.fromkeys("“”״\x93\x94", '"'),
        **dict.fromkeys("‒–—―\x96\x97", "--"),
        **dict.fromkeys("‐\u2011־", "-"),
    }
)
# Typed in place of an apostrophe.
_APOSTROPHE = re.compile(rf"(?<=[\w{MARKS}])[ʼ´′ꞌ](?=\w)")


def normal_form(text: str) -> str:
    """The text in NFC, its quotes and dashes in ASCII, without characters that nobody sees.

    Zero-width joiners stay inside words of scripts that need them and inside emoji. Full-width
    letters become plain ones. ASCII text is returned as it is, but for control characters.
    """
    text = _PARTING.sub(" ", text.translate(_QUOTES))
    if text.isascii():
        return text
    text = _PRINTED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = _UNSEEN.sub("", text)
    text = _APOSTROPHE.sub("'", _IDLE_JOINER.sub("", text))
    return unicodedata.normalize("NFC", text)
