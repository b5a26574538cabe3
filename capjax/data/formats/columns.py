"""Which column, or field, holds the image's name, which the captions, and which the split."""

import ast
import dataclasses
import json
import re
from collections.abc import Sequence

IMAGE = (
    *("filename", "filepath", "imagename", "imagepath", "imagefile", "imgpath", "imgname"),
    *("image", "img", "file", "path", "photo", "picture"),
    *("videoname", "videopath", "videofile", "video", "clip", "clipname"),
    *("imageid", "imgid", "videoid", "id", "name", "key"),
)
"""Columns of image or clip names, as `plain_name` writes them; the plainest first."""

CAPTIONS = (
    *("caption", "captions", "text", "texts", "sentence", "sentences", "comment", "comments"),
    *("description", "descriptions", "raw", "captionstr", "referencestrs", "title"),
)
SPLIT = ("split", "subset", "partition", "set")
_NUMBERED = re.compile(r"(?P<name>[a-z]+?)\d+")
_LITERAL = re.compile(r"""None\b|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names of the columns that are read.

    Attributes:
      images: those that may hold the image's name, the likeliest first.
      captions: those of captions: one, or a numbered group in the order of the file.
      split: of the split; None where the file has none.
    """

    images: tuple[str, ...]
    captions: tuple[str, ...]
    split: str | None

    def __str__(self) -> str:
        several = len(self.captions) > 2
        shown = (self.captions[0], "…", self.captions[-1]) if several else self.captions
        return ", ".join(filter(None, (self.images[0], *shown, self.split)))


def plain_name(name: str) -> str:
    """A column's name as it is compared: `Image_Name`, "image name" and `imagename` are one."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def find_columns(names: Sequence[str]) -> Columns | None:
    """What the columns of these names hold; None unless there are images and captions."""
    plain = {name: plain_name(name) for name in names}
    images = [name for wanted in IMAGE for name in names if plain[name] == wanted]
    captions: list[str] = []
    for wanted in CAPTIONS:
        captions = [name for name in names if wanted in (plain[name], _numbered(plain[name]))]
        if captions:
            break
    split = [name for wanted in SPLIT for name in names if plain[name] == wanted]
    images = [name for name in images if name not in captions]
    if not images or not captions:
        return None
    return Columns(tuple(images), tuple(captions), split[0] if split else None)


def _numbered(name: str) -> str | None:
    match = _NUMBERED.fullmatch(name)
    return match["name"] if match else None


def captions_in(cell: str) -> list[str]:
    """The captions in a cell: its text, or the members of a list that JSON or Python printed.

    A member that is null is an empty caption.
    """
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return [cell]
    try:
        found = json.loads(text)
    except ValueError:
        if _LITERAL.sub("", text).strip("[], \n\t"):
            return [cell]
        try:
            # One by one: NumPy prints no commas, and Python would join neighbours into one text.
            found = [ast.literal_eval(literal) for literal in _LITERAL.findall(text)]
        except (ValueError, SyntaxError):
            return [cell]
    found = ["" if each is None else each for each in found]
    return found if all(isinstance(each, str) for each in found) else [cell]
