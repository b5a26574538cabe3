"""The folder of a saved captioner: `model.json` and the files that it names.

    model.json                    settings, digests of the files, the card
    vocabulary.json               the words, or tokenizer.json where they are pieces
    model-<digest>.safetensors    the weights
    others-<digest>.safetensors   features of other pictures, where the model has any
    doubt.json                    which words not to believe, where that was fitted

The last two are no part of the captioner: with or without them, the model's hash is the same.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from capjax.checkpoints.weights_file import read_weights
from capjax.runtime.files import replacing
from capjax.text.byte_pair import BytePair
from capjax.text.vocabulary import Vocabulary
from capjax.types import Features

FORMAT = 1
MODEL_FILE = "model.json"
TEXTS = {kind.FILE: kind for kind in (Vocabulary, BytePair)}
"""File of a model's words -> what reads it."""
DOUBT_FILE = "doubt.json"
_OTHERS = "others"
_ARRAYS = {"positions", "extra", "valid", "grid"}


def write_folder(
    folder: pathlib.Path,
    description: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    text: Vocabulary | BytePair,
    others: Features | None,
) -> None:
    """Writes a captioner's files; see `Captioner.save`.

    `model.json` names the others and replaces its predecessor last, in one rename: a reader finds
    the old model or the new one, never a mixture, whenever the writer dies.

    Args:
      folder: created where missing.
      description: what model.json says beside the files.
      arrays: the weights, as they are stored.
      text: the words.
      others: see `Captioner.others`.
    """
    weights, named = _file("model", safetensors.numpy.save(dict(arrays)))
    content = {**description, "text": text.FILE, "weights": named}
    files = {text.FILE: text.to_json().encode(), named["file"]: weights}
    _write(folder, content, files, others)


def add_others(folder: pathlib.Path, others: Features) -> None:
    """Puts features of other pictures beside a saved model, in place of those that are there.

    Weights and words stay as they are, and so does the model's hash.
    """
    _write(folder, read_description(folder), {}, others)


def _write(
    folder: pathlib.Path,
    description: Mapping[str, Any],
    files: dict[str, bytes],
    others: Features | None,
) -> None:
    content = {name: value for name, value in description.items() if name != _OTHERS}
    if others is not None:
        payload, content[_OTHERS] = _file(_OTHERS, _packed(others))
        files[content[_OTHERS]["file"]] = payload
    card = content.pop("card")  # last: it is long
    files[MODEL_FILE] = (json.dumps({**content, "card": card}, indent=2) + "\n").encode()
    for name, payload in files.items():
        with replacing(folder / name, durable=True) as stream:
            stream.write(payload)
    there = [*folder.glob("model-*.safetensors"), *folder.glob(f"{_OTHERS}-*.safetensors")]
    named = {content["weights"]["file"], content.get(_OTHERS, {}).get("file")}
    words = content.get("text", Vocabulary.FILE)
    for stale in [*there, *(folder / name for name in TEXTS)]:
        if stale.name not in named and stale.name != words:
            stale.unlink(missing_ok=True)


def read_description(folder: pathlib.Path) -> dict[str, Any]:
    """What model.json says.

    Raises:
      FileNotFoundError: `folder` holds no model.
      ValueError: it is of another format.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {MODEL_FILE}; expected a folder written by Captioner.save or a "
            "training workdir with at least one finished evaluation"
        )
    description: dict[str, Any] = json.loads(path.read_text())
    if description.get("format") != FORMAT:
        raise ValueError(f"{path} has format {description.get('format')!r}; this is {FORMAT}")
    return description


def read_others(folder: pathlib.Path, description: Mapping[str, Any]) -> Features | None:
    """Features of other pictures, where model.json names any.

    Raises:
      ValueError: the file is missing, damaged, or holds other arrays.
    """
    entry = description.get(_OTHERS)
    if entry is None:
        return None
    arrays = read_weights(folder / entry["file"], entry)
    if set(arrays) != _ARRAYS:
        raise ValueError(
            f"{folder / entry['file']} holds {', '.join(sorted(arrays)) or 'nothing'}; expected "
            f"{', '.join(sorted(_ARRAYS))}: make it anew (python -m capjax.explainers.language)"
        )
    rows, columns = (int(side) for side in arrays["grid"])
    return Features(
        positions=jnp.asarray(arrays["positions"], jnp.float32),
        extra=jnp.asarray(arrays["extra"], jnp.float32),
        valid=jnp.asarray(arrays["valid"]),
        grid=(rows, columns),
    )


def read_doubt(folder: pathlib.Path) -> dict[str, Any] | None:
    """What doubt.json says, where there is one.

    Raises:
      ValueError: it is no JSON object.
    """
    path = folder / DOUBT_FILE
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); fit it again, or delete it") from error
    if not isinstance(body, dict):
        raise ValueError(f"{path} holds no JSON object; fit it again, or delete it")
    return body


def _packed(others: Features) -> bytes:
    """Features in half precision, which halves the file and rounds at the fourth digit."""
    return safetensors.numpy.save(
        {
            "positions": np.asarray(others.positions).astype(np.float16, order="C"),
            "extra": np.asarray(others.extra).astype(np.float16, order="C"),
            "valid": np.array(others.valid, order="C"),
            "grid": np.array(others.grid, np.int32),
        }
    )


def _file(kind: str, payload: bytes) -> tuple[bytes, dict[str, str]]:
    sha256 = hashlib.sha256(payload).hexdigest()
    return payload, {"file": f"{kind}-{sha256[:12]}.safetensors", "sha256": sha256}
