"""Settings that refuse assignment."""

import dataclasses
from typing import Any

from ml_collections import config_dict


def freeze(config: Any) -> Any:
    """A copy of the same fields that refuses assignment, all the way down."""
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            value = freeze(value)
        elif isinstance(value, config_dict.ConfigDict):
            value = config_dict.FrozenConfigDict(value)
        values[field.name] = value
    frozen = _frozen_class(type(config))
    return frozen(**values)


def _frozen_class(kind: type) -> type:
    """A subclass of a settings class whose instances refuse assignment."""

    def refuse(self: Any, name: str, value: Any) -> None:
        if name in self.__dict__:
            raise dataclasses.FrozenInstanceError(f"cannot set {name}: this config is resolved")
        object.__setattr__(self, name, value)

    return type(kind.__name__, (kind,), {"__setattr__": refuse, "__doc__": kind.__doc__})
