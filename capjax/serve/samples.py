"""Pictures that the page offers: by name from a fixed list, never by path."""

import functools
import importlib.resources
import io

from PIL import Image

from capjax.data.scenes.still import scene

PHOTOGRAPHS = ("astronaut.jpg", "cat.jpg", "coffee.jpg")
SCENES = {f"scene-{number}.png": number for number in (1, 2, 3)}
SAMPLES = (*PHOTOGRAPHS, *SCENES)


def sample(name: str) -> bytes | None:
    """The file of a sample; None for a name that is none."""
    return _file(name) if name in SAMPLES else None


@functools.cache  # of known names alone: strangers choose what is asked for
def _file(name: str) -> bytes:
    if name in PHOTOGRAPHS:
        return importlib.resources.files("capjax.data").joinpath("photographs", name).read_bytes()
    stream = io.BytesIO()
    Image.fromarray(scene(SCENES[name], split="test").image).save(stream, "PNG")
    return stream.getvalue()
