"""Which column of a table holds images, which their names, captions and metadata, by content."""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from capjax.data.captions.records import is_clip_name, is_foreign_name, is_image_name
from capjax.data.pictures.opening import CLIP, kind_of, opened
from capjax.data.stores.beside import AskedColumns, caption_fields
from capjax.runtime.files import listed

BYTES, PATH = "bytes", "path"
"""Fields of an image as `datasets` of Hugging Face writes it; either may be null."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns of a table by what they hold.

    Attributes:
      image: of structs with bytes and path, of bytes, or of paths.
      name: of the images' names; `image` itself where a struct or a path says them; None: rows have
        no names.
      captions: of people's captions.
      metadata: of plain values.
    """

    image: str
    name: str | None
    captions: tuple[str, ...]
    metadata: tuple[str, ...]


def image_of(cell: Any) -> tuple[bytes | None, str | None]:
    """The bytes of an image, or the path of its file, or neither, in a cell of such a column."""
    if isinstance(cell, Mapping):
        return cell.get(BYTES), cell.get(PATH)
    return (cell, None) if isinstance(cell, bytes) else (None, cell)


def find_columns(first: pa.Table, asked: AskedColumns) -> Columns:
    """What the columns of a table hold.

    Args:
      first: its first rows.
      asked: columns that are named on the command line.

    Raises:
      ValueError: several columns may hold images, or their names, or none holds images, or one
        that is asked for is not there, or of another type; the text names them.
    """
    fields = {field.name: field.type for field in first.schema}
    image = _image_column(first, fields, asked.image)
    name = _name_column(first, fields, image, asked.name)
    texts = [own for own, kind in fields.items() if is_text(kind) or _are_texts(kind)]
    captions = caption_fields(tuple(own for own in texts if own not in (image, name)))
    others = {own: kind for own, kind in fields.items() if own not in (image, name, *captions)}
    metadata = tuple(own for own, kind in others.items() if _is_plain(kind))
    return Columns(image, name, captions, metadata)


def _image_column(first: pa.Table, fields: Mapping[str, pa.DataType], asked: str | None) -> str:
    if asked is not None:
        kind = _there(fields, asked, "--image-column")
        if not (_is_struct(kind) or _is_binary(kind) or is_text(kind)):
            raise ValueError(
                f"--image-column={asked} holds {kind}; expected bytes, paths, or structs of bytes "
                "and path"
            )
        return asked
    structs = [own for own, kind in fields.items() if _is_struct(kind)]
    binary = [own for own, kind in fields.items() if _is_binary(kind)]
    pictures = [own for own in binary if any(map(_is_picture, _values(first, own)))]
    paths = [own for own, kind in fields.items() if is_text(kind) and _are_paths(first, own)]
    for found in (structs + pictures, paths, binary):
        if len(found) > 1:
            raise ValueError(
                f"several columns may hold images: {listed(found)}; choose with --image-column"
            )
        if found:
            return found[0]
    raise ValueError(f"no column holds images: {_described(fields)}; name one with --image-column")


def _name_column(
    first: pa.Table, fields: Mapping[str, pa.DataType], image: str, asked: str | None
) -> str | None:
    if asked is not None:
        kind = _there(fields, asked, "--name-column")
        if not (is_text(kind) or pa.types.is_integer(kind)):
            raise ValueError(f"--name-column={asked} holds {kind}; expected texts or integers")
        return asked
    if is_text(fields[image]) or any(image_of(cell)[1] for cell in _values(first, image)):
        return image
    found = [own for own, kind in fields.items() if is_text(kind) and _are_paths(first, own)]
    if len(found) > 1:
        raise ValueError(
            f"several columns may hold names of images: {listed(found)}; choose with --name-column"
        )
    return found[0] if found else None


def _there(fields: Mapping[str, pa.DataType], asked: str, option: str) -> pa.DataType:
    if asked not in fields:
        raise ValueError(f"{option}={asked} is no column; there are: {_described(fields)}")
    return fields[asked]


def _described(fields: Mapping[str, pa.DataType]) -> str:
    return listed([f"{name} ({kind})" for name, kind in fields.items()]) or "none"


def _values(first: pa.Table, name: str) -> list[Any]:
    """The cells of a column that are not null."""
    return [cell for cell in first.column(name).to_pylist() if cell is not None]


def _are_paths(first: pa.Table, name: str) -> bool:
    """Whether all cells name files of pictures or clips; addresses of the web are none."""
    found = _values(first, name)
    return bool(found) and all(
        (is_image_name(cell) or is_clip_name(cell) or is_foreign_name(cell))
        and not cell.lower().startswith(("http:", "https:"))
        for cell in found
    )


def _is_picture(content: bytes) -> bool:
    stream = io.BytesIO(content)
    try:
        with opened(stream):
            return True
    except Exception:  # Pillow raises nearly anything on what is none
        return kind_of(stream) == CLIP


def _is_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(
        field.name == BYTES and _is_binary(field.type) for field in kind
    )


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _are_texts(kind: pa.DataType) -> bool:
    of_lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return of_lists and is_text(kind.value_type)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or is_text(kind)
