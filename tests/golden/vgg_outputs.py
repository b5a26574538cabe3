"""Golden outputs of VGG-16 and VGG-19 with seeded weights, for tests/encoders/test_vgg.py.

    KERAS_BACKEND=jax python -m tests.golden.vgg_outputs      # writes vgg_outputs.{npz,json}

torchvision's models, and Keras' own, whose weights see BGR images less their mean. Weights are
never stored: both sides make them from a key's name. Made with torch 2.13, torchvision 0.29 and
Keras 3.15.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.golden.resnet_torchvision import import_timm, import_torchvision, seeded_state

OUTPUTS = Path(__file__).with_name("vgg_outputs.npz")
LAYOUTS = Path(__file__).with_name("vgg_outputs.json")
IMAGE = (1, 61, 45, 3)  # 30x22, 15x11, 7x5 and 3x2 cells
# Index of the ReLU after the last convolution of each stage.
RELUS = {16: (3, 8, 15, 22, 29), 19: (3, 8, 17, 26, 35)}
KERAS_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv4", "block4_conv4", "block5_conv4")


def read_layout(library: str) -> dict[str, tuple[int, ...]]:
    """Shape of every array, by the library's name, for "vgg16", "vgg19" or "keras19"."""
    layout = json.loads(LAYOUTS.read_text())[library]
    return {name: tuple(shape) for name, shape in layout.items()}


def torch_state(depth: int) -> dict[str, np.ndarray]:
    """torchvision's state dict; the classifier is zeros, without memory."""
    shapes = read_layout(f"vgg{depth}")
    seeded = seeded_state({k: shape for k, shape in shapes.items() if k.startswith("features")})
    return {k: seeded.get(k, np.broadcast_to(np.float32(0), shape)) for k, shape in shapes.items()}


def keras_state() -> dict[str, np.ndarray]:
    """Keras' weights of VGG-19 by layer and name, e.g. "block1_conv1/kernel"."""
    state = {}
    for name, shape in read_layout("keras19").items():
        random = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by NumPy
        value = random.standard_normal(shape)
        fan_in = np.prod(shape[:-1])
        state[name] = value * (np.sqrt(2 / fan_in) if len(shape) == 4 else 0.1)
    return {name: value.astype(np.float32) for name, value in state.items()}


def seeded_pixels() -> np.ndarray:
    """RGB images on the 0..255 scale, NHWC."""
    return np.random.RandomState(13).randint(0, 256, IMAGE).astype(np.float32)


def sampled(maps: np.ndarray) -> np.ndarray:
    """Every position of four evenly spaced channels of NHWC maps."""
    return maps[..., :: maps.shape[-1] // 4]


def torch_stages(
    depth: int, state: Mapping[str, np.ndarray], pixels: np.ndarray
) -> list[np.ndarray]:
    """The last map of every stage after its ReLU, NHWC, of torchvision's model."""
    import torch

    features = getattr(import_torchvision().models, f"vgg{depth}")(weights=None).features
    prefix = "features."
    features.load_state_dict(
        {
            name.removeprefix(prefix): torch.from_numpy(np.array(value))
            for name, value in state.items()
            if name.startswith(prefix)
        }
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = torch.from_numpy(pixels.transpose(0, 3, 1, 2)) / 255
    x = (x - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    stages = []
    with torch.no_grad():
        for index, layer in enumerate(features):
            x = layer(x)
            if index in RELUS[depth]:
                stages.append(x.numpy().transpose(0, 2, 3, 1).copy())
    return stages


def timm_maps(pixels: np.ndarray) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """(Seeded state dict, [the map of conv5_4]) of timm's VGG-19 and its own normalisation."""
    import torch

    model = import_timm().create_model("vgg19", pretrained=False).eval()
    wanted = model.pretrained_cfg
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    seeded = seeded_state({k: shape for k, shape in shapes.items() if k.startswith("features")})
    state = {k: seeded.get(k, np.broadcast_to(np.float32(0), shape)) for k, shape in shapes.items()}
    model.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in state.items()})
    x = (pixels / 255 - np.float32(wanted["mean"])) / np.float32(wanted["std"])
    with torch.no_grad():
        maps = model.features[: RELUS[19][-1] + 1](torch.from_numpy(x.transpose(0, 3, 1, 2)))
    return state, [maps.numpy().transpose(0, 2, 3, 1)]


def keras_model(state: Mapping[str, np.ndarray]):
    """keras.applications' VGG-19 without its classifier, holding `state`."""
    model = new_keras_model()
    for weight in model.weights:
        weight.assign(state[weight.path])
    return model


def new_keras_model():
    """keras.applications' VGG-19 without its classifier, with Keras' own first weights."""
    import keras

    return keras.applications.VGG19(weights=None, include_top=False)


def keras_stages(model, pixels: np.ndarray) -> list[np.ndarray]:
    """The last map of every stage after its ReLU, NHWC, of Keras' model on RGB pixels."""
    import keras

    outputs = [model.get_layer(name).output for name in KERAS_LAYERS]
    prepared = keras.applications.vgg19.preprocess_input(pixels.copy())
    return [np.asarray(maps) for maps in keras.Model(model.input, outputs)(prepared)]


def main() -> None:
    """Writes all layouts, and the maps of every stage."""
    models = import_torchvision().models
    layouts = {
        f"vgg{depth}": {
            name: tuple(value.shape)
            for name, value in getattr(models, f"vgg{depth}")(weights=None).state_dict().items()
        }
        for depth in RELUS
    }
    keras_shapes = {weight.path: tuple(weight.shape) for weight in new_keras_model().weights}
    layouts["keras19"] = keras_shapes
    LAYOUTS.write_text(json.dumps(layouts, separators=(",", ":")) + "\n")
    outputs = {
        f"vgg{depth}_stage{number}": sampled(maps)
        for depth in RELUS
        for number, maps in enumerate(
            torch_stages(depth, torch_state(depth), seeded_pixels()), start=1
        )
    }
    model = keras_model(keras_state())
    for number, maps in enumerate(keras_stages(model, seeded_pixels()), start=1):
        outputs[f"keras19_stage{number}"] = sampled(maps)
    np.savez_compressed(OUTPUTS, **outputs)


if __name__ == "__main__":
    main()
