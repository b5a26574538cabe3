"""Objects that `explain.py` is told of, for the studies that look at objects."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from capjax.runtime.command_line import refuse_idle
from capjax.studies.contract import Study
from capjax.studies.counterfactual.named import content_of

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
        metavar="proposals[:METHOD]",
        help="proposals: --studies=counterfactual removes what it finds itself, by superpixels and "
        "the maps of a method (default caption_guided), without annotations",
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
        told: dict[str, Any] = {"objects": objects, "content": content_of(objects)}
        found |= {name: dataclasses.replace(studies[name], **told) for name in looking}
    return found
