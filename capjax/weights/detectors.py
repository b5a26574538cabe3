"""Pretrained detectors from folders laid out as transformers does."""

import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from capjax.detectors.detector import Detector
from capjax.detectors.detr import STRIDE, Detr
from capjax.encoders.resnet import DEPTHS
from capjax.weights.encoders import load_weights
from capjax.weights.json_settings import Settings
from capjax.weights.model_files import model_files, read_json

DETR = "hf:facebook/detr-resnet-50"
"""The detector that is taken where none is named."""

FOLDER = (
    "config.json, preprocessor_config.json and weights (model.safetensors or pytorch_model.bin)"
)
"""The files of a detector."""

FIXED: Mapping[str, Any] = {
    "activation_function": "relu",
    "position_embedding_type": "sine",
    "dilation": False,
    "num_channels": 3,
    "scale_embedding": False,
}
"""Settings of DETR that this one has no other value of."""

EQUAL = (
    ("encoder_attention_heads", "decoder_attention_heads"),
    ("encoder_ffn_dim", "decoder_ffn_dim"),
)
"""Settings of which DETR's two halves may differ, and ours do not."""

NO_CLASS = "N/A"
"""What ids that COCO does not use are called."""


def load_detector(name: str | os.PathLike[str] = DETR, *, dtype: Any = jnp.float32) -> Detector:
    """A DETR with a ResNet, of whatever depth and classes.

    Args:
      name: a folder with `FOLDER`'s files, or "hf:owner/name[@revision]".
      dtype: of activations and products.

    Raises:
      ImportError: for "hf:", huggingface_hub is not installed.
      FileNotFoundError: there is no such folder, or a file is missing; the text says which.
      ValueError: another architecture, or weights that do not fit.
    """
    files = model_files(name, first=["config.json"], needed=FOLDER)
    origin = files.origin
    config = read_json(files.need("config.json"))
    kind = config.get("model_type")
    if kind != "detr":
        raise ValueError(f"{origin} has model_type {kind!r}; expected detr")
    values = Settings(config, f"config.json of {origin}")
    for key, only in FIXED.items():
        if config.get(key, only) != only:
            raise values.wrong(key, repr(only))
    for one, other in EQUAL:
        if config.get(one) != config.get(other):
            raise values.wrong(other, f"{one}, which is {config.get(one)!r}")
    classes = _classes(values)
    net = Detr(
        classes=max(classes) + 1,
        depth=_depth(values),
        width=values.integer("d_model", 256),
        heads=values.integer("encoder_attention_heads", 8),
        mlp=values.integer("encoder_ffn_dim", 2048),
        encoder_layers=values.integer("encoder_layers", 6),
        decoder_layers=values.integer("decoder_layers", 6),
        queries=values.integer("num_queries", 100),
        dtype=dtype,
    )
    example = jnp.zeros((1, STRIDE, STRIDE, 3)), jnp.ones((1, STRIDE, STRIDE), bool)
    variables = load_weights(net, files.weights(), *example)
    named = {number: text for number, text in classes.items() if text != NO_CLASS}
    seen = Settings(
        read_json(files.need("preprocessor_config.json")), f"preprocessor_config.json of {origin}"
    )
    return Detector(net, variables, named, origin, **_prepared(seen), digests=dict(files.used))


def _classes(values: Settings) -> dict[int, str]:
    named = values.section("id2label").values
    try:
        found = {int(number): str(text) for number, text in named.items()}
    except ValueError as error:
        raise values.wrong("id2label", "names by the numbers of classes") from error
    if not found or min(found) < 0:
        raise values.wrong("id2label", "names by the numbers of classes")
    return found


def _depth(values: Settings) -> int:
    """Of the backbone: "resnet50", by timm; or of transformers' own, by its blocks."""
    inner = values.values.get("backbone_config")
    inner = inner if isinstance(inner, Mapping) else {}
    named = str(values.values.get("backbone") or inner.get("backbone"))
    plan = tuple(inner.get("depths") or ()), inner.get("layer_type") == "bottleneck"
    for depth, own in DEPTHS.items():
        if named == f"resnet{depth}" or plan == own:
            return depth
    raise values.wrong("backbone", "a ResNet, such as 'resnet50'")


def _prepared(seen: Settings) -> dict[str, Any]:
    """How photographs are prepared, as `Detector` says it."""
    size = seen.values.get("size", 800)
    if isinstance(size, Mapping):
        sides = Settings(size, f"size of {seen.where}")
        shorter, longest = sides.integer("shortest_edge"), sides.integer("longest_edge")
    else:  # files before transformers 4.25
        shorter, longest = seen.integer("size", 800), seen.integer("max_size", 1333)
    colours = {
        ours: tuple(255 * value for value in seen.colours(theirs, 0.5))
        for ours, theirs in (("mean", "image_mean"), ("std", "image_std"))
    }
    return {"shorter": shorter, "longest": longest, **colours}
