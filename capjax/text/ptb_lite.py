"""Words of a caption, split as the Penn Treebank does, without Java.

The published caption metrics run Stanford's `PTBTokenizer -lowerCase` and then drop punctuation.
This stand-in follows the same conventions on the English of captions, so that a vocabulary and a
score cut a sentence at the same places on every machine. Scores made with it say `ptb_lite`.
"""

import re

NAME = "ptb_lite"

# What coco-caption drops after tokenising. Brackets arrive as -lrb- after lower-casing and would
# survive its upper-case list; here they are dropped, as that list means to.
_PUNCTUATION = frozenset(". ? ! , : ; ' \" `` '' ` - -- --- ... ( ) [ ] { } …".split())

_QUOTES = str.maketrans({"‘": "'", "’": "'", "‛": "'", "“": '"', "”": '"', "–": "--", "—": "--"})

# Words that the Treebank writes as two.
_ASSIMILATED = {
    "cannot": ("can", "not"),
    "gimme": ("gim", "me"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "wanna": ("wan", "na"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}

# Their full stop belongs to them.
_ABBREVIATIONS = (
    "mr mrs ms dr prof st jr sr ave blvd mt ft rd inc corp co ltd etc vs jan feb mar apr jun jul "
    "aug sep sept oct nov dec ph\\.d"
).split()

_TOKEN = re.compile(
    rf"""
      (?:https?://|www\.)\S+\w                            # an address
    | 'n' | '(?:tis|twas|em|n)\b                          # words that begin with an apostrophe
    | '\d0s\b                                             # '50s
    | (?:{"|".join(_ABBREVIATIONS)}|no(?=\.\s?\d))\.      # mr., no. 5
    | [^\W\d_](?:\.[^\W\d_])+(?:\.(?!\w)|\b)              # u.s., a.m., p.j
    | [^\W\d_i]\.(?!\w)                                   # an initial; "I." ends a sentence
    | (?-i:[A-Z]+&[A-Z]+)                                 # AT&T, but black & white
    | \d+(?:[.,:]\d+)+(?:-\w+)*                           # 1,000 and 10:30
    | \w+(?:[-/.@_]\w+|'(?!(?:s|m|d|ll|re|ve)\b)\w+)*     # hyphens stay: t-shirt; o'clock
    | '(?:s|m|d|ll|re|ve)\b                               # the clitics left by the line above
    | \.\.+ | --+ | '' | ``                               # runs of one mark
    | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NEGATION = re.compile(r"^(.+)(n't)$")


def tokenize(caption: str) -> list[str]:
    """Lower-case words of one caption, in order, without punctuation.

    "A man's dog isn't running." gives `a man 's dog is n't running`. An empty list for a caption
    without words. Numbers, hyphenated words and abbreviations stay whole.
    """
    words: list[str] = []
    for token in _TOKEN.findall(caption.translate(_QUOTES)):
        token = token.lower()
        if token in _PUNCTUATION or not token.strip("."):
            continue
        if token in _ASSIMILATED:
            words.extend(_ASSIMILATED[token])
        elif negation := _NEGATION.match(token):
            words.extend(negation.groups())
        else:
            words.append(token)
    return words
