"""Runs an encoder, on a CPU a few images at a time."""

from typing import Any

from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import PERTURBATIONS, by_image
from capjax.ops import chunks
from capjax.types import Features

LARGEST = 4
"""Images at a time."""


def encode(
    encoder: nn.Module, images: Float[Array, "B H W 3"], *, train: bool, remat: bool
) -> Features:
    """Encodes images; outside training a CPU takes `LARGEST` at a time.

    A few images fit a CPU's caches, and their memory is reused from call to call: 16 images take
    ResNet-50 0.64 s of one core instead of 0.73, EfficientNetV2-S 1.44 s instead of 1.72. An
    accelerator is faster on the whole batch.

    Args:
      encoder: bound to its variables.
      images: normalised.
      train: whether batch norm uses the statistics of this batch, which then stays whole.
      remat: of the encoder, in training.
    """
    if train or encoder.is_initializing() or len(images) <= LARGEST or not chunks.chunking_pays():
        return encoder(images, train=train, remat=remat)
    free, variables = encoder.unbind()
    shared = {name: tree for name, tree in variables.items() if name != PERTURBATIONS}
    own = {}
    if PERTURBATIONS in variables:
        own[PERTURBATIONS] = by_image(variables[PERTURBATIONS], len(images))

    def encode_part(part: tuple[Array, dict[str, Any]]) -> Features:
        images, own = part
        features: Any = free.apply({**shared, **own}, images)
        return features

    features: Features = chunks.map_chunks(encode_part, (images, own), LARGEST)
    return features
