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
TINY = {
    "vocab_size": 40,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "mlp": 64,
    "positions": 12,
}
LENGTHS = (9, 5, 2)


def seeded_tokens(vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids of three texts, and where they are: padding is random, so that reading it would show."""
    tokens = np.random.RandomState(7).randint(0, vocabulary, (len(LENGTHS), max(LENGTHS)))
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    return tokens.astype(np.int32), mask


def outputs_of(fields: dict[str, int]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(weights, outputs of every layer, the last and the pooler) of transformers' BertModel."""
    import torch
    from safetensors.numpy import load_file, save_file
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=fields["vocab_size"],
        hidden_size=fields["width"],
        num_hidden_layers=fields["layers"],
        num_attention_heads=fields["heads"],
        intermediate_size=fields["mlp"],
        max_position_embeddings=fields["positions"],
    )
    with tempfile.TemporaryDirectory() as folder:
        BertModel(config).save_pretrained(folder)
        path = Path(folder) / "model.safetensors"
        state = seeded_state({name: value.shape for name, value in load_file(path).items()})
        save_file(state, path, metadata={"format": "pt"})
        model = BertModel.from_pretrained(folder).eval()
    ids, mask = (torch.from_numpy(each).long() for each in seeded_tokens(fields["vocab_size"]))
    with torch.no_grad():
        found = model(ids, attention_mask=mask, output_hidden_states=True)
    outputs = {"hidden": found.last_hidden_state.numpy(), "pooler": found.pooler_output.numpy()}
    for number, hidden in enumerate(found.hidden_states[1:]):
        outputs[f"layer{number}"] = hidden.numpy()
    return state, outputs


def main() -> None:
    """Writes the key layout and the outputs of a small one."""
    state, outputs = outputs_of(TINY)
    np.savez_compressed(OUTPUTS, **outputs)
    layout = {name: value.shape for name, value in state.items()}
    LAYOUT.write_text(json.dumps(layout, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
