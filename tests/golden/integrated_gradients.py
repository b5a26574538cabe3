"""Integrated Gradients of a soft-attention captioner's words, by Captum on PyTorch.

    python -m tests.golden.integrated_gradients      # writes integrated_gradients.npz beside it

The captioner of tests/explainers/toys.py written out in PyTorch from the paper (Xu et al. 2015),
with the weights that both sides draw with NumPy. Made with torch 2.13 and captum 0.8, float64.
"""

from pathlib import Path

import numpy as np

OUTPUTS = Path(__file__).with_name("integrated_gradients.npz")
GRID, DEPTH, STEPS = (3, 4), 24, 12
TOKENS = np.array([[5, 4, 9, 2], [7, 3, 2, 0]], np.int32)
LENGTHS = np.array([4, 3])


def positions() -> np.ndarray:
    """[B P D] features of two images."""
    draw = np.random.RandomState(0)
    return draw.standard_normal((2, GRID[0] * GRID[1], DEPTH)).astype(np.float32)


def word_log_probs(weights, features, tokens):
    """Log-probabilities [K T] of one caption given features [K P D] of K images, in PyTorch.

    Equations 1 to 9 of the paper, with a scalar gate and the deep output under a tanh.
    """
    import torch

    mean = features.mean(dim=1)
    h = torch.tanh(mean @ weights["init_h_kernel"] + weights["init_h_bias"])
    c = torch.tanh(mean @ weights["init_c_kernel"] + weights["init_c_bias"])
    embedded = torch.zeros(len(features), weights["embedding"].shape[1], dtype=features.dtype)
    found = []
    for token in tokens:
        keys = features @ weights["attention_features"] + weights["attention_bias"]
        energy = torch.tanh(keys + (h @ weights["attention_hidden"])[:, None])
        alpha = torch.softmax((energy @ weights["attention_score"])[..., 0], dim=1)
        context = (alpha[..., None] * features).sum(dim=1)
        context = torch.sigmoid(h @ weights["gate_kernel"] + weights["gate_bias"]) * context
        gates = embedded @ weights["lstm_embedding"] + context @ weights["lstm_context"]
        gates = gates + h @ weights["lstm_recurrent"] + weights["lstm_bias"]
        i, f, o, g = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        deep = embedded + h @ weights["output_hidden"] + context @ weights["output_context"]
        deep = torch.tanh(deep + weights["output_bias"])
        logits = deep @ weights["head_kernel"] + weights["head_bias"]
        found.append(torch.log_softmax(logits, dim=1)[:, token])
        embedded = weights["embedding"][token].expand(len(features), -1)
    return torch.stack(found, dim=1)


def main() -> None:
    """Writes the attributions [B T P] of every word, and the words' log-probabilities."""
    import torch
    from captum.attr import IntegratedGradients

    from tests.explainers.toys import attentive

    weights = {
        name: torch.tensor(np.asarray(value), dtype=torch.float64)
        for name, value in attentive().variables["params"]["decoder"].items()
    }
    maps = np.zeros((2, 4, GRID[0] * GRID[1]))
    scores = np.zeros((2, 4))
    for image in range(2):
        seen = torch.tensor(positions()[image : image + 1], dtype=torch.float64)
        baseline = seen.mean(dim=1, keepdim=True).expand_as(seen).contiguous()
        tokens = TOKENS[image, : LENGTHS[image]].tolist()
        method = IntegratedGradients(lambda given: word_log_probs(weights, given, tokens))  # noqa: B023
        scores[image, : len(tokens)] = word_log_probs(weights, seen, tokens)[0].numpy()
        for word in range(len(tokens)):
            parts = method.attribute(
                seen, baselines=baseline, target=word, n_steps=STEPS, method="gausslegendre"
            )
            maps[image, word] = parts[0].sum(-1).detach().numpy()
    np.savez_compressed(OUTPUTS, maps=maps.astype(np.float32), log_probs=scores.astype(np.float32))


if __name__ == "__main__":
    main()
