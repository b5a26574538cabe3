"""Golden outputs of torchvision's ResNets with seeded weights, for tests/encoders/test_resnet.py.

    python tests/golden/resnet_torchvision.py      # writes resnet_torchvision.{npz,json}

The weights are never stored: `seeded_state` makes the same ones on both sides from a key's name.
Made with torch 2.13, torchvision 0.29.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "resnet_torchvision.npz"
LAYOUTS = FOLDER / "resnet_torchvision.json"
DEPTHS = (18, 34, 50, 101, 152)
# Numeric parity: one of each block kind. Odd sides show any slip in padding or stride.
NUMERIC = (18, 50)
IMAGE = (2, 65, 97, 3)
CHANNELS = 8  # stored of each map, evenly spaced


def seeded_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A state dict whose every array depends on its name and shape alone.

    Batch-norm statistics, scales and biases are all far from their initial values.
    """
    state = {}
    for name, shape in shapes.items():
        random = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by NumPy
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "num_batches_tracked":
            value = np.zeros(shape)
        elif leaf == "running_var":
            value = random.uniform(0.5, 1.5, shape)
        elif leaf == "running_mean" or leaf == "bias":
            value = 0.1 * random.standard_normal(shape)
        elif len(shape) == 1:
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        state[name] = value.astype(np.int64 if leaf == "num_batches_tracked" else np.float32)
    return state


def seeded_images() -> np.ndarray:
    """Normalised images, NHWC."""
    return np.random.RandomState(7).standard_normal(IMAGE).astype(np.float32)


def sampled(maps: np.ndarray) -> np.ndarray:
    """Every position of evenly spaced channels of NHWC maps."""
    return maps[..., :: maps.shape[-1] // CHANNELS]


def import_torchvision():
    """torchvision's models where its compiled operators are missing (a build without CPU wheels).

    Registering fake kernels for operators that do not exist fails at import; the models of the
    classification family use none of them.
    """
    import torch

    original = torch.library.register_fake

    def register(name, *args, **kwargs):
        return (
            (lambda function: function)
            if str(name).startswith("torchvision::")
            else original(name, *args, **kwargs)
        )

    torch.library.register_fake = register
    try:
        import torchvision
    finally:
        torch.library.register_fake = original
    return torchvision


def import_timm():
    """timm, which imports torchvision: see `import_torchvision`."""
    import_torchvision()
    import timm

    return timm


def new_model(library: str, depth: int):
    """torchvision's or timm's model with its own first weights."""
    if library == "timm":
        return import_timm().create_model(f"resnet{depth}", pretrained=False)
    return getattr(import_torchvision().models, f"resnet{depth}")(weights=None)


def torch_shapes(model) -> dict[str, tuple[int, ...]]:
    """Shape of every array of a state dict."""
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def torch_stages(
    model, state: Mapping[str, np.ndarray], images: np.ndarray
) -> dict[str, np.ndarray]:
    """Maps after "stage1" .. "stage4", NHWC, of normalised images, by either library's model."""
    import torch

    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    model.eval()
    seen = {}
    for stage in (1, 2, 3, 4):
        getattr(model, f"layer{stage}").register_forward_hook(
            lambda _, __, y, name=f"stage{stage}": seen.update({name: y})
        )
    with torch.no_grad():
        model(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    return {name: y.numpy().transpose(0, 2, 3, 1) for name, y in seen.items()}


def main() -> None:
    """Writes key layouts of all depths, and maps of every stage of two of them."""
    import torch

    layouts, outputs = {}, {}
    for depth in DEPTHS:
        model = new_model("torchvision", depth)
        shapes = torch_shapes(model)
        layouts[str(depth)] = {name: list(shape) for name, shape in shapes.items()}
        if depth not in NUMERIC:
            continue
        maps = torch_stages(model, seeded_state(shapes), seeded_images())
        outputs |= {f"resnet{depth}_{name}": sampled(y) for name, y in maps.items()}
        last = torch.from_numpy(maps["stage4"].transpose(0, 3, 1, 2))
        pooled = torch.nn.AdaptiveAvgPool2d((14, 14))(last)
        outputs[f"resnet{depth}_pool14"] = sampled(pooled.numpy().transpose(0, 2, 3, 1))[:1]
    np.savez_compressed(OUTPUTS, **outputs)
    LAYOUTS.write_text(json.dumps(layouts, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
