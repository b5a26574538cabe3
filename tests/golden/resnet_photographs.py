"""Golden maps of photographs by ResNets with seeded weights, for tests/encoders/test_resnet.py.

    python -m tests.golden.resnet_photographs      # writes resnet_photographs.npz

torchvision's ResNet-18 on the photographs of tests/golden/photographs.py at 224 x 224. Weights and
photographs are never stored. Made with torch 2.13, torchvision 0.29. The comparison of every depth
and of timm (slow) calls `stages_of_photographs` too.
"""

from pathlib import Path

import numpy as np

from tests.golden.photographs import data_folder, photographs, sparse
from tests.golden.resnet_torchvision import new_model, seeded_state, torch_shapes, torch_stages

OUTPUTS = Path(__file__).with_name("resnet_photographs.npz")
# As torchvision's documentation states them, on the scale 0..1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def stages_of_photographs(
    library: str, depth: int, pixels: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(Seeded state dict, maps after every stage) of torchvision's or timm's model.

    Pixels are NHWC on the scale 0..255; timm's model says itself how it wants them.
    """
    model = new_model(library, depth)
    state = seeded_state(torch_shapes(model))
    mean, std = MEAN, STD
    if library == "timm":
        mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
    images = (pixels / np.float32(255) - np.float32(mean)) / np.float32(std)
    return state, torch_stages(model, state, images)


def main() -> None:
    """Writes some numbers of the maps of every stage."""
    from capjax.encoders import ResNet

    pixels = photographs(data_folder(), ResNet.preprocessing())
    _, maps = stages_of_photographs("torchvision", 18, pixels)
    np.savez_compressed(OUTPUTS, **{name: sparse(y) for name, y in maps.items()})


if __name__ == "__main__":
    main()
