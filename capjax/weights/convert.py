"""The one strict engine that renames foreign weights; every family is a table of rules."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Transform = Callable[[np.ndarray], np.ndarray]
MOST_LISTED = 8

# Layouts of other libraries -> ours (kernels HWIO, matrices [in, out]).
TRANSFORMS: Mapping[str, Transform] = {
    "same": lambda array: array,
    "OIHW": lambda array: array.transpose(2, 3, 1, 0),
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """Renames the keys that match.

    Attributes:
      pattern: regular expression of the whole key.
      name: our name, e.g. "params/block_\\1/kernel"; may use the pattern's groups.
      transform: a key of `TRANSFORMS`.
    """

    pattern: str
    name: str
    transform: str = "same"


@dataclasses.dataclass(frozen=True)
class Table:
    """What one family of weight files looks like.

    Attributes:
      rules: each key must match exactly one.
      ignored: patterns of keys that a file may hold and the module does not need; never a rule's.
    """

    rules: Sequence[Rule]
    ignored: Sequence[str] = ()


def convert(
    source: Mapping[str, np.ndarray],
    table: Table,
    expected: Mapping[str, tuple[int, ...]],
    *,
    origin: str,
) -> dict[str, np.ndarray]:
    """float32 arrays under our names, complete and of the expected shapes.

    Args:
      source: arrays as read from a file.
      table: how its names map to ours.
      expected: shape of every array the module needs, by our name.
      origin: what the error should call the source, e.g. its path.

    Raises:
      ValueError: a key is left over, missing, used twice, not a number or of another shape; the
        text lists the culprits.
    """
    result: dict[str, np.ndarray] = {}
    used: dict[str, str] = {}
    left_over, twice, wrong = [], [], []
    for key in sorted(source):
        if any(re.fullmatch(pattern, key) for pattern in table.ignored):
            continue
        rule, name = _match(key, table)
        if rule is None or name not in expected:
            left_over.append(key)
        elif name in used:
            twice.append(f"{name} (from {used[name]} and {key})")
        else:
            used[name] = key
            array, problem = _transform(source[key], rule, expected[name])
            if problem:
                wrong.append(f"{key} {problem}")
            else:
                result[name] = array
    missing = sorted(set(expected) - set(used))
    problems = {"missing": missing, "left over": left_over, "used twice": twice, "wrong": wrong}
    if any(problems.values()):
        lines = [f"  {title}: {_listed(names)}" for title, names in problems.items() if names]
        raise ValueError(
            "\n".join([f"the weights in {origin} do not fit the module:", *lines])
            + "\ncheck that the file belongs to this architecture and to these fields"
        )
    return result


def _match(key: str, table: Table) -> tuple[Rule | None, str]:
    matches = [(rule, match) for rule in table.rules if (match := re.fullmatch(rule.pattern, key))]
    if len(matches) > 1:
        patterns = ", ".join(rule.pattern for rule, _ in matches)
        raise ValueError(f"the key {key} matches several rules: {patterns}; make them disjoint")
    if not matches:
        return None, ""
    rule, match = matches[0]
    return rule, match.expand(rule.name)


def _transform(array: np.ndarray, rule: Rule, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """The array in our layout, and what is wrong with it ("" when nothing is)."""
    if rule.transform == "OIHW" and array.ndim != 4:
        return array, f"has shape {array.shape}; expected four axes"
    if array.dtype.kind not in "fV" or array.dtype.hasobject:
        return array, f"has dtype {array.dtype}; expected floating point"
    ours = np.ascontiguousarray(TRANSFORMS[rule.transform](array).astype(np.float32))
    if ours.shape != shape:
        return ours, f"has shape {ours.shape} in our layout; expected {shape}"
    if not np.isfinite(ours).all():
        return ours, "holds values that are not finite"
    return ours, ""


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + rest
