"""The section of a config that describes a linen module: its constructor arguments, checked.

The module is the schema: names and defaults are its fields, choices their `Literal` annotations.
"""

import typing
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import config_dict

from capjax.checkpoints.settings import setting_fields

_DERIVED = ("vocab_size", "features")
"""Constructor arguments that follow from the data."""


def make_section(
    part: str, name: str, registry: Mapping[str, type], arguments: Mapping[str, Any]
) -> config_dict.ConfigDict:
    """Every constructor argument of a module, overridable and typed.

    Args:
      part: "encoder" or "decoder".
      name: key of `registry`.
      registry: name → module.
      arguments: those that differ from their defaults.
    """
    section = config_dict.ConfigDict({"name": name, **defaults(part, name, registry)})
    _check_names(part, name, registry, arguments)
    section.update(arguments)
    return section


def build_module(
    section: Mapping[str, Any], registry: Mapping[str, type[nn.Module]], **derived: Any
) -> nn.Module:
    """The linen module of a section."""
    return registry[section["name"]](**_with_dtypes(_arguments(section)), **derived)


def check_section(part: str, section: Any, registry: Mapping[str, type]) -> None:
    """Raises ValueError for an unknown name, and for a value that is no choice or no share."""
    arguments = _arguments(section)
    _check_names(part, section.name, registry, arguments)
    _with_dtypes(arguments)
    kinds = typing.get_type_hints(registry[section.name])
    for name, value in arguments.items():
        choices = typing.get_args(kinds[name]) if typing.get_origin(kinds[name]) is Literal else ()
        if choices and value not in choices:
            raise ValueError(
                f"unknown {part}.{name} {value!r}; choose one of: {', '.join(map(str, choices))}"
            )
        if name.endswith("_dropout") and not 0.0 <= value < 1.0:
            raise ValueError(f"{part}.{name} is {value}; expected a share in [0, 1)")
        if name.endswith("_share") and not 0.0 <= value <= 1.0:
            raise ValueError(f"{part}.{name} is {value}; expected a share in [0, 1]")


def _arguments(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in ("name", "weights")}


def defaults(part: str, name: str, registry: Mapping[str, type]) -> dict[str, Any]:
    """What the constructor of a module takes for arguments that are not given; dtypes by name."""
    if name not in registry:
        raise ValueError(f"unknown {part}.name {name!r}; choose one of: {', '.join(registry)}")
    values = {}
    for field in setting_fields(registry[name]):
        if field.name not in _DERIVED:
            value: Any = field.default
            is_dtype = field.name.endswith("dtype")
            values[field.name] = jnp.dtype(value).name if is_dtype else value
    return values


def _check_names(
    part: str, name: str, registry: Mapping[str, type], arguments: Mapping[str, Any]
) -> None:
    known = defaults(part, name, registry)
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ValueError(
            f"{part} {name!r} has no setting {', '.join(unknown)}; it has: {', '.join(known)}"
        )


def _with_dtypes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(arguments)
    for key, value in values.items():
        if key.endswith("dtype"):
            if value not in ("float32", "bfloat16"):
                raise ValueError(f"unknown {key} {value!r}; choose 'float32' or 'bfloat16'")
            values[key] = jnp.dtype(value)
    return values
