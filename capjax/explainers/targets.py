"""Targets: the scalars that explanation methods explain, and what is asked of every sentence.

Small host objects that compile to arrays, so that all targets of a batch share one trace. They name
tokens by their place; `Questions` names words, and finds them in any sentence.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from capjax.text.protocol import Text
from capjax.types import NO_TOKEN

Span = tuple[int, int]
"""The first token, and the one after the last."""


@dataclasses.dataclass(frozen=True)
class Word:
    """Explain log p of the token at `index`."""

    index: int

    def weights(self, length: int) -> Float[np.ndarray, " T"]:
        """float32 weights of the token log-probabilities."""
        return _span_weights([(self.index, self.index + 1)], length)


@dataclasses.dataclass(frozen=True)
class Phrase:
    """Explain the summed log p of tokens start..end-1."""

    start: int
    end: int

    def weights(self, length: int) -> Float[np.ndarray, " T"]:
        """float32 weights of the token log-probabilities."""
        return _span_weights([(self.start, self.end)], length)


@dataclasses.dataclass(frozen=True)
class Sentence:
    """Explain log p of the whole sentence, end token included."""

    def weights(self, length: int) -> Float[np.ndarray, " T"]:
        """float32 weights of the token log-probabilities."""
        return _span_weights([(0, length)], length)


@dataclasses.dataclass(frozen=True)
class Keyword:
    """Explain the summed log p of a word wherever it stands: of the tokens of all `spans`."""

    spans: tuple[Span, ...]

    def weights(self, length: int) -> Float[np.ndarray, " T"]:
        """float32 weights of the token log-probabilities."""
        return _span_weights(self.spans, length)


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Explain log p of the token at `index` minus log p of `alternative` (an id) in its place."""

    index: int
    alternative: int

    def weights(self, length: int) -> Float[np.ndarray, " T"]:
        """float32 weights of the token log-probabilities."""
        return _span_weights([(self.index, self.index + 1)], length)


Target = Word | Phrase | Sentence | Keyword | Contrast


def compile_targets(
    targets: Sequence[Sequence[Target | None]],
    lengths: Sequence[int],
    padded: int,
    *,
    count: int | None = None,
) -> tuple[Float[np.ndarray, "S N T"], Int[np.ndarray, "S N T"]]:
    """Targets of S sentences as arrays, so that one trace serves them all.

    Args:
      targets: of each sentence; shorter lists, and None, are zero weights.
      lengths: tokens of each sentence, end token included.
      padded: T, the padded length.
      count: N; default: that of the longest list.

    Returns:
      weights, float32, and alternatives, int32: the id to subtract at a position, NO_TOKEN where
      there is none.
    """
    if count is None:
        count = max((len(row) for row in targets), default=0)
    weights = np.zeros((len(targets), count, padded), np.float32)
    alternatives = np.full((len(targets), count, padded), NO_TOKEN, np.int32)
    for row, (own, length) in enumerate(zip(targets, lengths, strict=True)):
        for column, target in enumerate(own):
            if target is not None:
                weights[row, column, :length] = target.weights(length)
            if isinstance(target, Contrast):
                alternatives[row, column, target.index] = target.alternative
    return weights, alternatives


def _span_weights(spans: Sequence[Span], length: int) -> Float[np.ndarray, " T"]:
    weights = np.zeros(length, np.float32)
    for start, end in spans:
        if not 0 <= start < end <= length:
            raise ValueError(f"tokens {start}..{end - 1} are outside a caption of {length} tokens")
        weights[start:end] = 1.0
    return weights


WHOLE = "the whole sentence"


