"""The arrays of a saved model: whole, those that its net needs, and their digest."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy


def model_digest(settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of all that decides what a model says.

    Args:
      settings: plain JSON values.
      arrays: weights by name, taken as float32.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in sorted(arrays.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value, np.float32).data)
    return digest.hexdigest()


def read_weights(
    path: pathlib.Path, entry: Mapping[str, str], *, described: str = "model.json"
) -> dict[str, np.ndarray]:
    """Arrays by name of a model's safetensors file.

    Args:
      path: the file.
      entry: what `described` says of it, "sha256" among it.
      described: the file beside it that names it.

    Raises:
      ValueError: the file is missing, or has another digest.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing; restore it beside {described}")
    payload = path.read_bytes()
    sha256 = hashlib.sha256(payload).hexdigest()
    if sha256 != entry["sha256"]:
        raise ValueError(
            f"{path} has sha256 {sha256}, {described} expects {entry['sha256']}; the file is "
            "damaged or belongs to another model: copy the folder again"
        )
    return safetensors.numpy.load(payload)


def check_weights(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, Any], folder: pathlib.Path
) -> None:
    """Raises ValueError, with the culprits, for arrays of other names or shapes than expected."""
    missing = sorted(set(expected) - set(arrays))
    extra = sorted(set(arrays) - set(expected))
    wrong = [
        f"{name} {arrays[name].shape} (expected {expected[name].shape})"
        for name in sorted(set(arrays) & set(expected))
        if arrays[name].shape != expected[name].shape
    ]
    if missing or extra or wrong:
        raise ValueError(
            f"the weights in {folder} do not fit the net; missing: {missing or 'none'}; "
            f"left over: {extra or 'none'}; wrong shape: {wrong or 'none'}"
        )
