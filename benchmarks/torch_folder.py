"""The peers of `folder_peers.py`: caption-guided maps and Grad-CAM of every word, in PyTorch.

`Captum` is what people do today: one photograph after the other, one word after the other.
`Batched` has the same methods batched by hand: all words of all images of a batch together. Both
stand on the captioner of `torch_counterfactual.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from captum.attr import FeatureAblation, LayerGradCam
from torch import nn
from torch.nn import functional
from torch_counterfactual import TorchCaptioner


class Told(NamedTuple):
    """Of one photograph: its caption's tokens, and maps [T L] of each of them by both methods."""

    tokens: list[int]
    caption_guided: np.ndarray
    gradcam: np.ndarray


class _Whole(nn.Module):
    """Pictures [B H W 3] and tokens [B T] to log-probabilities [B T], with a layer to hook."""

    def __init__(self, model: TorchCaptioner) -> None:
        super().__init__()
        self.model, self.seen = model, nn.Identity()

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        maps = self.seen(self.model.maps(pixels))
        return self.model.force(self.model.project(maps), tokens)[0]


class Captum:
    """Captum's FeatureAblation and LayerGradCam, asked for one word of one photograph.

    FeatureAblation is given what hides each position: to ablate one of these features is to show
    that position and no other. Before, nothing is shown, which counts as 0, so that what it
    attributes is minus the log-probability after one position alone, as in caption-guided saliency.

    Args:
      model: the captioner.
      at_once: positions that go through the decoder together; Captum's default is 1.
    """

    def __init__(self, model: TorchCaptioner, at_once: int) -> None:
        self.model, self.at_once = model, at_once
        self.whole = _Whole(model)
        self.cam = LayerGradCam(self.whole, self.whole.seen)

    def __call__(self, pixels: np.ndarray) -> Told:
        """Caption and maps of a photograph, uint8 [H W 3]."""
        values = self.model.encode(pixels)
        said = self.model.caption(values)
        tokens = torch.tensor([said])
        guided, cams = [], []
        for word in range(len(said)):
            heard = tokens[:, : word + 1]  # what comes after a word does not matter to it
            guided.append(self._guided(values, heard))
            given = torch.tensor(pixels)[None].float().requires_grad_()
            cams.append(self.cam.attribute(given, target=word, additional_forward_args=heard))
        return Told(said, torch.stack(guided).numpy(), torch.cat(cams).detach().flatten(1).numpy())

    @torch.no_grad()
    def _guided(self, values: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        def score(hidden: torch.Tensor) -> torch.Tensor:
            if hidden.all():
                return torch.zeros(len(hidden))
            alone = values[(hidden == 0).int().argmax(1)][:, None]
            return self.model.force(alone, heard.expand(len(hidden), -1))[0][:, -1]

        hidden = torch.ones(1, len(values))
        return -FeatureAblation(score).attribute(hidden, perturbations_per_eval=self.at_once)[0]


class Batched:
    """The same batched by hand: a beam of all images, all words and positions of a batch at once.

    Args:
      model: the captioner.
      vectorised: Grad-CAM's gradients of all words in one backward pass (`is_grads_batched`), else
        one pass a word through the same graph.
    """

    def __init__(self, model: TorchCaptioner, vectorised: bool) -> None:
        self.model, self.vectorised = model, vectorised

    def __call__(self, pixels: np.ndarray) -> list[Told]:
        """Captions and maps of photographs, uint8 [B H W 3]."""
        with torch.no_grad():
            maps = self.model.maps(torch.tensor(pixels))
            values = self.model.project(maps)
            said = self.captions(values)
            length = max(map(len, said))
            tokens = torch.tensor([[*own, *[0] * (length - len(own))] for own in said])
            guided = self.guided(values, tokens).numpy()
        cams = self.gradcam(maps, tokens).numpy()
        return [
            Told(own, guided[row, : len(own)], cams[row, : len(own)])
            for row, own in enumerate(said)
        ]

    def captions(self, values: torch.Tensor) -> list[list[int]]:
        """Tokens of the best caption of each image, of annotation vectors [B L D]."""
        model, width = self.model, self.model.decoding.width
        batch = len(values)
        h, c, keys = (own.repeat_interleave(width, 0) for own in model.start(values))
        wide = values.repeat_interleave(width, 0)
        last = torch.full((batch * width,), -1)
        totals = torch.full((batch, width), -torch.inf)
        totals[:, 0] = 0
        finished = torch.zeros(batch, width, dtype=torch.bool)
        said = torch.zeros(batch, width, 0, dtype=torch.long)
        lengths = torch.zeros(batch, width, dtype=torch.long)
        for _ in range(model.max_len):
            (h, c), hidden, _ = model.step((h, c), last, wide, keys)
            log_probs = functional.log_softmax(model.affine(hidden, "head_kernel", "head_bias"), 1)
            log_probs[:, model.never] = -torch.inf
            log_probs = log_probs.unflatten(0, (batch, width))
            vocabulary = log_probs.shape[2]
            extended = totals[..., None] + log_probs
            extended[finished] = -torch.inf
            extended[..., 0][finished] = torch.inf  # itself, which keeps its place
            best, chosen = extended.flatten(1).topk(width)
            parents, words = chosen // vocabulary, chosen % vocabulary
            stays = finished.gather(1, parents)
            totals = torch.where(stays, totals.gather(1, parents), best)
            said = said.gather(1, parents[..., None].expand(-1, -1, said.shape[2]))
            said = torch.cat([said, words[..., None]], 2)
            lengths = lengths.gather(1, parents) + ~stays
            finished = stays | (words == model.eos)
            rows = (torch.arange(batch)[:, None] * width + parents).flatten()
            h, c, last = h[rows], c[rows], words.flatten()
            if finished.all():
                break
        scores = totals / lengths**model.decoding.length_penalty
        best = scores.argmax(1)
        return [said[row, at, : lengths[row, at]].tolist() for row, at in enumerate(best.tolist())]

    def guided(self, values: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """[B T L] of annotation vectors [B L D] and tokens [B T].

        Attention on one position is 1, so what multiplies its vector does so once for all words.
        """
        model, own = self.model, self.model.weights
        batch, places, _ = values.shape
        rows = values.flatten(0, 1)
        h, c, _ = model.start(rows[:, None])
        seen, written = rows @ own["lstm_context"], rows @ own["output_context"]
        before = functional.pad(own["embedding"][tokens[:, :-1]], (0, 0, 1, 0))  # [B T m]
        inputs = before @ own["lstm_embedding"] + own["lstm_bias"]
        found = []
        for word in range(tokens.shape[1]):
            gate = torch.sigmoid(model.affine(h, "gate_kernel", "gate_bias"))
            gates = torch.addcmul(h @ own["lstm_recurrent"], gate, seen)
            gates = gates + inputs[:, word].repeat_interleave(places, 0)
            entry, forget, output, candidate = gates.chunk(4, 1)
            c = torch.sigmoid(forget) * c + torch.sigmoid(entry) * torch.tanh(candidate)
            h = torch.sigmoid(output) * torch.tanh(c)
            hidden = model.affine(h, "output_hidden", "output_bias") + gate * written
            hidden = torch.tanh(hidden + before[:, word].repeat_interleave(places, 0))
            logits = model.affine(hidden, "head_kernel", "head_bias")
            chosen = tokens[:, word].repeat_interleave(places)[:, None]
            found.append(logits.gather(1, chosen)[:, 0] - logits.logsumexp(1))
        return torch.stack(found, 1).unflatten(0, (batch, places)).mT

    def gradcam(self, maps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """[B T L] of the encoder's maps [B D h w] and tokens [B T]."""
        given = maps.detach().requires_grad_()
        scores = self.model.force(self.model.project(given), tokens)[0].sum(0)
        eye = torch.eye(len(scores))
        if self.vectorised:
            (slopes,) = torch.autograd.grad(scores, given, eye, is_grads_batched=True)
            weights = slopes.mean((3, 4))
        else:
            weights = torch.stack(
                [
                    torch.autograd.grad(scores, given, row, retain_graph=True)[0].mean((2, 3))
                    for row in eye
                ]
            )
        return torch.einsum("bdl,tbd->btl", maps.flatten(2), weights)
