"""Parameters of the routes, as FastAPI reads them from the address, and the questions they ask."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from capjax.explainers.language.linguistic import Way
from capjax.explainers.methods import METHODS
from capjax.explainers.request import Measure
from capjax.inpaint.fills.named import DEFAULT
from capjax.serve.asking.captions import Captions
from capjax.serve.asking.fitted_concepts import CONCEPTS
from capjax.serve.asking.fooling import Attack, Fooling
from capjax.serve.asking.maps import Maps
from capjax.serve.asking.removing import Point, Without
from capjax.serve.limits import Limits, RefusedError
from capjax.serve.page import FIRST
from capjax.studies.adversarial.goals import Kind

Name = Annotated[
    str, pydantic.Field(max_length=200, description="of the picture, for the answer's `file`")
]
Fill = Literal["plate", "telea", "navier_stokes", "biharmonic", "blur", "mean"]
"""Fills that need no weights."""
VIEW = "with the page's view of the answer"


class Asking(pydantic.BaseModel, extra="forbid"):
    """Parameters of all that asks a captioner."""

    model: str = pydantic.Field("", description="one of `/model`'s models; default: the first")


class Captioning(Asking):
    """Parameters of `/caption`."""

    name: Name = "picture"

    def asked(self, model: str, limits: Limits) -> Captions:
        """As a value for the worker."""
        return Captions(model)


class Explaining(Asking):
    """Parameters of `/explain`."""

    name: Name = "picture"
    methods: str = pydantic.Field(FIRST, description="comma-separated names of `/model`")
    query: list[str] = pydantic.Field(
        [], description="sentences instead of the caption; [a phrase] gets a map"
    )
    contrast: list[str] = pydantic.Field([], description='"dog:cat": why dog and not cat')
    keyword: list[str] = pydantic.Field(
        [], description="a word, wherever the sentence says it, as one map"
    )
    whole_sentence: bool = False
    measure: Measure | None = None
    linguistic: list[Way] = pydantic.Field(
        [], description="ways to find what words owe to earlier words"
    )
    view: bool = pydantic.Field(False, description=VIEW)

    def asked(self, model: str, limits: Limits) -> Maps:
        """As a value for the worker.

        Raises:
          RefusedError: an unknown method, or more than the limits allow (422).
        """
        methods = tuple(name.strip() for name in self.methods.split(",") if name.strip())
        unknown = [name for name in methods if name not in METHODS and name != CONCEPTS]
        if unknown or not methods:
            raise RefusedError(
                422,
                f"got the methods {self.methods[:200]!r}; expected names of: {', '.join(METHODS)}, "
                f"{CONCEPTS} (options of methods are for explain.py)",
            )
        for what, given, most in (
            ("methods", methods, limits.methods),
            ("queries", self.query, limits.sentences),
            ("contrasts and keywords", [*self.contrast, *self.keyword], limits.contrasts),
        ):
            if len(given) > most:
                raise RefusedError(422, f"got {len(given)} {what}; up to {most} are answered")
            if any(len(text) > limits.characters for text in given):
                raise RefusedError(
                    422, f"one of the {what} is longer than {limits.characters} characters"
                )
        return Maps(
            model,
            tuple(dict.fromkeys(methods)),
            tuple(self.query),
            tuple(self.contrast),
            tuple(self.keyword),
            self.whole_sentence,
            self.measure,
            tuple(dict.fromkeys(self.linguistic)),
            self.view,
        )


class FoolingBy(Asking):
    """Parameters of `/adversarial`."""

    name: Name = "picture"
    attack: Attack = "pgd"
    goal: Kind = pydantic.Field(
        "untargeted", description="another caption; the `words`; all of them; or none of them"
    )
    words: str = pydantic.Field("", max_length=300, description="a sentence, or words with commas")
    epsilon: float = pydantic.Field(
        8.0, ge=0, le=255, description="largest change of a pixel, in levels of 255"
    )
    view: bool = pydantic.Field(False, description=VIEW)

    def asked(self, model: str, limits: Limits) -> Fooling:
        """As a value for the worker."""
        return Fooling(model, self.attack, self.goal, self.words.strip(), self.epsilon, self.view)


class RemovingBy(Asking):
    """Parameters of `/counterfactual`."""

    name: Name = "picture"
    at: str = pydantic.Field(
        "", max_length=60, description='"0.4,0.5": remove the object there, in shares of the sides'
    )
    region: list[str] = pydantic.Field(
        [], description='"0.1,0.2 0.4,0.2 0.4,0.6": a polygon to remove instead'
    )
    fill: Fill = pydantic.Field(DEFAULT, description="what fills the hole")
    view: bool = pydantic.Field(False, description=VIEW)

    def asked(self, model: str, limits: Limits) -> Without:
        """As a value for the worker.

        Raises:
          RefusedError: what is no point, no polygon, too much, or both (422).
        """
        if self.at and self.region:
            raise RefusedError(422, "got a point and a region to remove; give one of them")
        if len(self.region) > limits.regions:
            raise RefusedError(
                422, f"got {len(self.region)} regions; up to {limits.regions} are removed"
            )
        at = _points(self.at, 1, 1)[0] if self.at else None
        drawn = tuple(_points(text, 3, limits.corners) for text in self.region)
        return Without(model, at, drawn, self.fill, self.view)


def _points(text: str, least: int, most: int) -> tuple[Point, ...]:
    """Points as text, "x,y x,y".

    Raises:
      RefusedError: they are none, or fewer or more than that (422).
    """
    try:
        found = [_point(one.split(",")) for one in text.split()[: most + 1]]
    except ValueError:
        found = []
    if not least <= len(found) <= most:
        count = "one point" if most == 1 else f"{least} to {most} points"
        raise RefusedError(
            422,
            f'got {text[:60]!r}; expected {count} such as "0.4,0.5", shares of the picture\'s '
            "width and height from 0 to 1, with spaces between",
        )
    return tuple(found)


def _point(given: Sequence[str]) -> Point:
    x, y = map(float, given)
    if not (math.isfinite(x) and 0 <= x <= 1 and math.isfinite(y) and 0 <= y <= 1):
        raise ValueError
    return x, y
