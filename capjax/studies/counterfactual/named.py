"""What a command line names: where objects come from, and what fills their places."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from capjax.data.objects.annotated import read_objects
from capjax.data.objects.pictures import MaskFolder
from capjax.data.objects.region import ObjectSource
from capjax.explainers.choosing import INNER, with_options
from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.contract import Fill
from capjax.inpaint.fills.named import named_fill
from capjax.runtime.files import local_path
from capjax.studies.counterfactual.reading import Remover


def object_source(objects: str, *, tell: Callable[[str], None] = lambda note: None) -> ObjectSource:
    """Where objects come from.

    Args:
      objects: a JSON file (COCO instances, or a detector's results), or a folder of masks.
      tell: takes a sentence on what is left out.

    Raises:
      FileNotFoundError: there is nothing of that name.
      ValueError: it has another form, or nothing is named.
    """
    if not objects:
        raise ValueError(
            "counterfactual needs objects to remove: give --boxes=COCO_JSON or --masks=FOLDER, in "
            "Python objects="
        )
    path = local_path(objects, "objects")
    return MaskFolder(path) if path.is_dir() else read_objects(path, tell=tell)


def content_of(objects: str) -> str:
    """Digest of the file that names objects; empty of a folder, whose pictures may be many."""
    path = pathlib.Path(objects)
    if not path.is_file():
        return ""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]


def chosen_fill(text: str) -> Fill:
    """A fill with options, as in "telea" or "blur+sigma=3".

    Raises:
      ValueError: an unknown fill or option.
    """
    name, *options = text.split(INNER)
    return with_options(named_fill(name), options, name)


def remover(text: str, dilate: int) -> Remover:
    """The remover of a fill: what an object hides is grown by `dilate` pixels, cut out, filled and
    pasted; pixels outside stay as they are."""
    around = Around(dilate=dilate, feather=min(Around().feather, dilate))
    return functools.partial(_without, around, chosen_fill(text))


def _without(
    around: Around, fill: Fill, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> list[np.ndarray]:
    return [found.image for found in around.each(fill, images, masks)]
