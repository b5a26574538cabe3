"""Which groups of images get worse captions or emptier maps?"""

import array
import math
from collections.abc import Mapping, Sequence

import numpy as np

from capjax.audit.boxed import Boxed
from capjax.audit.contract import FLAGGED, Answered, Example, Question, SeenImage
from capjax.audit.metadata import Groups
from capjax.audit.vocabulary import Vocabulary
from capjax.explainers.flags import empty_words
from capjax.metrics.corpus.groups import compare_groups
from capjax.metrics.corpus.shares import SIGNIFICANCE, holm
from capjax.runtime.files import listed
from capjax.studies.contract import Cell, Table

LOW_IS_WORSE = ("score of the caption", "log-probability a word", "bits from the image")
LARGEST = "largest value"
"""Of a map, of its exponential where it is a logarithm: low is worse too."""


class Slices(Question):
    """Numbers of images by group: eight bytes an image and number.

    Args:
      groups: of each column.
      boxed: where objects are; None: nobody gave boxes.
      vocabulary: of the words whose bits count.
      least: images of a group.
      examples: to show.
      notes: on images without a group.
    """

    TITLE = "Which groups get worse captions or emptier maps?"
    ABOUT = (
        "Each group of images against all others that have a group, by Mann and Whitney’s rank "
        "test, two-sided, with Holm’s correction over all groups, columns and numbers. Intervals "
        "of means by a bootstrap over images. “Above” is the probability that an image of the "
        "group has a larger number than one outside it. Flagged: worse than the others."
    )

    def __init__(
        self,
        groups: Sequence[Groups],
        boxed: Boxed | None,
        vocabulary: Vocabulary,
        *,
        least: int,
        examples: int,
        notes: Sequence[str] = (),
    ) -> None:
        self._groups, self._boxed, self._notes = groups, boxed, notes
        self._words = vocabulary.content
        self._least, self._examples = least, examples
        self._numbers = array.array("q")
        self._values: dict[str, array.array[float]] = {}

    @property
    def reads_maps(self) -> bool:
        """See `Question`."""
        return self._boxed is not None

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        for name, value in self._measured(image).items():
            values = self._values.setdefault(name, array.array("d"))
            values.extend([math.nan] * (len(self._numbers) - len(values)))
            values.append(value)
        self._numbers.append(image.number)

    def _measured(self, image: SeenImage) -> dict[str, float]:
        """Name of a number -> its value; what the results lack is not there."""
        record = image.result.record
        found: dict[str, list[float]] = {LOW_IS_WORSE[0]: [record.score]}
        for answer in record.answers:
            scores = np.asarray(answer.score, np.float64)
            found.setdefault(LOW_IS_WORSE[1], []).extend(scores[~np.isnan(scores)].tolist())
            visual = answer.visual_information
            if visual is not None and visual.bits is not None:
                bits = zip(answer.words, visual.bits, strict=False)
                own = [float(b) for word, b in bits if word.lower() in self._words and b == b]
                found.setdefault(LOW_IS_WORSE[2], []).extend(own)
            for method, stored in answer.methods.items():
                flags = stored.flags
                empty = map(float, empty_words(flags))
                found.setdefault(f"empty maps ({method})", []).extend(empty)
                found.setdefault(f"entropy ({method})", []).extend(flags.get("entropy", ()))
                if "flat" in flags:
                    found.setdefault(f"flat sentence ({method})", []).append(float(flags["flat"]))
                if "maximum" in flags:
                    ends = flags["minimum"], flags["maximum"]
                    largest = math.exp(min(ends[1], 700.0)) if stored.unit else max(map(abs, ends))
                    found.setdefault(f"{LARGEST} ({method})", []).append(largest)
        for doubt in record.doubts or ():
            found.setdefault("doubt of object words", []).append(doubt.hallucinated)
        for pointed in self._boxed.pointed(image) if self._boxed else ():
            name = f"misses what words name ({pointed.method})"
            found.setdefault(name, []).append(1 - pointed.hit)
        return {name: sum(own) / len(own) for name, own in found.items() if own}

    def result(self) -> Answered:
        """See `Question`."""
        numbers = np.asarray(self._numbers, np.int64)
        keys, compared = list[tuple[str, str, str]](), []
        codes = {own.column: np.asarray(own.codes)[numbers] for own in self._groups}
        for groups in self._groups:
            for name, values in self._values.items():
                whole = np.full(len(numbers), math.nan)
                whole[: len(values)] = values
                own = compare_groups(whole, codes[groups.column], least=self._least)
                for code, result in own.items():
                    keys.append((groups.column, groups.labels[code], name))
                    compared.append(result)
        chances = holm([one.p for one in compared])
        rows = list[tuple[Cell, ...]]()
        for key, one, p in zip(keys, compared, chances, strict=True):
            worse = one.above < 0.5 if _low_is_worse(key[2]) else one.above > 0.5
            means = one.mean, one.low, one.high, one.others, one.above
            rows.append((*key, one.images, *means, float(p), int(p <= SIGNIFICANCE and worse)))
        rows.sort(key=lambda row: (-int(row[-1] or 0), float(row[-2] or 0.0), row[:3]))
        columns = ("column", "group", "number", "images", "mean", "mean, from", "mean, to")
        table = Table((*columns, "mean of others", "above", "p, adjusted", FLAGGED), tuple(rows))
        worst = [row for row in rows if row[-1]]
        if not rows:
            return Answered(missing=[*self._notes, f"no group of {self._least} images or more"])
        named = [f"{row[1]} ({row[0]}): {row[2]} {row[4]:.3g}, else {row[7]:.3g}" for row in worst]
        tests = f"{len(rows):,} comparisons of a group with the others"
        told = (
            f"{len(worst):,} of {tests} are worse: {listed(named, between='; ')}."
            if worst
            else f"None of {tests} is worse."
        )
        examples = list(self._worst(worst, codes, numbers))
        return Answered({"groups of images": table}, [told], self._notes, examples)

    def _worst(
        self,
        rows: Sequence[tuple[Cell, ...]],
        codes: Mapping[str, np.ndarray],
        numbers: np.ndarray,
    ) -> list[Example]:
        """Of each flagged row, images with the worst numbers."""
        labels = {own.column: own.labels for own in self._groups}
        found: list[Example] = []
        each = max(1, self._examples // max(1, len(rows)))
        for row in rows[: self._examples]:
            column, label, name = map(str, row[:3])
            values = np.asarray(self._values[name])
            inside = codes[column][: len(values)] == labels[column].index(label)
            places = np.flatnonzero(inside & np.isfinite(values))
            own = values[places] if _low_is_worse(name) else -values[places]
            order = np.argsort(own, kind="stable")
            for at in places[order[:each]]:
                text = f"{label} ({column}): {name} {values[at]:.3g}"
                found.append(Example(int(numbers[at]), text))
        return found


def _low_is_worse(name: str) -> bool:
    """Whether a small value of a number speaks against a group."""
    return name in LOW_IS_WORSE or name.startswith(LARGEST)
