"""An encoder run on a few images at a time, where that is faster."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

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
    if train or encoder.is_initializing() or not groups_pay(len(images)):
        return encoder(images, train=train, remat=remat)
    free, variables = encoder.unbind()
    features: Features = map_groups(lambda part: free.apply(variables, part), images)
    return features


def map_groups(function: Callable[[Array], Any], x: Shaped[Array, "B *rest"]) -> Any:
    """function(x), computed for at most `LARGEST` members at a time, one group after the other.

    Args:
      function: of a part of x; every array of its result has the batch first, and each member's
        result depends on that member alone.
      x: the batch, cut into the largest equal groups.
    """
    batch, *rest = x.shape
    size = max(size for size in range(1, LARGEST + 1) if batch % size == 0)
    parts = jax.lax.map(function, x.reshape(batch // size, size, *rest))
    return jax.tree.map(lambda leaf: leaf.reshape(batch, *leaf.shape[2:]), parts)


def groups_pay(batch: int) -> bool:
    """Whether a batch is too large to be computed at once on the one device there is."""
    return batch > LARGEST and jax.default_backend() == "cpu" and jax.device_count() == 1
