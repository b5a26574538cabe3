"""The peers of `caption_guided.py`: the same captioner and the same losses in PyTorch.

`Captioner.losses` is the algorithm batched by hand over images and positions: what does not depend
on the position (words' part of the gates) or on the sentence (state after reading a position) is
outside the loop, and the vocabulary is summed over in blocks, or step by step. `one_by_one` is the
loop over regions that the released code's users write, `ablation` Captum's FeatureAblation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_loop import onednn_linear


class Captioner(nn.Module):
    """`capjax.decoders.S2VT` with weights by name.

    Args:
      params: arrays of the capjax decoder.
      dtype: of matrix products; the state, sums and logarithms are float32. A bfloat16 product's
        result is rounded to bfloat16, since PyTorch offers no other.
      onednn: send float32 products to oneDNN through a private operator (see `torch_loop.py`).
    """

    def __init__(
        self, params: Mapping[str, np.ndarray], dtype: torch.dtype, onednn: bool = False
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.linear = onednn_linear if onednn else functional.linear
        for name, value in params.items():
            tensor = torch.tensor(np.asarray(value, np.float32))
            # Linear layers want [out, in]; contiguous, so that no call transposes.
            matrix = tensor.ndim == 2 and name != "embedding"
            self.register_buffer(name, tensor.T.contiguous().to(dtype) if matrix else tensor)

    def product(self, values: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """values @ kernel in the products' dtype, in float32."""
        return self.linear(values.to(self.dtype), kernel).float()

    def step(
        self, gates: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(h, c) after a step whose input part of the gates is given."""
        return self.cell(gates + self.product(h, self.lstm_recurrent), c)

    @staticmethod
    def cell(gates: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(h, c) from packed pre-activations: input, forget, output, candidate."""
        entry, forget, output, candidate = gates.chunk(4, dim=-1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(entry) * torch.tanh(candidate)
        return torch.sigmoid(output) * torch.tanh(c), c

    def read(self, values: torch.Tensor) -> torch.Tensor:
        """The input part of the gates [… 4n] of descriptors [… D]."""
        projected = self.product(values, self.feature_kernel) + self.feature_bias
        return self.product(projected, self.lstm_features) + self.lstm_bias

    def words(self, tokens: torch.Tensor) -> torch.Tensor:
        """The input part of the gates [B T 4n] of the words before each word."""
        previous = functional.pad(self.embedding[tokens[:, :-1]], (0, 0, 1, 0))
        return self.product(previous, self.lstm_embedding) + self.lstm_bias

    def loss(self, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """-log q(w) [N] after states [N n] for tokens [N]."""
        logits = self.linear(hidden.to(self.dtype), self.head_kernel)
        logits = logits.float() + self.head_bias
        chosen = logits.gather(1, tokens[:, None])[:, 0]
        return torch.logsumexp(logits, dim=1) - chosen

    def losses(self, positions: torch.Tensor, tokens: torch.Tensor, block: int = 0) -> torch.Tensor:
        """Losses [B T P] of descriptors [B P D] and tokens [B T]; `block` rows of logits at once,
        0 for those of one step."""
        batch, count, _ = positions.shape
        h, c = self.cell(self.read(positions), torch.zeros((), device=positions.device))
        words = self.words(tokens)
        found, states = [], []
        for index in range(tokens.shape[1]):
            h, c = self.step(words[:, None, index], h, c)
            states.append(h)
            if not block:
                chosen = tokens[:, index, None].expand(batch, count)
                found.append(self.loss(h.flatten(0, 1), chosen.flatten()))
        if block:
            chosen = tokens.T[:, :, None].expand(-1, batch, count).flatten()
            rows = torch.stack(states).flatten(0, 2)
            parts = zip(rows.split(block), chosen.split(block), strict=True)
            found = torch.cat([self.loss(*part) for part in parts])
            return found.reshape(-1, batch, count).transpose(0, 1)
        return torch.stack(found).reshape(-1, batch, count).transpose(0, 1)

    def forward(self, positions: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probability [B T] of every word after reading all descriptors [B P D]."""
        gates, words = self.read(positions), self.words(tokens)
        h, c = self.cell(gates[:, 0], torch.zeros((), device=positions.device))
        for index in range(1, positions.shape[1]):
            h, c = self.step(gates[:, index], h, c)
        found = []
        for index in range(tokens.shape[1]):
            h, c = self.step(words[:, index], h, c)
            found.append(-self.loss(h, tokens[:, index]))
        return torch.stack(found, dim=1)


def one_by_one(model: Captioner, positions: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Losses [B T P], one image and one region after the other."""
    rows = [
        torch.stack([model.losses(place[None, None], words[None])[0, :, 0] for place in image], 1)
        for image, words in zip(positions, tokens, strict=True)
    ]
    return torch.stack(rows)


def ablation(
    model: Captioner, positions: torch.Tensor, tokens: torch.Tensor, at_once: int
) -> torch.Tensor:
    """Captum's FeatureAblation of every word's log-probability: what leaving a region out costs.

    The tool that exists for the question; its numbers answer another one (one region less instead
    of one region alone). `at_once` regions go through the model together.
    """
    from captum.attr import FeatureAblation

    count = positions.shape[1]
    regions = torch.arange(count, device=positions.device)[None, :, None]

    def scores(image: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return model(image, words.expand(len(image), -1))

    found = []
    for image, words in zip(positions, tokens, strict=True):
        method = FeatureAblation(lambda given, words=words: scores(given, words[None]))
        given = method.attribute(
            image[None], feature_mask=regions, perturbations_per_eval=at_once
        )  # [T P D], the same for every channel of a region
        found.append(given[..., 0])
    return torch.stack(found)
