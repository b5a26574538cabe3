"""Golden outputs of small ViTs with seeded weights, for tests/encoders/test_vit.py.

    python -m tests.golden.vit_outputs      # writes vit_outputs.{npz,json}

Made with transformers 5.23, timm 1.0.31, torchvision 0.29. Weights are never stored: they are made
from each key's name, every one of them random. The functions below give outputs of any size: the
slow tests compare full-size networks with them.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.resnet_torchvision import import_timm, import_torchvision, seeded_state

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "vit_outputs.npz"
LAYOUTS = FOLDER / "vit_outputs.json"
TINY = {"patch": 8, "width": 48, "layers": 2, "heads": 4, "mlp": 96}
# torchvision knows squares only.
SIZES = {"transformers": (32, 48), "timm": (32, 48), "torchvision": (32, 32)}
OTHER_SIZE = (48, 40)

State = dict[str, np.ndarray]


def seeded_images(size: tuple[int, int]) -> np.ndarray:
    """Two normalised images, NHWC."""
    return np.random.RandomState(7).standard_normal((2, *size, 3)).astype(np.float32)


def transformers_tokens(fields: dict[str, Any], images: np.ndarray) -> tuple[State, State]:
    """(weights under the keys that transformers saves, outputs of every layer and the last)."""
    import torch
    from safetensors.numpy import load_file, save_file
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=fields["width"],
        num_hidden_layers=fields["layers"],
        num_attention_heads=fields["heads"],
        intermediate_size=fields["mlp"],
        image_size=images.shape[1:3],
        patch_size=fields["patch"],
    )
    with tempfile.TemporaryDirectory() as folder:
        ViTModel(config).save_pretrained(folder)
        path = Path(folder) / "model.safetensors"
        state = seeded_state({name: value.shape for name, value in load_file(path).items()})
        save_file(state, path, metadata={"format": "pt"})
        model = ViTModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        pixels = channels_first(images)
        found = model(pixels, output_hidden_states=True, output_attentions=True)
    outputs = {"last": found.last_hidden_state.numpy()}
    for number in range(fields["layers"]):
        outputs[f"layer{number}"] = found.hidden_states[number + 1].numpy()
        outputs[f"attention{number}"] = found.attentions[number].numpy()
    return state, outputs


def timm_tokens(
    fields: dict[str, Any], images: np.ndarray, other: np.ndarray | None = None
) -> tuple[State, State]:
    """(weights, the last tokens); with `other` those of images of another size too."""
    import torch

    timm = import_timm()

    def build(size):
        return timm.models.VisionTransformer(
            img_size=size,
            patch_size=fields["patch"],
            embed_dim=fields["width"],
            depth=fields["layers"],
            num_heads=fields["heads"],
            mlp_ratio=fields["mlp"] / fields["width"],
            num_classes=10,
        ).eval()

    model = build(images.shape[1:3])
    state = seed(model)
    weights = model.state_dict()
    with torch.no_grad():
        outputs = {"last": model.forward_features(channels_first(images)).numpy()}
        if other is not None:
            weights["pos_embed"] = timm.layers.resample_abs_pos_embed(
                weights["pos_embed"],
                new_size=[side // fields["patch"] for side in other.shape[1:3]],
                old_size=[side // fields["patch"] for side in images.shape[1:3]],
            )
            model = build(other.shape[1:3])
            model.load_state_dict(weights)
            outputs["resized"] = model.forward_features(channels_first(other)).numpy()
    return state, outputs


def torchvision_tokens(fields: dict[str, Any], images: np.ndarray) -> tuple[State, State]:
    """(weights, the last tokens)."""
    import torch

    import_torchvision()
    from torchvision.models.vision_transformer import VisionTransformer

    model = VisionTransformer(images.shape[1], fields["patch"], *_sizes(fields)).eval()
    state = seed(model)
    with torch.no_grad():
        x = model._process_input(channels_first(images))
        x = torch.cat([model.class_token.expand(len(x), -1, -1), x], dim=1)
        return state, {"last": model.encoder(x).numpy()}


def _sizes(fields: dict[str, Any]) -> list[int]:
    return [fields[name] for name in ("layers", "heads", "width", "mlp")]


LIBRARIES = {
    "transformers": transformers_tokens,
    "timm": timm_tokens,
    "torchvision": torchvision_tokens,
}


def channels_first(images: np.ndarray) -> Any:
    """A torch tensor of NHWC images."""
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def seed(model: Any) -> State:
    """Seeded weights, which the model has from now on."""
    import torch

    state = seeded_state({name: tuple(v.shape) for name, v in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return state


def main() -> None:
    """Writes the key layout of each library, and tokens of every layer of one."""
    layouts, stored = {}, {}
    for library, tokens_of in LIBRARIES.items():
        more = {"other": seeded_images(OTHER_SIZE)} if library == "timm" else {}
        state, outputs = tokens_of(TINY, seeded_images(SIZES[library]), **more)
        layouts[library] = {name: value.shape for name, value in state.items()}
        stored |= {f"{library}_{name}": value for name, value in outputs.items()}
    np.savez_compressed(OUTPUTS, **stored)
    LAYOUTS.write_text(json.dumps(layouts, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
