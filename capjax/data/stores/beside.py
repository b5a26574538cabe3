"""Which fields beside an image are its captions, and which are metadata."""

import dataclasses
import datetime
import decimal
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from capjax.data.captions.records import clean
from capjax.data.formats.columns import captions_in, find_columns
from capjax.data.stores.contract import Metadata, Plain


@dataclasses.dataclass(frozen=True)
class AskedColumns:
    """Columns of a table that somebody names: of images, and of their names; None: by content."""

    image: str | None = None
    name: str | None = None


CONTENT = AskedColumns()
"""Content tells all columns."""


@functools.lru_cache
def caption_fields(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of the names of fields, those of captions by the rule of caption files; often none."""
    columns = find_columns(["image", *names])
    return () if columns is None else columns.captions


def captions_of(fields: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The captions in some fields: texts, or lists of texts; what is neither has none."""
    found: list[str] = []
    for name in names:
        value = fields.get(name)
        if isinstance(value, str):
            found += captions_in(value)
        elif isinstance(value, list):
            found += [each for each in value if isinstance(each, str)]
    return tuple(filter(None, map(clean, found)))


def metadata_of(fields: Mapping[str, Any]) -> Metadata:
    """The fields that hold one plain value; times are written by ISO 8601, NaN is none."""
    found: dict[str, Plain] = {}
    for name, value in fields.items():
        if value is None or isinstance(value, str | bool | int):
            found[name] = value
        elif isinstance(value, float):
            found[name] = value if math.isfinite(value) else None
        elif isinstance(value, datetime.date | datetime.time):
            found[name] = value.isoformat()
        elif isinstance(value, decimal.Decimal | datetime.timedelta):
            found[name] = str(value)
    return found
