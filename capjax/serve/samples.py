"""Pictures that the page offers: by name from a fixed list, never by path."""

import functools
import importlib.resources
import io

from PIL import Image

from capjax.data.scenes.still import scene

PHOTOGRAPHS = ("astronaut.jpg", "cat.jpg", "coffee.jpg")
SCENES = {f"scene-{number}.png": number for number in (1, 2, 3)}
SAMPLES = (*PHOTOGRAPHS, *SCENES)


@functools.cache
def sample(name: str) -> bytes | None:
    """The file of a sample; None for a name that is none."""
    if name in PHOTOGRAPHS:
        return importlib.resources.files("capjax.data").joinpath("photographs", name).read_bytes()
    if name not in SCENES:
        return None
    stream = io.BytesIO()
    Image.fromarray(scene(SCENES[name], split="test").image).save(stream, "PNG")
    return stream.getvalue()
