"""Which weight files a module reads: one file of tables a family, and the registry of all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import linen as nn

from capjax.decoders.gpt2 import GPT2
from capjax.detectors.detr import Detr
from capjax.encoders.efficientnet import EfficientNetV2
from capjax.encoders.inception import InceptionV3
from capjax.encoders.mobilenet import MobileNet
from capjax.encoders.resnet import ResNet
from capjax.encoders.vgg import VGG
from capjax.encoders.vit import ViT
from capjax.text.bert import Bert
from capjax.text.clip_text import ClipText
from capjax.weights.convert import Table
from capjax.weights.tables.bert import bert_layouts
from capjax.weights.tables.clip_text import clip_text_layouts
from capjax.weights.tables.detr import detr_layouts
from capjax.weights.tables.efficientnet import efficientnet_layouts
from capjax.weights.tables.gpt2 import gpt2_layouts
from capjax.weights.tables.inception import inception_layouts
from capjax.weights.tables.mobilenet import mobilenet_layouts
from capjax.weights.tables.resnet import resnet_layouts
from capjax.weights.tables.vgg import vgg_layouts
from capjax.weights.tables.vit import vit_layouts

TABLES: Mapping[type[nn.Module], Callable[[Any], Sequence[Table]]] = {
    Bert: bert_layouts,
    ClipText: clip_text_layouts,
    Detr: detr_layouts,
    EfficientNetV2: efficientnet_layouts,
    GPT2: gpt2_layouts,
    InceptionV3: inception_layouts,
    MobileNet: mobilenet_layouts,
    ResNet: resnet_layouts,
    VGG: vgg_layouts,
    ViT: vit_layouts,
}
"""Module class -> (module -> one `Table` for each library whose files fit it)."""
