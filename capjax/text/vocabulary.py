"""The word vocabulary: words to ids and back, built by counting training captions."""

import collections
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from capjax.runtime.files import replacing
from capjax.text.ptb_lite import tokenize

SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Ids of words; implements `capjax.types.Text`.

    Captions are split by `ptb_lite.tokenize`, the tokenizer the metrics use, so that a word here
    and a word there are the same thing.

    Attributes:
      entries: every entry in the order of its id; the first four are `<pad> <start> <end> <unk>`.
    """

    entries: tuple[str, ...]

    pad = 0
    bos = 1
    eos = 2
    unk = 3

    FILE: ClassVar[str] = "vocabulary.json"

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        if self.entries[: len(SPECIALS)] != SPECIALS:
            raise ValueError(
                f"a vocabulary starts with {', '.join(SPECIALS)}; "
                f"this one starts with {', '.join(map(repr, self.entries[:4])) or 'nothing'}"
            )
        if len(set(self.entries)) != len(self.entries):
            counts = collections.Counter(self.entries)
            twice = [word for word, count in counts.items() if count > 1]
            raise ValueError(f"words must be distinct; {twice[:10]} occur more than once")

    @classmethod
    def build(
        cls, captions: Iterable[str], *, threshold: int = 1, cap: int | None = None
    ) -> "Vocabulary":
        """The vocabulary of `captions`: pass those of the training split and no others.

        Args:
          captions: raw sentences.
          threshold: the fewest occurrences that let a word in (a published "more than 5" is 6).
          cap: the most words to take, specials not counted: the most frequent, ties by spelling.
        """
        if threshold < 1 or (cap is not None and cap < 1):
            raise ValueError(f"threshold and cap are at least 1; got {threshold} and {cap}")
        counts = collections.Counter(word for caption in captions for word in tokenize(caption))
        ranked = sorted(
            (word for word, count in counts.items() if count >= threshold and word not in SPECIALS),
            key=lambda word: (-counts[word], word),
        )
        if not ranked:
            raise ValueError(
                f"no word occurs {threshold} times in these captions ({len(counts)} distinct "
                "words); lower the threshold or pass the captions of the training split"
            )
        return cls(SPECIALS + tuple(ranked[:cap]))

    @property
    def size(self) -> int:
        """How many ids there are, specials included."""
        return len(self.entries)

    @functools.cached_property
    def hash(self) -> str:
        """sha256 of the entries in order: equal hashes mean interchangeable vocabularies."""
        return hashlib.sha256("\n".join(self.entries).encode()).hexdigest()

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        # Without the specials: a caption that contains the text "<end>" must not end there.
        return {word: i for i, word in enumerate(self.entries) if i >= len(SPECIALS)}

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def encode(self, text: str, max_len: int | None = None) -> list[int]:
        """Ids of the words of `text`, then `eos`; unknown words become `unk`.

        `max_len` bounds the result, `eos` included: words are cut, `eos` never is.
        """
        if max_len is not None and max_len < 1:
            raise ValueError(f"max_len must leave room for the end token; got {max_len}")
        ids = [self._ids.get(word, self.unk) for word in tokenize(text)]
        if max_len is not None:
            ids = ids[: max_len - 1]
        return [*ids, self.eos]

    def words(self, ids: Sequence[int]) -> list[str]:
        """One string an id, up to the first `eos`, which is dropped."""
        found = []
        for index in map(int, ids):
            if index == self.eos:
                break
            if not 0 <= index < self.size:
                raise ValueError(
                    f"id {index} is outside this vocabulary of {self.size} entries; "
                    "were these ids made with another vocabulary?"
                )
            found.append(self.entries[index])
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence, up to the first `eos`."""
        return " ".join(self.words(ids))

    def spans(
        self, ids: Sequence[int], text: str | None = None
    ) -> tuple[list[str], list[tuple[int, int]]]:
        """Words to show and the (start, end) token positions of each: here always one token.

        With the `text` that `ids` were encoded from, a word outside the vocabulary is shown as it
        was written instead of as `<unk>`.
        """
        words = self.words(ids)
        if text is not None:
            if self.encode(text)[: len(words)] != [int(index) for index in ids[: len(words)]]:
                raise ValueError(
                    f"these ids spell {self.decode(ids)!r}, not {text!r}; "
                    "pass the text that was encoded, or none"
                )
            words = tokenize(text)[: len(words)]
        return words, [(i, i + 1) for i in range(len(words))]

    def to_json(self) -> str:
        """The vocabulary as JSON text, with its hash, one word a line."""
        body = {"hash": self.hash, "entries": list(self.entries)}
        return json.dumps(body, ensure_ascii=False, indent=0)

    @classmethod
    def from_json(cls, text: str, *, expected_hash: str | None = None) -> "Vocabulary":
        """Reads `to_json`; a hash that differs from the words or from `expected_hash` fails."""
        try:
            body = json.loads(text)
            stored, entries = body["hash"], body["entries"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"not a vocabulary ({type(error).__name__}: {error}); expected JSON with 'hash' "
                "and 'entries', as written by Vocabulary.to_json"
            ) from error
        vocabulary = cls(tuple(entries))
        for wanted, owner in ((stored, "its file states"), (expected_hash, "the model needs")):
            if wanted is not None and wanted != vocabulary.hash:
                raise ValueError(
                    f"the words of this vocabulary hash to {vocabulary.hash}, but {owner} "
                    f"{wanted}; use the vocabulary.json that was saved with the model"
                )
        return vocabulary

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json` to a file."""
        with replacing(Path(path)) as stream:
            stream.write(self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path, *, expected_hash: str | None = None) -> "Vocabulary":
        """Reads a file written by `save`; errors name the file."""
        try:
            return cls.from_json(
                Path(path).read_text(encoding="utf-8"), expected_hash=expected_hash
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
