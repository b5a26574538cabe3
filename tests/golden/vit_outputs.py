"""Golden outputs of small ViTs with seeded weights, for tests/encoders/test_vit.py.

    python -m tests.golden.vit_outputs      # writes vit_outputs.{npz,json}

Made with transformers 5.23, timm 1.0.31, torchvision 0.29. Weights are never stored: they are made
from each key's name, every one of them random.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from tests.golden.resnet_torchvision import import_torchvision, seeded_state

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "vit_outputs.npz"
LAYOUTS = FOLDER / "vit_outputs.json"
PATCH, WIDTH, LAYERS, HEADS, MLP = 8, 48, 2, 4, 96
# torchvision knows squares only.
SIZES = {"transformers": (32, 48), "timm": (32, 48), "torchvision": (32, 32)}
OTHER_SIZE = (48, 40)


def seeded_images(size: tuple[int, int]) -> np.ndarray:
    """Two normalised images, NHWC."""
    return np.random.RandomState(7).standard_normal((2, *size, 3)).astype(np.float32)


def build_transformers(folder, config, state=None):
    """transformers' model under the keys that it saves; with `state` in place of its weights."""
    from safetensors.numpy import load_file, save_file
    from transformers import ViTModel

    ViTModel(config).save_pretrained(folder)
    path = Path(folder) / "model.safetensors"
    shapes = {name: value.shape for name, value in load_file(path).items()}
    save_file(state or seeded_state(shapes), path, metadata={"format": "pt"})
    return ViTModel.from_pretrained(folder, attn_implementation="eager").eval(), shapes


def main() -> None:
    """Writes the key layout of each library, and tokens of every layer of one."""
    import timm
    import torch
    from transformers import ViTConfig

    import_torchvision()
    from torchvision.models.vision_transformer import VisionTransformer

    def channels_first(images):
        return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def seeded(model):
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        state = seeded_state(shapes)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        return model.eval(), shapes

    config = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        image_size=SIZES["transformers"],
        patch_size=PATCH,
    )
    fields = {"patch_size": PATCH, "embed_dim": WIDTH, "depth": LAYERS, "num_heads": HEADS}
    layouts, outputs = {}, {}
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        model, layouts["transformers"] = build_transformers(folder, config)
        pixels = channels_first(seeded_images(SIZES["transformers"]))
        found = model(pixels, output_hidden_states=True, output_attentions=True)
        outputs["transformers"] = found.last_hidden_state.numpy()
        for number in range(LAYERS):
            outputs[f"transformers_layer{number}"] = found.hidden_states[number + 1].numpy()
            outputs[f"transformers_attention{number}"] = found.attentions[number].numpy()

        plain = {"num_classes": 10, "mlp_ratio": MLP / WIDTH, **fields}
        net = timm.models.VisionTransformer(img_size=SIZES["timm"], **plain)
        net, layouts["timm"] = seeded(net)
        outputs["timm"] = net.forward_features(channels_first(seeded_images(SIZES["timm"]))).numpy()
        weights = net.state_dict()
        net = timm.models.VisionTransformer(img_size=OTHER_SIZE, **plain).eval()
        weights["pos_embed"] = timm.layers.resample_abs_pos_embed(
            weights["pos_embed"],
            new_size=[side // PATCH for side in OTHER_SIZE],
            old_size=[side // PATCH for side in SIZES["timm"]],
        )
        net.load_state_dict(weights)
        outputs["timm_resized"] = net.forward_features(
            channels_first(seeded_images(OTHER_SIZE))
        ).numpy()

        net = VisionTransformer(SIZES["torchvision"][0], PATCH, LAYERS, HEADS, WIDTH, MLP)
        net, layouts["torchvision"] = seeded(net)
        x = net._process_input(channels_first(seeded_images(SIZES["torchvision"])))
        x = torch.cat([net.class_token.expand(len(x), -1, -1), x], dim=1)
        outputs["torchvision"] = net.encoder(x).numpy()
    np.savez_compressed(OUTPUTS, **outputs)
    LAYOUTS.write_text(json.dumps(layouts, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
