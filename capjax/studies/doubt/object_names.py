"""Object words of a caption, and whether a photograph has what they name."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from capjax.data.boxes.grounded import PERSON, source_words
from capjax.data.boxes.object_words import ObjectWords, Span
from capjax.text.ptb_lite import tokenize
from capjax.types import Caption


class ObjectName(NamedTuple):
    """Words [start, end) of a caption, and the classes that they may name."""

    start: int
    end: int
    classes: tuple[str, ...]


def object_names(caption: Caption, words: ObjectWords) -> list[ObjectName]:
    """What of a caption names a class, in order."""
    tokens = tokenize(caption.text)
    owner = source_words(tokens, caption.words)
    found = []
    for span in words.find(tokens):
        own = [at for at in owner[span.start : span.end] if at is not None]
        if own:
            found.append(ObjectName(own[0], own[-1] + 1, span.classes))
    return found


def is_hallucinated(name: ObjectName | Span, there: Iterable[str]) -> bool:
    """CHAIR's rule: none of the classes that the words may name is in the photograph.

    Args:
      name: the words.
      there: classes of its boxes and of what people wrote about it.
    """
    return not set(name.classes) & set(there)


def is_person(name: ObjectName) -> bool:
    """Whether the words may name a person."""
    return PERSON in name.classes


def said_by(captions: Sequence[Sequence[ObjectName]]) -> list[frozenset[str]]:
    """Classes that each caption names."""
    return [frozenset(one for name in own for one in name.classes) for own in captions]
