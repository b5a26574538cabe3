"""Frozen TensorFlow graphs: the constants of a GraphDef, read from the wire format itself.

Field numbers are those of TensorFlow's graph.proto, attr_value.proto, tensor.proto and types.proto.
"""

import math
import mmap
import pathlib
import struct
from collections.abc import Iterator, Mapping

import ml_dtypes
import numpy as np

# DataType -> (dtype, field of TensorProto with repeated values, their type on the wire).
TYPES: dict[int, tuple[np.dtype, int, str]] = {
    1: (np.dtype("<f4"), 5, "<f4"),
    2: (np.dtype("<f8"), 6, "<f8"),
    3: (np.dtype("<i4"), 7, "varint"),
    4: (np.dtype("u1"), 7, "varint"),
    6: (np.dtype("i1"), 7, "varint"),
    9: (np.dtype("<i8"), 10, "varint"),
    10: (np.dtype("?"), 11, "varint"),
    14: (np.dtype(ml_dtypes.bfloat16), 13, "varint"),
    19: (np.dtype("<f2"), 13, "varint"),
}
STRING = 7
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Operation -> settings without which its constants do not say what it computes.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "BatchNormWithGlobalNormalization": ("scale_after_normalization", "variance_epsilon"),
}


def read_graphdef(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every numeric constant of a frozen graph, by the name of its node.

    Settings of operations that are in `SETTINGS` stand beside them, as scalars by the node's name
    and their own: "conv/batchnorm/variance_epsilon".

    Raises:
      ValueError: the file is truncated, damaged, of another format or holds no constant.
    """
    try:
        with open(path, "rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        found: dict[str, np.ndarray] = {}
        constants = 0
        for field, node in _fields(content):
            if field == 1 and isinstance(node, memoryview):
                held, is_constant = _node(node, len(content))
                constants += is_constant
                if twice := held.keys() & found.keys():
                    raise ValueError(f"two nodes have the name {', '.join(twice)}")
                found.update(held)
        if not constants:
            raise ValueError("it holds no constants; expected a frozen graph")
        return found
    except (ValueError, IndexError, TypeError, struct.error, OverflowError) as error:
        raise ValueError(
            f"cannot read {path} as a frozen TensorFlow GraphDef ({error}); expected a whole "
            "weight file (safetensors, .npz, PyTorch, Keras .h5, frozen GraphDef): fetch it again"
        ) from error


def _node(node: memoryview, limit: int) -> tuple[dict[str, np.ndarray], bool]:
    """What a NodeDef holds for us, and whether it is a constant of numbers."""
    name, operation = "", ""
    attributes: dict[str, memoryview] = {}
    for field, value in _fields(node):
        if field == 1:
            name = _text(value)
        elif field == 2:
            operation = _text(value)
        elif field == 5:  # an entry of the map of attributes
            entry = dict(_fields(_message(value)))
            attributes[_text(entry.get(1, memoryview(b"")))] = _message(
                entry.get(2, memoryview(b""))
            )
    if operation in SETTINGS:
        kept = [key for key in SETTINGS[operation] if key in attributes]
        return {f"{name}/{key}": _scalar(attributes[key]) for key in kept}, False
    if operation != "Const":
        return {}, False
    tensor = dict(_fields(attributes["value"])).get(8) if "value" in attributes else None
    if tensor is None:
        raise ValueError(f"the constant {name} has no value")
    try:
        array = _tensor(_message(tensor), limit)
    except (ValueError, IndexError, TypeError, struct.error) as error:
        raise ValueError(f"the constant {name}: {error}") from error
    return ({}, False) if array is None else ({name: array}, True)


def _scalar(attribute: memoryview) -> np.ndarray:
    """A float or a truth value of an AttrValue."""
    for field, value in _fields(attribute):
        if field == 4:
            return np.frombuffer(_message(value), "<f4").reshape(())
        if field == 5:
            return np.array(bool(_number(value)))
    raise ValueError("a setting that is neither a number nor true or false")


def _tensor(tensor: memoryview, limit: int) -> np.ndarray | None:
    """A TensorProto: raw content, or repeated values of which the last fills the rest."""
    kind, content = 0, None
    shape: tuple[int, ...] = ()
    values: list[tuple[int, int | memoryview]] = []
    for field, value in _fields(tensor):
        if field == 1:
            kind = _number(value)
        elif field == 2:
            shape = _shape(_message(value))
        elif field == 4:
            content = _message(value)
        else:
            values.append((field, value))
    if kind == STRING:
        return None
    if kind not in TYPES:
        raise ValueError(f"its type has the number {kind}, which holds no weights")
    dtype, field, wire = TYPES[kind]
    count = math.prod(shape)
    if content is not None:
        if len(content) != count * dtype.itemsize:
            raise ValueError(f"it has {len(content)} bytes; expected {shape} of {dtype}")
        return np.frombuffer(content, dtype).reshape(shape)
    numbers = _repeated([value for number, value in values if number == field], dtype, wire)
    if len(numbers) == count:
        return numbers.reshape(shape)
    # One value may stand for all: a small file could so name an array that fills the memory.
    if not 0 < len(numbers) < count or count * dtype.itemsize > limit:
        raise ValueError(f"it has {len(numbers)} values; expected {shape}")
    return np.concatenate([numbers, np.full(count - len(numbers), numbers[-1])]).reshape(shape)


def _repeated(values: list[int | memoryview], dtype: np.dtype, wire: str) -> np.ndarray:
    """Values of a repeated field: packed, or one by one."""
    if wire != "varint":
        return np.frombuffer(b"".join(bytes(_message(value)) for value in values), wire)
    whole: list[int] = []
    for value in values:
        whole += [value] if isinstance(value, int) else _varints(value)
    if dtype.itemsize == 2:  # the bits of a half
        return np.array(whole, np.uint16).view(dtype)
    signed = [value - 2**64 if value >= 2**63 else value for value in whole]
    return np.array(signed, np.int64).astype(dtype)


def _shape(message: memoryview) -> tuple[int, ...]:
    sides = []
    for field, value in _fields(message):
        if field == 2:
            sides.append(_number(dict(_fields(_message(value))).get(1, 0)))
        elif field == 3 and value:
            raise ValueError("its shape is unknown")
    if any(side >= 2**40 for side in sides):
        raise ValueError(f"its shape is {tuple(sides)}")
    return tuple(sides)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(Number, value) of each field: an int of a varint, else the bytes."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        field, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = _varint(message, position)
            yield field, value
            continue
        if wire == BYTES:
            size, position = _varint(message, position)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"a field of the unknown wire type {wire}")
        if field == 0 or position + size > len(message):
            raise ValueError("it ends inside a field")
        yield field, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a number that does not end")


def _varints(message: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(message):
        value, position = _varint(message, position)
        values.append(value)
    return values


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number should be")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode()
