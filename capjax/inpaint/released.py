"""Reads a user's own copy of the released gated inpainter, or of its usual port to PyTorch.

The weights (Places2 and CelebA-HQ; folders `snap-0.*` of TensorFlow) are licensed CC BY-NC 4.0 by
their authors: not for commercial use, and no part of capjax. Whoever has them makes an `.npz` of
the variables, once, wherever TensorFlow is installed:

    import numpy, tensorflow
    kept = tensorflow.train.load_checkpoint("FOLDER")
    numpy.savez("released.npz", **{n: kept.get_tensor(n) for n in kept.get_variable_to_shape_map()})

and `load_inpainter("released.npz")` reads it. The port's file is read as it is, by
`load_inpainter("states.pth#G")`. Nothing in a file is ever executed.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from capjax.inpaint.discriminator import Discriminator
from capjax.inpaint.generator import Generator, MaskResize
from capjax.inpaint.inpainter import Inpainter
from capjax.weights.convert import Arrays, Table, choose_layout
from capjax.weights.encoders import fit_weights, weight_file
from capjax.weights.readers import read_weights
from capjax.weights.tables.inpainter import (
    OPTIMISERS,
    TENSORFLOW,
    discriminator_layouts,
    generator_layouts,
)

LICENCE = "CC BY-NC 4.0"
SIZE = (256, 256)
"""Of the pictures that the released weights were trained on."""

SMALLEST = 8
"""Side of the pictures with which shapes are traced."""

ChannelOrder = Literal["bgr", "rgb"]

# Layer -> which of its channels are a picture's: of its input, or all of its output.
READS_PICTURE = ("conv1", "xconv1", "pmconv1")
DRAWS_PICTURE = ("conv17", "allconv17")


class _Read(NamedTuple):
    """A file's arrays and what kind of file it is.

    Attributes:
      arrays: under the keys that the layout's rules expect.
      layout: `TENSORFLOW` or another.
      width: channels that the first convolution computes.
      optimisers: how many of the arrays are an optimiser's, and not used.
    """

    arrays: Arrays
    layout: str
    width: int
    optimisers: int


def load_released(
    path: str | os.PathLike[str],
    *,
    channel_order: ChannelOrder = "bgr",
    fuse: bool | None = None,
    mask_resize: MaskResize | None = None,
) -> Inpainter:
    """The inpainter of a released checkpoint; every variable of the generator is used once.

    Logs the licence as a warning. The optimisers' variables are skipped by name and counted in the
    card.

    Args:
      path: an `.npz` of TensorFlow's variables, or a state dict of the port ("FILE.pth#G").
      channel_order: of the pictures that the weights see. Those that were released see BGR; they
        are turned around, for pictures are RGB here. The port's file holds the same arrays under
        other names, by its own account; if colours come out exchanged, choose "rgb".
      fuse, mask_resize: see `Generator`; if not given, as the program computes that the file is of:
        True and "two_step" for TensorFlow, False and "one_step" for the port.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, or its arrays are not those of this net; the text lists the
        culprits.
    """
    _check_order(channel_order)
    origin = os.fspath(path)
    found = _read(path, generator_layouts(), origin)
    released = found.layout == TENSORFLOW
    net = Generator(
        cnum=found.width,
        fuse=released if fuse is None else fuse,
        mask_resize=mask_resize or ("two_step" if released else "one_step"),
    )
    variables = _fit(net, found, generator_layouts(), origin)
    if channel_order == "bgr":
        params = dict(variables["params"])
        for name in READS_PICTURE:
            params[name] = {**params[name], "kernel": _reads_rgb(params[name]["kernel"])}
        for name in DRAWS_PICTURE:
            params[name] = {key: leaf[..., ::-1] for key, leaf in params[name].items()}
        variables = {"params": params}
    card = {
        "source": origin,
        "layout": found.layout,
        "licence": LICENCE,
        "optimiser_variables_skipped": found.optimisers,
    }
    return Inpainter(net, jax.tree.map(jnp.asarray, variables), SIZE, card)


def load_released_discriminator(
    path: str | os.PathLike[str], *, channel_order: ChannelOrder = "bgr"
) -> tuple[Discriminator, Mapping[str, Any]]:
    """The discriminator of a released checkpoint and its variables, to go on training.

    Args:
      path: as in `load_released`; of the port "FILE.pth#D".
      channel_order: as in `load_released`.

    Raises:
      FileNotFoundError, ValueError: as in `load_released`.
    """
    _check_order(channel_order)
    origin = os.fspath(path)
    found = _read(path, discriminator_layouts(), origin)
    net = Discriminator(width=found.width)
    variables = _fit(net, found, discriminator_layouts(), origin)
    if channel_order == "bgr":
        first = variables["params"]["conv1"]
        variables["params"]["conv1"] = {**first, "kernel": _reads_rgb(first["kernel"])}
    return net, jax.tree.map(jnp.asarray, variables)


def _check_order(channel_order: str) -> None:
    if channel_order not in ("bgr", "rgb"):
        raise ValueError(f"got channel_order={channel_order!r}; choose bgr or rgb")


def _read(path: str | os.PathLike[str], layouts: Sequence[Table], origin: str) -> _Read:
    arrays = read_weights(weight_file(path))
    chosen, table = choose_layout(arrays, layouts, origin=origin)
    bias = re.compile(r"(?:.*/|)conv1(?:/|\.conv\.|\.conv_sn\.)bias")
    used = [key for key in chosen if not any(re.fullmatch(one, key) for one in table.ignored)]
    widths = [chosen[key].size for key in used if bias.fullmatch(key)]
    if len(widths) != 1:
        raise ValueError(
            f"{origin} has {len(widths)} biases of a first convolution, conv1; expected one: it is "
            "not a whole checkpoint of the gated inpainter"
        )
    logging.getLogger(__name__).warning(
        "%s: weights of the released gated inpainter are licensed %s by their authors: not for "
        "commercial use",
        *(origin, LICENCE),
    )
    skipped = sum(any(re.fullmatch(one, key) for one in OPTIMISERS) for key in arrays)
    return _Read(chosen, table.layout, widths[0], skipped)


def _fit(net: nn.Module, found: _Read, layouts: Sequence[Table], origin: str) -> dict[str, Any]:
    pictures, masks = (jnp.zeros((1, SMALLEST, SMALLEST, depth)) for depth in (3, 1))
    return fit_weights(net, found.arrays, pictures, masks, origin=origin, layouts=layouts)


def _reads_rgb(kernel: np.ndarray) -> np.ndarray:
    """A kernel [k k C D] whose first three input channels are turned around."""
    return np.concatenate([kernel[:, :, 2::-1], kernel[:, :, 3:]], axis=2)
