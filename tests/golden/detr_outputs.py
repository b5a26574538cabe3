"""Golden outputs of small DETRs with seeded weights, for tests/detectors/test_detr.py.

    python -m tests.golden.detr_outputs      # writes detr_outputs.{npz,json}

Made with transformers 5.24, timm 1.0.31. Weights are never stored: they are made from each key's
name, every one of them random. The functions below give outputs of any size: the slow test compares
a network of full size with them.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.resnet_torchvision import import_timm, seeded_state

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "detr_outputs.npz"
SETTINGS = FOLDER / "detr_outputs.json"
SIZE, VALID = (96, 128), ((96, 128), (64, 80))
PHOTOGRAPHS = ((480, 640), (640, 480), (427, 640), (300, 900), (33, 1000), (1200, 1201), (800, 800))
TINY = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_queries": 5,
    "num_labels": 7,
}
FULL = {"num_labels": 91}
State = dict[str, np.ndarray]


def images() -> tuple[np.ndarray, np.ndarray]:
    """Two normalised images [2 H W 3], the second one padded with 0, and which pixels are valid."""
    drawn = np.random.RandomState(7).standard_normal((2, *SIZE, 3)).astype(np.float32)
    valid = np.zeros((2, *SIZE), bool)
    for own, (height, width) in zip(valid, VALID, strict=True):
        own[:height, :width] = True
    return drawn * valid[..., None], valid


def config(fields: dict[str, Any], backbone: str) -> Any:
    """Of transformers, with a backbone "timm resnet18" or "own resnet18", of 18 or 50 layers."""
    from transformers import DetrConfig, ResNetConfig

    library, name = backbone.split()
    if library == "timm":
        more = {"backbone": name, "use_timm_backbone": True, "use_pretrained_backbone": False}
        return DetrConfig(**fields, **more)
    bottleneck = name == "resnet50"
    inner = ResNetConfig(
        depths=[3, 4, 6, 3] if bottleneck else [2, 2, 2, 2],
        hidden_sizes=[256, 512, 1024, 2048] if bottleneck else [64, 128, 256, 512],
        layer_type="bottleneck" if bottleneck else "basic",
        out_features=["stage4"],
    )
    more = {"backbone_config": inner, "use_timm_backbone": False}
    return DetrConfig(**fields, **more, use_pretrained_backbone=False, backbone=None)


def detected(
    fields: dict[str, Any], backbone: str, pixels: np.ndarray, valid: np.ndarray
) -> tuple[State, dict[str, Any], State]:
    """(weights under the keys that transformers saves, its config.json, logits and boxes)."""
    import torch

    import_timm()
    from safetensors.numpy import load_file, save_file
    from transformers import DetrForObjectDetection

    with tempfile.TemporaryDirectory() as folder:
        DetrForObjectDetection(config(fields, backbone)).save_pretrained(folder)
        path = Path(folder) / "model.safetensors"
        state = seeded_state({name: value.shape for name, value in load_file(path).items()})
        save_file(state, path, metadata={"format": "pt"})
        model = DetrForObjectDetection.from_pretrained(folder, attn_implementation="eager").eval()
        settings = json.loads((Path(folder) / "config.json").read_text())
    with torch.no_grad():
        found = model(
            torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()),
            pixel_mask=torch.from_numpy(valid.astype(np.int64)),
        )
    return state, settings, {"logits": found.logits.numpy(), "boxes": found.pred_boxes.numpy()}


def resized() -> list[list[int]]:
    """(height, width) that transformers gives photographs of some sizes."""
    import_timm()
    from transformers.image_transforms import get_size_with_aspect_ratio

    return [list(map(int, get_size_with_aspect_ratio(size, 800, 1333))) for size in PHOTOGRAPHS]


def parameters() -> int:
    """How many a DETR of full size has, running statistics of norms not counted."""
    import_timm()
    from transformers import DetrForObjectDetection

    model = DetrForObjectDetection(config(FULL, "timm resnet50"))
    return sum(value.numel() for name, value in model.named_parameters()) + sum(
        value.numel()
        for name, value in model.named_buffers()
        if name.endswith((".weight", ".bias"))  # frozen norms keep theirs as buffers
    )


def main() -> None:
    """Writes key layouts, settings and outputs of both kinds of backbones, and sizes."""
    stored: State = {}
    described: dict[str, Any] = {"resized": resized(), "parameters": parameters()}
    for backbone in ("timm resnet18", "own resnet18"):
        state, settings, outputs = detected(TINY, backbone, *images())
        shapes = {name: value.shape for name, value in state.items()}
        described[backbone] = {"config": settings, "shapes": shapes}
        stored |= {f"{backbone} {name}": value for name, value in outputs.items()}
    np.savez_compressed(OUTPUTS, **stored)
    SETTINGS.write_text(json.dumps(described, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
