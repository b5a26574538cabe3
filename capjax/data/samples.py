"""Three photographs that come with capjax, free to redistribute, to try a captioner on.

    capjax.explain(capjax.load("photographs"), photograph("cat"))

Who took them and under which licence: `photographs.txt` beside this file.
"""

import pathlib

FOLDER = pathlib.Path(__file__).parent / "photographs"
"""Folder of the photographs: `explain.py --images` takes it as it is."""


def names() -> list[str]:
    """Names of the photographs."""
    return sorted(path.stem for path in FOLDER.glob("*.jpg"))


def photograph(name: str) -> pathlib.Path:
    """The file of a photograph, which whatever takes images reads.

    Raises:
      ValueError: there is none of this name; the text lists them.
    """
    if name not in names():
        raise ValueError(f"no photograph {name!r}; choose one of: {', '.join(names())}")
    return FOLDER / f"{name}.jpg"
