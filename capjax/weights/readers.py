"""Weight files to named arrays, by content; nothing in a file is ever executed."""

import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from capjax.weights.formats.graphdef import read_graphdef
from capjax.weights.formats.keras_file import ARCHIVED, read_keras
from capjax.weights.formats.npz import read_npz
from capjax.weights.formats.safetensors_file import read_index, read_metadata, read_safetensors
from capjax.weights.formats.torch_file import LEGACY_HEAD, read_torch_legacy, read_torch_zip
from capjax.weights.parts import select, split_part

ZIP_MAGIC = b"PK\x03\x04"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
PICKLE_MAGIC = b"\x80"
GRAPH_MAGIC = b"\x0a"  # of its first field
LONGEST_HEADER = 100_000_000  # of safetensors; read as a length, every magic above is longer


def read_weights(path: str | os.PathLike[str]) -> Mapping[str, np.ndarray]:
    """Every array of a weight file, under the names that the file gives them.

    safetensors, alone or the index of its shards; `.npz`; PyTorch's zip and its older stream;
    Keras' `.h5`, `.weights.h5` and `.keras` (needs h5py); a frozen TensorFlow GraphDef. The content
    tells which, not the name. Arrays may be read-only views.

    Args:
      path: of the file; "FILE#PART" is a part of it: one of several state dicts that a trainer
        saved together, or the arrays whose keys begin with "PART.", without that.

    Raises:
      FileNotFoundError: there is no such file.
      ImportError: the format needs a package that is not installed.
      ValueError: the file is truncated, damaged, of another format, or holds anything but
        arrays, or no such part, or several state dicts while none is named.
    """
    file, part = split_part(path)
    read = _reader(pathlib.Path(file))
    if read in (read_torch_zip, read_torch_legacy):
        return read(pathlib.Path(file), part)
    arrays = read(pathlib.Path(file))
    try:
        return select(arrays, part) if part else arrays
    except ValueError as error:
        raise ValueError(f"cannot take {part!r} of {file}: {error}") from error


def read_description(path: str | os.PathLike[str]) -> Mapping[str, str]:
    """What a weight file says of itself beside its arrays; only safetensors does.

    Raises:
      FileNotFoundError, ValueError: as in `read_weights`.
    """
    path = pathlib.Path(split_part(path)[0])
    return read_metadata(path) if _reader(path) is read_safetensors else {}


def _reader(path: pathlib.Path) -> Callable[..., dict[str, np.ndarray]]:
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}; expected one that exists")
    with open(path, "rb") as stream:
        head = stream.read(32)
    # First: the low byte of its length may be any other format's first byte.
    if len(head) > 8 and int.from_bytes(head[:8], "little") <= LONGEST_HEADER:
        return read_safetensors
    if head.startswith(ZIP_MAGIC):
        return _zip_reader(path)
    if head.startswith(HDF5_MAGIC):
        return read_keras
    if head.startswith(PICKLE_MAGIC):
        return read_torch_legacy if LEGACY_HEAD in head else _refuse_pickle
    if head.lstrip()[:1] == b"{":
        return lambda index: read_index(index, _read_shard)
    if head.startswith(GRAPH_MAGIC):
        return read_graphdef
    return read_safetensors


def _read_shard(path: pathlib.Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as stream:
        if stream.read(32).lstrip()[:1] == b"{":
            raise ValueError(f"{path} is named as a shard and is no weight file")
    return _reader(path)(path)


def _zip_reader(path: pathlib.Path) -> Callable[..., dict[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"cannot read {path} ({error}); it begins like an .npz, a PyTorch or a Keras archive "
            "and is cut or damaged: fetch it again"
        ) from error
    if any(name.endswith("/data.pkl") for name in names):
        return read_torch_zip
    return read_keras if ARCHIVED in names else read_npz


def _refuse_pickle(path: pathlib.Path) -> dict[str, np.ndarray]:
    raise ValueError(
        f"{path} is a pickle that torch.save did not write; pickles are programs and are never "
        "run: save its arrays as .npz or safetensors where you trust the file"
    )
