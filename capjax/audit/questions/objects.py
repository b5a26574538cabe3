"""Which objects change captions most when they are removed?"""

import dataclasses
from collections.abc import Iterator

from capjax.audit.contract import Answered, Example, Question, SeenImage
from capjax.metrics.corpus.moments import Moments
from capjax.metrics.corpus.shares import wilson
from capjax.runtime.files import counted
from capjax.studies.contract import Cell, Finding, Table
from capjax.studies.counterfactual.measures import BITS
from capjax.studies.counterfactual.study import Counterfactual
from capjax.studies.counterfactual.telling import OBJECTS, WITHOUT

DISTANCE = "sentence distance"
"""How the column of the distance of two captions starts."""
UNKNOWN = "(class unknown)"


@dataclasses.dataclass(frozen=True)
class Removed:
    """An object, and what its removal changes by the first fill.

    Attributes:
      title, category: of the object.
      named: whether the caption names its class; None where nobody knows.
      changed: whether the caption is another.
      distance, bits: of both captions, and that the first one loses; None where unknown.
    """

    title: str
    category: str
    named: bool | None
    changed: bool
    distance: float | None
    bits: float | None


def removed(finding: Finding) -> Iterator[Removed]:
    """The objects of one photograph; none where the study refused it."""
    if OBJECTS not in finding.tables or WITHOUT not in finding.tables:
        return
    table = finding.tables[OBJECTS]
    places = {
        str(row[table.columns.index("object")]): (
            row[table.columns.index("class")],
            row[table.columns.index("named")],
        )
        for row in table.rows
    }
    without = finding.tables[WITHOUT]
    rows = [dict(zip(without.columns, row, strict=True)) for row in without.rows]
    whole = [row for row in rows if row["fill"] is None]
    others = [row for row in rows if row["fill"] is not None]
    name = next((own for own in without.columns if own.startswith(DISTANCE)), None)
    for row in others:
        title = str(row["without"])
        if row["fill"] != others[0]["fill"] or title not in places:
            continue
        category, named = places[title]
        yield Removed(
            title,
            UNKNOWN if category is None else str(category),
            None if named is None else bool(named),
            bool(whole) and row["caption"] != whole[0]["caption"],
            _number(row.get(name)) if name else None,
            _number(row.get(BITS)),
        )


def _number(cell: Cell) -> float | None:
    return None if cell is None else float(cell)


@dataclasses.dataclass
class ClassEntry:
    """What is known of one class of objects, an image at a time."""

    objects: int = 0
    images: int = 0
    named: int = 0
    known: int = 0
    changed: int = 0
    distance: Moments = dataclasses.field(default_factory=Moments)
    bits: Moments = dataclasses.field(default_factory=Moments)
    worst: tuple[float, int, str] = (-1.0, -1, "")


class Objects(Question):
    """Stored findings of the counterfactual study, by class of object.

    Args:
      least: images of a class.
      examples: to show.
    """

    TITLE = "Which objects change captions most?"
    ABOUT = (
        "From the findings of the counterfactual study: captions of each photograph without each "
        "of its objects, by the first fill. Of several objects of a class in one image the mean "
        "counts, and intervals are over images. “Changes” is the share of images in which removing "
        "at least one of them makes another caption."
    )

    def __init__(self, *, least: int, examples: int) -> None:
        self._least, self._examples = least, examples
        self._classes: dict[str, ClassEntry] = {}
        self._without = 0

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        stored = image.result.record.findings.get(Counterfactual.NAME)
        if stored is None:
            self._without += 1
            return
        found: dict[str, list[Removed]] = {}
        for one in removed(Finding(image.result.file, {}, stored.tables)):
            found.setdefault(one.category, []).append(one)
        for category, own in found.items():
            entry = self._classes.setdefault(category, ClassEntry())
            entry.objects += len(own)
            entry.images += 1
            entry.changed += any(one.changed for one in own)
            names = [one.named for one in own if one.named is not None]
            entry.known += bool(names)
            entry.named += any(names)
            for moments, values in (
                (entry.distance, [one.distance for one in own if one.distance is not None]),
                (entry.bits, [one.bits for one in own if one.bits is not None]),
            ):
                if values:
                    moments.add(sum(values) / len(values))
            for one in own:
                if one.distance is not None and one.distance > entry.worst[0]:
                    entry.worst = one.distance, image.number, one.title

    def result(self) -> Answered:
        """See `Question`."""
        missing = []
        if self._without:
            missing = [
                f"{counted(self._without, 'image')} without findings of it: explain them with "
                f"explain.py --studies={Counterfactual.NAME}"
            ]
        told = [(name, own) for name, own in self._classes.items() if own.images >= self._least]
        told.sort(key=lambda pair: (-pair[1].distance.mean, pair[0]))
        if not told:
            return Answered(missing=missing)
        names = ("class", "images", "objects", "named", "changes", "changes, from", "changes, to")
        more = ("mean distance", "distance, from", "distance, to")
        last = ("mean bits lost", "bits, from", "bits, to")
        rows = tuple(
            (
                name,
                own.images,
                own.objects,
                own.named / own.known if own.known else None,
                own.changed / own.images,
                *wilson(own.changed, own.images),
                *_told(own.distance),
                *_told(own.bits),
            )
            for name, own in told
        )
        first, entry = told[0]
        found = (
            f"Of {len(told):,} {'class' if len(told) == 1 else 'classes'}, "
            f"“{first}” changes captions most: by a mean distance of {entry.distance.mean:.2f}."
        )
        examples = [
            Example(own.worst[1], f"without {own.worst[2]}: distance {own.worst[0]:.2f}")
            for _, own in told[: self._examples]
            if own.worst[1] >= 0
        ]
        table = Table((*names, *more, *last), rows)
        return Answered({"objects that change captions": table}, [found], missing, examples)


def _told(moments: Moments) -> tuple[Cell, ...]:
    return (moments.mean if moments.count else None, *moments.interval())
