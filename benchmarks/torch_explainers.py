"""The peers of `explainers.py`: the same captioner and the same maps in PyTorch and Captum.

Captum is asked word by word, as its users do, and with as many words of as many images at once as
it takes. The methods batched by hand encode once, read all words from one pass, and take all
perturbed copies of a chunk together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from captum import attr
from torch import nn
from torch.nn import functional
from torch_loop import Loop

COPIES = 128
"""Perturbed images that go through the net together."""


class Captioner(nn.Module):
    """Normalised images [K 3 H W] and tokens [K T] to log-probabilities [K T].

    Args:
      resnet: of torchvision.
      params: of the capjax decoder, by name.
    """

    def __init__(self, resnet: nn.Module, params: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*list(resnet.children())[:-2])
        self.loop = Loop(params, torch.float32)
        self.eval().requires_grad_(False)
        self.trunk.to(memory_format=torch.channels_last)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """[K L D] of normalised images."""
        maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return maps.flatten(2).transpose(1, 2)

    def read(self, values: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """[K T] log-probabilities of tokens given features [K L D]."""
        logits = self.loop.logits(values, tokens)
        chosen = logits.gather(2, tokens[..., None])[..., 0]
        return chosen - torch.logsumexp(logits, dim=2)

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """[K T] log-probabilities of tokens given images."""
        return self.read(self.encode(images), tokens)


class Batched:
    """The four methods batched by hand.

    Args:
      model: the captioner.
      images: normalised [B 3 H W].
      tokens: [B T].
      vectorised: gradients of all words in one backward pass (`is_grads_batched`), else one pass a
        word through the same graph.
    """

    def __init__(
        self, model: Captioner, images: torch.Tensor, tokens: torch.Tensor, vectorised: bool
    ) -> None:
        self.model, self.images, self.tokens = model, images, tokens
        self.vectorised = vectorised

    def slopes(self, positions: torch.Tensor) -> torch.Tensor:
        """[T B L D] gradients of every word's log-probability by the features."""
        given = positions.detach().requires_grad_()
        scores = self.model.read(given, self.tokens).sum(0)
        eye = torch.eye(len(scores))
        if self.vectorised:
            return torch.autograd.grad(scores, given, eye, is_grads_batched=True)[0]
        return torch.stack(
            [torch.autograd.grad(scores, given, row, retain_graph=True)[0] for row in eye]
        )

    def gradcam(self) -> torch.Tensor:
        """[B T L] without the ReLU."""
        with torch.no_grad():
            seen = self.model.encode(self.images)
        return torch.einsum("bld,tbd->btl", seen, self.slopes(seen).mean(2))

    def integrated_gradients(self, steps: int) -> torch.Tensor:
        """[B T L] from the mean feature, by Gauss and Legendre."""
        with torch.no_grad():
            seen = self.model.encode(self.images)
        start = seen.mean(1, keepdim=True)
        way, total = seen - start, torch.zeros(())
        for node, share in zip(*np.polynomial.legendre.leggauss(steps), strict=True):
            place = start + (node + 1) / 2 * way
            total = total + share / 2 * (self.slopes(place) * way).sum(-1)
        return total.transpose(0, 1)

    @torch.inference_mode()
    def occlusion(self, side: int) -> torch.Tensor:
        """[B T H W], windows side by side."""
        count, _, height, width = self.images.shape
        whole = self.model(self.images, self.tokens)
        windows = torch.arange(height * width // side**2)
        cells = windows.reshape(height // side, width // side)
        labels = cells.repeat_interleave(side, 0).repeat_interleave(side, 1)
        lost = []
        for chunk in windows.split(COPIES // count):
            shown = (labels != chunk[:, None, None])[None, :, None]
            lost.append(whole[:, None] - self.scores(self.images[:, None] * shown))
        lost = torch.cat(lost, 1).transpose(1, 2)
        return lost[..., labels.flatten()].unflatten(2, labels.shape)

    @torch.inference_mode()
    def rise(
        self,
        masks: torch.Tensor | int,
        pilot: torch.Tensor | int,
        cells: int,
        chance: float = 0.5,
    ) -> torch.Tensor:
        """[B T H W] through masks [B M H W], or so many that are drawn here; scores are centred at
        their mean through those of the pilot."""
        drawn = isinstance(masks, int)
        number = masks if drawn else masks.shape[1]
        count, total = len(self.images), torch.zeros(())
        first = self.draw(pilot, cells, chance) if isinstance(pilot, int) else pilot
        centre = self.scores(self.images[:, None] * first[:, :, None]).exp().mean(1)
        for chunk in torch.arange(number).split(COPIES // count):
            shown = self.draw(len(chunk), cells, chance) if drawn else masks[:, chunk]
            scores = self.scores(self.images[:, None] * shown[:, :, None]).exp()
            total = total + torch.einsum("bkt,bkhw->bthw", scores - centre[:, None], shown)
        return centre[..., None, None] + total / (number * chance)

    def scores(self, copies: torch.Tensor) -> torch.Tensor:
        """[B K T] of copies [B K 3 H W]."""
        tokens = self.tokens[:, None].expand(-1, copies.shape[1], -1)
        found = self.model(copies.flatten(0, 1), tokens.flatten(0, 1))
        return found.unflatten(0, copies.shape[:2])

    def draw(self, number: int, cells: int, chance: float) -> torch.Tensor:
        """[B number H W] masks of RISE."""
        size = self.images.shape[2:]
        sides = [-(-pixels // cells) for pixels in size]
        grids = (torch.rand(len(self.images) * number, 1, cells, cells) < chance).float()
        whole = [(cells + 1) * side for side in sides]
        large = functional.interpolate(grids, whole, mode="bilinear", align_corners=False)[:, 0]
        shifts = np.stack([np.random.randint(0, side, len(large)) for side in sides], 1)
        cuts = [
            mask[y : y + size[0], x : x + size[1]]
            for mask, (y, x) in zip(large, shifts.tolist(), strict=True)
        ]
        return torch.stack(cuts).unflatten(0, (-1, number))


class Captum:
    """The methods that Captum has, as its users ask for them.

    Args:
      model, images, tokens: as of `Batched`.
    """

    def __init__(self, model: Captioner, images: torch.Tensor, tokens: torch.Tensor) -> None:
        self.model, self.images, self.tokens = model, images, tokens

    def each(self, one: object, rows: int, words: int) -> torch.Tensor:
        """`one(image [1 …], tokens [1 T], word)` of the first rows and words, stacked."""
        found = [
            torch.stack(
                [one(self.images[[row]], self.tokens[[row]], word) for word in range(words)]
            )
            for row in range(rows)
        ]
        return torch.stack(found)

    def gradcam(self, rows: int, words: int) -> torch.Tensor:
        """[rows words L]."""
        method = attr.LayerGradCam(self.model, self.model.trunk)

        def one(image: torch.Tensor, tokens: torch.Tensor, word: int) -> torch.Tensor:
            given = image.clone().requires_grad_()
            maps = method.attribute(given, target=word, additional_forward_args=tokens)
            return maps.detach().flatten()

        return self.each(one, rows, words)

    def gradcam_at_once(self) -> torch.Tensor:
        """[B T L], every word of every image a row of one batch."""
        images, tokens, words = self._rows()
        method = attr.LayerGradCam(self.model, self.model.trunk)
        given = images.clone().requires_grad_()
        maps = method.attribute(given, target=words, additional_forward_args=tokens)
        return maps.detach().flatten(1).unflatten(0, self.tokens.shape)

    def integrated_gradients(self, rows: int, words: int, steps: int) -> torch.Tensor:
        """[rows words L]."""
        method = attr.IntegratedGradients(self.model.read)
        options = {"n_steps": steps, "method": "gausslegendre"}

        def one(image: torch.Tensor, tokens: torch.Tensor, word: int) -> torch.Tensor:
            with torch.no_grad():
                seen = self.model.encode(image)
            start = seen.mean(1, keepdim=True).expand_as(seen)
            maps = method.attribute(
                seen, start, target=word, additional_forward_args=tokens, **options
            )
            return maps.detach().sum(-1)[0]

        return self.each(one, rows, words)

    def integrated_gradients_at_once(self, steps: int) -> torch.Tensor:
        """[B T L], every word of every image a row of one batch, a chunk of the steps at a time."""
        with torch.no_grad():
            seen = self.model.encode(self.images)
        _, tokens, words = self._rows()
        seen = seen.repeat_interleave(self.tokens.shape[1], 0)
        start = seen.mean(1, keepdim=True).expand_as(seen)
        maps = attr.IntegratedGradients(self.model.read).attribute(
            *(seen, start),
            target=words,
            additional_forward_args=tokens,
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=2 * len(seen),
        )
        return maps.detach().sum(-1).unflatten(0, self.tokens.shape)

    @torch.no_grad()
    def occlusion(self, rows: int, words: int, side: int) -> torch.Tensor:
        """[rows words H W], windows side by side."""
        method = attr.Occlusion(self.model)

        def one(image: torch.Tensor, tokens: torch.Tensor, word: int) -> torch.Tensor:
            maps = method.attribute(
                *(image, (3, side, side), (3, side, side)),
                target=word,
                additional_forward_args=tokens,
                perturbations_per_eval=COPIES,
            )
            return maps[0, 0]

        return self.each(one, rows, words)

    @torch.no_grad()
    def occlusion_at_once(self, side: int) -> torch.Tensor:
        """[B T H W], all words of one image after the other."""
        found = []
        for image, tokens in zip(self.images, self.tokens, strict=True):
            method = attr.Occlusion(
                lambda given, tokens=tokens: self.model(given, tokens.expand(len(given), -1))
            )
            maps = method.attribute(
                *(image[None], (3, side, side), (3, side, side)), perturbations_per_eval=COPIES
            )
            found.append(maps[:, 0])
        return torch.stack(found)

    def _rows(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images, tokens and words, one row for every word of every image."""
        count = self.tokens.shape[1]
        words = torch.arange(count).repeat(len(self.images))
        images, tokens = (own.repeat_interleave(count, 0) for own in (self.images, self.tokens))
        return images, tokens, words
