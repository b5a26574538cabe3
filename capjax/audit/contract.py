"""What a question about a corpus is: it sees the images one by one, and answers at the end."""

import abc
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from capjax.audit.shares import shares_of
from capjax.folder.opened.image import ImageResult
from capjax.studies.contract import Table

FLAGGED = "flagged"
"""Column of a table: 1 in rows that were found, 0 in others."""

Shares = Mapping[str, Float[np.ndarray, "N F h w"]]
"""Method -> maps of a sentence, each of which sums to one."""


@dataclasses.dataclass(frozen=True, eq=False)
class SeenImage:
    """An explained image as questions see it; none of them keeps it.

    Attributes:
      number: among the results.
      result: what the run says of it.
    """

    number: int
    result: ImageResult

    @functools.cached_property
    def shares(self) -> tuple[Shares, ...]:
        """Of each sentence, the maps as shares; a map that is zero everywhere stays zero."""
        return tuple(
            {method: shares_of(explanation) for method, explanation in own.items()}
            for own in self.result.sentences
        )


@dataclasses.dataclass(frozen=True)
class Example:
    """An image to look at.

    Attributes:
      number: among the results.
      about: what it is an example of.
      method: whose maps show it; None where any does.
    """

    number: int
    about: str
    method: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Answered:
    """What a question found.

    Attributes:
      tables: title -> table; titles are names of files too.
      found: sentences on what was found, or that nothing was.
      missing: sentences on what the results lack; what needs it is not answered.
      examples: images to look at.
      maps: label -> a map [h w] to show.
    """

    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    found: Sequence[str] = ()
    missing: Sequence[str] = ()
    examples: Sequence[Example] = ()
    maps: Mapping[str, Float[np.ndarray, "h w"]] = dataclasses.field(default_factory=dict)


class Question(abc.ABC):
    """One question about a corpus. Its memory does not grow with the images, or by few bytes each.

    Attributes:
      TITLE: the question, for people.
      ABOUT: how it is answered.
    """

    TITLE: ClassVar[str]
    ABOUT: ClassVar[str]

    @property
    def reads_maps(self) -> bool:
        """Whether it reads maps: then it does not see images whose maps are damaged."""
        return False

    @abc.abstractmethod
    def add(self, image: SeenImage) -> None:
        """Takes one explained image; they come in the order of their names."""

    @abc.abstractmethod
    def result(self) -> Answered:
        """The answer, after the last image."""
