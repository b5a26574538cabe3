"""Scores that papers report: what is in `published.toml`."""

import functools
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

FACTS = ("source", "split")
"""What an entry says beside scores."""
FILE = pathlib.Path(__file__).with_name("published.toml")


@functools.cache
def published() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Name -> dataset -> "source", "split" where the paper names it, and scores."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))
