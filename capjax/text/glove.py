"""GloVe word vectors from their text file, as initial values of an embedding."""

import dataclasses
import unicodedata
from pathlib import Path

import numpy as np

from capjax.text.vocabulary import SPECIALS, Vocabulary


@dataclasses.dataclass(frozen=True)
class GloveEmbedding:
    """An embedding matrix and how much of it came from the file.

    Attributes:
      matrix: [V E] float32.
      found: how many words of the vocabulary the file has.
      missing: the words it lacks, which kept their initial rows (special tokens not listed).
    """

    matrix: np.ndarray
    found: int
    missing: tuple[str, ...]


def read_glove(path: str | Path, vocabulary: Vocabulary, *, initial: np.ndarray) -> GloveEmbedding:
    """GloVe vectors for a vocabulary (Pennington et al. 2014; `word v1 … vE` a line).

    Args:
      path: an unzipped text file such as `glove.6B.300d.txt`.
      vocabulary: the words wanted; looked up as they are (lower case, NFC).
      initial: [V E] rows for words the file lacks; E must be the file's dimension.

    Raises:
      ValueError: for a malformed line (named by number) or another dimension.
    """
    if initial.ndim != 2 or initial.shape[0] != vocabulary.size:
        raise ValueError(
            f"initial has shape {initial.shape}; expected ({vocabulary.size}, dimension)"
        )
    matrix = np.array(initial, np.float32)
    dimension = matrix.shape[1]
    rows = {word: i for i, word in enumerate(vocabulary.entries) if i >= len(SPECIALS)}
    seen = set()
    with open(path, encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip("\r\n ")
            spaces = line.count(" ")
            # The 840B release has entries with spaces inside, so only the first line can tell a
            # file of another dimension.
            if spaces < dimension or (number == 1 and spaces != dimension):
                raise ValueError(
                    f"{path}, line {number}: expected a word and {dimension} numbers, got "
                    f"{spaces + 1} fields; set the embedding size to "
                    "the file's dimension, or unpack the file again"
                )
            word, _, values = line.partition(" ")
            word = unicodedata.normalize("NFC", word)
            if spaces != dimension or word not in rows or word in seen:
                continue
            try:
                vector = np.array(values.split(" "), np.float32)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}; unpack it again") from error
            matrix[rows[word]] = vector
            seen.add(word)
    missing = tuple(word for word in rows if word not in seen)
    return GloveEmbedding(matrix=matrix, found=len(seen), missing=missing)
