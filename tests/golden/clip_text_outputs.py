"""Golden outputs of small CLIP text encoders, seeded, for tests/text/test_clip_text.py.

    python -m tests.golden.clip_text_outputs      # writes clip_text_outputs.{npz,json}

Made with transformers 5.23. Weights are never stored: they are made from each key's name.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from tests.golden.resnet_torchvision import seeded_state

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "clip_text_outputs.npz"
LAYOUT = FOLDER / "clip_text_outputs.json"
TINY = {
    "vocab_size": 40,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "mlp": 64,
    "positions": 12,
    "projection": 20,
}
END = 30  # of the config that names it; there are larger ids before it in the first text
# Of each text, the place of its largest id and of END; then random padding.
TOKENS = np.array(
    [
        [38, 35, 3, 39, 12, 30, 7, 30, 2],
        [38, 4, 30, 39, 39, 0, 0, 0, 0],
        [38, 39, 30, 9, 9, 9, 9, 9, 9],
    ],
    np.int32,
)


def outputs_of(fields: dict[str, int]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(weights, hidden states and embeddings by both rules for the end) of transformers."""
    import torch
    from safetensors.numpy import load_file, save_file
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    outputs = {}
    for name, end in (("largest", 2), ("first", END)):
        config = CLIPTextConfig(
            vocab_size=fields["vocab_size"],
            hidden_size=fields["width"],
            num_hidden_layers=fields["layers"],
            num_attention_heads=fields["heads"],
            intermediate_size=fields["mlp"],
            max_position_embeddings=fields["positions"],
            projection_dim=fields["projection"],
            bos_token_id=38,
            eos_token_id=end,
            pad_token_id=0,
        )
        with tempfile.TemporaryDirectory() as folder:
            CLIPTextModelWithProjection(config).save_pretrained(folder)
            path = Path(folder) / "model.safetensors"
            state = seeded_state({key: value.shape for key, value in load_file(path).items()})
            save_file(state, path, metadata={"format": "pt"})
            model = CLIPTextModelWithProjection.from_pretrained(folder).eval()
        with torch.no_grad():
            found = model(torch.from_numpy(TOKENS).long())
        outputs[name] = found.text_embeds.numpy()
        outputs["hidden"] = found.last_hidden_state.numpy()
    return state, outputs


def main() -> None:
    """Writes the key layout and the outputs of a small one."""
    state, outputs = outputs_of(TINY)
    np.savez_compressed(OUTPUTS, **outputs)
    layout = {name: value.shape for name, value in state.items()}
    LAYOUT.write_text(json.dumps(layout, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
