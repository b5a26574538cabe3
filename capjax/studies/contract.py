"""What a study is: a frozen dataclass that finds something out about pictures, one by one.

A study may change pictures, write captions, ask several captioners: what comes out is no map, or
more than maps. It gives one `Finding` a picture, in order, and sums all of them up. Shells store
findings, resume a picture at a time and draw them without knowing what they are about.
"""

import abc
import csv
import dataclasses
import functools
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Key, UInt8

from capjax.captioner import Captioner
from capjax.types import Caption

Cell = str | float | int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """One image or clip to study.

    Attributes:
      name: its path, or its number.
      image: upright and whole, [H W 3]; of a clip the frames that people see, [F H W 3].
      prepared: what the encoder sees.
      caption: what the captioner says of it.
    """

    name: str
    image: UInt8[np.ndarray, "*F H W 3"]
    prepared: UInt8[np.ndarray, "*F H2 W2 3"]
    caption: Caption

    @functools.cached_property
    def key(self) -> Key[Array, ""]:
        """For draws: of the pixels alone, whatever else is studied."""
        return jax.random.fold_in(jax.random.key(0), zlib.crc32(self.prepared.tobytes()))


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of words and numbers.

    Attributes:
      columns: headings.
      rows: one cell a column; None where there is nothing to say.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"got the row {wrong[0]} under {len(self.columns)} columns")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}

    def to_csv(self) -> str:
        """Its text as a file of values with commas between, the headings first."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Table":
        """The inverse of `to_json`."""
        return cls(tuple(value["columns"]), tuple(map(tuple, value["rows"])))


@dataclasses.dataclass(frozen=True)
class Spot:
    """A place that a reader taps to see another picture in the place of the first one.

    Attributes:
      box: (x0, y0, x1, y1) as shares of the picture's width and height.
      words: what is said of the other picture beside what is said of the first, in order: each word
        and whether it is "kept", "lost" or "gained".
    """

    box: tuple[float, float, float, float]
    words: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"box": list(self.box), "words": [list(word) for word in self.words]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Spot":
        """The inverse of `to_json`."""
        x0, y0, x1, y1 = value["box"]
        return cls((x0, y0, x1, y1), tuple((word, change) for word, change in value["words"]))


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """What a study found out about one picture.

    Attributes:
      name: of the subject.
      pictures: title -> RGB picture [H W 3], in the order to show them.
      tables: title -> table.
      numbers: name -> value.
      refused: why there is nothing to find; the other fields are empty then.
      spots: title of a picture -> where the first picture is tapped to see it.
      record: typed by its study, what `capjax.viz` draws more pictures from; never stored.
    """

    name: str
    pictures: Mapping[str, UInt8[np.ndarray, "H W 3"]] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    refused: str | None = None
    spots: Mapping[str, Spot] = dataclasses.field(default_factory=dict)
    record: Any = None


@dataclasses.dataclass(frozen=True)
class Curve:
    """Lines to draw over one axis each way.

    Attributes:
      across, up: what the axes show.
      lines: name -> (x, y) points, from left to right.
    """

    across: str
    up: str
    lines: Mapping[str, tuple[tuple[float, float], ...]]


@dataclasses.dataclass(frozen=True)
class Summary:
    """What all findings of a study come to.

    Attributes:
      tables: title -> table.
      numbers: name -> value.
      curves: title -> curve.
    """

    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, Curve] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Study(abc.ABC):
    """One way to study pictures. Its fields are its options, as those of a method are.

    Attributes:
      NAME: what people call it by.
      COST: what it takes.
      SOURCE: paper.
      OBJECTS: whether it looks at objects, and has the option `objects`, where they come from.
    """

    NAME: ClassVar[str]
    COST: ClassVar[str]
    SOURCE: ClassVar[str]
    OBJECTS: ClassVar[bool] = False

    @abc.abstractmethod
    def run(self, captioner: Captioner, subjects: Iterable[Subject]) -> Iterator[Finding]:
        """One finding a subject, in order; batched inside.

        Each finding depends on its own subject alone: a run that ends and is resumed, or that
        meets the pictures in other batches, finds the same.
        """

    def check(self, captioner: Captioner) -> None:
        """Asked before any work is done.

        Raises:
          ValueError: the study does not suit the captioner; the text says what to do.
        """
        return

    def describe(self) -> dict[str, Any]:
        """What its findings depend on, as plain JSON values: options, and digests of files."""
        return settings(self)

    def left_out(self, captioner: Captioner) -> Sequence[str]:
        """Sentences on what of its files it does not look at, for people; asked after `check`."""
        return ()

    @property
    def by_path(self) -> bool:
        """Whether it looks pictures up by their paths, so that those without one have nothing."""
        return False

    def summarise(self, findings: Iterable[Finding]) -> Summary:
        """What all of them come to. Pictures of a resumed run's findings are not kept for this."""
        return Summary()


def checked(study: Study, subjects: Iterable[Subject], captioner: Captioner) -> Iterator[Finding]:
    """The findings of a study, one a subject and in order.

    Raises:
      ValueError: the study gives another number of findings, or another order.
    """
    given: list[str] = []

    def noted() -> Iterator[Subject]:
        for subject in subjects:
            given.append(subject.name)
            yield subject

    found = 0
    for finding in study.run(captioner, noted()):
        expected = given[found] if found < len(given) else None
        if finding.name != expected:
            raise ValueError(
                f"{study.NAME} gave a finding of {finding.name!r} where one of {expected!r} was "
                "due; a study gives one finding a subject, in order"
            )
        found += 1
        yield finding
    if found != len(given):
        raise ValueError(
            f"{study.NAME} gave {found} findings of {len(given)} subjects; it owes one a subject, "
            "which may say why there is none (`refused`)"
        )


def settings(study: Study) -> dict[str, Any]:
    """Options of a study by name, as plain JSON values."""
    values = dataclasses.asdict(study)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def by_name(studies: Iterable[Study]) -> dict[str, Study]:
    """Studies by name.

    Raises:
      ValueError: something else than a study, or two of one name.
    """
    found: dict[str, Study] = {}
    for study in studies:
        if not isinstance(study, Study):
            raise ValueError(f"got {study!r} for a study; expected an object of a capjax Study")
        if study.NAME in found:
            raise ValueError(f"two studies have the name {study.NAME!r}; run them one by one")
        found[study.NAME] = study
    return found
