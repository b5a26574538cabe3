"""Finds an inpainter by a folder, a name or a file."""

import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from capjax.captioner import SHIPPED
from capjax.checkpoints.settings import module_from_json
from capjax.checkpoints.weights_file import check_weights, read_weights
from capjax.inpaint.generator import MULTIPLE, Generator
from capjax.inpaint.inpainter import FORMAT, GENERATORS, INPAINTER_FILE, Inpainter
from capjax.inpaint.released import load_released


def shipped_inpainters() -> list[str]:
    """Names of the inpainters that come with capjax."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{INPAINTER_FILE}"))


def load_inpainter(source: str | os.PathLike[str]) -> Inpainter:
    """An inpainter, checked against its digest, names and shapes.

    Args:
      source: a folder that `Inpainter.save` or a training run wrote; a name in
        `shipped_inpainters`; or a file of released weights, as `load_released` reads by default.

    Raises:
      FileNotFoundError: there is no such folder, name or file.
      ValueError: a file is damaged or belongs to another inpainter; the text names it.
    """
    folder = pathlib.Path(source)
    if not (folder / INPAINTER_FILE).is_file() and os.fspath(source) in shipped_inpainters():
        folder = SHIPPED / os.fspath(source)
    if (folder / INPAINTER_FILE).is_file():
        return _of_folder(folder)
    if folder.is_dir() or not folder.suffix:
        names = ", ".join(shipped_inpainters()) or "none"
        raise FileNotFoundError(
            f"{os.fspath(source)} is no inpainter; expected a folder with {INPAINTER_FILE}, a file "
            f"of released weights (.npz, .pth#G), or the name of one that is shipped: {names}"
        )
    return load_released(source)


def _of_folder(folder: pathlib.Path) -> Inpainter:
    path = folder / INPAINTER_FILE
    described = json.loads(path.read_text(encoding="utf-8"))
    if described.get("format") != FORMAT:
        raise ValueError(f"{path} has format {described.get('format')!r}; this is {FORMAT}")
    net: Any = module_from_json(described["generator"], GENERATORS)
    entry = described["weights"]
    arrays = read_weights(folder / entry["file"], entry, described=INPAINTER_FILE)
    check_weights(arrays, _expected(net), folder)
    variables = traverse_util.unflatten_dict(
        {name: jnp.asarray(value, jnp.float32) for name, value in arrays.items()}, sep="/"
    )
    height, width = described["size"]
    return Inpainter(net, variables, (height, width), described["card"])


def _expected(net: Generator) -> dict[str, Any]:
    inputs = [jax.ShapeDtypeStruct((1, MULTIPLE, MULTIPLE, depth), jnp.float32) for depth in (3, 1)]
    shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)
    return traverse_util.flatten_dict(shapes, sep="/")
