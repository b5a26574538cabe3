"""What a command line names: where objects come from, and what fills their places."""

import argparse
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from capjax.captioner import Captioner
from capjax.data.boxes.object_words import read_object_words
from capjax.data.objects.annotated import read_objects
from capjax.data.objects.detected import FoundObjects
from capjax.data.objects.pictures import MaskFolder
from capjax.data.objects.region import ObjectSource
from capjax.detectors.detector import Detector
from capjax.explainers.batch import check_methods
from capjax.explainers.choosing import INNER, with_options
from capjax.explainers.perturbation.superpixels import require
from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.contract import Fill
from capjax.inpaint.fills.named import named_fill
from capjax.runtime.command_line import refuse_idle
from capjax.runtime.files import local_path
from capjax.runtime.fingerprint import sha256_of
from capjax.studies.contract import Study
from capjax.studies.counterfactual.proposals import ProposedObjects
from capjax.studies.counterfactual.reading import Remover
from capjax.weights.detectors import DETR, load_detector

PROPOSALS = "proposals"
DETECTOR = "detr"
EXACT = "exact"
"""The fill that renders scenes again without an object; commands that render them have it."""


def finds_itself(objects: str) -> bool:
    """Whether objects are found in the photographs, and no file or folder tells them."""
    return objects.partition(":")[0] in (PROPOSALS, DETECTOR)


def object_source(objects: str, captioner: Captioner) -> ObjectSource:
    """Where objects come from.

    Args:
      objects: a JSON file (COCO instances, or a detector's results), a folder of masks;
        "proposals", or "proposals:gradcam" by another method's maps; or "detr", or
        "detr:FOLDER" and "detr:hf:owner/name" with other weights.
      captioner: that proposes.

    Raises:
      FileNotFoundError: there is nothing of that name.
      ValueError: it has another form, nothing is named, or the captioner has no such maps.
    """
    kind, _, given = objects.partition(":")
    if kind == DETECTOR:
        return FoundObjects(_detector(given or DETR))
    if kind == PROPOSALS:
        require()
        method = given or ProposedObjects.method
        check_methods(captioner, method)
        return ProposedObjects(captioner, read_object_words(), method)
    if not objects:
        raise ValueError(
            "counterfactual needs objects to remove: give --boxes=COCO_JSON, --masks=FOLDER or "
            "--objects=proposals|detr, in Python masks= or objects="
        )
    path = local_path(objects, "objects")
    if path.is_dir():
        return MaskFolder(path)
    stated = path.stat()
    return _read(path, stated.st_mtime_ns, stated.st_size)


@functools.lru_cache(maxsize=1)
def _read(path: pathlib.Path, *_: int) -> ObjectSource:
    """The objects of a file as it is now: checks and runs read it once."""
    return read_objects(path)


@functools.lru_cache(maxsize=1)
def _detector(name: str) -> Detector:
    """A detector: checks and runs read it once."""
    return load_detector(name)


def content_of(objects: str) -> str:
    """Digest of the file that objects come from, or of the detector's files; of a folder, which may
    hold very many masks, of their names, sizes and times; empty where there is none of them."""
    kind, _, given = objects.partition(":")
    if kind == DETECTOR:
        digests = sorted(_detector(given or DETR).digests.items())
        return hashlib.sha256(repr(digests).encode()).hexdigest()[:12]
    if not objects or kind == PROPOSALS:
        return ""
    path = local_path(objects, "objects")
    if path.is_dir():
        masks = sorted(path.rglob("*.png"))
        stated = [(mask.relative_to(path).as_posix(), mask.stat()) for mask in masks]
        known = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stated]
        return hashlib.sha256(repr(known).encode()).hexdigest()[:12]
    return sha256_of(path)[:12]


def chosen_fill(text: str) -> Fill:
    """A fill with options, as in "telea" or "blur+sigma=3".

    Raises:
      ValueError: an unknown fill or option.
    """
    name, *options = text.split(INNER)
    return with_options(named_fill(name), options, name)


def remover(fill: Fill, dilate: int) -> Remover:
    """The remover of a fill: an object is grown by `dilate` pixels, cut out with what is around it,
    filled and pasted; pixels outside stay as they are.

    Raises:
      ValueError: a library or a checkpoint is missing.
    """
    fill.check()
    around = Around(dilate=dilate, feather=min(Around().feather, dilate))
    return functools.partial(_without, around, fill)


def _without(
    around: Around, fill: Fill, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> list[np.ndarray]:
    return [found.image for found in around.each(fill, images, masks)]


OPTIONS = ("boxes", "masks", "objects")


def add_object_options(add: Callable[..., Any]) -> None:
    """`--boxes`, `--masks` and `--objects`."""
    add(
        "--boxes",
        help="COCO instances JSON: figures show the boxes of what their words name, and "
        "--studies=counterfactual removes its objects (polygons where it has them); for the study "
        "also the results of a detector in COCO's format",
    )
    add(
        "--masks",
        help="folder of PNG masks named after the photographs, white is the object (or a folder a "
        "photograph, one file an object): what --studies=counterfactual removes",
    )
    add(
        "--objects",
        metavar="proposals[:METHOD]|detr[:WEIGHTS]",
        help="what --studies=counterfactual removes without annotations. proposals: what "
        "superpixels and the maps of a method (default caption_guided) show; detr: the boxes of a "
        f"DETR, by default {DETR}, or of a folder with such a model",
    )


def with_objects(options: argparse.Namespace, studies: Mapping[str, Study]) -> dict[str, Study]:
    """The studies, those that look at objects told which.

    Raises:
      ValueError: objects are named twice, or no study looks at them.
    """
    named = {name: value for name in OPTIONS if (value := getattr(options, name))}
    looking = [name for name, study in studies.items() if study.OBJECTS]
    if not looking:
        refuse_idle(options, ["masks", "objects"], "no study looks at objects; add --studies=…")
        return {**studies}
    if len(named) > 1:
        raise ValueError(
            f"got {' and '.join(f'--{name}' for name in named)}; one of them says what is removed"
        )
    found = dict(studies)
    for objects in named.values():
        told: dict[str, Any] = {"objects": objects}
        found |= {name: dataclasses.replace(studies[name], **told) for name in looking}
    return found
