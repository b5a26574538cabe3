"""Which weight files a module reads: one file of tables a family, and the registry of all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import linen as nn

from capjax.encoders.mobilenet import MobileNet
from capjax.encoders.resnet import ResNet
from capjax.weights.convert import Table
from capjax.weights.tables.mobilenet import mobilenet_layouts
from capjax.weights.tables.resnet import resnet_layouts

TABLES: Mapping[type[nn.Module], Callable[[Any], Sequence[Table]]] = {
    MobileNet: mobilenet_layouts,
    ResNet: resnet_layouts,
}
"""Module class -> (module -> one `Table` for each library whose files fit it)."""
