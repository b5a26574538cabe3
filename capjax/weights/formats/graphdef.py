"""Frozen TensorFlow graphs: the constants of a GraphDef, by the messages that tensorboardX ships.

The graph is parsed and never run. Type numbers are those of TensorFlow's types.proto.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

# DataType -> (dtype, field of TensorProto that lists values one by one).
TYPES: Mapping[int, tuple[np.dtype, str]] = {
    1: (np.dtype("<f4"), "float_val"),
    2: (np.dtype("<f8"), "double_val"),
    3: (np.dtype("<i4"), "int_val"),
    4: (np.dtype("u1"), "int_val"),
    6: (np.dtype("i1"), "int_val"),
    9: (np.dtype("<i8"), "int64_val"),
    10: (np.dtype("?"), "bool_val"),
    14: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    19: (np.dtype("<f2"), "half_val"),
}
STRING = 7

# Operation -> settings without which its constants do not say what it computes.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "BatchNormWithGlobalNormalization": ("scale_after_normalization", "variance_epsilon"),
}


def read_graphdef(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every numeric constant of a frozen graph, by the name of its node.

    Settings of operations that are in `SETTINGS` stand beside them, as scalars by the node's name
    and their own: "conv/batchnorm/variance_epsilon".

    Raises:
      ValueError: the file is truncated, damaged, of another format, holds no constant, or has 2 GiB
        or more, which protobuf does not parse.
    """
    content = path.read_bytes()
    try:
        found: dict[str, np.ndarray] = {}
        constants = 0
        for node in _parse(content).node:
            if node.op in SETTINGS:
                settings = (key for key in SETTINGS[node.op] if key in node.attr)
                held = {f"{node.name}/{key}": _scalar(node.attr[key]) for key in settings}
            else:
                held = _constant(node, len(content)) if node.op == "Const" else {}
                constants += len(held)
            if twice := held.keys() & found.keys():
                raise ValueError(f"two nodes have the name {', '.join(twice)}")
            found |= held
        if not constants:
            raise ValueError("it holds no constants; expected a frozen graph")
        return found
    except ValueError as error:
        raise ValueError(
            f"cannot read {path} as a frozen TensorFlow GraphDef ({error}); expected a whole "
            "weight file (safetensors, .npz, PyTorch, Keras .h5, frozen GraphDef): fetch it again"
        ) from error


def _parse(content: bytes) -> Any:
    """The GraphDef in the content of a file."""
    # Importing tensorboardX takes a fifth of a second, which other formats do not need.
    from google.protobuf.message import DecodeError
    from tensorboardX.proto import graph_pb2

    try:
        return graph_pb2.GraphDef.FromString(content)
    except DecodeError as error:
        raise ValueError(f"its {len(content):,} bytes are cut short or damaged") from error


def _scalar(setting: Any) -> np.ndarray:
    """A float or a truth value of an AttrValue."""
    kind = setting.WhichOneof("value")
    if kind not in ("f", "b"):
        raise ValueError("a setting that is neither a number nor true or false")
    return np.array(getattr(setting, kind), np.float32 if kind == "f" else bool)


def _constant(node: Any, limit: int) -> dict[str, np.ndarray]:
    """The array of a Const node by the node's name; empty for strings."""
    if "value" not in node.attr or not node.attr["value"].HasField("tensor"):
        raise ValueError(f"the constant {node.name} has no value")
    tensor = node.attr["value"].tensor
    if tensor.dtype == STRING:
        return {}
    try:
        return {node.name: _array(tensor, limit)}
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the constant {node.name}: {error}") from error


def _array(tensor: Any, limit: int) -> np.ndarray:
    """The array of a TensorProto: raw content, or values of which the last fills the rest.

    Args:
      tensor: the message.
      limit: most bytes of an array whose values are not all there.
    """
    if tensor.dtype not in TYPES:
        raise ValueError(f"its type has the number {tensor.dtype}, which holds no weights")
    dtype, field = TYPES[tensor.dtype]
    if tensor.tensor_shape.unknown_rank:
        raise ValueError("its shape is unknown")
    shape = tuple(side.size for side in tensor.tensor_shape.dim)
    if any(not 0 <= side < 2**40 for side in shape):
        raise ValueError(f"its shape is {shape}")
    count = math.prod(shape)
    if content := tensor.tensor_content:
        if len(content) != count * dtype.itemsize:
            raise ValueError(f"it has {len(content)} bytes; expected {shape} of {dtype}")
        return np.frombuffer(content, dtype).reshape(shape)
    listed = list(getattr(tensor, field))
    if field == "half_val":  # the bits of each number
        values = np.array(listed, np.uint16).view(dtype)
    else:
        values = np.array(listed).astype(dtype)
    # One value may stand for all: a small file could so name an array that fills the memory.
    whole = len(values) == count
    if not whole and (not 0 < len(values) < count or count * dtype.itemsize > limit):
        raise ValueError(f"it has {len(values)} values; expected {shape}")
    return np.pad(values, (0, count - len(values)), mode="edge").reshape(shape)
