"""Keys of weight files: without what trainers wrap around a net, and the one of a name of ours."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from capjax.weights.parts import first_name

WRAPPING = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Modules that wrap another at any place of a net: DataParallel, torch.compile, FSDP."""

COUNTERS = ("n_averaged",)
"""What an average of a net's weights holds beside them."""


def without_wrappers(source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The arrays under the file's keys, then under those that the bare net could have had.

    Wrapping modules are left out of all keys, then the first names that all keys share, one by one:
    "module.features.module.0.weight", "model.net.conv1.weight".
    """
    found = [dict(source)]
    bare = {_unwrapped(key): value for key, value in source.items() if key not in COUNTERS}
    if len(bare) == sum(key not in COUNTERS for key in source) and bare.keys() != source.keys():
        found.append(bare)
    keys = found[-1]
    while len({first_name(key) for key in keys}) == 1 and all(first_name(k) != k for k in keys):
        keys = {key[len(first_name(key)) + 1 :]: value for key, value in keys.items()}
        found.append(keys)
    return found


def with_their_key(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Names an array that a file lacks: the key it would have there, if that is sure, then ours.

    Args:
      name: ours.
      rules: (pattern of keys, template of names) pairs, read backwards as far as they are plain:
        groups, one of several endings, what may be left out.
    """
    keys = (_backwards(name, pattern, template) for pattern, template in rules)
    key = next((key for key in keys if key is not None), None)
    return name if key is None or key == name else f"{key} (ours: {name})"


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPING)


def _backwards(name: str, pattern: str, template: str) -> str | None:
    """The key that `pattern` turns into `name` by `template`; None where it cannot be told."""
    parts = re.split(r"\\(\d)", template)
    wanted = "".join(r"(.+)" if n % 2 else re.escape(part) for n, part in enumerate(parts))
    match = re.fullmatch(wanted, name)
    if match is None:
        return None
    groups = dict(zip(map(int, parts[1::2]), match.groups(), strict=True))
    plain = re.sub(r"\(\?:[^()]*\)\?", "", pattern)  # what may be left out is
    plain = re.sub(r"\(\?:([^()|]*)[^()]*\)", r"\1", plain)  # the first of several
    plain = re.sub(r"\[(\\?.)[^\]]*\]", r"\1", plain)
    numbers = iter(range(1, 10))
    plain = re.sub(r"\([^()]*\)", lambda _: groups.get(next(numbers), "").replace("\\", ""), plain)
    key = re.sub(r"\\(.)", r"\1", plain)
    found = re.fullmatch(pattern, key)
    return key if found is not None and found.expand(template) == name else None
