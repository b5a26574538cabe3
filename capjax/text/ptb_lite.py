"""Words of a caption, split as the Penn Treebank does, without Java.

The published caption metrics run Stanford's `PTBTokenizer -lowerCase` and then drop punctuation.
This stand-in follows the same conventions on the English of captions, so that a vocabulary and a
score cut a sentence at the same places on every machine. Scores made with it say `ptb_lite`.

Other languages are cut by the same rules, in `normal_form`: at blanks, punctuation of every script
dropped, marks with their letters, an emoji one word. Chinese characters and hiragana, written
without blanks, are words one by one, as BERT and SacreBLEU have them; a run of katakana, mostly a
borrowed word, stays whole. Thai, Lao, Khmer and Burmese need blanks or zero-width spaces between
words: to find them takes a dictionary.
"""

import re
import unicodedata

from capjax.text.normal_form import JOINERS, MARKS, PICTURES, SKINS, TAGS, normal_form

NAME = "ptb_lite"

# What coco-caption drops after tokenising. Brackets arrive as -lrb- after lower-casing and would
# survive its upper-case list; here they are dropped, as that list means to.
_PUNCTUATION = frozenset(". ? ! , : ; ' \" `` '' ` - -- --- ... ( ) [ ] { } …".split())

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

# Chinese characters and hiragana, with what repeats or lengthens them.
_SYLLABLE = re.compile(
    "[\u3007\u3041-\u3096\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
    f"[{MARKS}\u3005\u30fc\u309d\u309e]*"
)


def _pattern(marks: str) -> re.Pattern[str]:
    """One token, in text that has these marks and joiners inside words."""
    in_word = rf"[\w{marks}]"
    end = rf"(?!{in_word})"
    # A letter of a script with capitals, with its marks: other scripts have no initials.
    letter = rf"(?=[a-z\u00aa-\u058f\u1e00-\u1fff])[^\W\d_](?:(?!\w){in_word})*"
    inner = '(?:[-/.@_]|(?<=l)·(?=l)|(?<=[א-ת])"(?=[א-ת]))'  # Catalan; acronyms of Hebrew
    picture = rf"[{PICTURES}][{SKINS}]?[{TAGS}]*"
    return re.compile(
        rf"""
          (?:https?://|www\.)\S+\w                        # an address
        | 'n' | '(?:tis|twas|em|n)\b                      # words that begin with an apostrophe
        | '\d0s\b                                         # '50s
        | (?:{"|".join(_ABBREVIATIONS)}|no(?=\.\s?\d))\.  # mr., no. 5
        | {letter}(?:\.{letter})+(?:\.(?!\w)|{end})       # u.s., a.m., p.j
        | (?!i\.){letter}\.(?!\w)                         # an initial; "I." ends a sentence
        | (?-i:[A-Z]+&[A-Z]+)                             # AT&T, but black & white
        | \d+(?:[.,:٫٬]\d+)+(?:-{in_word}+)*              # 1,000 and 10:30
        | [\U0001f1e6-\U0001f1ff]{{2}}                    # a flag
        | {picture}(?:\u200d{picture})*                   # an emoji, of several people too
        | {in_word}+(?:{inner}{in_word}+                  # hyphens stay: t-shirt; o'clock
            | '(?!(?:s|m|d|ll|re|ve){end}){in_word}+)*
        | '(?:s|m|d|ll|re|ve)\b                           # the clitics left by the line above
        | \.\.+ | --+ | '' | ``                           # runs of one mark
        | \S
        """,
        re.VERBOSE | re.IGNORECASE,
    )


_ASCII, _ANY = _pattern(""), _pattern(MARKS + JOINERS)  # the first is many times faster
_NEGATION = re.compile(r"^(.+)(n't)$")


def tokenize(caption: str) -> list[str]:
    """Lower-case words of one caption, in order, without punctuation.

    "A man's dog isn't running." gives `a man 's dog is n't running`. An empty list for a caption
    without words. Numbers, hyphenated words and abbreviations stay whole.
    """
    words: list[str] = []
    text = normal_form(caption)
    if text.isascii():
        found = _ASCII.findall(text)
    else:
        found = _ANY.findall(_SYLLABLE.sub(r" \g<0> ", text))
    for token in found:
        # Python lowers the Turkish İ to i with a dot above, which looks like i.
        token = unicodedata.normalize("NFC", token.lower().replace("i\u0307", "i"))
        if token in _PUNCTUATION or not token.strip(".") or _is_punctuation(token):
            continue
        if token in _ASSIMILATED:
            words.extend(_ASSIMILATED[token])
        elif negation := _NEGATION.match(token):
            words.extend(negation.groups())
        else:
            words.append(token)
    return words


def _is_punctuation(token: str) -> bool:
    """Of another script than English, or marks without a letter."""
    return not token.isascii() and all(unicodedata.category(sign)[0] in "PMC" for sign in token)
