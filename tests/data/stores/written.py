"""Photographs, and the shards that other programs would make of them."""

import io
import json
import tarfile

import pytest
from PIL import Image

from tests.api.conftest import photograph


def jpeg(seed, height=40, width=60):
    """A small photograph as a file."""
    stream = io.BytesIO()
    Image.fromarray(photograph(seed, height, width)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def members(path, entries, mode="w"):
    """A tar archive of (name, bytes or TarInfo) in order; the standard library writes it."""
    with tarfile.open(path, mode) as archive:
        for name, content in entries:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return name, member


def text(value):
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def contents(store):
    """Name -> bytes of every image that can be read, and name -> why of those that cannot."""
    good, bad = {}, {}
    for name in store.names:
        try:
            file = store.open(name)
        except OSError as error:
            bad[name] = str(error)
        else:
            good[name] = file.read() if hasattr(file, "read") else file.read_bytes()
    return good, bad


def table(path, columns, **options):
    """A Parquet file, by pyarrow itself."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, **options)
    return path
