"""Caption lists without columns: an image's name, blanks, and the caption to the line's end."""

from capjax.data.captions.records import CaptionSet, is_clip_name, is_image_name
from capjax.data.formats.gathering import Gathering

FORMAT = "caption list"


def matches(text: str) -> bool:
    """Whether every line that is not blank begins with the name of an image or clip."""
    lines = [line.split(maxsplit=1) for line in text.split("\n") if line.strip()]
    return bool(lines) and all(
        len(parts) == 2 and (is_image_name(parts[0]) or is_clip_name(parts[0])) for parts in lines
    )


def parse(text: str, gathering: Gathering) -> CaptionSet:
    """Records of the images, in order of first appearance."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            name, caption = line.split(maxsplit=1)
            gathering.add(name, [caption], where=f"line {number}")
    return gathering.finish(FORMAT)
