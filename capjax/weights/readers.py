"""Weight files to named arrays, by content; nothing in a file is ever executed."""

import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import safetensors

ZIP_MAGIC = b"PK\x03\x04"


def read_weights(path: str | os.PathLike[str]) -> Mapping[str, np.ndarray]:
    """Every array of a safetensors or `.npz` file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is truncated, damaged, of another format, or holds Python objects.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}; expected safetensors or .npz")
    with open(path, "rb") as stream:
        head = stream.read(len(ZIP_MAGIC))
    return _read_npz(path) if head == ZIP_MAGIC else _read_safetensors(path)


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        # numpy leaves a file it opened itself open when the archive is damaged.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"cannot read {path} as .npz ({error}); expected a whole archive of plain arrays: "
            "fetch the file again or save its tensors as safetensors"
        ) from error


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"cannot read {path} as safetensors ({error}); expected a whole safetensors or .npz "
            "file: fetch the file again or save its tensors as safetensors"
        ) from error
