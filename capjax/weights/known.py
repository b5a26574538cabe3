"""Published weights that fit the encoders, and whole models: the rows of `known.toml`."""

import dataclasses
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

ROWS = pathlib.Path(__file__).with_name("known.toml")


@dataclasses.dataclass(frozen=True)
class Known:
    """Published weights of one encoder.

    Attributes:
      encoder: key of `capjax.encoders.ENCODERS`.
      fields: constructor arguments that differ from their defaults.
      parameters: how many training could change, without classifier.
      layout: the `Table.layout` they are read with.
      sources: addresses of the hub, "hf:…", or where else the files are.
      made_for: resizing and normalisation that the weights were tested with.
    """

    encoder: str
    fields: Mapping[str, Any]
    parameters: int
    layout: str
    sources: Sequence[str]
    made_for: str


def known_weights() -> list[Known]:
    """All rows, in the order of the file."""
    return [Known(**row) for row in tomllib.loads(ROWS.read_text(encoding="utf-8"))["weights"]]


@dataclasses.dataclass(frozen=True)
class KnownModel:
    """A published model that is loaded whole.

    Attributes:
      kind: what it is, in words.
      parameters: how many training could change.
      use: how it is loaded.
      sources: addresses of the hub, "hf:…".
    """

    kind: str
    parameters: int
    use: str
    sources: Sequence[str]


def known_models() -> list[KnownModel]:
    """All rows, in the order of the file."""
    return [KnownModel(**row) for row in tomllib.loads(ROWS.read_text(encoding="utf-8"))["models"]]
