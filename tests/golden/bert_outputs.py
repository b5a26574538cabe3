"""Golden outputs of a small BERT with seeded weights, for tests/text/test_bert.py.

    python -m tests.golden.bert_outputs      # writes bert_outputs.{npz,json}

Made with transformers 5.23. Weights are never stored: they are made from each key's name.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from tests.golden.resnet_torchvision import seeded_state

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "bert_outputs.npz"
LAYOUT = FOLDER / "bert_outputs.json"
VOCABULARY, WIDTH, LAYERS, HEADS, MLP, POSITIONS = 40, 32, 2, 4, 64, 12
LENGTHS = (9, 5, 2)


def seeded_tokens() -> tuple[np.ndarray, np.ndarray]:
    """Ids of three texts, and where they are: padding is random, so that reading it would show."""
    tokens = np.random.RandomState(7).randint(0, VOCABULARY, (len(LENGTHS), max(LENGTHS)))
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    return tokens.astype(np.int32), mask


def main() -> None:
    """Writes the key layout, the tokens after each layer, and the pooler's outputs."""
    import torch
    from safetensors.numpy import load_file, save_file
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        max_position_embeddings=POSITIONS,
    )
    with tempfile.TemporaryDirectory() as folder:
        BertModel(config).save_pretrained(folder)
        path = Path(folder) / "model.safetensors"
        shapes = {name: value.shape for name, value in load_file(path).items()}
        save_file(seeded_state(shapes), path, metadata={"format": "pt"})
        model = BertModel.from_pretrained(folder).eval()
    tokens, mask = (torch.from_numpy(array).long() for array in seeded_tokens())
    with torch.no_grad():
        found = model(tokens, attention_mask=mask, output_hidden_states=True)
    outputs = {"hidden": found.last_hidden_state.numpy(), "pooler": found.pooler_output.numpy()}
    outputs["layer0"] = found.hidden_states[1].numpy()
    np.savez_compressed(OUTPUTS, **outputs)
    LAYOUT.write_text(json.dumps(shapes, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
