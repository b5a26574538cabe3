"""The state dict in what a trainer saved: alone, or beside optimizers, schedulers and settings."""

import collections
from collections.abc import Iterator, Mapping
from typing import Any

from capjax.runtime.files import listed
from capjax.weights.formats.torch_pickle import RefusedError, Strange, Tensor
from capjax.weights.parts import select

OPTIMIZER = "param_groups"
"""An entry that every optimizer's state has: the tensors beside it are no weights."""
DEEPEST = 8
"""Entries within entries that are looked through; trainers use two."""


def state_dict(held: Any, part: str = "") -> Mapping[str, Tensor]:
    """The one mapping of names to weights in an unpickled object.

    It is the object itself or an entry inside it. Optimizers' states are none, nor are mappings
    without a single array of floating point, such as best scores.

    Args:
      held: from `torch_pickle.load`.
      part: the path of the one to take, such as "state_dict_ema" or "ema.module"; it may go on
        with what the keys begin with, which is then left out of them.

    Raises:
      RefusedError: there is none, and the object asks for what no tensor needs.
      ValueError: there is none, or there are several and `part` names none of them, or other values
        are among its tensors; the text says what there is.
    """
    found = dict(_candidates(held))
    if not found and isinstance(held, dict) and held and _tensors_only(held):
        found = {"": held}
    if part:
        return _part_of(found, part)
    if len(found) > 1:
        names = [name or "those of the file itself" for name in found]
        raise ValueError(
            f"it holds several sets of tensors: {listed(names)}; choose one by its name after the "
            f"file's, as in FILE#{[name for name in found if name][-1]}"
        )
    if found:
        return _plain(next(iter(found.values())))
    strange = strange_names(held)
    if strange:
        raise RefusedError(f"the pickle asks for {strange}, which no tensor needs")
    if not isinstance(held, dict):
        raise ValueError(f"it holds a {type(held).__name__}; expected tensors by name")
    entries = listed([str(name) for name in held])
    raise ValueError(f"it holds no set of tensors; its entries are: {entries}")


def contents(held: Any) -> Iterator[Any]:
    """Every value in an unpickled object, itself included, once."""
    waiting, seen = [held], set()
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict | list | tuple | Strange) and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, dict):
                waiting += [*value, *value.values()]
            else:
                waiting += value.parts if isinstance(value, Strange) else value


def strange_names(held: Any) -> str:
    """What an object asks for beside tensors, in words; "" for nothing."""
    names = {value.name for value in contents(held) if isinstance(value, Strange)}
    return listed(sorted(names))


def _candidates(held: Any) -> Iterator[tuple[str, dict[Any, Any]]]:
    """(Path, mapping) of each mapping that holds weights, outermost first."""
    waiting: collections.deque[tuple[tuple[str, ...], Any]] = collections.deque([((), held)])
    seen: set[int] = set()
    while waiting:
        path, value = waiting.popleft()
        if id(value) in seen or len(path) > DEEPEST:
            continue
        seen.add(id(value))
        if isinstance(value, dict) and OPTIMIZER not in value:
            if any(_is_weight(each) for each in value.values()):
                yield ".".join(path), value
            inside = [(name, each) for name, each in value.items() if isinstance(name, str)]
        elif isinstance(value, list | tuple):
            inside = [(str(number), each) for number, each in enumerate(value)]
        else:
            continue
        waiting += [
            ((*path, name), each) for name, each in inside if isinstance(each, dict | list | tuple)
        ]


def _is_weight(value: Any) -> bool:
    """Whether a value is an array that was learnt: no score, no step, no state of a generator."""
    if not isinstance(value, Tensor):
        return False
    return value.storage.dtype.kind not in "iub" and any(side != 1 for side in value.shape)


def _part_of(found: Mapping[str, dict[Any, Any]], part: str) -> Mapping[str, Tensor]:
    if part in found:
        return _plain(found[part])
    for path, tensors in found.items():
        if path and part.startswith(f"{path}."):
            return select(_plain(tensors), part[len(path) + 1 :])
    if len(found) == 1:
        return select(_plain(next(iter(found.values()))), part)
    raise ValueError(f"it holds no set of tensors {part!r}; it has: {listed([*found]) or 'none'}")


def _tensors_only(held: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in held.values())


def _plain(found: Mapping[Any, Any]) -> Mapping[str, Tensor]:
    others = [
        f"{name} ({value.name})" if isinstance(value, Strange) else str(name)
        for name, value in found.items()
        if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    if not others:
        return found
    text = f"among its tensors are other values: {listed(others)}"
    if any(isinstance(value, Strange) for value in found.values()):
        raise RefusedError(text)
    raise ValueError(text)
