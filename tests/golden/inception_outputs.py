"""Golden outputs of InceptionV3's three forms with seeded weights, for tests/encoders.

    KERAS_BACKEND=jax python -m tests.golden.inception_outputs      # writes the .npz and .json

torchvision's own model; Keras' own model on its JAX backend; and for the graph of 2015, which only
TensorFlow can run, torchvision's model with the pooling branches changed as pytorch-fid describes:
averages leave out the border, and the last block takes maxima. Weights are never stored: both sides
make them from a key's name. Made with torch 2.13, torchvision 0.29, Keras 3.15.
"""

import json
import types
import zlib
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import numpy as np

from tests.golden.resnet_torchvision import import_timm, import_torchvision, sampled, seeded_state

OUTPUTS = Path(__file__).with_name("inception_outputs.npz")
LAYOUTS = Path(__file__).with_name("inception_outputs.json")
IMAGE = (2, 107, 139, 3)  # 11x15, 5x7 and 2x3 cells
BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")


def torch_state() -> dict[str, np.ndarray]:
    """torchvision's state dict; zeros, without memory, where features do not depend on it."""
    shapes = {name: tuple(shape) for name, shape in read_layout("torchvision").items()}
    unused = {name for name in shapes if name.startswith(("AuxLogits", "fc."))}
    seeded = seeded_state({name: shapes[name] for name in shapes if name not in unused})
    return seeded | {name: np.broadcast_to(np.float32(0), shapes[name]) for name in unused}


def keras_state() -> dict[str, np.ndarray]:
    """Keras' weights by layer and name, e.g. "conv2d_3/kernel"."""
    return {name: _keras_array(name, shape) for name, shape in read_layout("keras").items()}


def _keras_array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by NumPy
    leaf = name.rsplit("/", 1)[-1]
    if leaf == "kernel":
        value = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
    elif leaf == "moving_variance":
        value = random.uniform(0.5, 1.5, shape)
    else:
        value = 0.1 * random.standard_normal(shape)
    return value.astype(np.float32)


def read_layout(library: str) -> dict[str, tuple[int, ...]]:
    """Shape of every array, by the library's name."""
    layout = json.loads(LAYOUTS.read_text())[library]
    return {name: tuple(shape) for name, shape in layout.items()}


def seeded_pixels() -> np.ndarray:
    """RGB images on the 0..255 scale, NHWC."""
    return np.random.RandomState(11).randint(0, 256, IMAGE).astype(np.float32)


def torch_stages(
    variant: str, state: Mapping[str, np.ndarray], pixels: np.ndarray
) -> dict[str, np.ndarray]:
    """Every block's map, NHWC, and "pooled", of torchvision's model or its 2015 form."""
    import torch

    inception = import_torchvision().models.inception
    model = inception.Inception3(transform_input=variant == "torchvision", init_weights=False)
    model.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in state.items()})
    model.eval()
    x = torch.from_numpy(pixels.transpose(0, 3, 1, 2))
    if variant == "torchvision":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = (x / 255 - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    else:
        x = (x - 128) * 0.0078125
        _pools_of_2015(model, inception)
    stages = {}
    for block in BLOCKS:
        getattr(model, f"Mixed_{block}").register_forward_hook(
            lambda _, __, y, name=f"Mixed_{block}": stages.update({name: y})
        )
    model.avgpool.register_forward_hook(lambda _, __, y: stages.update(pooled=y))
    with torch.no_grad():
        model(x)
    return {name: y.numpy().transpose(0, 2, 3, 1) for name, y in stages.items()}


def _pools_of_2015(model, inception) -> None:
    functional = inception.F

    def average(x, **arguments):
        return functional.avg_pool2d(x, **arguments, count_include_pad=False)

    for block in BLOCKS:
        module = getattr(model, f"Mixed_{block}")
        pools = types.SimpleNamespace(
            avg_pool2d=functional.max_pool2d if block == "7c" else average,
            max_pool2d=functional.max_pool2d,
            relu=functional.relu,
        )

        def forward(x, original=module.forward, pools=pools):
            with mock.patch.object(inception, "F", pools):
                return original(x)

        module.forward = forward


def timm_maps(pixels: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(Seeded state dict, {"Mixed_7c": map}) of timm's model, on the images that it wants."""
    import torch

    model = import_timm().create_model("inception_v3", pretrained=False, aux_logits=False).eval()
    wanted = model.pretrained_cfg
    state = seeded_state({name: tuple(v.shape) for name, v in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in state.items()})
    x = (pixels / 255 - np.float32(wanted["mean"])) / np.float32(wanted["std"])
    with torch.no_grad():
        maps = model.forward_features(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    return state, {"Mixed_7c": maps.numpy().transpose(0, 2, 3, 1)}


def keras_model(state: Mapping[str, np.ndarray]):
    """keras.applications' model without its classifier, holding `state`."""
    model = new_keras_model()
    for weight in model.weights:
        weight.assign(state[weight.path])
    return model


def new_keras_model():
    """The same with Keras' own first weights."""
    import keras

    keras.backend.clear_session()
    return keras.applications.InceptionV3(
        weights=None, include_top=False, input_shape=(None, None, 3)
    )


def keras_stages(model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Maps of mixed0 .. mixed10, NHWC."""
    import keras

    names = [f"mixed{number}" for number in range(11)]
    stages = keras.Model(model.input, [model.get_layer(name).output for name in names])
    prepared = keras.applications.inception_v3.preprocess_input(pixels.copy())
    return dict(zip(names, map(np.asarray, stages(prepared)), strict=True))


def main() -> None:
    """Writes both layouts, and the maps of each form."""
    model = import_torchvision().models.inception.Inception3(init_weights=False)
    keras_shapes = {w.path: tuple(w.shape) for w in new_keras_model().weights}
    layouts = {
        "torchvision": {name: tuple(value.shape) for name, value in model.state_dict().items()},
        "keras": keras_shapes,
    }
    LAYOUTS.write_text(json.dumps(layouts, separators=(",", ":")) + "\n")
    outputs = {}
    for variant in ("torchvision", "tf2015"):
        for name, maps in torch_stages(variant, torch_state(), seeded_pixels()).items():
            outputs[f"{variant}_{name}"] = sampled(maps)
    for name, maps in keras_stages(keras_model(keras_state()), seeded_pixels()).items():
        outputs[f"keras_{name}"] = sampled(maps)
    np.savez_compressed(OUTPUTS, **outputs)


if __name__ == "__main__":
    main()
