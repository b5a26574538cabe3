"""The peer of `train_step.py`: the same decoder as a PyTorch loop over `LSTMCell`, tuned.

What does not depend on the state is outside the loop: keys, the words' part of the gates, the deep
output, the vocabulary and the loss. Inside, the three products that read the state are one, and
the input weights of `LSTMCell` are split into the words' and the context's part. Adam is the fused
one. `onednn=True` sends float32 products to oneDNN through the operator that `torch.compile` emits:
by itself PyTorch uses MKL there, which on an AMD processor computes at half the width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def onednn_linear(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """values [… I], weight [O I] -> [… O], through oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(values, weight, None, "none", [], "")


class OneDNNLinear(torch.autograd.Function):
    """values [… I], weight [O I] -> [… O]."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The product."""
        ctx.save_for_backward(values, weight)
        return onednn_linear(values, weight)

    @staticmethod
    def backward(ctx: Any, d_result: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Both gradients, that of the values only where it is asked for."""
        values, weight = ctx.saved_tensors
        d_values = onednn_linear(d_result, weight.t()) if ctx.needs_input_grad[0] else None
        rows, d_rows = values.flatten(0, -2), d_result.flatten(0, -2)
        return d_values, onednn_linear(d_rows.t(), rows.t())


class Loop(nn.Module):
    """`capjax.decoders.AttentionLSTM` with its default fields, teacher-forced, and its loss.

    Args:
      params: arrays of the capjax decoder, by name.
      dtype: of matrix products; all else is float32.
      onednn: see the module.
    """

    def __init__(
        self, params: Mapping[str, np.ndarray], dtype: torch.dtype, onednn: bool = False
    ) -> None:
        super().__init__()
        self.dtype, self.onednn = dtype, onednn
        arrays = {name: torch.tensor(np.asarray(value)) for name, value in params.items()}
        self.width, size = arrays["embedding"].shape[1], arrays["attention_hidden"].shape[0]
        self.cell = nn.LSTMCell(self.width + arrays["attention_features"].shape[0], size)
        inputs = torch.cat([arrays.pop("lstm_embedding"), arrays.pop("lstm_context")])
        with torch.no_grad():
            self.cell.weight_ih.copy_(_torch_order(inputs).t())
            self.cell.weight_hh.copy_(_torch_order(arrays.pop("lstm_recurrent")).t())
            self.cell.bias_ih.copy_(_torch_order(arrays.pop("lstm_bias")))
            self.cell.bias_hh.zero_()
        self.embedding = nn.Parameter(arrays.pop("embedding"))
        stored = {name: value.t().contiguous() for name, value in arrays.items()}  # [out in]
        self.weights = nn.ParameterDict({k: nn.Parameter(v) for k, v in stored.items()})

    def product(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """values weight' in `dtype`, the result in float32."""
        if self.onednn:
            return OneDNNLinear.apply(values, weight)
        return functional.linear(values.to(self.dtype), weight.to(self.dtype)).float()

    def affine(self, values: torch.Tensor, kernel: str, bias: str) -> torch.Tensor:
        """The layer of these two weights."""
        return self.product(values, self.weights[kernel]) + self.weights[bias]

    def forward(self, values: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of `tokens` [B T] given `values` [B L D] in `dtype`."""
        return functional.cross_entropy(self.logits(values, tokens).flatten(0, 1), tokens.flatten())

    def logits(self, values: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """[B T V] of every word after the words before it."""
        weights = self.weights
        keys = self.affine(values, "attention_features", "attention_bias")
        pooled = values.float().mean(1)
        h = torch.tanh(self.affine(pooled, "init_h_kernel", "init_h_bias"))
        c = torch.tanh(self.affine(pooled, "init_c_kernel", "init_c_bias"))
        words = functional.embedding(tokens[:, :-1], self.embedding)
        words = functional.pad(words, (0, 0, 1, 0))  # a zero row comes first
        parts = self.cell.weight_ih.to(self.dtype).split([self.width, values.shape[2]], 1)
        word_weight, context_weight = (part.contiguous() for part in parts)
        word_gates = self.product(words, word_weight) + self.cell.bias_ih + self.cell.bias_hh
        reads = [weights["attention_hidden"], weights["gate_kernel"], self.cell.weight_hh]
        read_weight, splits = torch.cat(reads).to(self.dtype), [len(part) for part in reads]
        score = weights["attention_score"][0]
        states, contexts = [], []
        for word in word_gates.unbind(1):
            query, gate, recurrent = self.product(h, read_weight).split(splits, 1)
            alpha = torch.softmax(torch.tanh(keys + query[:, None]) @ score, 1)
            mixed = torch.bmm(alpha.to(values.dtype)[:, None], values)[:, 0].float()
            context = mixed * torch.sigmoid(gate + weights["gate_bias"])
            gates = word + recurrent + self.product(context, context_weight)
            entry, forget, candidate, output = gates.chunk(4, 1)
            c = torch.sigmoid(forget) * c + torch.sigmoid(entry) * torch.tanh(candidate)
            h = torch.sigmoid(output) * torch.tanh(c)
            states.append(h)
            contexts.append(context)
        hidden = words + self.affine(torch.stack(states, 1), "output_hidden", "output_bias")
        hidden = hidden + self.product(torch.stack(contexts, 1), weights["output_context"])
        return self.affine(torch.tanh(hidden), "head_kernel", "head_bias")


def _torch_order(gates: torch.Tensor) -> torch.Tensor:
    """From input, forget, output, candidate to input, forget, candidate, output."""
    entry, forget, output, candidate = gates.chunk(4, -1)
    return torch.cat([entry, forget, candidate, output], -1)


def training_step(
    params: Mapping[str, np.ndarray],
    features: np.ndarray,
    tokens: np.ndarray,
    *,
    learning_rate: float,
    bfloat16: bool = False,
    onednn: bool = False,
    compiled: bool = False,
) -> Callable[[], float]:
    """A function that does one more update with fused Adam and returns the loss before it."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    model = Loop(params, dtype, onednn)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    values = torch.tensor(features).to(dtype)
    words = torch.tensor(tokens, dtype=torch.long)
    forward = torch.compile(model) if compiled else model

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(values, words)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def matrix_product(rows: int, inner: int, columns: int, *, bfloat16: bool, onednn: bool = False):
    """A function that multiplies two matrices of these sizes."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    if onednn:
        return lambda: onednn_linear(left, right)
    return lambda: functional.linear(left, right)
