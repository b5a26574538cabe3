"""Files of `torch.save`: the zip of PyTorch 1.6 and later, and the stream of earlier ones."""

import io
import logging
import mmap
import pathlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from capjax.weights.formats.state_dicts import contents, state_dict, strange_names
from capjax.weights.formats.torch_pickle import RefusedError, Storage, Strange, Tensor, load

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_HEAD = b"\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")
LEGACY_PROTOCOL = 1001
REMEDY = (
    "save the state dict alone, torch.save(model.state_dict(), path), or convert it to safetensors "
    "where you trust the file"
)

_Fetch = Callable[[Storage], np.ndarray]


def read_torch_zip(path: pathlib.Path, part: str = "") -> dict[str, np.ndarray]:
    """Every tensor of the state dict in a file that `torch.save` wrote as a zip.

    Args:
      path: of the file; what else a trainer put beside the state dict is left unread, and logged
        where it is no plain value.
      part: which state dict, where there are several; see `state_dict`.

    Raises:
      ValueError: it is damaged, or holds no state dict, or several.
    """

    def read() -> dict[str, np.ndarray]:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ValueError(f"it holds {len(pickles)} pickles of data; expected one")
            root = pickles[0].removesuffix("data.pkl")
            if f"{root}constants.pkl" in archive.namelist():
                raise RefusedError("it is a TorchScript program")
            swap = _is_big_endian(archive, f"{root}byteorder")
            held = load(io.BytesIO(archive.read(_stored(archive, pickles[0]))))
            tensors = _chosen(held, part, path)
            storages: dict[str, bytes] = {}

            def fetch(storage: Storage) -> np.ndarray:
                name = f"{root}data/{storage.key}"
                if name not in storages:
                    storages[name] = archive.read(_stored(archive, name))
                return _as_numbers(storages[name], storage, swap)

            return _arrays(tensors, fetch, path.stat().st_size)

    return _explained(path, read)


