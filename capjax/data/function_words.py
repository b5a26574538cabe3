"""Words that name nothing in a picture: an editable list."""

import importlib.resources
import tomllib
from pathlib import Path

SHIPPED = "function_words.toml"


def read_function_words(path: str | Path | None = None) -> frozenset[str]:
    """The words of a TOML file, in lower case; default: the shipped one, of English.

    Raises:
      FileNotFoundError: no such file.
      ValueError: one of another form.
    """
    if path is None:
        text = (importlib.resources.files("capjax.data") / SHIPPED).read_text(encoding="utf-8")
    elif Path(path).is_file():
        text = Path(path).read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(
            f"no file of function words at {path}; copy capjax/data/{SHIPPED} and change it"
        )
    try:
        words = tomllib.loads(text)["words"]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"its words are {words!r}")
    except (ValueError, KeyError) as error:
        raise ValueError(
            f'{path} holds no function words ({error!r}); expected TOML with words = ["a", "the"]'
        ) from error
    return frozenset(word.lower() for word in words)
