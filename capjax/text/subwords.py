"""Texts to ids by the tokenizers of pretrained text encoders: WordPiece and CLIP's BPE.

The algorithms are those of the `tokenizers` library (`pip install "capjax[hub]"`); this file says
how each is put together where a folder has a vocabulary but no `tokenizer.json`.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

LONGEST_WORD = 100  # in characters: WordPiece reads a longer one as unknown
# A word of CLIP: a contraction, letters, one digit, or other characters; blanks separate.
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
END_OF_WORD = "</w>"  # part of a word's last symbol in CLIP
CLIP_START, CLIP_END = "<|startoftext|>", "<|endoftext|>"


@dataclasses.dataclass(frozen=True, eq=False)
class Subwords:
    """A tokenizer that adds its special tokens and cuts long texts between them.

    Attributes:
      tokenizer: a `tokenizers.Tokenizer`.
      pad: id that fills rows.
      max_length: longest text in tokens, special ones included.
    """

    tokenizer: Any
    pad: int
    max_length: int

    def __post_init__(self) -> None:
        # What tokenizer.json asks for is for one batch of its author's.
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length=self.max_length)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, special tokens included, at most `max_length`."""
        return [found.ids for found in self.tokenizer.encode_batch(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """The text, without special tokens."""
        return str(self.tokenizer.decode(list(ids))).replace(END_OF_WORD, " ").strip()

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text as the vocabulary writes them, special tokens included."""
        return list(self.tokenizer.encode(text).tokens)

    def padded(
        self, ids: Sequence[Sequence[int]], shape: tuple[int, int]
    ) -> tuple[Int[np.ndarray, "B T"], Bool[np.ndarray, "B T"]]:
        """Rows of ids and True where they are, filled up to `shape`."""
        tokens = np.full(shape, self.pad, np.int32)
        mask = np.zeros(shape, bool)
        for row, values in enumerate(ids):
            tokens[row, : len(values)] = values
            mask[row, : len(values)] = True
        return tokens, mask


def read_tokenizer(path: str | os.PathLike[str]) -> Any:
    """The `tokenizers.Tokenizer` of a `tokenizer.json`.

    Raises:
      ImportError: `tokenizers` is not installed.
      ValueError: the file is damaged.
    """
    tokenizers = tokenizers_library()
    try:
        return tokenizers.Tokenizer.from_str(pathlib.Path(path).read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(
            f"cannot read {os.fspath(path)} as a tokenizer ({error}); expected the tokenizer.json "
            "of a published model: fetch it again"
        ) from error


def word_piece(
    vocabulary: Sequence[str], *, lowercase: bool = True, strip_accents: bool | None = None
) -> Any:
    """BERT's tokenizer: cleaned, split at blanks, punctuation and CJK, longest piece first.

    Args:
      vocabulary: pieces in the order of their ids (the lines of `vocab.txt`).
      lowercase: whether texts are lowered; accents go too, unless `strip_accents` says otherwise.

    Raises:
      ImportError: `tokenizers` is not installed.
      ValueError: a special token is missing from the vocabulary.
    """
    library = tokenizers_library()
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    missing = [piece for piece in ("[UNK]", "[CLS]", "[SEP]", "[PAD]") if piece not in ids]
    if missing:
        raise ValueError(
            f"the vocabulary of {len(ids)} pieces lacks {', '.join(missing)}; expected the "
            "vocab.txt of a BERT"
        )
    tokenizer = library.Tokenizer(
        library.models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.normalizer = library.normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(key, ids[key]) for key in ("[CLS]", "[SEP]")]
    )
    tokenizer.decoder = library.decoders.WordPiece()
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]"])
    return tokenizer


def clip_bpe(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> Any:
    """CLIP's tokenizer: lowered, byte-level, each word's last symbol marked with `</w>`.

    As transformers reads it: texts are brought to NFC; OpenAI's own also repairs broken encodings
    (ftfy) and HTML entities.

    Args:
      vocabulary: symbol -> id (`vocab.json`).
      merges: pairs of symbols in order of priority (`merges.txt`).

    Raises:
      ImportError: `tokenizers` is not installed.
      ValueError: a special token is missing from the vocabulary.
    """
    library = tokenizers_library()
    missing = [symbol for symbol in (CLIP_START, CLIP_END) if symbol not in vocabulary]
    if missing:
        raise ValueError(
            f"the vocabulary of {len(vocabulary)} symbols lacks {', '.join(missing)}; expected the "
            "vocab.json of a CLIP"
        )
    tokenizer = library.Tokenizer(
        library.models.BPE(
            dict(vocabulary), list(merges), unk_token=CLIP_END, end_of_word_suffix=END_OF_WORD
        )
    )
    tokenizer.normalizer = library.normalizers.Sequence(
        [library.normalizers.NFC(), library.normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(
        [
            library.pre_tokenizers.Split(library.Regex(CLIP_WORDS), "removed", invert=True),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single=f"{CLIP_START} $A {CLIP_END}",
        special_tokens=[(symbol, vocabulary[symbol]) for symbol in (CLIP_START, CLIP_END)],
    )
    tokenizer.decoder = library.decoders.ByteLevel()
    tokenizer.add_special_tokens([CLIP_START, CLIP_END])
    return tokenizer


def read_merges(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """The pairs of a `merges.txt`; a first line that names a version is left out."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").split("\n")
    lines = lines[1:] if lines[0].startswith("#version") else lines
    pairs = [tuple(line.split(" ")) for line in lines if line]
    wrong = next((pair for pair in pairs if len(pair) != 2), None)
    if wrong is not None:
        raise ValueError(
            f"{os.fspath(path)} has the line {' '.join(wrong)!r}; expected two symbols a line"
        )
    return [(left, right) for left, right in pairs]


def read_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """Symbol -> id of a `vocab.json`."""
    found = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    return {str(symbol): int(number) for symbol, number in found.items()}


def tokenizers_library() -> Any:
    """The library itself, with all its parts.

    Raises:
      ImportError: it is not installed.
    """
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.normalizers
        import tokenizers.pre_tokenizers
        import tokenizers.processors
    except ImportError as error:
        raise ImportError(
            'texts in subwords need the `tokenizers` library: pip install "capjax[hub]"'
        ) from error
    return tokenizers
