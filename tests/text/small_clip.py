"""A CLIP with small seeded weights, as transformers keeps it in a folder."""

import json
from pathlib import Path

from safetensors.numpy import save_file

from capjax.text.subwords import CLIP_END, CLIP_START
from tests.golden import clip_text_outputs
from tests.golden.resnet_torchvision import seeded_state

MERGES = (("r", "e"), ("re", "d</w>"), ("q", "u"), ("qu", "a"), ("s", "qua"), ("r", "e</w>"))
"""Few, so that words are one, two or many pieces: "a", "red", "squa re", "t h e r e"."""


def small_clip(folder: Path) -> Path:
    """Writes it and returns the folder; all bytes are pieces, so that no word is unknown."""
    import tokenizers

    symbols = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    symbols += [f"{symbol}</w>" for symbol in symbols]
    symbols += ["".join(pair) for pair in MERGES] + [CLIP_START, CLIP_END]
    tiny = clip_text_outputs.TINY
    text = {
        "vocab_size": len(symbols),
        "hidden_size": tiny["width"],
        "num_hidden_layers": 1,
        "num_attention_heads": tiny["heads"],
        "intermediate_size": tiny["mlp"],
        "max_position_embeddings": 77,
    }
    config = {"model_type": "clip", "projection_dim": tiny["projection"], "text_config": text}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    merges = "\n".join(" ".join(pair) for pair in MERGES)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    layout = {
        name: tuple(shape)
        for name, shape in json.loads(clip_text_outputs.LAYOUT.read_text()).items()
        if "layers.1." not in name
    }
    for name, rows in (("token", len(symbols)), ("position", 77)):
        key = f"text_model.embeddings.{name}_embedding.weight"
        layout[key] = (rows, layout[key][1])
    save_file(seeded_state(layout), folder / "model.safetensors")
    return folder