@dataclasses.dataclass(frozen=True)
class Extra:
    """A target of one sentence beside its words and phrases.

    Attributes:
      label: what a reader sees.
      words: which words of the sentence it is about.
      target: what is explained.
      note: what a reader must know of it; may be empty.
    """

    label: str
    words: tuple[int, ...]
    target: Target
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Questions:
    """What is explained of every sentence beside its words and phrases.

    A contrast ("why dog rather than cat?") is asked at each step that wrote the word: the measure
    of one minus that of the other, after the same earlier words. Where words are written in pieces,
    as ViT-GPT2's are, it compares the first piece in which the two differ: up to there both read
    the same, and what follows would be conditioned on different words. Later pieces are not in it.

    Attributes:
      keywords: words of which all occurrences together are one target.
      contrasts: (word, alternative).
      sentence: whether the whole sentence, its end included, is one target.
      forms: word -> its tokens at the beginning of a sentence, and after another word.
    """

    keywords: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = ()
    sentence: bool = False
    forms: Mapping[str, tuple[tuple[int, ...], ...]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        text: Text,
        *,
        keywords: str | Sequence[str] | None = None,
        contrasts: str | Sequence[str] | None = None,
        sentence: bool = False,
    ) -> "Questions":
        """What somebody asks.

        Args:
          text: of the captioner.
          keywords: one word or several.
          contrasts: "dog:cat", or several such.
          sentence: as the attribute.

        Raises:
          ValueError: no pair of words, more than one word or none in the place of one, a word that
            the captioner does not know, or a contrast of words that no step tells apart.
        """
        asked = tuple(dict.fromkeys(_listed(keywords)))
        pairs = tuple(dict.fromkeys(map(_pair, _listed(contrasts))))
        words = [*asked, *(word for pair in pairs for word in pair)]
        found = cls(asked, pairs, sentence, {word: _forms(text, word) for word in words})
        for word, other in pairs:
            if None in map(_parting, found.forms[word], found.forms[other]):
                raise ValueError(
                    f"the contrast {word}:{other} is of words that no step tells apart: the "
                    "captioner writes one as the beginning of the other; choose another word"
                )
        return found

    def __bool__(self) -> bool:
        return bool(self.keywords or self.contrasts or self.sentence)

    def about(
        self, words: Sequence[str], spans: Sequence[Span], tokens: Sequence[int]
    ) -> tuple[tuple[Extra, ...], tuple[str, ...]]:
        """What is asked of one sentence, and the labels of what it has no word for."""
        extras: list[Extra] = []
        lacking: list[str] = []
        if self.sentence:
            extras.append(Extra(WHOLE, tuple(range(len(words))), Sentence()))
        for word in self.keywords:
            label = _of_keyword(word)
            places = [index for index, _ in self._places(word, spans, tokens)]
            if places:
                every = Keyword(tuple(spans[index] for index in places))
                extras.append(Extra(label, tuple(places), every))
            else:
                lacking.append(label)
        for word, other in self.contrasts:
            label = _of_contrast(word, other)
            found = self._places(word, spans, tokens)
            for index, form in found:
                own, instead = self.forms[word][form], self.forms[other][form]
                at = _parting(own, instead)
                assert at is not None  # checked by `of`
                which = f" (word {index + 1})" if len(found) > 1 else ""
                target = Contrast(spans[index][0] + at, instead[at])
                note = _pieces_note(word, other, at) if len(own) + len(instead) > 2 else ""
                extras.append(Extra(label + which, (index,), target, note))
            if not found:
                lacking.append(label)
        return tuple(extras), tuple(lacking)

    @classmethod
    def from_json(cls, run: Mapping[str, Any]) -> "Questions":
        """What run.json says was asked; it finds nothing, for it lacks the words' tokens."""
        pairs = tuple(map(_pair, run.get("contrasts", ())))
        return cls(tuple(run.get("keywords", ())), pairs, run.get("whole_sentence", False))

    @property
    def labels(self) -> list[str]:
        """What a reader sees of each question."""
        whole = [WHOLE] if self.sentence else []
        keywords = map(_of_keyword, self.keywords)
        return [*whole, *keywords, *(_of_contrast(*pair) for pair in self.contrasts)]

    def to_json(self) -> dict[str, Any]:
        """What run.json says; what was not asked is left out."""
        everything: dict[str, Any] = {
            "keywords": list(self.keywords),
            "contrasts": [":".join(pair) for pair in self.contrasts],
            "whole_sentence": self.sentence,
        }
        return {name: value for name, value in everything.items() if value}

    def _places(
        self, word: str, spans: Sequence[Span], tokens: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Which words of a sentence are this one, and in which of its forms."""
        forms = self.forms[word]
        written = [tuple(tokens[start:end]) for start, end in spans]
        return [(index, forms.index(own)) for index, own in enumerate(written) if own in forms]


def _of_keyword(word: str) -> str:
    return f"every “{word}”"


def _of_contrast(word: str, other: str) -> str:
    return f"{word} rather than {other}"


def _listed(values: str | Sequence[str] | None) -> list[str]:
    if values is None or isinstance(values, str):
        return [] if values is None else [values]
    return list(values)


def _pair(text: str) -> tuple[str, str]:
    """A word and its alternative."""
    word, colon, other = text.partition(":")
    word, other = word.strip(), other.strip()
    if not colon or not word or not other or ":" in other:
        raise ValueError(f"got the contrast {text!r}; expected WORD:OTHER, such as dog:cat")
    return word, other


def _forms(text: Text, word: str) -> tuple[tuple[int, ...], ...]:
    """Tokens of a word at the beginning of a sentence, and after another word."""
    alone = text.encode(word)
    words, _ = text.spans(alone, word)
    if len(words) != 1:
        raise ValueError(
            f"got {word!r} to ask about; expected one word, and the captioner reads "
            f"{', '.join(words) or 'none'}"
        )
    alone = alone[:-1]
    if text.unk in alone:
        raise ValueError(
            f"the captioner does not know the word {word!r} and says nothing of it; choose a word "
            "of its vocabulary"
        )
    before, after = text.encode("a")[:-1], text.encode(f"a {word}")[:-1]
    return tuple(alone), tuple(after[len(before) :])


def _parting(own: Sequence[int], other: Sequence[int]) -> int | None:
    """The first piece in which two words differ; None where one is the beginning of the other."""
    differ = (at for at, (one, two) in enumerate(zip(own, other, strict=False)) if one != two)
    return next(differ, None)


def _pieces_note(word: str, other: str, at: int) -> str:
    return (
        f"{word} or {other} is written in several pieces: the contrast compares piece {at + 1} of "
        "each, the first that differs; later pieces are not in it."
    )
