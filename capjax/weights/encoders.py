"""Pretrained modules: the variables of a linen module from a weight file, every key used once."""

import functools
import json
import os
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util

from capjax.captioner import captioner_folder, load_captioner
from capjax.checkpoints.settings import module_from_json, module_to_json
from capjax.encoders import ENCODERS
from capjax.weights.convert import OURS, Arrays, Table, convert
from capjax.weights.hub import WEIGHT_FILES, hub_file
from capjax.weights.hub_address import is_hub
from capjax.weights.model_files import model_files
from capjax.weights.parts import MARK, split_part
from capjax.weights.readers import read_description, read_weights
from capjax.weights.tables import TABLES

FORMAT = "capjax"
"""What a safetensors file under our own names calls itself, in its metadata's `format`."""

FOR_TRAINING = ("dtype", "freeze_norm", "momentum")
"""Settings of encoders that change nothing that trained weights compute, but for rounding."""

NO_WEIGHT_DEPENDS = (
    *FOR_TRAINING,
    *("output", "stage", "pool", "class_token", "interpolate", "keep_attention"),
)
"""Settings that may differ where only weights are shared. Whether a layer is left out shows in the
arrays."""


def load_encoder_weights(
    encoder: nn.Module, path: str | os.PathLike[str], sample_size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """The encoder's variables from a weight file, every key used exactly once.

    Args:
      encoder: any encoder.
      path: a file in a layout of its tables (`capjax.weights.tables`) or in our own, or a part of
        it, "FILE#PART"; one of the hub, "hf:owner/name[@revision][/file]"; a folder that a trainer
        wrote, with one of `WEIGHT_FILES`; or the folder of a captioner that has this very encoder,
        all settings included but those `FOR_TRAINING`.
      sample_size: (H, W) of an input, to trace the shapes; the encoder's own size if not given.

    Returns:
      {"params": …} and, where the encoder has batch norm, {"batch_stats": …}, float32.

    Raises:
      FileNotFoundError: there is no such file, or the hub cannot be reached and its cache lacks it.
      ValueError: the file is damaged or fits another architecture; the text lists the culprits.
    """
    if captioner_folder(path) is not None and os.path.isdir(path):
        return _of_captioner(encoder, path)
    described: Any = encoder
    images = jnp.zeros((1, *(sample_size or described.preprocessing().size), 3), jnp.float32)
    return load_weights(encoder, path, images)


def load_weights(
    module: nn.Module, path: str | os.PathLike[str], *example_inputs: Any
) -> dict[str, Any]:
    """The variables of any module that has tables, from a weight file.

    Args:
      module: an encoder, a decoder or a text encoder.
      path: of the file, of a folder with one of `WEIGHT_FILES`, or
        "hf:owner/name[@revision][/file]"; "#PART" after it names a part (see `read_weights`).
      *example_inputs: arguments of the module's call, to trace shapes; only their shapes matter.

    Returns:
      {"params": …, …}, float32.

    Raises:
      FileNotFoundError: there is no such file, or the hub cannot be reached and its cache lacks it.
      ValueError: the file is damaged or fits another architecture; the text lists the culprits.
    """
    origin = f"{os.fspath(path)} (for {type(module).__name__})"
    file = weight_file(path)
    _check_described(module, file, origin)
    return fit_weights(module, read_weights(file), *example_inputs, origin=origin)


def fit_weights(
    module: nn.Module,
    source: Arrays,
    *example_inputs: Any,
    origin: str,
    layouts: Sequence[Table] | None = None,
) -> dict[str, Any]:
    """The variables of a module from arrays that were read, or from some of a file's.

    Args:
      module: whose variables.
      source: arrays by the file's keys.
      *example_inputs: as in `load_weights`.
      origin: what errors should call the source.
      layouts: the kinds of files that fit, in place of the module's tables.

    Raises:
      ValueError: the arrays fit another architecture; the text lists the culprits.
    """
    if layouts is None:
        layouts = layouts_of(module)
    leaves, structure = jax.tree.flatten(example_inputs)
    inputs = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    arrays = convert(source, layouts, _shapes(module, structure, *inputs), origin=origin)
    return traverse_util.unflatten_dict(arrays, sep="/")


@functools.lru_cache(maxsize=32)
def _shapes(
    module: nn.Module, structure: Any, *leaves: jax.ShapeDtypeStruct
) -> Mapping[str, tuple[int, ...]]:
    """Shapes of a module's variables by name; tracing a large network takes a second or more.

    Args:
      module: whose.
      structure: tree of its inputs.
      *leaves: of that tree.
    """
    inputs = jax.tree.unflatten(structure, leaves)
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    named = traverse_util.flatten_dict(variables, sep="/")
    return types.MappingProxyType({name: tuple(leaf.shape) for name, leaf in named.items()})


def weight_file(name: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The file on this machine, or its "FILE#PART", that a name means.

    Raises:
      FileNotFoundError: it is not of the hub, or a folder holds none of `WEIGHT_FILES`.
    """
    given, part = split_part(name)
    file: str | os.PathLike[str] = given if part else name
    if is_hub(file):
        file = hub_file(os.fspath(file))
    elif os.path.isdir(file):
        needed = " or ".join(WEIGHT_FILES)
        file = model_files(file, first=WEIGHT_FILES, needed=needed).weights()
    return f"{os.fspath(file)}{MARK}{part}" if part else file


def layouts_of(module: nn.Module) -> Sequence[Table]:
    """The kinds of files a module reads: those of its tables, then our own names."""
    tables = TABLES[type(module)](module) if type(module) in TABLES else ()
    return (*tables, OURS)


def described_as_ours(encoder: nn.Module) -> dict[str, str]:
    """The metadata that `load_weights` checks, of a file of an encoder under our own names."""
    return {"format": FORMAT, "encoder": json.dumps(module_to_json(encoder, ENCODERS))}


def _check_described(module: nn.Module, path: str | os.PathLike[str], origin: str) -> None:
    """Checks of which encoder a file under our own names says it is: they fit every variant."""
    described = read_description(path)
    if described.get("format") != FORMAT or type(module) not in ENCODERS.values():
        return
    try:
        theirs = module_from_json(json.loads(described["encoder"]), ENCODERS)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{origin} does not say of which encoder it is ({error!r}); convert it again with "
            "python -m capjax.weights convert"
        ) from error
    differing = _differing(theirs, module, ignored=NO_WEIGHT_DEPENDS)
    if differing:
        raise ValueError(f"the weights in {origin} are of another encoder: {differing}")


def _of_captioner(encoder: nn.Module, folder: str | os.PathLike[str]) -> dict[str, Any]:
    captioner = load_captioner(folder)
    differing = _differing(captioner.net.encoder, encoder, ignored=FOR_TRAINING)
    if differing:
        raise ValueError(
            f"the captioner in {os.fspath(folder)} has another encoder; differing settings: "
            + differing
        )
    return {
        name: parts["encoder"] for name, parts in captioner.variables.items() if "encoder" in parts
    }


def _differing(theirs: nn.Module, ours: nn.Module, *, ignored: Collection[str]) -> str:
    """The settings in which two encoders differ, in words; "" where they agree."""
    there, here = (module_to_json(each, ENCODERS) for each in (theirs, ours))
    return "; ".join(
        f"{name} is {there.get(name)!r} there, {here.get(name)!r} here"
        for name in sorted({*there, *here} - {*ignored})
        if there.get(name) != here.get(name)
    )
