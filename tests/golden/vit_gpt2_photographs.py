"""Golden captions of photographs by a full-size ViT-GPT2 with seeded weights, by transformers.

    python -m tests.golden.vit_gpt2_photographs      # writes vit_gpt2_photographs.{npz,json}

Made with torch 2.13, transformers 5.24 and Pillow 12.3, from the first 20 COCO photographs of the
shared data in alphabetical order; tests/weights/test_vit_gpt2_photographs.py (slow) compares. From
Pillow 13 on, transformers' own reader resizes some pictures columns first, where ours goes rows
first, so an older one makes the file. The weights, 239 million numbers, are never stored. The
`parity` extra makes the file anew.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.golden.photographs import data_folder, files
from tests.golden.resnet_torchvision import import_torchvision, seeded_state

OUTPUTS = Path(__file__).parent / "vit_gpt2_photographs.npz"
LAYOUT = OUTPUTS.with_suffix(".json")
PHOTOGRAPHS, MAX_LENGTH, VOCABULARY, END = 20, 16, 50257, 50256
LOGITS_OF = slice(0, None, 97)  # stored
SEARCHES: Mapping[str, dict] = {"greedy": {"num_beams": 1}, "beam4": {"num_beams": 4}}


def model_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Every weight random, scaled so that captions differ between photographs and words follow
    from the words before, and with an end token that is likely."""
    state = seeded_state({name: tuple(shape) for name, shape in shapes.items()})
    state["decoder.transformer.wpe.weight"] *= 2
    for name, value in state.items():
        if name.endswith("c_proj.weight"):
            value *= 1.5 if "crossattention" in name else 3
    state["decoder.transformer.ln_f.weight"] *= 2
    row = state["decoder.transformer.wte.weight"][END]
    state["decoder.transformer.ln_f.bias"] += 6 * row / (row @ row)
    return state


def seeded_tokens() -> np.ndarray:
    """[3 T] of any words, for logits."""
    return np.random.RandomState(13).randint(0, VOCABULARY, (3, 8)).astype(np.int32)


def make_config():
    """The config of nlpconnect/vit-gpt2-image-captioning, as far as outputs depend on it."""
    from transformers import GPT2Config, VisionEncoderDecoderConfig, ViTConfig

    decoder = GPT2Config(add_cross_attention=True, is_decoder=True)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(), decoder)
    config.decoder_start_token_id = config.eos_token_id = config.pad_token_id = END
    return config


def build_model(folder):
    """transformers' model from a file with the keys that it saves and seeded weights, and the
    shapes under these keys."""
    from safetensors.numpy import load_file, save_file
    from transformers import VisionEncoderDecoderModel

    path = Path(folder) / "model.safetensors"
    VisionEncoderDecoderModel(make_config()).save_pretrained(folder)
    shapes = {name: value.shape for name, value in load_file(path).items()}
    save_file(model_state(shapes), path, metadata={"format": "pt"})
    return VisionEncoderDecoderModel.from_pretrained(folder).eval(), shapes


def make_outputs(data: Path) -> tuple[dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
    """Tokens and scores of both searches, and logits of three photographs; shapes of the file."""
    import torch
    from PIL import Image

    import_torchvision()  # before transformers imports it
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    outputs: dict[str, np.ndarray] = {}
    read = ViTImageProcessorPil()
    pictures = [Image.open(path).convert("RGB") for path in files(data, PHOTOGRAPHS)]
    pixels = read(pictures, return_tensors="pt").pixel_values
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        model, shapes = build_model(folder)
        words = torch.from_numpy(seeded_tokens()).long()
        inputs = torch.cat([torch.full((3, 1), END), words[:, :-1]], 1)
        logits = model(pixels[:3], decoder_input_ids=inputs).logits.numpy()
        outputs["logits"] = logits[..., LOGITS_OF]
        outputs["features"] = model.encoder(pixels[:3]).last_hidden_state.numpy()[:, ::16, ::16]
        for name, options in SEARCHES.items():
            found = model.generate(
                pixels,
                max_length=MAX_LENGTH,
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
                **options,
            )
            tokens = found.sequences[:, 1:].numpy()
            padded = np.full((PHOTOGRAPHS, MAX_LENGTH - 1), END, np.int32)
            padded[:, : tokens.shape[1]] = tokens
            outputs[name] = padded
            if options["num_beams"] > 1:
                outputs[f"{name}_scores"] = found.sequences_scores.numpy()
            describe(name, padded)
    return outputs, shapes


def main() -> None:
    """Writes both files."""
    outputs, shapes = make_outputs(data_folder())
    np.savez_compressed(OUTPUTS, **outputs)
    LAYOUT.write_text(json.dumps({k: list(v) for k, v in shapes.items()}) + "\n")


def describe(name: str, tokens: np.ndarray, end: int = END) -> None:
    """How much captions vary."""
    lengths = [list(row).index(end) if end in row else MAX_LENGTH - 1 for row in tokens.tolist()]
    different = len({tuple(row) for row in tokens.tolist()})
    print(f"{name}: {different} different; lengths {sorted(lengths)}")


if __name__ == "__main__":
    main()
