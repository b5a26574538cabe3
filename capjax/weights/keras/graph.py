"""Checks that the layers of a Keras captioner are ours, and joined as ours are.

A layer of a class that is not listed here is refused, since its weights do not show what it
computes: a layer that multiplies two vectors has no weights, nor has one that adds them.
"""

import json
import pathlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Json = Mapping[str, Any]

UNCHANGING = ("Dropout", "GlobalAveragePooling2D")
"""Classes that may stand between two layers: they do nothing, or what our encoder does itself."""

DECODER = ("InputLayer", "Embedding", "LSTM", "Dense", "Add", "NotEqual", *UNCHANGING)
"""Classes outside the encoder. Keras 3 computes the mask of words by a layer, NotEqual."""

ENCODER = (
    *("InputLayer", "Rescaling", "Normalization", "ZeroPadding2D", "Conv2D", "DepthwiseConv2D"),
    *("BatchNormalization", "Activation", "GlobalAveragePooling2D", "Reshape", "Multiply", "Add"),
    *("Dropout", "Functional", "Model"),
)
"""Classes of an EfficientNetV2 without its classifier."""

_ENCODER_NAME = re.compile(r"(block\d+[a-z]|stem|top)_\w+|avg_pool|(rescaling|normalization)\w*")
_BLOCK_NAME = re.compile(r"block\d+[a-z]_\w+")


class MergeLayers(NamedTuple):
    """The names of the layers that have weights, by what they do."""

    embedding: str
    lstm: str
    image: str
    merge: str
    output: str


def check_graph(path: pathlib.Path, layers: MergeLayers) -> None:
    """Refuses what our decoder or encoder would compute differently.

    A file of weights alone does not tell; then nothing is checked.

    Raises:
      ValueError: the model has another architecture; the text lists the culprits.
    """
    model = _model_config(path)
    if model is None:
        return
    own = {_name(layer): layer for layer in _decoder_layers(model)}
    problems = [
        f"there is a layer {name!r} of class {layer['class_name']}"
        for name, layer in own.items()
        if layer["class_name"] not in DECODER
    ]
    problems += [
        f"there is a layer {_name(layer)!r} of class {layer['class_name']} in the encoder"
        for layer in _encoder_layers(model)
        if layer["class_name"] not in ENCODER
    ]
    unknown = sorted(set(layers) - set(own))
    if unknown:
        problems.append(
            f"the file describes no layers {', '.join(unknown)}, though it has their weights "
            "(if it is a .keras of an older Keras, save the model as .h5)"
        )
    else:
        problems += [*_other_settings(own, layers), *_other_joints(own, layers)]
    if problems:
        raise ValueError(
            f"{path} is a captioner of another architecture: {'; '.join(problems)}. Expected: "
            "pooled descriptor, dense, relu; embedding with mask_zero, LSTM; their sum, dense, "
            "relu, dense, softmax"
        )


def _model_config(path: pathlib.Path) -> Json | None:
    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            stored: Any = archive.read("config.json")
    else:
        with h5py.File(path, "r") as file:
            stored = file.attrs.get("model_config")
    return None if stored is None else json.loads(stored)


def _settings(layer: Json) -> Json:
    found = layer.get("config")
    return found if isinstance(found, dict) else {}


def _name(layer: Json) -> str:
    return str(_settings(layer).get("name", ""))


def _children(layer: Json) -> Sequence[Json]:
    return _settings(layer).get("layers", ())


def _is_encoder(layer: Json) -> bool:
    """Whether a layer is one of the encoder's, or a model that holds some."""
    if not _children(layer):
        return _ENCODER_NAME.fullmatch(_name(layer)) is not None
    return any(_BLOCK_NAME.fullmatch(_name(inner)) for inner in _leaves(layer))


def _leaves(layer: Json) -> Iterator[Json]:
    for child in _children(layer):
        yield child
        yield from _leaves(child)


def _decoder_layers(model: Json) -> list[Json]:
    """Layers of the outermost model: those of the encoder may be a model inside, or among them."""
    return [layer for layer in _children(model) if not _is_encoder(layer)]


def _encoder_layers(model: Json) -> Iterator[Json]:
    for layer in _children(model):
        if _is_encoder(layer):
            yield layer
            yield from _leaves(layer)


def _other_settings(own: Mapping[str, Json], layers: MergeLayers) -> Iterator[str]:
    lstm = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
    lstm |= {"go_backwards": False, "return_sequences": False, "stateful": False}
    expected: dict[str, dict[str, Any]] = {
        layers.embedding: {"mask_zero": True},
        layers.lstm: lstm,
        layers.image: {"activation": "relu"},
        layers.merge: {"activation": "relu"},
        layers.output: {"activation": "softmax"},
    }
    for name, wanted in expected.items():
        stored = _settings(own[name])
        for key, value in wanted.items():
            if key in stored and stored[key] != value:
                yield f"{name} has {key}={stored[key]!r}, not {value!r}"


def _other_joints(own: Mapping[str, Json], layers: MergeLayers) -> Iterator[str]:
    """What a layer reads, where it is not what ours does."""
    sums = [name for name, layer in own.items() if layer["class_name"] == "Add"]
    if len(sums) != 1:
        yield f"it has {len(sums)} layers Add outside the encoder ({', '.join(sums)}), not one"
        return
    expected = {
        layers.lstm: [layers.embedding],
        sums[0]: sorted([layers.image, layers.lstm]),
        layers.merge: sums,
        layers.output: [layers.merge],
    }
    for name, wanted in expected.items():
        found = sorted(_source(own, before) for before in _inputs(own[name]))
        if found != wanted:
            yield f"{name} reads {', '.join(found)}, not {' and '.join(wanted)}"


def _source(own: Mapping[str, Json], name: str) -> str:
    """The layer that a layer's input is from, past those that change nothing."""
    while name in own and own[name]["class_name"] in UNCHANGING:
        name = _inputs(own[name])[0]
    return name


def _inputs(layer: Json) -> list[str]:
    """Names of the layers that a layer reads, once for each time; masks are none."""
    return list(_names(layer.get("inbound_nodes", [])))


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):  # Keras 3: a call, or a tensor
        if "keras_history" in _settings(node):
            yield node["config"]["keras_history"][0]
        else:
            yield from _names(node.get("args", []))
    elif isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str):  # Keras 2: [name, node, tensor, keywords]
            yield node[0]
        else:
            for inner in node:
                yield from _names(inner)
