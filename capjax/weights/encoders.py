"""Pretrained encoders: which file layouts they read, as tables."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from capjax.captioner import load_captioner, module_to_json
from capjax.encoders import ENCODERS
from capjax.encoders.mobilenet import BLOCKS, MobileNet
from capjax.encoders.resnet import ResNet
from capjax.weights.convert import Rule, Table, convert
from capjax.weights.readers import read_weights


def mobilenet_table(encoder: MobileNet) -> Table:
    """`mobilenet_v1_1.0_224.npz`: our names and layouts; blocks after the output are ignored."""
    last = int(encoder.output.removeprefix("block_"))
    unused = tuple(rf"block_{number}/.*" for number in range(last + 1, len(BLOCKS) + 1))
    return Table(rules=(Rule(r"(conv_0|block_\d+)/(.*)", r"params/\1/\2"),), ignored=unused)


def resnet_table(encoder: ResNet) -> Table:
    """torchvision's and timm's names, which agree; the classifier and counters are ignored."""
    unused = tuple(rf"layer{layer}\..*" for layer in range(encoder.stage + 1, 5))
    norms = (
        ("weight", "params", "scale"),
        ("bias", "params", "bias"),
        ("running_mean", "batch_stats", "mean"),
        ("running_var", "batch_stats", "var"),
    )
    rules = [
        Rule(r"conv1\.weight", "params/conv1/kernel", "OIHW"),
        Rule(r"layer(\d)\.(\d+)\.conv(\d)\.weight", r"params/layer\1_\2/conv\3/kernel", "OIHW"),
        Rule(
            r"layer(\d)\.(\d+)\.downsample\.0\.weight",
            r"params/layer\1_\2/downsample_conv/kernel",
            "OIHW",
        ),
    ]
    for theirs, collection, ours in norms:
        rules += [
            Rule(rf"bn1\.{theirs}", f"{collection}/bn1/{ours}"),
            Rule(rf"layer(\d)\.(\d+)\.bn(\d)\.{theirs}", rf"{collection}/layer\1_\2/bn\3/{ours}"),
            Rule(
                rf"layer(\d)\.(\d+)\.downsample\.1\.{theirs}",
                rf"{collection}/layer\1_\2/downsample_bn/{ours}",
            ),
        ]
    return Table(rules, ignored=(r"fc\.(weight|bias)", r".*\.num_batches_tracked", *unused))


TABLES: Mapping[type[nn.Module], Callable[[Any], Table]] = {
    MobileNet: mobilenet_table,
    ResNet: resnet_table,
}


def load_encoder_weights(
    encoder: nn.Module, path: str | os.PathLike[str], sample_size: tuple[int, int] = (224, 224)
) -> dict[str, Any]:
    """The encoder's variables from a weight file, every key used exactly once.

    Args:
      encoder: a MobileNet or a ResNet; any encoder where a captioner is given.
      path: safetensors or `.npz` in a layout of its table, or the folder of a captioner that has
        this very encoder, all settings included.
      sample_size: (H, W) of an input, to trace the shapes.

    Returns:
      {"params": …} and, where the encoder has batch norm, {"batch_stats": …}, float32.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged or fits another architecture; the text lists the culprits.
    """
    if os.path.isdir(path):
        return _of_captioner(encoder, path)
    if type(encoder) not in TABLES:
        known = ", ".join(cls.__name__ for cls in TABLES)
        raise ValueError(
            f"no weights file fits {type(encoder).__name__}; those that have a layout: {known}; "
            "others take the folder or the name of a captioner"
        )
    images = jax.ShapeDtypeStruct((1, *sample_size, 3), jnp.float32)
    variables = jax.eval_shape(encoder.init, jax.random.key(0), images)
    expected = {
        name: tuple(leaf.shape)
        for name, leaf in traverse_util.flatten_dict(variables, sep="/").items()
    }
    source: Mapping[str, np.ndarray] = read_weights(path)
    origin = f"{os.fspath(path)} (for {type(encoder).__name__})"
    arrays = convert(source, TABLES[type(encoder)](encoder), expected, origin=origin)
    return traverse_util.unflatten_dict(arrays, sep="/")


def _of_captioner(encoder: nn.Module, folder: str | os.PathLike[str]) -> dict[str, Any]:
    captioner = load_captioner(folder)
    theirs, ours = (module_to_json(each, ENCODERS) for each in (captioner.net.encoder, encoder))
    if theirs != ours:
        differing = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
        raise ValueError(
            f"the captioner in {os.fspath(folder)} has another encoder; differing settings: "
            + "; ".join(f"{n} is {theirs.get(n)!r} there, {ours.get(n)!r} here" for n in differing)
        )
    return {
        name: parts["encoder"] for name, parts in captioner.variables.items() if "encoder" in parts
    }
