"""The peer of `counterfactual.py`: the same captioner in eager PyTorch, one picture at a time.

MobileNet v1 and the attention LSTM in the form that ships, and a beam search as a Python loop over
words: what the notebooks of seed 000's kind do for every object. Filling and resizing are capjax's
own on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from capjax.captioner import Captioner
from capjax.decoders import AttentionLSTM
from capjax.decoding import Beam
from capjax.decoding.generate import never_written
from capjax.encoders import MobileNet
from capjax.encoders.mobilenet import BLOCKS, blocks_of

Carry = tuple[torch.Tensor, torch.Tensor]
PLAIN: Mapping[str, Any] = {
    "attend": "positions",
    "reading": "expected",
    "activation": "tanh",
    "gate": "scalar",
    "output": "deep_tanh",
    "init_activation": "tanh",
    "init_layers": 1,
    "start_input": "zero",
}
"""The variant that is written here."""


def check(captioner: Captioner, decoding: object) -> None:
    """Raises ValueError for a captioner, or a search, that this file has no PyTorch for."""
    encoder, decoder = captioner.net.encoder, captioner.net.decoder
    plain = isinstance(decoder, AttentionLSTM) and all(
        getattr(decoder, name) == value for name, value in PLAIN.items()
    )
    if not isinstance(encoder, MobileNet) or not plain or not isinstance(decoding, Beam):
        raise ValueError(
            "PyTorch's side knows MobileNet with the attention LSTM of scalar gate and deep_tanh "
            "output, and the beam search of capjax; give such a model, or --no-torch"
        )


class TorchCaptioner:
    """The captioner's weights as tensors; pictures one at a time, prepared as uint8 [H W 3]."""

    def __init__(self, captioner: Captioner, decoding: Beam, max_len: int) -> None:
        check(captioner, decoding)
        params = captioner.variables["params"]
        self.net, self.decoding, self.max_len = captioner.net, decoding, max_len
        self.eos, self.never = captioner.text.eos, list(never_written(captioner.text))
        self.weights = {name: torch.tensor(np.asarray(v)) for name, v in params["decoder"].items()}
        self.convolutions = _convolutions(params["encoder"])

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> torch.Tensor:
        """Annotation vectors [L D] of a picture."""
        return self.project(self.maps(torch.tensor(pixels)[None]))[0]

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """The encoder's map [B D h w] of pictures [B H W 3]."""
        x = (pixels.float() - torch.tensor(self.net.mean)) / torch.tensor(self.net.std)
        x = _same(x.permute(0, 3, 1, 2), *self.convolutions["conv_0"], stride=2)
        blocks = blocks_of(self.net.encoder.output)
        maps = []
        for number in range(1, blocks[-1] + 1):
            depthwise, pointwise = (
                self.convolutions[f"block_{number}/{part}"] for part in ("depthwise", "pointwise")
            )
            x = _same(x, *depthwise, stride=BLOCKS[number - 1][1], groups=x.shape[1])
            x = functional.relu6(functional.conv2d(x, *pointwise))
            if number in blocks:
                maps.append(x)
        rows, columns = maps[0].shape[2:]
        spread = [
            own.repeat_interleave(-(-rows // own.shape[2]), 2).repeat_interleave(
                -(-columns // own.shape[3]), 3
            )[:, :, :rows, :columns]
            for own in maps
        ]
        return torch.cat(spread, 1)

    def project(self, maps: torch.Tensor) -> torch.Tensor:
        """Annotation vectors [B L D] of the encoder's maps."""
        values = maps.flatten(2).mT
        if self.net.decoder.projection:
            values = functional.relu(self.affine(values, "projection_kernel", "projection_bias"))
        return values

    @torch.inference_mode()
    def caption(self, values: torch.Tensor) -> list[int]:
        """Tokens of the best caption."""
        h, c, keys = self.start(values[None])
        last, totals, said = torch.tensor([-1]), torch.zeros(1), [list[int]()]
        finished: list[tuple[float, list[int]]] = []
        for _ in range(self.max_len):
            (h, c), hidden, _ = self.step((h, c), last, values[None], keys)
            log_probs = functional.log_softmax(self.affine(hidden, "head_kernel", "head_bias"), 1)
            log_probs[:, self.never] = -torch.inf
            places = self.decoding.width - len(finished)
            best, chosen = (totals[:, None] + log_probs).flatten().topk(places)
            parents, words = chosen // log_probs.shape[1], chosen % log_probs.shape[1]
            longer = [
                [*said[parent], word]
                for parent, word in zip(parents.tolist(), words.tolist(), strict=True)
            ]
            live = (words != self.eos).nonzero()[:, 0]
            finished += [
                (float(best[at]), own) for at, own in enumerate(longer) if own[-1] == self.eos
            ]
            h, c, last, totals = h[parents[live]], c[parents[live]], words[live], best[live]
            said = [longer[at] for at in live.tolist()]
            if not said:
                break
        ended = finished + list(zip(totals.tolist(), said, strict=True))
        return max(ended, key=lambda own: own[0] / len(own[1]) ** self.decoding.length_penalty)[1]

    @torch.inference_mode()
    def read(
        self, values: torch.Tensor, sentences: Sequence[Sequence[int]]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Log-probabilities [T] and attention [T L] of each sentence, teacher-forced together."""
        length = max(map(len, sentences))
        tokens = torch.tensor([[*own, *[0] * (length - len(own))] for own in sentences])
        log_probs, attention = self.force(values[None], tokens)
        sizes = list(map(len, sentences))
        return (
            [own[:size].numpy() for own, size in zip(log_probs, sizes, strict=True)],
            [own[:size].numpy() for own, size in zip(attention, sizes, strict=True)],
        )

    def force(
        self, values: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities [B T] and attention [B T L] of tokens [B T], with annotation vectors
        [B L D], or [1 L D] for all."""
        h, c, keys = self.start(values)
        carry = (h.expand(len(tokens), -1), c.expand(len(tokens), -1))
        last, found, maps = torch.full((len(tokens),), -1), [], []
        for words in tokens.T:
            carry, hidden, alpha = self.step(carry, last, values, keys)
            logits = self.affine(hidden, "head_kernel", "head_bias")
            found.append(functional.log_softmax(logits, 1).gather(1, words[:, None])[:, 0])
            maps.append(alpha)
            last = words
        return torch.stack(found, 1), torch.stack(maps, 1)

    def affine(self, values: torch.Tensor, kernel: str, bias: str) -> torch.Tensor:
        """An affine map by the names of its weights."""
        return values @ self.weights[kernel] + self.weights[bias]

    def start(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """State and keys of annotation vectors [B L D]."""
        mean = values.mean(1)
        h, c = (
            torch.tanh(self.affine(mean, f"init_{name}_kernel", f"init_{name}_bias"))
            for name in "hc"
        )
        return h, c, self.affine(values, "attention_features", "attention_bias")

    def step(
        self, carry: Carry, last: torch.Tensor, values: torch.Tensor, keys: torch.Tensor
    ) -> tuple[Carry, torch.Tensor, torch.Tensor]:
        """State, deep output and attention after the words `last`, -1 for none."""
        own, (h, c) = self.weights, carry
        word = own["embedding"][last.clamp(min=0)] * (last >= 0)[:, None]
        active = torch.tanh(keys + (h @ own["attention_hidden"])[:, None])
        alpha = torch.softmax((active @ own["attention_score"])[..., 0], 1)
        context = (alpha[:, None] @ values)[:, 0]
        context = context * torch.sigmoid(self.affine(h, "gate_kernel", "gate_bias"))
        gates = word @ own["lstm_embedding"] + context @ own["lstm_context"]
        gates = gates + self.affine(h, "lstm_recurrent", "lstm_bias")
        entry, forget, output, candidate = gates.chunk(4, 1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(entry) * torch.tanh(candidate)
        h = torch.sigmoid(output) * torch.tanh(c)
        hidden = word + self.affine(h, "output_hidden", "output_bias")
        return (h, c), torch.tanh(hidden + context @ own["output_context"]), alpha


def _convolutions(params: Mapping[str, Any]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Kernels [O I h w] and biases by name."""
    found = {}
    for name, own in params.items():
        for part, layer in ({"": own} if "kernel" in own else own).items():
            kernel = torch.tensor(np.asarray(layer["kernel"])).permute(3, 2, 0, 1).contiguous()
            found[f"{name}/{part}".rstrip("/")] = (kernel, torch.tensor(np.asarray(layer["bias"])))
    return found


def _same(
    x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, *, stride: int, groups: int = 1
) -> torch.Tensor:
    """A 3x3 convolution with the borders of TensorFlow's "SAME", and ReLU6."""
    sides = []
    for size in (x.shape[3], x.shape[2]):  # last axis first, as `pad` wants it
        total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        sides += [total // 2, total - total // 2]
    found = functional.conv2d(functional.pad(x, sides), kernel, bias, stride, groups=groups)
    return functional.relu6(found)
