"""The one check of JSON fields: each is tested before use, and an error names entry and field."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from capjax.runtime.files import listed

Id = int | str
"""An id as files write it: a number, or text that is none."""

T = TypeVar("T")
_SHOWN = 60


def load_json(text: str) -> Any:
    """Parsed JSON; damage, and two values under one name, are a ValueError with their place."""
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise ValueError(f"damaged JSON ({error}); fetch the file again") from error
    except RecursionError as error:
        raise ValueError("damaged JSON (brackets within brackets without end)") from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(
            f"the JSON holds the name {twice!r} twice in one object, so that one value would be "
            "lost; merge them"
        )
    return found


@dataclasses.dataclass(frozen=True)
class Entry:
    """One object of a JSON file; every method checks the field that it gives.

    Attributes:
      where: what to call the entry in an error, such as "annotation 3".
      fields: of the object.
      source: of the whole file, what was expected, for an error's end.
    """

    where: str
    fields: Mapping[str, Any]
    source: str = ""

    def text(self, name: str, default: str | None = None) -> str:
        """A text field."""
        return self._get(name, "text", _text, default)

    def id(self, name: str) -> Id:
        """An id: 7, 7.0 and "7" are read, "6f1c" too; truth values, null and NaN are not."""
        found = _id(self.fields.get(name))
        if found is None:
            raise self.refuse(name, "a number or text that names it")
        return found

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number, also where it is written as text."""
        return self._get(name, "a number", _number, default)

    def flag(self, name: str, default: bool) -> bool:
        """A truth value, or 0 or 1."""
        return self._get(name, "0 or 1", _flag, default)

    def texts(self, name: str) -> list[str]:
        """One text, or a list of them."""
        return self._get(name, "text or a list of texts", _texts)

    def numbers(self, name: str) -> list[float]:
        """A list of finite numbers."""
        return self._get(name, "a list of numbers", _numbers)

    def caption(self, name: str) -> str:
        """A caption; null is an empty one, as an empty cell is: counted, and no error."""
        return "" if self._is_null(name) else self.text(name)

    def captions(self, name: str) -> list[str]:
        """One caption, or a list of them; each null is an empty one."""
        if self._is_null(name):
            return [""]
        return self._get(name, "text or a list of texts", _captions)

    def entries(self, name: str, kind: str) -> list["Entry"]:
        """A list of objects, each called by `kind` and its place."""
        return self._get(name, "a list of objects", lambda value: objects(value, kind, self))

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.get(name) is not None

    def _is_null(self, name: str) -> bool:
        return name in self.fields and not self.has(name)

    def refuse(self, name: str, expected: str) -> ValueError:
        """The error of a field that does not hold what was expected."""
        value, where = self.fields.get(name, _ABSENT), self.where or "the file"
        if value is _ABSENT:
            named = listed([*map(repr, self.fields)]) or "nothing"
            got = f"{where} lacks {name!r} (it has {named})"
        else:
            got = f"{where}: {name!r} is {shown(value)}"
        return ValueError(f"{got}; expected {expected}{self.source and f'. {self.source}'}")

    def _get(
        self, name: str, expected: str, read: Callable[[Any], T | None], default: T | None = None
    ) -> T:
        value = self.fields.get(name)
        if value is None and default is not None:
            return default
        found = None if value is None else read(value)
        if found is None:
            raise self.refuse(name, expected)
        return found


_ABSENT = object()


def objects(values: Any, kind: str, parent: Entry | None = None) -> list[Entry] | None:
    """Entries of a list of objects; None where it is no list.

    Raises:
      ValueError: a member that is no object, by its place.
    """
    if not isinstance(values, list):
        return None
    inside = f" of {parent.where}" if parent is not None and parent.where else ""
    source = "" if parent is None else parent.source
    found = []
    for number, value in enumerate(values):
        where = f"{kind} {number}{inside}"
        if not isinstance(value, Mapping):
            raise ValueError(
                f"{where} is {shown(value)}; expected an object{source and f'. {source}'}"
            )
        found.append(Entry(where, value, source))
    return found


def shown(value: Any) -> str:
    """A value as JSON writes it, shortened, with its kind where that is not plain to see."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    kind = "the object " if isinstance(value, dict) else "the list "
    return f"{kind}{text}" if isinstance(value, dict | list) else text


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        return None
    return values


def _captions(value: Any) -> list[str] | None:
    several = isinstance(value, list)
    return _texts(["" if each is None else each for each in value] if several else value)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list):
        return None
    found = [number for number in map(_number, value) if number is not None]
    return found if len(found) == len(value) else None


def _flag(value: Any) -> bool | None:
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def _id(value: Any) -> Id | None:
    if isinstance(value, str):
        return value.strip() or None
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


class Ids(Generic[T]):
    """Things by id, found also where one list writes 7 and another "7", "007" or 7.0."""

    def __init__(
        self, things: Iterable[tuple[Id, T]], *, same: Callable[[T, T], bool] | None = None
    ) -> None:
        """Args:
        things: (id, thing) pairs.
        same: whether two things of one id are one that is listed twice; None: equal ones.

        Raises:
          ValueError: an id that two different things have.
        """
        same = same or (lambda one, other: one == other)
        self._exact: dict[Id, T] = {}
        self._plain: dict[Id, list[T]] = {}
        for id, thing in things:
            if id in self._exact:
                if not same(self._exact[id], thing):
                    raise ValueError(
                        f"the id {shown(id)} belongs to two things, {_called(self._exact[id])} and "
                        f"{_called(thing)}; give each its own"
                    )
                continue
            self._exact[id] = thing
            self._plain.setdefault(_plain(id), []).append(thing)

    def __iter__(self) -> Iterator[Id]:
        return iter(self._exact)

    def find(self, id: Id) -> T | None:
        """The thing of an id; None where there is none, or where several could be meant."""
        if id in self._exact:
            return self._exact[id]
        near: Sequence[T] = self._plain.get(_plain(id), ())
        return near[0] if len(near) == 1 else None


def _called(thing: object) -> str:
    return thing.where if isinstance(thing, Entry) else repr(thing)


def _plain(id: Id) -> Id:
    text = str(id)
    return int(text) if text.isascii() and text.isdigit() else text
