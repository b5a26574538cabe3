"""Frozen graphs, encoded by hand from the protocol's own description of the wire."""

import struct

import ml_dtypes
import numpy as np
import pytest

from capjax.weights import read_weights


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value) -> bytes:
    """A varint for an int, otherwise length-delimited bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def shape_of(shape) -> bytes:
    return b"".join(field(2, field(1, side)) for side in shape)


def tensor(kind: int, shape, *values: bytes) -> bytes:
    return field(1, kind) + field(2, shape_of(shape)) + b"".join(values)


def node(name: str, value: bytes | None = None, operation="Const") -> bytes:
    attributes = field(5, field(1, "dtype") + field(2, field(6, 1)))
    if value is not None:
        attributes += field(5, field(1, "value") + field(2, field(8, value)))
    return field(1, field(1, name) + field(2, operation) + field(3, "input") + attributes)


def constant(name: str, array: np.ndarray, kind: int) -> bytes:
    return node(name, tensor(kind, array.shape, field(4, array.tobytes())))


def read(path, content: bytes):
    path.write_bytes(content)
    return read_weights(path)


KERNEL = np.arange(24, dtype="<f4").reshape(1, 2, 3, 4)
VERSIONS = field(4, field(1, 21))


def test_constants_by_name(tmp_path):
    held = read(
        tmp_path / "graph.pb",
        constant("conv/conv2d_params", KERNEL, 1)
        + node("conv", operation="Conv2D")
        + node("DecodeJpeg/contents", tensor(7, (), field(8, b"jpeg")))
        + constant("conv/batchnorm/beta", np.arange(4, dtype="<f8"), 2)
        + VERSIONS,
    )
    assert list(held) == ["conv/conv2d_params", "conv/batchnorm/beta"]
    np.testing.assert_array_equal(held["conv/conv2d_params"], KERNEL)
    assert held["conv/conv2d_params"].dtype == np.float32
    assert held["conv/batchnorm/beta"].dtype == np.float64


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        # packed, and one by one
        (1, [field(5, struct.pack("<3f", 1, -2, 0.5))], np.array([1, -2, 0.5], np.float32)),
        (1, [varint(5 << 3 | 5) + struct.pack("<f", v) for v in (1, 2, 3)], np.float32([1, 2, 3])),
        (2, [varint(6 << 3 | 1) + struct.pack("<d", v) for v in (1, 2, 3)], np.float64([1, 2, 3])),
        (3, [field(7, varint(1) + varint(-2) + varint(300))], np.array([1, -2, 300], np.int32)),
        (9, [field(10, 2**40), field(10, -1), field(10, 0)], np.array([2**40, -1, 0])),
        (10, [field(11, varint(1) + varint(0) + varint(1))], np.array([True, False, True])),
        (19, [field(13, varint(0x3C00) + varint(0xC000) + varint(0))], np.float16([1, -2, 0])),
        (14, [field(13, varint(0x3F80) + varint(0) + varint(0))],
         np.array([1, 0, 0], ml_dtypes.bfloat16)),
        # the last value fills the rest
        (1, [field(5, struct.pack("<f", 0.5))], np.array([0.5] * 3, np.float32)),
        (3, [field(7, 4), field(7, 5)], np.array([4, 5, 5], np.int32)),
    ],
)  # fmt: skip
def test_repeated_values(kind, values, expected, tmp_path):
    held = read(tmp_path / "graph.pb", node("x", tensor(kind, (3,), *values)))["x"]
    assert held.dtype == expected.dtype
    np.testing.assert_array_equal(held, expected)


def test_a_scalar_without_sides(tmp_path):
    value = field(1, 1) + field(2, b"") + field(5, struct.pack("<f", 128))
    held = read(tmp_path / "graph.pb", node("Sub/y", value))["Sub/y"]
    assert held.shape == () and held == 128


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (node("x", tensor(1, (3,), field(4, b"12345"))), "constant x: it has 5 bytes"),
        (node("x", tensor(1, (3,))), "constant x: it has 0 values"),
        (node("x", tensor(1, (1,), field(5, struct.pack("<2f", 1, 2)))), "it has 2 values"),
        (node("x", tensor(1, (2**38,), field(5, struct.pack("<f", 1)))), "it has 1 values"),
        (node("x", tensor(1, (2**62,), field(5, struct.pack("<f", 1)))), "its shape is"),
        (node("x", tensor(1, (-1,), field(5, struct.pack("<f", 1)))), "its shape is"),
        (node("x", field(1, 1) + field(2, field(3, 1))), "its shape is unknown"),
        (node("x", tensor(11, (1,), field(4, b"1"))), "type has the number 11"),
        (node("x"), "constant x has no value"),
        (node("x", operation="Add"), "holds no constants"),
        (constant("x", KERNEL, 1) + constant("x", KERNEL, 1), "two nodes have the name x"),
        (b"\x0a" + varint(2**40), "7 bytes are cut short or damaged"),
        (b"\x0a\x03\x0b\x00\x00", "cut short or damaged"),  # a group that does not end
        (b"\x0a\x0b" + b"\xff" * 11, "cut short or damaged"),  # a number that does not end
        (b"\x0a\x02\x08\x01", "holds no constants"),  # a number where the name should be
        (node("x", tensor(19, (1,), field(13, 2**17))), "constant x: .*out of bounds"),
    ],
)
def test_damaged_graphs_name_the_constant(content, said, tmp_path):
    with pytest.raises(ValueError, match=f"graph.pb as a frozen TensorFlow GraphDef.*{said}"):
        read(tmp_path / "graph.pb", content)


def test_truncated_graphs_are_named(tmp_path):
    whole = constant("conv/conv2d_params", KERNEL, 1)
    for kept in range(1, len(whole)):
        with pytest.raises(ValueError, match="graph.pb"):
            read(tmp_path / "graph.pb", whole[:kept])
