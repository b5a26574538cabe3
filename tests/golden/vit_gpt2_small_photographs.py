"""Golden captions of photographs by a small ViT-GPT2 with seeded weights, by transformers.

    python -m tests.golden.vit_gpt2_small_photographs      # writes vit_gpt2_small_photographs.npz

transformers reads the folder of tests/weights/vit_gpt2_folder.py, as capjax does, prepares the
first 20 COCO photographs of the shared data by its preprocessor_config.json, and writes captions.
Made with torch 2.13, transformers 5.24. tests/weights/test_vit_gpt2_small_photographs.py compares;
tests/golden/vit_gpt2_photographs.py is the same at full size.
"""

import tempfile
from pathlib import Path

import numpy as np

from tests.golden.photographs import data_folder, files
from tests.golden.resnet_torchvision import import_torchvision
from tests.golden.vit_gpt2_outputs import MAX_LENGTH
from tests.golden.vit_gpt2_photographs import PHOTOGRAPHS, SEARCHES, describe
from tests.weights.vit_gpt2_folder import write_folder

OUTPUTS = Path(__file__).with_name("vit_gpt2_small_photographs.npz")
SEED = 3


def write_captions(folder: Path, data: Path) -> dict[str, np.ndarray]:
    """{"greedy", "beam4": [20 15] tokens, end tokens from the end on; "beam4_scores": [20]}."""
    import torch
    from PIL import Image

    import_torchvision()  # before transformers imports it
    from transformers import VisionEncoderDecoderModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    read = ViTImageProcessorPil.from_pretrained(folder)
    pictures = [Image.open(path).convert("RGB") for path in files(data, PHOTOGRAPHS)]
    pixels = read(pictures, return_tensors="pt").pixel_values
    outputs: dict[str, np.ndarray] = {}
    for name, options in SEARCHES.items():
        with torch.no_grad():
            found = model.generate(
                pixels,
                max_length=MAX_LENGTH,
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
                **options,
            )
        tokens = found.sequences[:, 1:].numpy()
        end = model.config.decoder_start_token_id
        padded = np.full((PHOTOGRAPHS, MAX_LENGTH - 1), end, np.int32)
        padded[:, : tokens.shape[1]] = tokens
        outputs[name] = padded
        if options["num_beams"] > 1:
            outputs[f"{name}_scores"] = found.sequences_scores.numpy()
        describe(name, padded, end)
    return outputs


def main() -> None:
    """Writes the file."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_folder(Path(folder) / "model", SEED)
        np.savez_compressed(OUTPUTS, **write_captions(written, data_folder()))


if __name__ == "__main__":
    main()
