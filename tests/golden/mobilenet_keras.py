"""Golden maps of photographs by Keras' MobileNet, for tests/encoders/test_mobilenet.py.

    KERAS_BACKEND=jax python -m tests.golden.mobilenet_keras      # writes the .npz and .json

keras.applications' own model on the photographs of tests/golden/photographs.py at 224 x 224.
Weights and photographs are never stored: both sides make weights from a key's name. Made with
Keras 3.15.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.golden.photographs import data_folder, photographs, sparse

OUTPUTS = Path(__file__).with_name("mobilenet_keras.npz")
LAYOUT = OUTPUTS.with_suffix(".json")
NORM, EPSILON = ("gamma", "beta", "moving_mean", "moving_variance"), 1e-3
BLOCKS = ("block_1", "block_5", "block_11", "block_13")


def read_layout() -> dict[str, tuple[int, ...]]:
    """Shape of every array, by Keras' name, e.g. "conv_dw_1/kernel"."""
    return {name: tuple(shape) for name, shape in json.loads(LAYOUT.read_text()).items()}


def seeded_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Every array from its name alone; no norm is near its first values."""
    state = {}
    for name, shape in shapes.items():
        random = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by NumPy
        leaf = name.rsplit("/", 1)[-1]
        if leaf == "kernel":
            # A depthwise kernel is [3 3 C 1].
            inputs = np.prod(shape[:2]) * (1 if "_dw_" in name else shape[2])
            value = random.standard_normal(shape) * np.sqrt(2 / inputs)
        elif leaf == "gamma":
            # Some outputs reach ReLU6's 6. With 1..2 more do, and the net is chaotic: Keras' own
            # maps change by 0.003 of their largest value when pixels change by a millionth.
            value = random.uniform(0.7, 1.6, shape)
        elif leaf == "moving_variance":
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = 0.3 * random.standard_normal(shape)
        state[name] = value.astype(np.float32)
    return state


def folded(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keras' arrays under the names of `mobilenet_v1_1.0_224.npz`, norms inside the kernels.

    A norm gives gamma (k x - mean) / sqrt(variance + epsilon) + beta, so that the kernel is
    k gamma / sqrt(variance + epsilon) and the bias beta - mean gamma / sqrt(variance + epsilon).
    """
    ours = {}
    for name, kernel in state.items():
        layer, leaf = name.split("/")
        if leaf != "kernel":
            continue
        norm = {leaf: state[f"{layer}_bn/{leaf}"].astype(np.float64) for leaf in NORM}
        scale = norm["gamma"] / np.sqrt(norm["moving_variance"] + EPSILON)
        if "_dw_" in layer:
            kernel = kernel.transpose(0, 1, 3, 2)
        place = _place(layer)
        ours[f"{place}/kernel"] = (kernel * scale).astype(np.float32)
        ours[f"{place}/bias"] = (norm["beta"] - norm["moving_mean"] * scale).astype(np.float32)
    return ours


def _place(layer: str) -> str:
    """ "conv1", "conv_dw_3" or "conv_pw_3" as the npz names them."""
    if layer == "conv1":
        return "conv_0"
    _, kind, number = layer.split("_")
    return f"block_{number}/{'depthwise' if kind == 'dw' else 'pointwise'}"


def new_keras_model():
    """keras.applications' MobileNet without its classifier, with Keras' own first weights."""
    import keras

    return keras.applications.MobileNet(
        input_shape=(224, 224, 3), weights=None, include_top=False, pooling=None
    )


def keras_blocks(model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Maps after some blocks, NHWC, of normalised images."""
    import keras

    outputs = [
        model.get_layer(f"conv_pw_{name.removeprefix('block_')}_relu").output for name in BLOCKS
    ]
    maps = keras.Model(model.input, outputs)(images)
    return {name: np.asarray(y) for name, y in zip(BLOCKS, maps, strict=True)}


def seeded_keras_model():
    """(The model with seeded weights, these weights)."""
    model = new_keras_model()
    state = seeded_state({weight.path: tuple(weight.shape) for weight in model.weights})
    for weight in model.weights:
        weight.assign(state[weight.path])
    return model, state


def main() -> None:
    """Writes the layout, and some numbers of the maps of some blocks."""
    from capjax.encoders import MobileNet

    scale = MobileNet.preprocessing()
    pixels = photographs(data_folder(), scale)
    model, state = seeded_keras_model()
    maps = keras_blocks(model, (pixels - 128) / np.float32(128))
    np.savez_compressed(OUTPUTS, **{name: sparse(y) for name, y in maps.items()})
    shapes = {name: list(value.shape) for name, value in state.items()}
    LAYOUT.write_text(json.dumps(shapes, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
