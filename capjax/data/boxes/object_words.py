"""Which words of a caption name which class of objects: an editable list, longest phrase first."""

import dataclasses
import functools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.editable import editable_text
from capjax.text.ptb_lite import tokenize

SHIPPED = "object_words.toml"


class Span(NamedTuple):
    """Words [start, end) of a caption, and the classes that they may name."""

    start: int
    end: int
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ObjectWords:
    """Phrases and what they name.

    Attributes:
      phrases: words -> classes; no class for phrases such as "bus stop" that look like an object
        and are none.
      aliases: another name of a class, as some files of boxes have it -> its name in `phrases`.
    """

    phrases: Mapping[tuple[str, ...], tuple[str, ...]]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def longest(self) -> int:
        """Words of the longest phrase."""
        return max(map(len, self.phrases), default=0)

    def including(self, classes: Iterable[str]) -> "ObjectWords":
        """These, and each class that no phrase names yet by its own name and a regular plural."""
        known = {name for own in self.phrases.values() for name in own} | set(self.aliases)
        added: dict[tuple[str, ...], tuple[str, ...]] = {}
        for name in sorted(set(classes) - known):
            words = tuple(name.lower().split())
            plural = (*words[:-1], words[-1] + "s")
            for phrase in (words, plural):
                added[phrase] = (*self.phrases.get(phrase, ()), *added.get(phrase, ()), name)
        return dataclasses.replace(self, phrases={**self.phrases, **added})

    def find(self, words: Sequence[str]) -> list[Span]:
        """Spans of a caption's words that name a class, in order; they never overlap.

        At each word the longest phrase is taken: "a hot dog stand" names nothing, "a hot dog" no
        dog, and "a stuffed teddy bear" no bear.
        """
        words = [word.lower() for word in words]
        found = []
        start = 0
        while start < len(words):
            for end in range(min(start + self.longest, len(words)), start, -1):
                classes = self.phrases.get(tuple(words[start:end]))
                if classes is not None:
                    break
            else:
                end, classes = start + 1, ()
            if classes:
                found.append(Span(start, end, classes))
            start = end
        return found

    def named(self, sentences: Iterable[str]) -> frozenset[str]:
        """All classes that any of these sentences may name."""
        return frozenset(
            name
            for sentence in sentences
            for span in self.find(tokenize(sentence))
            for name in span.classes
        )


def read_object_words(path: str | Path | None = None) -> ObjectWords:
    """The words of a TOML file; default: the shipped one, the 80 classes of COCO.

    The file has a table `classes`, class = [phrases], and may have `aliases`, name = class, and
    `nothing`, label = [phrases], of what names no class.

    Raises:
      FileNotFoundError: no such file.
      ValueError: one of another form; the text names the entry.
    """
    text = editable_text(path, SHIPPED, "object words")
    try:
        return _parse(tomllib.loads(text))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} holds no object words ({error}); expected TOML with a table [classes] of "
            'class = ["word", "longer phrase"], and perhaps tables [aliases] and [nothing]'
        ) from error


def _parse(body: Mapping[str, Mapping[str, Any]]) -> ObjectWords:
    strangers = set(body) - {"classes", "aliases", "nothing"}
    if strangers or "classes" not in body:
        raise ValueError(f"its tables are {', '.join(map(repr, body)) or 'none'}")
    phrases: dict[tuple[str, ...], tuple[str, ...]] = {}
    for table in ("classes", "nothing"):
        for name, own in body.get(table, {}).items():
            if isinstance(own, str) or not all(isinstance(p, str) and p.split() for p in own):
                raise ValueError(f"{name!r} is {own!r}, no list of phrases")
            for phrase in dict.fromkeys(tuple(p.lower().split()) for p in own):
                if table == "nothing" and phrases.get(phrase):
                    raise ValueError(
                        f"{' '.join(phrase)!r} names {phrases[phrase][0]!r} and, by {name!r}, "
                        "nothing"
                    )
                named = (name,) if table == "classes" else ()
                phrases[phrase] = (*phrases.get(phrase, ()), *named)
    aliases = body.get("aliases", {})
    unknown = {name: of for name, of in aliases.items() if of not in body["classes"]}
    if unknown:
        raise ValueError(f"aliases of classes that it does not list: {unknown}")
    return ObjectWords(phrases, aliases)
