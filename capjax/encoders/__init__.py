"""Encoders: normalised images in, features out. One file an architecture.

Every encoder is an `Encoder`, a linen module with `__call__(images, train=False, remat=False) ->
Features`, `stages()`, the names of its maps from first to last, and `preprocessing(size=...)`, the
default it was made for; the resolved values are saved with a model.
With `remat` the backward pass recomputes the inside of a block, one block after the other, which
changes no number. A single checkpoint around the encoder would save nothing, since all activations
would be alive at once.
"""

from capjax.encoders.convnet import ConvNet
from capjax.encoders.efficientnet import EfficientNetV2
from capjax.encoders.inception import InceptionV3
from capjax.encoders.mobilenet import MobileNet
from capjax.encoders.resnet import ResNet
from capjax.encoders.vgg import VGG
from capjax.encoders.vit import ViT

ENCODERS = {
    "convnet": ConvNet,
    "efficientnet_v2": EfficientNetV2,
    "inception_v3": InceptionV3,
    "mobilenet": MobileNet,
    "resnet": ResNet,
    "vgg": VGG,
    "vit": ViT,
}
