"""Byte-level byte-pair encoding (GPT-2's), as the words of a captioner."""

import codecs
import dataclasses
import functools
import hashlib
import json
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from capjax.runtime.files import listed, replacing
from capjax.text.subwords import read_merges, read_vocabulary, tokenizers_library

# Characters that stand within a word when letters or digits are on both sides.
_WITHIN_WORDS = frozenset("-'’")
_WITHIN_NUMBERS = frozenset(".,:/")


@dataclasses.dataclass(frozen=True)
class BytePair:
    """Ids of pieces of words; implements `capjax.types.Text`.

    Any text has ids: what no merge made is spelled in bytes. Nothing is unknown, so `unk` is the
    end token's id, which no word has. GPT-2 has one special token, which starts, ends and pads
    captions; a captioner that starts with another one has it as a field of its decoder.

    A piece that follows a space begins with it, so "cat" and " cat" are two pieces. A caption
    begins without a space, and blanks in a row count as one.

    Attributes:
      entries: every piece in the order of its id, in GPT-2's alphabet of 256 printable characters,
        one a byte.
      merges: pairs of pieces in the order of their priority.
      eos: id of the end token.
      lowercase: whether texts are lowered before they are encoded, for models that have seen
        lower-case captions only. Case matters otherwise: "A" and "a" are two pieces.
    """

    entries: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    eos: int
    lowercase: bool = False

    FILE: ClassVar[str] = "tokenizer.json"

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        object.__setattr__(self, "merges", tuple((left, right) for left, right in self.merges))
        if not 0 <= self.eos < len(self.entries):
            raise ValueError(
                f"the end token {self.eos} is outside this vocabulary of {len(self.entries)} "
                "pieces; give the id of one of them"
            )
        known = set(self.entries)
        missing = sorted(set(_bytes_of_characters()) - known)
        missing += [left + right for left, right in self.merges if left + right not in known]
        if missing:
            raise ValueError(
                f"this vocabulary of {len(known)} pieces lacks {listed(missing)}; expected "
                "one piece for each byte and each merge, as in the files of a GPT-2"
            )

    @property
    def pad(self) -> int:
        """The end token: padding is known by lengths, never by its id."""
        return self.eos

    @property
    def bos(self) -> int:
        """The end token."""
        return self.eos

    @property
    def unk(self) -> int:
        """The end token: no text has an unknown word."""
        return self.eos

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self.entries)

    @functools.cached_property
    def hash(self) -> str:
        """sha256 of all fields: equal hashes mean interchangeable texts."""
        body = [self.entries, self.merges, self.eos, self.lowercase]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()

    @functools.cached_property
    def _tokenizer(self) -> Any:
        library = tokenizers_library()
        ids = {piece: number for number, piece in enumerate(self.entries)}
        tokenizer = library.Tokenizer(library.models.BPE(ids, list(self.merges)))
        if self.lowercase:
            tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        # The end token is appended, and not a special piece: a caption may spell it.
        end = self.entries[self.eos]
        tokenizer.post_processor = library.processors.TemplateProcessing(
            single=["$A", end], special_tokens=[(end, self.eos)]
        )
        return tokenizer

    def encode(self, text: str, max_len: int | None = None) -> list[int]:
        """Ids of the pieces of `text`, then `eos`.

        `max_len` bounds the result, `eos` included: pieces are cut, `eos` never is.
        """
        if max_len is not None and max_len < 1:
            raise ValueError(f"max_len must leave room for the end token; got {max_len}")
        plain = " ".join(text.split())
        ids = list(self._tokenizer.encode(plain, add_special_tokens=False).ids)
        if max_len is not None:
            ids = ids[: max_len - 1]
        return [*ids, self.eos]

    def words(self, ids: Sequence[int]) -> list[str]:
        """One string a piece, with its space, up to the first `eos`, which is dropped."""
        return [piece.decode("utf-8", "replace") for piece in self._pieces(ids)]

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence, up to the first `eos`, without blanks at its ends."""
        return b"".join(self._pieces(ids)).decode("utf-8", "replace").strip()

    def spans(
        self, ids: Sequence[int], text: str | None = None
    ) -> tuple[list[str], list[tuple[int, int]]]:
        """Words to show and the (start, end) token positions of each, pieces of a word merged.

        A space begins a word; punctuation is a word of its own, but for what stands within one, as
        in "t-shirt", "man's" and "3.5". Blanks at the end belong to no word.

        Args:
          ids: of a sentence.
          text: what `ids` were encoded from; only checked, since no word is unknown.
        """
        if text is not None and list(ids) != self.encode(text)[: len(ids)]:
            raise ValueError(
                f"these ids spell {self.decode(ids)!r}, not {text!r}; "
                "pass the text that was encoded, or none"
            )
        places, whole = self._places(ids)
        words, spans = [], []
        starts = [n for n, at in enumerate(places) if at is not None and _begins_word(whole, at)]
        for number, start in enumerate(starts):
            end = starts[number + 1] if number + 1 < len(starts) else len(places)
            last = _place(places, end, len(whole))
            word = whole[_place(places, start, len(whole)) : last].strip()
            if word:
                words.append(word)
                spans.append((start, end))
        return words, spans

    def _pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each id up to the first `eos`."""
        found = []
        for number in map(int, ids):
            if number == self.eos:
                break
            if not 0 <= number < self.size:
                raise ValueError(
                    f"id {number} is outside this vocabulary of {self.size} pieces; "
                    "were these ids made with another tokenizer?"
                )
            found.append(_as_bytes(self.entries[number]))
        return found

    def _places(self, ids: Sequence[int]) -> tuple[list[int | None], str]:
        """Where each piece begins in the text, None within a character, and the text."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        places: list[int | None] = []
        whole = ""
        for piece in self._pieces(ids):
            places.append(None if decoder.getstate()[0] else len(whole))
            whole += decoder.decode(piece)
        return places, whole + decoder.decode(b"", final=True)

    def to_json(self) -> str:
        """A `tokenizer.json`, which the `tokenizers` library reads too."""
        return str(self._tokenizer.to_str())

    @classmethod
    def from_json(
        cls,
        text: str,
        *,
        eos: int | None = None,
        lowercase: bool = False,
        expected_hash: str | None = None,
    ) -> "BytePair":
        """Reads `to_json`, or the tokenizer.json of a published GPT-2.

        Args:
          text: content of the file.
          eos: id of the end token, where the file does not append one itself.
          lowercase: whether texts are lowered; a file that says so is enough.
          expected_hash: of the words that a model needs.

        Raises:
          ValueError: the file is damaged, of another kind of tokenizer, or of other words.
        """
        try:
            body = json.loads(text)
            model = body["model"]
            ids = {**model["vocab"], **{t["content"]: t["id"] for t in body["added_tokens"]}}
            merges = [
                tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair)
                for pair in model["merges"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"not a byte-pair tokenizer ({type(error).__name__}: {error}); expected a "
                "tokenizer.json whose model is BPE"
            ) from error
        _check_kind(body)
        end = _appended(body) if eos is None else eos
        lowered = lowercase or (body.get("normalizer") or {}).get("type") == "Lowercase"
        found = cls(_in_order(ids), tuple(merges), end, lowered)  # type: ignore[arg-type]
        if expected_hash not in (None, found.hash):
            raise ValueError(
                f"the words of this tokenizer hash to {found.hash}, but the model needs "
                f"{expected_hash}; use the {cls.FILE} that was saved with the model"
            )
        return found

    @classmethod
    def from_files(
        cls,
        vocabulary: str | os.PathLike[str],
        merges: str | os.PathLike[str],
        *,
        eos: int,
        lowercase: bool = False,
    ) -> "BytePair":
        """Of a `vocab.json` and a `merges.txt`; errors name the file."""
        try:
            entries = _in_order(read_vocabulary(vocabulary))
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{os.fspath(vocabulary)}: {error}") from error
        return cls(entries, tuple(read_merges(merges)), eos, lowercase)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json` to a file."""
        with replacing(Path(path)) as stream:
            stream.write(self.to_json().encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, expected_hash: str | None = None) -> "BytePair":
        """Reads a file written by `save`; errors name the file."""
        try:
            return cls.from_json(Path(path).read_text("utf-8"), expected_hash=expected_hash)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error


