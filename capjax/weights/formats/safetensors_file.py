"""safetensors, alone or in shards with an index; and the index of PyTorch shards."""

import json
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import safetensors

from capjax.runtime.files import listed

Read = Callable[[pathlib.Path], Mapping[str, np.ndarray]]


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file.

    Raises:
      ValueError: it is truncated, damaged or of another format.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_metadata(path: pathlib.Path) -> dict[str, str]:
    """What a safetensors file says of itself; errors as in `read_safetensors`."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_index(path: pathlib.Path, read: Read) -> dict[str, np.ndarray]:
    """Every tensor of the shards that an index names, each from the shard it is said to be in.

    Args:
      path: `model.safetensors.index.json` or `pytorch_model.bin.index.json`, beside its shards.
      read: of one shard.

    Raises:
      FileNotFoundError: a shard is missing.
      ValueError: the index is no index, or a shard is damaged or holds other tensors.
    """
    weight_map = _weight_map(path)
    result: dict[str, np.ndarray] = {}
    for shard in dict.fromkeys(weight_map.values()):
        place = path.parent / shard
        if not place.is_file():
            raise FileNotFoundError(f"no file {place}, which {path} names; put it beside the index")
        named = {name for name, file in weight_map.items() if file == shard}
        arrays = read(place)
        if set(arrays) != named:
            differing = listed(sorted(named ^ set(arrays)))
            raise ValueError(f"{place} does not hold what {path} says; differing: {differing}")
        result.update(arrays)
    return result


def shards_of(path: pathlib.Path) -> list[str]:
    """Names of the files that an index refers to, in its order."""
    return list(dict.fromkeys(_weight_map(path).values()))


def _weight_map(path: pathlib.Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        weight_map = content["weight_map"]
        # A name with a folder could lead anywhere on this machine.
        inside = all(
            isinstance(file, str) and pathlib.PurePath(file).name == file and "\\" not in file
            for file in weight_map.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"cannot read {path} as an index of shards ({error!r}); expected JSON with a "
            "'weight_map' of tensor names to file names"
        ) from error
    if not inside or not weight_map:
        raise ValueError(f"{path} names no shards, or some outside its own folder")
    return weight_map


def _unreadable(path: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(
        f"cannot read {path} as safetensors ({error}); expected a whole weight file "
        "(safetensors, .npz, PyTorch, Keras .h5, frozen GraphDef): fetch the file again or "
        "save its tensors as safetensors"
    )
