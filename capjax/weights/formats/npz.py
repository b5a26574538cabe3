"""NumPy archives."""

import pathlib
import zipfile
import zlib

import numpy as np


def read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of an `.npz` file.

    Raises:
      ValueError: it is truncated, damaged, of another format, or holds Python objects.
    """
    try:
        # numpy leaves a file it opened itself open when the archive is damaged.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"cannot read {path} as .npz ({error}); expected a whole archive of plain arrays: "
            "fetch the file again or save its tensors as safetensors"
        ) from error
