"""Parts of weight files: "FILE#PART", as in model.pth#state_dict_ema or captioner.npz#encoder."""

import collections
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from capjax.runtime.files import listed

Array = TypeVar("Array")

MARK = "#"
SEPARATORS = "./"
"""Between the parts of keys: of PyTorch's and of TensorFlow's."""


def split_part(name: str | os.PathLike[str]) -> tuple[str, str]:
    """(FILE, PART) of "FILE#PART"; a file that has this very name, # included, is that file."""
    text = os.fspath(name)
    file, mark, part = text.rpartition(MARK)
    if not mark or pathlib.Path(text).exists():
        return text, ""
    return file, part


def select(arrays: Mapping[str, Array], part: str) -> dict[str, Array]:
    """The arrays whose keys begin with a part, and a separator, without it.

    Raises:
      ValueError: there are none; the text names the parts that there are.
    """
    starts = tuple(part + separator for separator in SEPARATORS)
    found = {key[len(part) + 1 :]: arrays[key] for key in arrays if key.startswith(starts)}
    if not found:
        raise ValueError(f"no key begins with {part!r}; they begin with: {described(arrays)}")
    return found


def described(keys: Iterable[str]) -> str:
    """The parts of a file by the first names of its keys, each with how many keys it has."""
    counts = collections.Counter(first_name(key) for key in keys)
    return listed([f"{name} ({count})" for name, count in counts.most_common()])


def first_name(key: str) -> str:
    """A key up to its first separator."""
    ends = [place for place in map(key.find, SEPARATORS) if place >= 0]
    return key[: min(ends)] if ends else key
