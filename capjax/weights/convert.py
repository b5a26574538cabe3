"""The one strict engine that renames foreign weights; every family is a table of rules."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from capjax.runtime.files import MOST_NAMED, listed
from capjax.weights.key_names import with_their_key, without_wrappers
from capjax.weights.parts import described, first_name

Arrays = Mapping[str, np.ndarray]

# Layouts of other libraries -> (axes they have, how they become ours). Ours: kernels HWIO, matrices
# [in, out]. A depthwise kernel is [C, 1, h, w] in torch ("OIHW") and [h, w, C, M] in Keras; a 1x1
# convolution of torch may be a matrix of ours ("OI11").
TRANSFORMS: Mapping[str, tuple[int | None, Callable[[np.ndarray], np.ndarray]]] = {
    "same": (None, lambda array: array),
    "OIHW": (4, lambda array: array.transpose(2, 3, 1, 0)),
    "OI": (2, lambda array: array.T),
    "OI11": (4, lambda array: array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])),
    "HWCM": (4, lambda array: array.reshape(*array.shape[:2], 1, -1)),
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """Renames the keys that match.

    Attributes:
      pattern: regular expression of the whole key.
      name: our name, e.g. "params/block_\\1/kernel"; may use the pattern's groups. Several names:
        the array, in our layout, is cut into that many equal parts along its last axis, as for
        query, key and value stored as one matrix.
      transform: a key of `TRANSFORMS`.
    """

    pattern: str
    name: str | tuple[str, ...]
    transform: str = "same"

    @property
    def names(self) -> tuple[str, ...]:
        """All of `name`."""
        return (self.name,) if isinstance(self.name, str) else self.name


@dataclasses.dataclass(frozen=True)
class Table:
    """What one kind of weight file looks like.

    Attributes:
      rules: each key must match exactly one.
      ignored: patterns of keys that a file may hold and the module does not need (a classifier,
        counters, the copy of a tied matrix); they win over rules.
      layout: the library or file it is of, e.g. "torchvision"; for errors and listings.
      prepare: renames keys before the rules see them, where patterns cannot (keys numbered by
        order, for one). It is tried on files of other layouts too, so it leaves keys alone that it
        does not know, or raises ValueError.
    """

    rules: Sequence[Rule]
    ignored: Sequence[str] = ()
    layout: str = "other"
    prepare: Callable[[Arrays], Arrays] | None = None


OURS = Table((Rule(r"((?:params|batch_stats)/.+)", r"\1"),), layout="capjax")
"""Our own names, as `python -m capjax.weights convert` writes them; fits every module."""


def convert(
    source: Arrays,
    layouts: Sequence[Table],
    expected: Mapping[str, tuple[int, ...]],
    *,
    origin: str,
) -> dict[str, np.ndarray]:
    """float32 arrays under our names, complete and of the expected shapes.

    Args:
      source: arrays as read from a file; what trainers put around a net may be in their keys (see
        `without_wrappers`).
      layouts: the kinds of files that fit; the one whose rules match most keys is used, the first
        of equals.
      expected: shape of every array the module needs, by our name.
      origin: what the error should call the source, e.g. its path.

    Raises:
      ValueError: a key is left over, missing, used twice, not a number or of another shape; the
        text lists the culprits, each by the file's own key.
    """
    held = {id(array): key for key, array in source.items()}
    source, table = choose_layout(source, layouts, origin=origin)
    own = {key: held.get(id(array), key) for key, array in source.items()}
    result: dict[str, np.ndarray] = {}
    used: dict[str, str] = {}
    left_over, twice, wrong = [], [], []
    for key in sorted(source):
        if _is_ignored(key, table):
            continue
        rule, names = _match(key, table)
        if rule is None or not set(names) <= set(expected):
            left_over.append(own[key])
            continue
        repeated = [name for name in names if name in used]
        twice += [f"{name} (from {used[name]} and {own[key]})" for name in repeated]
        used.update(dict.fromkeys(names, own[key]))
        if not repeated:
            arrays, problem = _transform(source[key], rule, names, expected)
            wrong += [f"{own[key]} {problem} (ours: {', '.join(names)})"] if problem else []
            result.update(arrays)
    missing = sorted(set(expected) - set(used))
    plain = [(rule.pattern, name) for rule in table.rules for name in rule.names]
    missing[:MOST_NAMED] = [with_their_key(name, plain) for name in missing[:MOST_NAMED]]
    problems = {"missing": missing, "left over": left_over, "used twice": twice, "wrong": wrong}
    if any(problems.values()):
        lines = [f"  {title}: {listed(names)}" for title, names in problems.items() if names]
        raise ValueError(
            f"the weights in {origin} do not fit the module (read as {table.layout}):\n"
            + "\n".join(lines)
            + "\ncheck that the file belongs to this architecture and to these fields"
            + _other_parts(left_over)
        )
    return result


def choose_layout(source: Arrays, layouts: Sequence[Table], *, origin: str) -> tuple[Arrays, Table]:
    """The layout that matches most keys, and the arrays under the keys that its rules expect.

    Raises:
      ValueError: no layout matches any key.
    """
    best, chosen, refusals = 0, None, []
    for keys in without_wrappers(source):
        for table in layouts:
            try:
                prepared = table.prepare(keys) if table.prepare else keys
            except ValueError as error:
                refusals.append(f"\n  {table.layout}: {error}")
                continue
            matched = sum(_fits(key, table) for key in prepared)
            if matched > best:
                best, chosen = matched, (prepared, table)
    if chosen is None:
        known = ", ".join(table.layout for table in layouts)
        raise ValueError(
            f"the keys of {origin} belong to no known layout; it holds: {listed(sorted(source))}; "
            f"layouts known: {known}" + _other_parts(source) + "".join(refusals)
        )
    return chosen


def _other_parts(keys: Iterable[str]) -> str:
    """What to try where keys begin with several names; "" where they begin with one."""
    if len({first_name(key) for key in keys}) < 2:
        return ""
    return f"; if these are of several nets, choose one with FILE#PART, a PART of {described(keys)}"


def _fits(key: str, table: Table) -> bool:
    return any(re.fullmatch(rule.pattern, key) for rule in table.rules)


def _is_ignored(key: str, table: Table) -> bool:
    return any(re.fullmatch(pattern, key) for pattern in table.ignored)


def _match(key: str, table: Table) -> tuple[Rule | None, tuple[str, ...]]:
    matches = [(rule, match) for rule in table.rules if (match := re.fullmatch(rule.pattern, key))]
    if len(matches) > 1:
        patterns = ", ".join(rule.pattern for rule, _ in matches)
        raise ValueError(f"the key {key} matches several rules: {patterns}; make them disjoint")
    if not matches:
        return None, ()
    rule, match = matches[0]
    return rule, tuple(match.expand(name) for name in rule.names)


def _transform(
    array: np.ndarray,
    rule: Rule,
    names: tuple[str, ...],
    expected: Mapping[str, tuple[int, ...]],
) -> tuple[dict[str, np.ndarray], str]:
    """The array's parts in our layout, and what is wrong with it ("" when nothing is)."""
    axes, change = TRANSFORMS[rule.transform]
    if axes is not None and array.ndim != axes:
        return {}, f"has shape {array.shape}; expected {axes} axes"
    if not jax.dtypes.issubdtype(array.dtype, np.floating):
        return {}, f"has dtype {array.dtype}; expected floating point"
    ours = np.asarray(change(array), np.float32, order="C")
    if len(names) > 1 and (not ours.ndim or ours.shape[-1] % len(names)):
        return {}, f"has shape {ours.shape} in our layout; expected {len(names)} equal parts"
    parts = np.split(ours, len(names), axis=-1) if len(names) > 1 else [ours]
    for name, part in zip(names, parts, strict=True):
        if part.shape != expected[name]:
            cut = f", cut into {len(names)}" if len(names) > 1 else ""
            return {}, f"has shape {part.shape} in our layout{cut}; expected {expected[name]}"
    if not np.isfinite(ours).all():
        return {}, "holds values that are not finite"
    return {name: np.asarray(p, order="C") for name, p in zip(names, parts, strict=True)}, ""
