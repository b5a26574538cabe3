"""One step of Show, Attend and Tell in plain NumPy, written from the paper's equations 1-9.

Loops where the paper has sums. Knows nothing of capjax but the names of its parameters.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def initial_state(p, a, *, activation, layers):
    """h and c from the mean annotation vector."""
    mean = sum(a) / len(a)
    if layers == 2:
        mean = np.maximum(mean @ p["init_kernel"] + p["init_bias"], 0)
    h = mean @ p["init_h_kernel"] + p["init_h_bias"]
    c = mean @ p["init_c_kernel"] + p["init_c_bias"]
    return (np.tanh(h), np.tanh(c)) if activation == "tanh" else (h, c)


def step(p, h, c, embedded, a, *, activation, gate, output):
    """(h, c, attention, logits) after one word, for one image with annotation vectors a [L D]."""
    act = np.tanh if activation == "tanh" else (lambda x: np.maximum(x, 0))
    energy = []
    for vector in a:
        pre = vector @ p["attention_features"] + p["attention_bias"] + h @ p["attention_hidden"]
        energy.append((act(pre) @ p["attention_score"])[0])
    energy = np.exp(np.array(energy) - max(energy))
    alpha = energy / energy.sum()
    z = sum(weight * vector for weight, vector in zip(alpha, a, strict=True))
    if gate != "none":
        z = sigmoid(h @ p["gate_kernel"] + p["gate_bias"]) * z
    gates = embedded @ p["lstm_embedding"] + z @ p["lstm_context"]
    gates = gates + h @ p["lstm_recurrent"] + p["lstm_bias"]
    n = len(h)
    i, f, o, g = (gates[k * n : (k + 1) * n] for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    hidden = h
    if output != "linear":
        hidden = embedded + h @ p["output_hidden"] + z @ p["output_context"] + p["output_bias"]
    if output == "deep_tanh":
        hidden = np.tanh(hidden)
    return h, c, alpha, hidden @ p["head_kernel"] + p["head_bias"]
