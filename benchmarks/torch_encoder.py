"""The peer of `train_encoder.py`: torchvision's ResNet in front of the loop of `torch_loop.py`.

Tuned: maps are channels_last, the encoder runs under autocast where the products are bfloat16, Adam
is the fused one, cuDNN chooses its algorithms by trying them, and images and features lie on the
device already. Batch norm uses its running statistics, as capjax's does by default.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch_loop
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tests.golden.resnet_torchvision import import_torchvision  # noqa: E402

BRANCH_SCALE = 0.2
"""Of the last batch norm of every block, so that maps of random weights stay of one size."""


def random_resnet(depth: int) -> nn.Module:
    """torchvision's ResNet with seeded weights."""
    torch.manual_seed(0)
    net = getattr(import_torchvision().models, f"resnet{depth}")(weights=None)
    for name, value in net.named_parameters():
        if name.endswith("bn3.weight" if depth >= 50 else "bn2.weight"):
            nn.init.constant_(value, BRANCH_SCALE)
    return net


class Captioner(nn.Module):
    """Images, or features, and tokens to the loss.

    Args:
      resnet: of torchvision.
      params: of the capjax decoder, by name.
      grid: (h, w) of the map that attention reads.
      dtype: of products.
      train_encoder: whether the encoder has gradients.
    """

    def __init__(
        self,
        resnet: nn.Module,
        params: Mapping[str, np.ndarray],
        *,
        grid: tuple[int, int],
        dtype: torch.dtype,
        train_encoder: bool,
    ) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*list(resnet.children())[:-2]).eval()
        self.trunk.requires_grad_(train_encoder)
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.loop = torch_loop.Loop(params, dtype)
        self.dtype, self.train_encoder = dtype, train_encoder

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B 3 H W] to features [B L D]."""
        with (
            torch.set_grad_enabled(self.train_encoder),
            torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32),
        ):
            maps = self.pool(self.trunk(images))
        return maps.permute(0, 2, 3, 1).flatten(1, 2).to(self.dtype)

    def forward(self, seen: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of `tokens` [B T] given images [B 3 H W] or features [B L D]."""
        return self.loop(self.encode(seen) if seen.ndim == 4 else seen.to(self.dtype), tokens)


def training_step(
    captioner: Captioner,
    seen: np.ndarray,
    tokens: np.ndarray,
    *,
    learning_rate: float,
    compiled: bool,
) -> Callable[[], float]:
    """A function that does one more update and returns the loss before it.

    Args:
      captioner: moved to the GPU where there is one.
      seen: normalised images [B H W 3] or features [B L D].
      tokens: [B T].
      learning_rate: of Adam.
      compiled: through `torch.compile`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    captioner = captioner.to(device)
    captioner.trunk.to(memory_format=torch.channels_last)
    given = torch.tensor(seen, device=device)
    if given.ndim == 4:
        given = given.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    words = torch.tensor(tokens, dtype=torch.long, device=device)
    trained = [value for value in captioner.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=learning_rate, fused=True)
    forward = torch.compile(captioner) if compiled else captioner

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(given, words)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
