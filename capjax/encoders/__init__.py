"""Encoders: normalised images in, features out. One file an architecture.

Every encoder is a linen module with `__call__(images, train=False) -> Features` and a static
`preprocessing(size=...)`, the default it was made for; the resolved values are saved with a model.
"""

from capjax.encoders.convnet import ConvNet
from capjax.encoders.mobilenet import MobileNet
from capjax.encoders.resnet import ResNet

ENCODERS = {"convnet": ConvNet, "mobilenet": MobileNet, "resnet": ResNet}
