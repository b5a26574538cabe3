"""The settings of an encoder or a decoder: the constructor arguments of a linen module.

The module is the schema, so that a setting has its name, default and documentation there alone.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import config_dict

_DERIVED = ("vocab_size", "features", "parent", "name")
"""Constructor arguments that follow from the data or belong to linen."""


def architecture(
    part: str, name: str, registry: Mapping[str, type], arguments: Mapping[str, Any]
) -> config_dict.ConfigDict:
    """The settings of the module `name` of a registry, overridable and typed.

    Args:
      part: "encoder" or "decoder", for the texts of errors.
      name: key of the registry.
      registry: names of linen modules.
      arguments: constructor arguments that differ from their defaults.

    Raises:
      ValueError: there is no such module, or it has no such argument.
    """
    section = config_dict.ConfigDict({"name": name, **defaults(part, name, registry)})
    section.update(_check_names(part, name, registry, arguments))
    return section


def defaults(part: str, name: str, registry: Mapping[str, type]) -> dict[str, Any]:
    """What the constructor of a module takes for arguments that are not given; dtypes by name."""
    if name not in registry:
        raise ValueError(f"unknown {part}.name {name!r}; choose one of: {', '.join(registry)}")
    values = {}
    for parameter in inspect.signature(registry[name]).parameters.values():
        if parameter.name not in _DERIVED:
            value = parameter.default
            is_dtype = parameter.name.endswith("dtype")
            values[parameter.name] = jnp.dtype(value).name if is_dtype else value
    return values


def _check_names(
    part: str, name: str, registry: Mapping[str, type], arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    known = defaults(part, name, registry)
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ValueError(
            f"{part} {name!r} has no setting {', '.join(unknown)}; it has: {', '.join(known)}"
        )
    return arguments


def check_architecture(part: str, section: Any, registry: Mapping[str, type]) -> None:
    """Raises ValueError where a section names no module, or holds what its module does not take."""
    arguments = {key: value for key, value in section.items() if key not in ("name", "weights")}
    _check_names(part, section.name, registry, arguments)
    _with_dtypes(arguments)


def _with_dtypes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(arguments)
    for key, value in values.items():
        if key.endswith("dtype"):
            if value not in ("float32", "bfloat16"):
                raise ValueError(f"unknown {key} {value!r}; choose 'float32' or 'bfloat16'")
            values[key] = jnp.dtype(value)
    return values


def build_module(
    section: Mapping[str, Any], registry: Mapping[str, type[nn.Module]], **derived: Any
) -> nn.Module:
    """The linen module of a section."""
    arguments = {key: value for key, value in section.items() if key not in ("name", "weights")}
    return registry[section["name"]](**_with_dtypes(arguments), **derived)
