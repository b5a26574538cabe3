"""An encoder run on a few images at a time, where that is faster."""

from typing import Any

from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import PERTURBATIONS, by_image
from capjax.ops import groups
from capjax.types import Features

LARGEST = 4


def encode(
    encoder: nn.Module, images: Float[Array, "B H W 3"], *, train: bool, remat: bool
) -> Features:
    """The features of images; on a CPU of a few at a time, unless they share statistics.

    What a CPU computes of a few images stays in its caches, and its memory need not be given to
    the process anew at every call: 16 images of ResNet-50 take 0.64 s of one core instead of 0.73,
    of EfficientNetV2-S 1.44 instead of 1.72. An accelerator wants the batch whole.

    Args:
      encoder: bound to its variables.
      images: normalised.
      train: batch statistics are those of this batch.
      remat: of the encoder, in training.
    """
    if train or encoder.is_initializing() or len(images) <= LARGEST or not groups.groups_pay():
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

    features: Features = groups.map_groups(encode_part, (images, own), LARGEST)
    return features
