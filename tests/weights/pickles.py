"""Pickles and PyTorch containers written byte by byte, without torch."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def sequence(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def imported(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def storage(key: str, kind: str, elements: int) -> bytes:
    described = (
        text("storage"), imported("torch", f"{kind}Storage"), text(key), text("cpu"),
        number(elements),
    )  # fmt: skip
    return sequence(*described) + b"Q"


def tensor(key="0", kind="Float", elements=6, offset=0, shape=(6,), strides=(1,)) -> bytes:
    axes = [sequence(*map(number, axis)) for axis in (shape, strides)]
    hooks = imported("collections", "OrderedDict") + b")R"
    arguments = (storage(key, kind, elements), number(offset), *axes, b"\x89", hooks)
    return imported("torch._utils", "_rebuild_tensor_v2") + sequence(*arguments) + b"R"


def mapping(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in values.items()) + b"u"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def zipped(path: Path, body: bytes, *, order=b"little", compressed=False, **storages) -> Path:
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", body)
        if order:
            archive.writestr("archive/byteorder", order)
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key.removeprefix('_')}", content)
        archive.writestr("archive/version", b"3\n")
    return path


def legacy(path: Path, body: bytes, *, system=None, **storages) -> Path:
    """`storages`: bytes of float32 numbers."""
    content = io.BytesIO()
    for value in (MAGIC, PROTOCOL):
        content.write(pickle.dumps(value, 2))
    content.write(system if system is not None else pickle.dumps(SYSTEM, 2))
    content.write(body)
    content.write(pickle.dumps([key.removeprefix("_") for key in storages], 2))
    for value in storages.values():
        content.write(struct.pack("<q", len(value) // 4) + value)
    path.write_bytes(content.getvalue())
    return path


SIX = np.arange(6, dtype="<f4")
