"""VGG: torchvision's and timm's numbered layers, Keras' named ones; BGR weights turned around."""

from collections.abc import Mapping, Sequence

import numpy as np

from capjax.encoders.vgg import VGG, convolutions
from capjax.weights.convert import Rule, Table

# Keras 1 wrote `block1_conv1_W_1:0`, later releases `block1_conv1/kernel:0`.
_KERAS_LAYER = r"(?:.*/)?block(\d)_conv(\d)(?:/.*)?"


def vgg_layouts(encoder: VGG) -> Sequence[Table]:
    """The layouts that hold weights of the encoder's normalisation; classifiers are ignored.

    Files in torchvision's layout with weights from Caffe exist too; which they are only their
    publisher says. Keras' are always Caffe's.
    """
    if encoder.weights_of == "caffe":
        return (_numbered(encoder, bgr=True), _keras(encoder))
    return (_numbered(encoder, bgr=False),)


def _numbered(encoder: VGG, *, bgr: bool) -> Table:
    """`features.<i>`: a convolution and its ReLU count one each, as does every pool."""
    kept = convolutions(encoder.depth, encoder.output)
    rules: list[Rule] = []
    later: list[str] = []
    index, stage = 0, "1"
    for name in convolutions(encoder.depth):
        if name[4] != stage:
            index, stage = index + 1, name[4]
        if name in kept:
            rules += [
                Rule(rf"features\.{index}\.weight", f"params/{name}/kernel", "OIHW"),
                Rule(rf"features\.{index}\.bias", f"params/{name}/bias"),
            ]
        else:
            later.append(rf"features\.{index}\.(weight|bias)")
        index += 2
    return Table(
        rules,
        ignored=(r"classifier\..*", r"(pre_logits|head)\..*", *later),
        layout="torchvision",
        prepare=_turn_numbered if bgr else _refuse_keras,
    )


def _keras(encoder: VGG) -> Table:
    kept = convolutions(encoder.depth, encoder.output)
    later = [name for name in convolutions(encoder.depth) if name not in kept]
    layers = [name.replace("conv", "block").replace("_", "_conv") for name in later]
    return Table(
        (
            Rule(rf"{_KERAS_LAYER}[/_](?:kernel|W)(?:_\d+)?(?::0)?", r"params/conv\1_\2/kernel"),
            Rule(rf"{_KERAS_LAYER}[/_](?:bias|b)(?:_\d+)?(?::0)?", r"params/conv\1_\2/bias"),
        ),
        ignored=(
            r"(.*/)?(fc1|fc2|predictions)[/_].*",
            *(rf"(.*/)?{layer}[/_].*" for layer in layers),
        ),
        layout="keras",
        prepare=_turn_keras,
    )


def _turn_numbered(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """BGR inputs of the first kernel [O I H W] become RGB."""
    return {k: v[:, ::-1] if k == "features.0.weight" else v for k, v in arrays.items()}


def _turn_keras(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """BGR inputs of the first kernel [H W I O] become RGB."""
    return {
        key: array[:, :, ::-1] if "block1_conv1" in key and array.ndim == 4 else array
        for key, array in arrays.items()
    }


def _refuse_keras(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    if any("block1_conv1" in key for key in arrays):
        raise ValueError(
            "these are Keras' weights of VGG, trained on images less their mean; expected "
            "torchvision's: set the encoder's weights_of to 'caffe'"
        )
    return arrays
