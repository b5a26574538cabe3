"""What is said of many shards at once: how often, and of what first."""

import collections
from collections.abc import Callable, Mapping

from capjax.runtime.files import listed, printable

_SHOWN = 3


class Remarks:
    """Collects remarks by kind: a thousand shards say the same once."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()
        self._first: dict[str, list[str]] = {}

    def add(self, kind: str, what: str) -> None:
        """Notes one more.

        Args:
          kind: a clause that is true of all of them.
          what: this one is called.
        """
        self._counts[kind] += 1
        shown = self._first.setdefault(kind, [])
        if len(shown) < _SHOWN:
            shown.append(printable(what))

    def join(self, other: "Remarks") -> None:
        """Notes what another noted."""
        for kind, count in other._counts.items():
            self._counts[kind] += count
            shown = self._first.setdefault(kind, [])
            shown += other._first[kind][: _SHOWN - len(shown)]

    def to_json(self) -> dict[str, tuple[int, list[str]]]:
        """Plain values, for `from_json`."""
        return {kind: (count, self._first[kind]) for kind, count in self._counts.items()}

    @classmethod
    def from_json(cls, found: Mapping[str, tuple[int, list[str]]]) -> "Remarks":
        """The inverse of `to_json`."""
        remarks = cls()
        for kind, (count, first) in found.items():
            remarks._counts[kind], remarks._first[kind] = int(count), [*first]
        return remarks

    def tell(self, tell: Callable[[str], None]) -> None:
        """Says a sentence a kind."""
        for kind, count in self._counts.items():
            shown = self._first[kind]
            named = listed([*shown, *[""] * (count - len(shown))], most=_SHOWN)
            tell(f"{kind}: {named}")
