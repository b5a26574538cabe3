"""Golden captions of small ViT-GPT2s with seeded weights, for tests/weights/test_vit_gpt2.py.

    python -m tests.golden.vit_gpt2_outputs      # writes vit_gpt2_outputs.{npz,json}

Made with torch 2.15, transformers 5.23. Weights and images are never stored: both sides make them
from names and seeds. Several models, so that beams meet many different distributions.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.golden.resnet_torchvision import seeded_state

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "vit_gpt2_outputs.npz"
LAYOUT = FOLDER / "vit_gpt2_outputs.json"

VOCABULARY, END, IMAGES, MODELS = 61, 60, 20, 6
SIDE, PATCH, WIDTH, LAYERS, HEADS, MLP = 32, 16, 32, 2, 4, 64
MAX_LENGTH = 16  # with the start token
LOGITS_TOKENS = 7

GREEDY = "greedy"
SEARCHES: Mapping[str, dict] = {
    GREEDY: {"num_beams": 1},
    "beam4": {"num_beams": 4},
    "beam3_sum": {"num_beams": 3, "length_penalty": 0.0},
    "beam4_long": {"num_beams": 4, "length_penalty": 2.0},
    "beam4_short": {"num_beams": 4, "length_penalty": -1.0},
    "beam2_early": {"num_beams": 2, "early_stopping": True},
    "beam5_never": {"num_beams": 5, "early_stopping": "never"},
}


def model_state(
    shapes: Mapping[str, tuple[int, ...]], seed: int, *, end: int = END
) -> dict[str, np.ndarray]:
    """Weights of one model, every one random, scaled so that captions differ between images and
    positions, and with an end token that is likelier in later models."""
    own = seeded_state({f"{seed}.{name}": tuple(shape) for name, shape in shapes.items()})
    state = {name.partition(".")[2]: value for name, value in own.items()}
    state["decoder.transformer.wpe.weight"] *= 2
    for name, value in state.items():
        if name.endswith("c_proj.weight"):
            value *= 6 if "crossattention" in name else 3
    row = state["decoder.transformer.wte.weight"][end]
    state["decoder.transformer.ln_f.bias"] += (2.5 + 0.4 * seed) * row / (row @ row)
    if "decoder.lm_head.weight" in state:  # tied
        state["decoder.lm_head.weight"] = state["decoder.transformer.wte.weight"]
    return state


def seeded_images() -> np.ndarray:
    """[N side side 3] uint8."""
    return np.random.RandomState(11).randint(0, 256, (IMAGES, SIDE, SIDE, 3)).astype(np.uint8)


def seeded_tokens() -> np.ndarray:
    """[N T] of any words."""
    tokens = np.random.RandomState(12).randint(0, VOCABULARY, (IMAGES, LOGITS_TOKENS))
    return tokens.astype(np.int32)


def make_config():
    """A VisionEncoderDecoderConfig of the sizes above."""
    from transformers import GPT2Config, VisionEncoderDecoderConfig, ViTConfig

    encoder = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        image_size=SIDE,
        patch_size=PATCH,
    )
    decoder = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=2 * MAX_LENGTH,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=MLP,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=END,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = config.eos_token_id = config.pad_token_id = END
    return config


def build_model(folder, seed: int, shapes=None):
    """transformers' model from a file with the keys that it saves and seeded weights."""
    from safetensors.numpy import load_file, save_file
    from transformers import VisionEncoderDecoderModel

    path = Path(folder) / "model.safetensors"
    if shapes is None:
        VisionEncoderDecoderModel(make_config()).save_pretrained(folder)
        shapes = {name: value.shape for name, value in load_file(path).items()}
    save_file(model_state(shapes, seed), path, metadata={"format": "pt"})
    model = VisionEncoderDecoderModel.from_pretrained(folder, attn_implementation="eager")
    return model.eval(), shapes


def main() -> None:
    """Writes tokens and scores of every search, and logits and attention of the first model."""
    import torch

    pixels = torch.from_numpy(seeded_images().transpose(0, 3, 1, 2) / np.float32(127.5) - 1)
    outputs: dict[str, np.ndarray] = {}
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        shapes = None
        for seed in range(MODELS):
            model, shapes = build_model(folder, seed, shapes)
            if seed == 0:
                words = torch.from_numpy(seeded_tokens()).long()
                start = torch.full((IMAGES, 1), END)
                found = model(
                    pixels,
                    decoder_input_ids=torch.cat([start, words[:, :-1]], 1),
                    output_attentions=True,
                )
                outputs["logits"] = found.logits.numpy().astype(np.float32)[:3]
                looked = torch.stack(found.cross_attentions).mean((0, 2))
                outputs["attention"] = looked.numpy()[:3]
            for name, options in SEARCHES.items():
                found = model.generate(
                    pixels,
                    max_length=MAX_LENGTH,
                    do_sample=False,
                    return_dict_in_generate=True,
                    output_scores=True,
                    **options,
                )
                tokens = found.sequences[:, 1:].numpy().astype(np.int8)
                padded = np.full((IMAGES, MAX_LENGTH - 1), END, np.int8)
                padded[:, : tokens.shape[1]] = tokens
                outputs[f"{seed}_{name}"] = padded
                if name != GREEDY:
                    outputs[f"{seed}_{name}_scores"] = found.sequences_scores.numpy()
                describe(f"{seed} {name}", padded)
    np.savez_compressed(OUTPUTS, **outputs)
    layout = {name: list(shape) for name, shape in shapes.items()}
    LAYOUT.write_text(json.dumps(layout, separators=(",", ":")) + "\n")


def describe(name: str, tokens: np.ndarray) -> None:
    """How much captions vary."""
    lengths = [list(row).index(END) if END in row else MAX_LENGTH - 1 for row in tokens.tolist()]
    different = len({tuple(row) for row in tokens.tolist()})
    print(f"{name}: {different} different; lengths {sorted(lengths)}")


if __name__ == "__main__":
    main()