@functools.cache
def _bytes_of_characters() -> dict[str, int]:
    """GPT-2's alphabet: a printable byte is itself, the others follow from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {
        **{chr(byte): byte for byte in printable},
        **{chr(0x100 + number): byte for number, byte in enumerate(others)},
    }


def _as_bytes(piece: str) -> bytes:
    alphabet = _bytes_of_characters()
    if all(character in alphabet for character in piece):
        return bytes(alphabet[character] for character in piece)
    return piece.encode()  # a token that was added as it is read


def _place(places: Sequence[int | None], number: int, length: int) -> int:
    """Where a piece begins in the text; the end of the text for the one after the last."""
    found = places[number] if number < len(places) else length
    assert found is not None  # words begin at characters
    return found


def _begins_word(text: str, at: int) -> bool:
    """Whether a piece that begins here begins a word."""
    if at == 0:
        return True
    if at == len(text):
        return False
    left, right = text[at - 1], text[at]
    if left.isspace() or right.isspace():
        return not left.isspace()
    inside = _is_letter(left), _is_letter(right)
    if inside[0] == inside[1]:
        return False
    mark, before, after = (at, at - 1, at + 1) if inside[0] else (at - 1, at - 2, at)
    if before < 0 or after >= len(text):
        return True
    around = text[before], text[after]
    if text[mark] in _WITHIN_WORDS:
        return not all(map(_is_letter, around))
    return not (text[mark] in _WITHIN_NUMBERS and all(map(str.isdigit, around)))


def _is_letter(character: str) -> bool:
    """Letters, digits and the marks on them."""
    return unicodedata.category(character)[0] in "LNM"


def _in_order(ids: Mapping[str, int]) -> tuple[str, ...]:
    """Pieces by id."""
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"the ids of {len(ids)} pieces are not 0 to {len(ids) - 1}, each once; "
            "expected the whole vocabulary of a GPT-2"
        )
    return tuple(sorted(ids, key=lambda piece: ids[piece]))


def _appended(body: Mapping[str, Any]) -> int:
    """The id that the file itself puts after every text."""
    template = body.get("post_processor") or {}
    if template.get("type") != "TemplateProcessing":
        raise ValueError("this tokenizer.json says no end token; give its id, for example 50256")
    last = template["single"][-1]["SpecialToken"]["id"]
    return int(template["special_tokens"][last]["ids"][-1])


def _check_kind(body: Mapping[str, Any]) -> None:
    """Refuses what would give other ids than this class does."""
    model, before = body["model"], body.get("pre_tokenizer") or {}
    normalizer = body.get("normalizer")
    strange = {
        "model.type": (model.get("type") or "BPE", ("BPE",)),
        "model.dropout": (model.get("dropout"), (None, 0.0)),
        "model.continuing_subword_prefix": (model.get("continuing_subword_prefix"), (None, "")),
        "model.end_of_word_suffix": (model.get("end_of_word_suffix"), (None, "")),
        "model.byte_fallback": (model.get("byte_fallback", False), (False,)),
        "model.ignore_merges": (model.get("ignore_merges", False), (False,)),
        "normalizer": (normalizer and normalizer.get("type"), (None, "Lowercase")),
        "pre_tokenizer.type": (before.get("type"), ("ByteLevel",)),
        "pre_tokenizer.add_prefix_space": (before.get("add_prefix_space"), (False,)),
        "pre_tokenizer.use_regex": (before.get("use_regex", True), (True,)),
    }
    for name, (value, allowed) in strange.items():
        if value not in allowed:
            raise ValueError(
                f"{name} is {value!r}; expected {' or '.join(map(repr, allowed))}, as GPT-2 has it"
            )
