"""Golden outputs of EfficientNetV2-S with seeded weights, for tests/encoders.

    KERAS_BACKEND=jax python -m tests.golden.efficientnet_outputs      # writes the .npz and .json

torchvision's, timm's and Keras' own models, Keras on its JAX backend. Weights are never stored:
both sides make them from a key's name. Made with torch 2.15, torchvision 0.29, timm 1.0, Keras
3.15.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from capjax.types import Preprocessing
from tests.golden.resnet_torchvision import import_timm, import_torchvision, sampled, seeded_state

OUTPUTS = Path(__file__).with_name("efficientnet_outputs.npz")
LAYOUTS = Path(__file__).with_name("efficientnet_outputs.json")
# Rows are even at every strided convolution, where the two kinds of padding differ; columns are
# even at the first one and odd at the others.
IMAGE = (2, 64, 90, 3)
# The deeper, the smaller: with 0.75 L is chaotic. timm's own maps of stage 7 then change by 0.1 of
# their largest value when the pixels change by a millionth of theirs.
GAINS = {"s": 0.75, "m": 0.7, "l": 0.65}


def seeded_pixels() -> np.ndarray:
    """RGB images on the 0..255 scale, NHWC."""
    return np.random.RandomState(12).randint(0, 256, IMAGE).astype(np.float32)


def normalised(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """What an encoder sees of pixels."""
    return (pixels - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)


def read_layout(library: str) -> dict[str, tuple[int, ...]]:
    """Shape of every array of S, by the library's name."""
    layout = json.loads(LAYOUTS.read_text())[library]
    return {name: tuple(shape) for name, shape in layout.items()}


def state_of(
    shapes: Mapping[str, tuple[int, ...]], gain: float = GAINS["s"]
) -> dict[str, np.ndarray]:
    """An array for every name, of torch ("….running_var") or Keras ("…/gamma").

    Zeros, without memory, for the classifier. `gain` scales down what norms give: with 1 the maps
    grow a thousandfold from stage to stage and every sigmoid is 0 or 1.
    """
    unused = {name for name in shapes if name.startswith(("classifier", "predictions"))}
    state = seeded_state({n: shapes[n] for n in shapes if "." in n and n not in unused})
    state |= {n: np.broadcast_to(np.float32(0), shapes[n]) for n in unused}
    state |= {n: _keras(n, shapes[n]) for n in shapes if n not in state}
    for name, value in state.items():
        if name.endswith("gamma") or (name.endswith(".weight") and value.ndim == 1):
            state[name] = np.float32(gain) * value
    return state


def _keras(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by NumPy
    leaf = name.rsplit("/", 1)[-1]
    if leaf == "kernel":
        # Keras' depthwise kernel is [k, k, C, 1].
        inputs = np.prod(shape[:2]) * (1 if "dwconv" in name else shape[2])
        value = random.standard_normal(shape) * np.sqrt(2 / inputs)
    elif leaf in ("gamma", "moving_variance"):
        value = random.uniform(0.5, 1.5, shape)
    else:
        value = 0.1 * random.standard_normal(shape)
    return value.astype(np.float32)


def torch_model(library: str, size: str):
    """torchvision's or timm's model with its own first weights."""
    if library == "timm":
        return import_timm().create_model(f"tf_efficientnetv2_{size}", pretrained=False)
    return getattr(import_torchvision().models, f"efficientnet_v2_{size}")(weights=None)


def torch_shapes(model) -> dict[str, tuple[int, ...]]:
    """Shape of every array of a state dict."""
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def torch_stages(
    library: str, model, state: Mapping[str, np.ndarray], images: np.ndarray
) -> dict[str, np.ndarray]:
    """Maps after every stage, NHWC, "top_activation" and "pooled", of normalised images."""
    import torch

    model.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in state.items()})
    model.eval()
    if library == "timm":
        modules = {f"stage{i + 1}": module for i, module in enumerate(model.blocks)}
        modules |= {"top_activation": model.bn2, "pooled": model.global_pool}
    else:
        *stages, top = list(model.features)[1:]
        modules = {f"stage{i + 1}": module for i, module in enumerate(stages)}
        modules |= {"top_activation": top, "pooled": model.avgpool}
    seen = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, __, y, name=name: seen.update({name: y}))
    with torch.no_grad():
        model(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    seen["pooled"] = seen["pooled"].reshape(*seen["pooled"].shape[:2], 1, 1)
    return {name: y.numpy().transpose(0, 2, 3, 1) for name, y in seen.items()}


def new_keras_model(size: str, **arguments):
    """keras.applications' model with its own first weights."""
    import keras

    keras.backend.clear_session()
    family = keras.applications.efficientnet_v2
    make = getattr(family, f"EfficientNetV2{size.upper()}")
    return make(weights=None, **arguments)


def keras_stages(model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Maps after every stage, NHWC, "top_activation" and "pooled" (the layer avg_pool)."""
    import keras

    blocks = sorted(
        {layer.name.split("_")[0] for layer in model.layers if layer.name.startswith("block")}
    )
    names = {}
    for block in blocks:  # the last block of a stage comes last
        of_block = [layer.name for layer in model.layers if layer.name.startswith(f"{block}_")]
        names[f"stage{block[5:-1]}"] = of_block[-1]
    names |= {"top_activation": "top_activation", "pooled": "avg_pool"}
    outputs = [model.get_layer(name).output for name in names.values()]
    maps = dict(zip(names, map(np.asarray, keras.Model(model.input, outputs)(pixels)), strict=True))
    return maps | {"pooled": maps["pooled"][:, None, None]}


def stored(name: str, maps: np.ndarray) -> np.ndarray:
    """The part of NHWC maps that is kept: some channels, and one image of the large ones."""
    return sampled(maps)[: 1 if name in ("stage1", "stage2") else None]


def main() -> None:
    """Writes the layouts of S, and its maps in each library."""
    from capjax.encoders import EfficientNetV2

    layouts, outputs = {}, {}
    for library in ("torchvision", "timm"):
        model = torch_model(library, "s")
        layouts[library] = torch_shapes(model)
        preprocessing = EfficientNetV2(size="s", weights_of=library).preprocessing()
        images = normalised(seeded_pixels(), preprocessing)
        for name, maps in torch_stages(library, model, state_of(layouts[library]), images).items():
            outputs[f"{library}_{name}"] = stored(name, maps)
    model = new_keras_model("s", input_shape=(*IMAGE[1:3], 3))
    layouts["keras"] = {weight.path: tuple(weight.shape) for weight in model.weights}
    state = state_of(layouts["keras"])
    for weight in model.weights:
        weight.assign(state[weight.path])
    for name, maps in keras_stages(model, seeded_pixels()).items():
        outputs[f"keras_{name}"] = stored(name, maps)
    LAYOUTS.write_text(json.dumps(layouts, separators=(",", ":")) + "\n")
    np.savez_compressed(OUTPUTS, **outputs)


if __name__ == "__main__":
    main()
