"""Which fields of a linen module are its settings: what a model saves, and a config offers."""

import dataclasses
from typing import Any

from capjax.encoders.encoder import is_for_one_call


def setting_fields(module: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Fields of a linen module, or of its class, without linen's own and those for one call."""
    return tuple(
        field
        for field in dataclasses.fields(module)
        if field.name not in ("parent", "name") and not is_for_one_call(field)
    )
