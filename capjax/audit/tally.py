"""In how many images something holds of a word: counted by image, since its words go together."""

import bisect
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capjax.audit.contract import FLAGGED, Answered, Example
from capjax.metrics.corpus.moments import Moments
from capjax.metrics.corpus.shares import SIGNIFICANCE, above_half, holm, wilson
from capjax.runtime.files import counted, listed
from capjax.studies.contract import Cell, Table

Key = tuple[str, ...]


@dataclasses.dataclass(slots=True)
class Entry:
    """What is known of one key.

    Attributes:
      value: mean and spread of its value, a number an image.
      held: images of which it holds.
      worst: (badness, number of the image) of the worst, the least bad first.
    """

    value: Moments = dataclasses.field(default_factory=Moments)
    held: int = 0
    worst: list[tuple[float, int]] = dataclasses.field(default_factory=list)


class Tally:
    """Images by key; a key is a word, or a method and a word.

    Args:
      limit: value from which, or up to which, it holds of an image.
      high: whether it holds from the limit on; else up to it, the limit left out.
      least: images from which a key is told.
      examples: to keep of each key.
    """

    def __init__(self, limit: float, *, high: bool, least: int, examples: int) -> None:
        self._limit, self._high = limit, high
        self._least, self._examples = least, examples
        self.entries: dict[Key, Entry] = {}

    def add(self, number: int, values: Mapping[Key, Sequence[float]]) -> None:
        """Takes one image: its values of each key, of which the mean counts.

        Args:
          number: of the image.
          values: at least one of each key.
        """
        for key, own in values.items():
            entry = self.entries.setdefault(key, Entry())
            value = sum(own) / len(own)
            entry.value.add(value)
            if value >= self._limit if self._high else value < self._limit:
                entry.held += 1
                bad = value if self._high else -value
                if len(entry.worst) < self._examples or bad > entry.worst[0][0]:
                    bisect.insort(entry.worst, (bad, -number))
                    del entry.worst[: -self._examples]

    @property
    def told(self) -> list[Key]:
        """Keys of enough images, those first of which it holds most often."""
        kept = [key for key, own in self.entries.items() if own.value.count >= self._least]
        return sorted(kept, key=lambda key: (-self._share(key), -self._count(key), key))

    def _count(self, key: Key) -> int:
        return self.entries[key].value.count

    def _share(self, key: Key) -> float:
        return self.entries[key].held / self._count(key)

    def table(
        self,
        names: Sequence[str],
        holds: str,
        value: str | None,
        more: Mapping[str, Mapping[Key, Cell]] | None = None,
    ) -> Table:
        """One row a key: images, in what share it holds, the mean value, and whether it is flagged.

        Args:
          names: of the parts of a key.
          holds: what a share is of.
          value: what the mean is of; None where it tells no more than the share.
          more: column -> key -> cell, to stand before the last two.
        """
        keys, extra = self.told, more or {}
        entries = [self.entries[key] for key in keys]
        chances = holm(
            above_half([own.held for own in entries], [own.value.count for own in entries])
        )
        rows = []
        for key, own, chance in zip(keys, entries, chances, strict=True):
            count = own.value.count
            low, high = wilson(own.held, count)
            rows.append(
                (
                    *key,
                    count,
                    own.held / count,
                    low,
                    high,
                    *([] if value is None else [own.value.mean]),
                    *(cells.get(key) for cells in extra.values()),
                    float(chance),
                    int(chance <= SIGNIFICANCE),
                )
            )
        means = [] if value is None else [f"mean {value}"]
        share = (holds, f"{holds}, from", f"{holds}, to")
        return Table(
            (*names, "images", *share, *means, *extra, "p, adjusted", FLAGGED),
            tuple(rows),
        )

    def answered(
        self,
        title: str,
        table: Table,
        *,
        by: str = "",
        that: str,
        about: str,
        missing: Sequence[str] = (),
        more: Mapping[str, Table] | None = None,
    ) -> Answered:
        """The table, a sentence on what it flags, and the worst images of what is flagged.

        Args:
          title: of the table.
          table: from `table`.
          by: what a row is about beside a word, as in " by method".
          that: what holds of the words.
          about: of an example, with `{key}` and `{value}`.
          missing, more: as `Answered.missing` and more tables.
        """
        keys = flagged_keys(table, len(next(iter(self.entries), ("",))))
        return Answered(
            {**(more or {}), title: table},
            [flag_sentence(keys, len(table.rows), by, that)] if table.rows or not missing else [],
            missing,
            list(self.examples(keys, about)),
        )

    def examples(self, keys: Sequence[Key], about: str) -> Iterator[Example]:
        """The worst image of each key, then the next ones, as many as are kept of one key."""
        left = self._examples
        for rank in range(self._examples):
            for key in keys:
                worst = self.entries[key].worst[::-1]
                if rank < len(worst) and left:
                    bad, number = worst[rank]
                    value = bad if self._high else -bad
                    method = key[0] if len(key) > 1 else None
                    text = about.format(key=quoted(key), value=value)
                    yield Example(-number, text, method)
                    left -= 1


def flagged_keys(table: Table, parts: int) -> list[Key]:
    """Keys of the flagged rows of a table."""
    if FLAGGED not in table.columns:
        return []
    place = table.columns.index(FLAGGED)
    return [tuple(map(str, row[:parts])) for row in table.rows if row[place]]


def quoted(key: Key) -> str:
    """A key in a sentence: “word”, or “word” by its method."""
    *methods, word = key
    return f"“{word}”{''.join(f' ({method})' for method in methods)}"


def flag_sentence(keys: Sequence[Key], of: int, by: str, that: str) -> str:
    """A sentence on what was found, or that nothing was."""
    if not keys:
        return f"None of {counted(of, 'word')}{by} {that}."
    return f"{len(keys):,} of {counted(of, 'word')}{by} {that}: {listed(list(map(quoted, keys)))}."


def collect(values: dict[Key, list[float]], key: Key, value: Any) -> None:
    """Adds a value to those of its key."""
    values.setdefault(key, []).append(float(value))
