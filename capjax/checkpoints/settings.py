"""The settings of a linen module: what a model saves as JSON, and a config offers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from capjax.encoders.encoder import is_for_one_call


def setting_fields(module: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Fields of a linen module, or of its class, without linen's own and those for one call."""
    return tuple(
        field
        for field in dataclasses.fields(module)
        if field.name not in ("parent", "name") and not is_for_one_call(field)
    )


def module_to_json(module: nn.Module, registry: Mapping[str, Any]) -> dict[str, Any]:
    """A module's registry name and fields as plain JSON values."""
    names = {cls: name for name, cls in registry.items()}
    if type(module) not in names:
        known = ", ".join(registry)
        raise ValueError(f"{type(module).__name__} is not registered; known: {known}")
    fields = {field.name: getattr(module, field.name) for field in setting_fields(module)}
    if "dtype" in fields:
        fields["dtype"] = jnp.dtype(fields["dtype"]).name
    return {"name": names[type(module)], **fields}


def module_from_json(value: Mapping[str, Any], registry: Mapping[str, Any]) -> nn.Module:
    """The inverse of `module_to_json`; unknown names and fields are errors."""
    fields = dict(value)
    name = fields.pop("name")
    if name not in registry:
        raise ValueError(f"unknown module {name!r}; choose one of: {', '.join(registry)}")
    if "dtype" in fields:
        fields["dtype"] = jnp.dtype(fields["dtype"])
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
    known = [field.name for field in setting_fields(registry[name])]
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(
            f"{name} has no field {', '.join(unknown)}; expected some of: {', '.join(known)}"
        )
    try:
        return registry[name](**fields)
    except TypeError as error:
        raise ValueError(f"{name}: {error}; expected fields of {registry[name]}") from error
