"""Words that name nothing in a picture: an editable list."""

import tomllib
from pathlib import Path

from capjax.data.editable import editable_text

SHIPPED = "function_words.toml"


def read_function_words(path: str | Path | None = None) -> frozenset[str]:
    """The words of a TOML file, in lower case; default: the shipped one, of English.

    Raises:
      FileNotFoundError: no such file.
      ValueError: one of another form.
    """
    text = editable_text(path, SHIPPED, "function words")
    try:
        words = tomllib.loads(text)["words"]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"its words are {words!r}")
    except (ValueError, KeyError) as error:
        raise ValueError(
            f'{path} holds no function words ({error!r}); expected TOML with words = ["a", "the"]'
        ) from error
    return frozenset(word.lower() for word in words)