def read_torch_legacy(path: pathlib.Path, part: str = "") -> dict[str, np.ndarray]:
    """Every tensor of the state dict in a file that `torch.save` wrote before PyTorch 1.6.

    Args and errors are those of `read_torch_zip`.
    """

    def read() -> dict[str, np.ndarray]:
        with open(path, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        stream: Any = content
        head = magic, protocol, system = load(stream), load(stream), load(stream)
        for value in head:
            if isinstance(value, Strange):
                raise RefusedError(f"the pickle asks for {value.name}, which no tensor needs")
        if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
            raise ValueError(f"it is of protocol {protocol!r:.40}; expected {LEGACY_PROTOCOL}")
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("it was written by a big-endian machine")
        held = load(stream)
        tensors = _chosen(held, part, path)
        keys = load(stream)
        places = _legacy_storages(content, keys, _storages_of(held))

        def fetch(storage: Storage) -> np.ndarray:
            start, elements = places[storage.key]
            if elements != storage.elements:
                raise ValueError(f"storage {storage.key} has {elements} elements, not as declared")
            return np.frombuffer(content, storage.dtype, elements, start)

        return _arrays(tensors, fetch, path.stat().st_size)

    return _explained(path, read)


def _legacy_storages(
    content: mmap.mmap, keys: Any, types: Mapping[str, Storage]
) -> dict[str, tuple[int, int]]:
    """(First byte, elements) of each storage, which follow the pickles in the order of `keys`."""
    places = {}
    position = content.tell()
    for key in keys:
        if key not in types:
            raise ValueError(f"storage {key!r:.40} belongs to no tensor, so its type is unknown")
        (elements,) = struct.unpack_from("<q", content, position)
        position += 8
        places[key] = (position, elements)
        position += elements * types[key].dtype.itemsize
        if elements < 0 or position > len(content):
            raise ValueError(f"it ends inside storage {key}")
    if position != len(content):
        raise ValueError(f"{len(content) - position} bytes follow the last storage")
    return places


def _storages_of(held: Any) -> dict[str, Storage]:
    """Every storage that the pickled containers refer to, optimizer states included."""
    found: dict[str, Storage] = {}
    for value in contents(held):
        storage = value.storage if isinstance(value, Tensor) else value
        if isinstance(storage, Storage) and found.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {storage.key} is declared in two ways")
    return found


def _chosen(held: Any, part: str, path: pathlib.Path) -> Mapping[str, Tensor]:
    tensors = state_dict(held, part)
    strange = strange_names(held)
    if strange:
        logging.getLogger(__name__).warning(
            "%s: beside the weights it asks for %s; nothing of these was made or run", path, strange
        )
    return tensors


def _arrays(tensors: Mapping[str, Tensor], fetch: _Fetch, limit: int) -> dict[str, np.ndarray]:
    storages: dict[tuple[str, str], np.ndarray] = {}
    result = {}
    for name, tensor in tensors.items():
        key = (tensor.storage.key, tensor.storage.dtype.name)
        if key not in storages:
            storages[key] = fetch(tensor.storage)
        try:
            result[name] = _view(storages[key], tensor, limit)
        except ValueError as error:
            raise ValueError(f"tensor {name}: {error}") from error
    return result


def _view(numbers: np.ndarray, tensor: Tensor, limit: int) -> np.ndarray:
    """The tensor in its storage, without a copy.

    Raises:
      ValueError: it reaches beyond its storage, or is larger than the whole file (an expanded
        tensor repeats numbers, and a small file could name an array that fills the memory).
    """
    shape, strides, size = tensor.shape, tensor.strides, numbers.itemsize
    if len(shape) > 32:
        raise ValueError(f"it has {len(shape)} axes")
    if 0 in shape:
        return np.zeros(shape, numbers.dtype)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= len(numbers):
        raise ValueError(f"it reads element {last} of a storage of {len(numbers)}")
    elements = 1
    for n in shape:
        elements *= n
    if elements * size > limit:
        raise ValueError(f"its shape {shape} is larger than the file")
    steps = tuple(step * size for step in strides)
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], shape, steps, writeable=False)


def _as_numbers(content: bytes, storage: Storage, swap: bool) -> np.ndarray:
    if len(content) != storage.elements * storage.dtype.itemsize:
        raise ValueError(
            f"storage {storage.key} has {len(content)} bytes; expected {storage.elements} elements "
            f"of {storage.dtype}"
        )
    if swap and storage.dtype.itemsize > 1:
        unsigned = np.frombuffer(content, f"u{storage.dtype.itemsize}").byteswap()
        return unsigned.view(storage.dtype)
    return np.frombuffer(content, storage.dtype)


def _is_big_endian(archive: zipfile.ZipFile, name: str) -> bool:
    if name not in archive.namelist():
        return False  # PyTorch before 2.1 wrote none
    order = archive.read(_stored(archive, name))
    if order not in (b"little", b"big"):
        raise ValueError(f"its byte order is {order[:20]!r}; expected little or big")
    return order == b"big"


def _stored(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """An entry that is stored as it is: torch.save compresses nothing, a zip bomb does."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise RefusedError(f"its entry {name} is compressed, which torch.save never does")
    return entry


def _explained(path: pathlib.Path, read: Callable[[], dict[str, np.ndarray]]) -> dict[str, Any]:
    try:
        return read()
    except RefusedError as error:
        raise ValueError(f"refused to read {path}: {error}; nothing was run. {REMEDY}") from error
    except (
        *(ValueError, KeyError, TypeError, OSError, EOFError, struct.error),
        *(zipfile.BadZipFile, NotImplementedError, RuntimeError),
    ) as error:
        raise ValueError(
            f"cannot read {path} as a PyTorch file ({error}); if it is damaged, fetch it again, "
            f"otherwise {REMEDY}"
        ) from error
