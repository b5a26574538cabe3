"""Values of a model's JSON files, each of the type it must have."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Settings:
    """A section of a JSON file; every getter raises ValueError that names the culprit.

    Attributes:
      values: by name.
      where: what errors call it, e.g. "decoder of config.json".
    """

    values: Mapping[str, Any]
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.values, Mapping):
            raise ValueError(f"{self.where} holds {self.values!r}; expected a section of settings")

    def section(self, name: str) -> "Settings":
        """A section inside, which must be there."""
        found = self.values.get(name)
        if not isinstance(found, Mapping):
            raise self.wrong(name, "a section of settings")
        return Settings(found, f"{name} of {self.where}")

    def text(self, name: str) -> str:
        """A text, which must be there."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def integer(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number; without a default it must be there."""
        value = self.values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(name, f"a whole number from {least}")
        return value

    def token(self, *names: str) -> int | None:
        """The first id of these names that is set; None where none is."""
        for name in names:
            if self.values.get(name) is not None:
                return self.integer(name, least=0)
        return None

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; without a default it must be there."""
        value = self.values.get(name, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise self.wrong(name, "a number")
        return float(value)

    def positive(self, name: str, default: float | None = None) -> float:
        """A number above zero."""
        if self.number(name, default) <= 0:
            raise self.wrong(name, "a number above 0")
        return self.number(name, default)

    def colours(self, name: str, default: float) -> tuple[float, float, float]:
        """A number for each of red, green and blue; the default for all where none is set."""
        value = self.values.get(name)
        if value is None:
            return (default,) * 3
        is_number = [isinstance(v, int | float) for v in value] if isinstance(value, list) else []
        if is_number != [True] * 3:
            raise self.wrong(name, "three numbers, of red, green and blue")
        red, green, blue = map(float, value)
        return red, green, blue

    def side(self, name: str, default: int) -> tuple[int, int]:
        """(Height, width): of one number, of two, or of an object with these names."""
        value = self.values.get(name, default)
        if isinstance(value, Mapping) and set(value) == {"height", "width"}:
            value = [value["height"], value["width"]]
        both = value if isinstance(value, list) else [value, value]
        if len(both) != 2 or not all(type(side) is int and side > 0 for side in both):
            raise self.wrong(name, "a number of pixels, or height and width")
        return both[0], both[1]

    def wrong(self, name: str, expected: str) -> ValueError:
        """What to raise about a value."""
        said = f"{name}={self.values[name]!r}" if name in self.values else f"no {name}"
        return ValueError(f"{self.where} has {said}; expected {expected}")
