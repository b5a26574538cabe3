"""Draws the pictures of the README and the documentation from what ships with capjax.

    python -m capjax.viz.gallery --out=docs/img [--only=strip,methods/ig]

A shipped captioner and rendered scenes alone decide every picture. Not drawn here, since each needs
a run of training first: curves (`python -m capjax.viz.curves`), clips (`configs/scenes_video.py`),
captions with doubtful words marked (`python -m capjax.evaluate.hallucination fit`) and concepts
(`python -m capjax.studies concepts fit`).
"""

import argparse
import functools
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from capjax.api import counterfactual, explain, load
from capjax.captioner import Captioner
from capjax.data.scenes.still import scene
from capjax.explainers.batch import check_methods
from capjax.explainers.methods import METHODS
from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.named import named_fill
from capjax.runtime.standard_streams import outlive_readers
from capjax.viz.explained_images import ExplainedImage
from capjax.viz.gallery.small_png import write_small
from capjax.viz.inpaint.triptych import triptych
from capjax.viz.paper import plot_caption, plot_queries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST, LARGEST_METHOD = 170_000, 60_000
"""Bytes of a picture, and of one under methods/."""
DOTS = 80
"""An inch of a figure, in pixels."""
README_SCENE, METHOD_SCENE, OBJECT_SCENE = 8, 33, 31
"""Numbers of validation scenes."""
QUERY = "[a large red star] between [a small cyan ring] and [a small checkered cyan circle]"
LONGEST = 16
"""Tokens: no caption here is longer, and what is asked of more is padding."""
HEIGHT, COLUMNS = 96, 6
"""Of a panel in the strip of a method, in pixels, and panels in a row."""
OK, USAGE = 0, 2

Drawing = Callable[[], Image.Image]


@functools.cache
def _captioner() -> Captioner:
    return load("scenes-soft")


def _explained(number: int, method: str, query: str | None = None) -> ExplainedImage:
    image = scene(number, split="val").image
    asked: dict[str, Any] = {"query": query, "max_len": LONGEST, "visual_information": False}
    return explain(_captioner(), image, methods=method, **asked)[0]


def strip() -> Image.Image:
    """What the README's first example draws."""
    return _explained(README_SCENE, "attention").word_strip()


def queries() -> Image.Image:
    """Phrases of a sentence, each with its caption-guided map: Figure 3 of Ramanishka et al."""
    found = _explained(README_SCENE, "caption_guided", QUERY)
    return _rasterised(plot_queries(found.image, [found["caption_guided"]]))


def caption() -> Image.Image:
    """A caption with a caption-guided map of each word: Figure 4 of the same paper."""
    found = _explained(METHOD_SCENE, "caption_guided")
    return _rasterised(plot_caption(found.image, found["caption_guided"], columns=6))


def linguistic() -> Image.Image:
    """What each word owes to the words before it."""
    image = scene(METHOD_SCENE, split="val").image
    found = explain(_captioner(), image, linguistic="leave_one_out")[0]
    return _rasterised(found.plot_linguistic())


def without() -> Image.Image:
    """What is said of a scene without each of its objects."""
    drawn = scene(OBJECT_SCENE, split="val")
    masks = {f"{own.colour} {own.shape}": own.mask for own in drawn.objects if own.mentioned}
    found = counterfactual(_captioner(), drawn.image, masks=masks, fill="blur")
    return Image.fromarray(found.findings["counterfactual"].pictures["with and without"])


def filled() -> Image.Image:
    """A scene, the hole where an object was, and the hole filled."""
    drawn = scene(OBJECT_SCENE, split="val")
    mask = next(own.mask for own in drawn.objects if own.mentioned)
    (found,) = Around().each(named_fill("blur"), [drawn.image], [mask])
    return triptych(drawn.image, found.changed, found.image, fill="blur")


def method_strip(name: str) -> Image.Image:
    """The maps of one method for a caption's words, by its own name: a method may answer twice."""
    return _explained(METHOD_SCENE, name).word_strip(name, height=HEIGHT, columns=COLUMNS)


PICTURES: Mapping[str, Drawing] = {
    **{own.__name__: own for own in (strip, queries, caption, linguistic, without, filled)},
    **{f"methods/{name}": functools.partial(method_strip, name) for name in METHODS},
}
"""Path below the folder, without its suffix -> what draws it."""


def refusal(name: str) -> str:
    """Why a method has no picture, its maps being of another kind of captioner; else empty."""
    try:
        check_methods(_captioner(), name)
    except ValueError as error:
        return str(error)
    return ""


def draw(out: Path, name: str) -> str:
    """Writes one picture, a key of `PICTURES`, and returns the line to say about it."""
    folder, _, method = name.rpartition("/")
    if folder and (reason := refusal(method)):
        return f"left out: {name}: {reason}"
    path = out / f"{name}.png"
    size = write_small(PICTURES[name](), path, LARGEST_METHOD if folder else LARGEST)
    return f"{path}: {size:,} bytes"


def _rasterised(figure: "Figure") -> Image.Image:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DOTS)
    return Image.open(stream).convert("RGB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m capjax.viz.gallery",
        description="Draws the pictures of the README and the documentation from the models that "
        "ship with capjax.",
    )
    parser.add_argument("--out", type=Path, default=Path("docs/img"), help="default docs/img")
    parser.add_argument("--only", help=f"names, with commas; default all: {', '.join(PICTURES)}")
    options = parser.parse_args(arguments)
    asked = options.only.split(",") if options.only else list(PICTURES)
    try:
        if unknown := [name for name in asked if name not in PICTURES]:
            known = ", ".join(PICTURES)
            raise ValueError(f"no picture {', '.join(map(repr, unknown))}; choose from: {known}")
        for name in asked:
            print(draw(options.out, name), flush=True)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    return OK


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
