"""Keras' HDF5 files, of every release: weights alone, whole models, and the `.keras` archive."""

import io
import math
import pathlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

ARCHIVED = "model.weights.h5"
"""The weights inside a `.keras` archive."""

# Keras 3 numbers a layer's variables; these are their names, by number of variables. Of three, a
# batch norm has no gamma.
VARIABLES: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("dense", "conv1d", "conv2d", "depthwise_conv2d"), {1: ("kernel",), 2: ("kernel", "bias")}
    ),
    "batch_normalization": {
        4: ("gamma", "beta", "moving_mean", "moving_variance"),
        3: ("beta", "moving_mean", "moving_variance"),
    },
    "layer_normalization": {2: ("gamma", "beta")},
    "embedding": {1: ("embeddings",)},
    "cell": {3: ("kernel", "recurrent_kernel", "bias")},
    "normalization": {3: ("mean", "variance", "count")},
}


def read_keras(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every weight of a Keras file, named "layer/kernel", in the order of the layers.

    The name is the one that the file gives the weight, without the ":0" of TensorFlow. Keras 3's
    `.weights.h5` numbers variables: they get the names that older files have, under the layer's
    name, or under its class and number where the file knows no name. Variables of layers of
    another kind than `VARIABLES` are "layer/vars/0" and so on.

    Raises:
      ImportError: h5py is not installed.
      ValueError: the file is damaged, of another format, incomplete, or refers to other files.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read(io.BytesIO(archive.read(ARCHIVED)))
        with open(path, "rb") as stream:
            return _read(stream)
    except (ValueError, KeyError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"cannot read {path} as a Keras file ({error}); fetch it again, or save the model's "
            "weights with model.save_weights('model.weights.h5')"
        ) from error


def _read(stream: BinaryIO) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError('Keras files need h5py: pip install "capjax[keras]"') from error
    with h5py.File(stream, "r") as file:
        group = file["model_weights"] if "model_weights" in file else file
        named = _by_layer(group) if _has_names(group, "layer_names") else _numbered(group)
        result: dict[str, np.ndarray] = {}
        for name, dataset in named:
            if name in result:
                raise ValueError(f"two weights have the name {name}")
            result[name] = _numbers(name, dataset)
    if not result:
        raise ValueError("it holds no weights")
    return result


def _by_layer(group: Any) -> Iterator[tuple[str, Any]]:
    """Until Keras 2, and for whole models: lists of layers and of each layer's weights."""
    for layer in _names(group, "layer_names"):
        for name in _names(_member(group, layer), "weight_names"):
            plain = re.sub(r":\d+$", "", name)
            yield plain if "/" in plain else f"{layer}/{plain}", _member(group[layer], name)


def _numbered(group: Any, name: str = "", folder: str = "") -> Iterator[tuple[str, Any]]:
    """Keras 3: `layers/<class>_<n>/vars/<i>`, the layer's name an attribute of `vars`."""
    held = _member(group, "vars") if "vars" in group else {}
    names = _variable_names(re.sub(r"_\d+$", "", folder), len(held))
    for number, own in enumerate(names):
        yield f"{name}/{own}".lstrip("/"), _member(held, str(number))
    for child in sorted(group, key=_natural):
        if child in ("vars", "optimizer") or child.startswith("seed_generator"):
            continue
        inner = _member(group, child)
        if not hasattr(inner, "keys"):
            raise ValueError(f"it holds a dataset {inner.name} outside of any layer")
        if child in ("layers", "_layer_checkpoint_dependencies"):
            yield from _numbered(inner, name)
        else:
            layer = inner["vars"].attrs.get("name", child) if "vars" in inner else child
            yield from _numbered(inner, f"{name}/{layer}".lstrip("/"), child)


def _variable_names(kind: str, count: int) -> tuple[str, ...]:
    numbered = tuple(f"vars/{number}" for number in range(count))
    return VARIABLES.get(kind, {}).get(count, numbered)


def _natural(name: str) -> tuple[str, int]:
    plain, _, number = name.rpartition("_")
    return (plain, int(number)) if plain and number.isdecimal() else (name, 0)


def _has_names(group: Any, attribute: str) -> bool:
    return attribute in group.attrs or f"{attribute}0" in group.attrs


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras cuts into numbered attributes where HDF5's limit asks for it."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
        if not parts:
            raise ValueError(f"the group {group.name} has no {attribute}")
    listed = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in listed]


def _member(group: Any, name: str) -> Any:
    """What a group holds itself; HDF5 can also refer to other files of this machine."""
    import h5py

    step: Any = group
    for part in name.split("/"):
        if not isinstance(step.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is not held by the file itself")
        step = step[part]
    return step


def _numbers(name: str, dataset: Any) -> np.ndarray:
    """The array, written completely: HDF5 reads what was never written as zeros."""
    if not hasattr(dataset, "dtype"):
        raise ValueError(f"{name} is not an array")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} is not held by the file itself")
    if dataset.chunks is None:
        whole = dataset.size == 0 or dataset.id.get_storage_size() >= dataset.nbytes
    else:
        sides = zip(dataset.shape, dataset.chunks, strict=True)
        expected = math.prod(-(-side // chunk) for side, chunk in sides)
        whole = dataset.id.get_num_chunks() == expected
    if not whole:
        raise ValueError(f"{name} was never written completely")
    array = np.asarray(dataset[()])
    if dataset.attrs.get("dtype") == "bfloat16":  # two bytes that HDF5 has no type for
        array = array.view(ml_dtypes.bfloat16)
    return array
