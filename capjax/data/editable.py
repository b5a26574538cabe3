"""Lists that ship as TOML and may be copied and changed."""

import importlib.resources
from pathlib import Path


def editable_text(path: str | Path | None, shipped: str, noun: str) -> str:
    """The text of somebody's list, or without one of the list that ships.

    Args:
      path: of the list; None: the shipped one.
      shipped: name of that one, below capjax/data.
      noun: what the list is of.

    Raises:
      FileNotFoundError: no such file.
    """
    if path is None:
        return (importlib.resources.files("capjax.data") / shipped).read_text(encoding="utf-8")
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no file of {noun} at {path}; copy capjax/data/{shipped} and change it"
        )
    return Path(path).read_text(encoding="utf-8")
