"""The tables of one photograph's counterfactuals, and the numbers of it."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from capjax.captioner import Captioner
from capjax.data.objects.region import covered, place
from capjax.metrics.similarity import Distance
from capjax.studies.contract import Cell, Finding, Spot, Table
from capjax.studies.counterfactual.alignment import changes
from capjax.studies.counterfactual.attention import word_maps
from capjax.studies.counterfactual.measures import BITS, NAME_BITS, Whole, covered_cells
from capjax.studies.counterfactual.plan import Kind, Plan, Removal
from capjax.studies.counterfactual.reading import Read
from capjax.studies.counterfactual.record import Counterfactuals, Without

OBJECTS = "objects"
WITHOUT = "the picture without each object"
ATTENTION = "how far attention moves"
MAPS = "share of each method's maps that lies on it"
CHANCE = "against backgrounds of its shape"
KEPT = "only one object kept"
PAIRS = "two objects together"
SKIPPED = "left as they are"
PLACES = ("share of the picture", "distance from the centre", "lower edge", "share covered")


class Told:
    """One photograph's reads, told as a finding.

    Args:
      captioner: whose captions these are.
      name: of the photograph.
      plan: what was done to it.
      whole: of the photograph.
      reads: one a removal.
      distance: of two sentences.
      lying: label of a method -> share of its maps on each object; see `mass_on`.
    """

    def __init__(
        self,
        captioner: Captioner,
        name: str,
        plan: Plan,
        whole: Whole,
        reads: Sequence[Read],
        distance: Distance,
        lying: Mapping[str, Float[np.ndarray, " N"]],
    ) -> None:
        self._lying = lying
        self._captioner, self._name, self._plan = captioner, name, plan
        self._whole, self._title = whole, distance.title
        self._done = list(zip(plan.removals, reads, strict=True))
        texts = {f"{at}": (whole.caption.text, own.caption.text) for at, own in enumerate(reads)}
        measured = distance(texts)
        self._distances = [measured[f"{at}"] for at in range(len(reads))]

    def finding(self) -> Finding:
        """Tables and numbers, places to tap, and the record that pictures are drawn from."""
        record = self.record
        return Finding(
            self._name,
            {
                f"without {own.title}": own.picture
                for own in record.first
                if own.picture is not None
            },
            {title: table for title, table in self._tables().items() if table.rows},
            self._numbers(),
            spots={f"without {own.title}": self._spot(own) for own in record.first},
            record=record,
        )

    @functools.cached_property
    def record(self) -> Counterfactuals:
        """All that pictures are drawn from."""
        whole, plan = self._whole, self._plan
        found = []
        for at, removal, read in self._of("object"):
            region = plan.chosen[removal.objects[0]]
            numbers = {
                self._title: self._distances[at],
                BITS: whole.bits(read),
                NAME_BITS: whole.name_bits(read, region.category),
                **whole.words_changed(read, region.category),
            }
            cells = covered_cells(self._captioner, region.mask)
            found.append(
                Without(
                    plan.titles[removal.objects[0]],
                    region,
                    read.picture,
                    removal.fill,
                    read.caption,
                    self._summed(read),
                    numbers,
                    whole.attention(self._captioner, read, cells),
                    whole.named(region.category),
                )
            )
        assert whole.read.picture is not None, "the photograph itself is never let go"
        image = whole.read.picture
        size = (image.shape[0], image.shape[1])
        geometry = self._captioner.preprocessing.geometry(size, self._captioner.grid)
        attention = self._summed(whole.read)
        return Counterfactuals(image, whole.caption, attention, geometry, tuple(found), self._title)

    def _of(self, kind: Kind) -> list[tuple[int, Removal, Read]]:
        return [(at, *own) for at, own in enumerate(self._done) if own[0].kind == kind]

    def _summed(self, read: Read) -> Float[np.ndarray, "h w"] | None:
        """[h w] attention of a caption, the mean over its words; None without attention."""
        if read.attention is None:
            return None
        _, spans = self._captioner.text.spans(read.caption.tokens)
        maps = word_maps(read.attention, spans)
        rows, columns = self._captioner.grid
        mean: np.ndarray = maps.sum(axis=0) / max(1, len(maps))
        return mean[-rows * columns :].reshape(rows, columns)

    def _spot(self, own: Without) -> Spot:
        rows, columns = np.nonzero(own.region.mask)
        height, width = own.region.mask.shape
        box = (
            float(columns.min() / width),
            float(rows.min() / height),
            float((columns.max() + 1) / width),
            float((rows.max() + 1) / height),
        )
        return Spot(box, changes(self._whole.caption.words, own.caption.words))

    def _tables(self) -> dict[str, Table]:
        without, plan = self.record.without, self._plan
        nothing = ("nothing", None, self._whole.caption.text)
        names = list(without[0].numbers)
        rows: list[tuple[Cell, ...]] = [(*nothing, *[None] * len(names))]
        rows += [(w.title, w.fill, w.caption.text, *w.numbers.values()) for w in without]
        moved = [(w.title, w.fill, *w.moved.values()) for w in without if w.moved]
        skipped = [(one.region.category, one.region.outline, one.reason) for one in plan.skipped]
        return {
            WITHOUT: Table(("without", "fill", "caption", *names), tuple(rows)),
            ATTENTION: Table(("without", "fill", *without[0].moved), tuple(moved)),
            OBJECTS: self._places(),
            MAPS: self._maps(),
            CHANCE: self._chance(),
            KEPT: self._kept(),
            PAIRS: self._pairs(),
            SKIPPED: Table(("class", "outline", "why"), tuple(skipped)),
        }

    def _places(self) -> Table:
        plan = self._plan
        hidden = covered([region for region in plan.every if region.mask.any()])
        number = {id(r): at for at, r in enumerate(r for r in plan.every if r.mask.any())}
        rows = list[tuple[Cell, ...]]()
        for title, region in zip(plan.titles, plan.chosen, strict=True):
            where: list[Cell] = [region.area, *place(region.mask).values()]
            where.append(hidden[number[id(region)]])
            named = self._whole.named(region.category)
            cell = None if named is None else int(named)
            rows.append((title, region.category, region.outline, *where, cell))
        return Table(("object", "class", "outline", *PLACES, "named"), tuple(rows))

    def _maps(self) -> Table:
        rows: list[tuple[Cell, ...]] = [
            (title, *(float(own[at]) for own in self._lying.values()))
            for at, title in enumerate(self._plan.titles)
        ]
        return Table(("object", *self._lying), tuple(rows) if self._lying else ())

    def _single(self) -> dict[int, dict[str, float]]:
        """Of each object, by the first fill, the two numbers that controls are about."""
        first = self.record.first
        return {at: self._two(self.record.without[at].numbers) for at in range(len(first))}

    def _two(self, numbers: Mapping[str, float | None]) -> dict[str, float]:
        return {name: float(numbers[name] or 0.0) for name in (self._title, BITS)}

    def _other(self, kind: Kind) -> list[tuple[tuple[int, ...], Read, dict[str, float]]]:
        return [
            (r.objects, read, {self._title: self._distances[at], BITS: self._whole.bits(read)})
            for at, r, read in self._of(kind)
        ]

    def _chance(self) -> Table:
        found: dict[int, list[dict[str, float]]] = {}
        for (at,), _, numbers in self._other("background"):
            found.setdefault(at, []).append(numbers)
        rows = []
        single = self._single()
        for at, controls in found.items():
            row: list[Cell] = [self._plan.titles[at], len(controls)]
            for name in (self._title, BITS):
                own = np.array([numbers[name] for numbers in controls])
                row += [float(own.mean()), z_score(single[at][name], own)]
            rows.append(tuple(row))
        columns = [f"{name}, {what}" for name in (self._title, BITS) for what in ("mean", "z")]
        return Table(("object", "backgrounds", *columns), tuple(rows))

    def _kept(self) -> Table:
        rows: list[tuple[Cell, ...]] = [
            (self._plan.titles[at], read.caption.text, *numbers.values())
            for (at,), read, numbers in self._other("keep")
        ]
        return Table(("kept", "caption", self._title, BITS), tuple(rows))

    def _pairs(self) -> Table:
        single = self._single()
        rows = []
        for (one, other), read, numbers in self._other("pair"):
            row: list[Cell] = [self._plan.titles[one], self._plan.titles[other], read.caption.text]
            for name, value in numbers.items():
                row += [value, value - single[one][name] - single[other][name]]
            rows.append(tuple(row))
        columns = (self._title, f"{self._title}, pair - sum", BITS, f"{BITS}, pair - sum")
        return Table(("without", "and", "caption", *columns), tuple(rows))

    def _numbers(self) -> dict[str, float]:
        first = self.record.first
        means = {
            f"mean {name}": float(np.mean([self._two(own.numbers)[name] for own in first]))
            for name in (self._title, BITS)
        }
        left = {one.number for one in self._plan.skipped}.difference(self._plan.numbers)
        counts = {"objects": float(len(first)), "left as they are": float(len(left))}
        return {**counts, **means}


def z_score(value: float, chance: Float[np.ndarray, " N"]) -> float | None:
    """How many standard deviations a value lies above chance; None of fewer than two, or of equal
    ones."""
    spread = float(chance.std(ddof=1)) if len(chance) > 1 else 0.0
    return (value - float(chance.mean())) / spread if spread > 0 else None
