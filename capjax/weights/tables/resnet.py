"""Weight files of the ResNets."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from capjax.encoders.resnet import ResNet
from capjax.weights.convert import Rule, Table

# torch.nn.Sequential(*resnet.children()) numbers what torchvision names; 2 and 3 have no weights.
CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def resnet_layouts(encoder: ResNet) -> Sequence[Table]:
    """torchvision's and timm's names, which agree, and those of a Sequential of the children.

    The latter, `resnet.<child>.…`, is what the popular PyTorch tutorial of Show, Attend and Tell
    saves. The classifier, batch counters and layers after the encoder's last are ignored.
    """
    unused = tuple(rf"layer{layer}\..*" for layer in range(encoder.stage + 1, 5))
    ignored = (r"fc\.(weight|bias)", r".*\.num_batches_tracked", *unused)
    rules = resnet_rules()
    return (
        Table(rules, ignored, layout="torchvision and timm"),
        Table(rules, ignored, layout="torch Sequential", prepare=_named_children),
    )


def resnet_rules() -> Sequence[Rule]:
    """torchvision's names of what is before the classifier."""
    block = r"layer(\d)\.(\d+)"
    rules = [
        Rule(r"conv1\.weight", "params/conv1/kernel", "OIHW"),
        Rule(rf"{block}\.conv(\d)\.weight", r"params/layer\1_\2/conv\3/kernel", "OIHW"),
        Rule(
            rf"{block}\.downsample\.0\.weight", r"params/layer\1_\2/downsample_conv/kernel", "OIHW"
        ),
    ]
    for theirs, collection, ours in (
        ("weight", "params", "scale"),
        ("bias", "params", "bias"),
        ("running_mean", "batch_stats", "mean"),
        ("running_var", "batch_stats", "var"),
    ):
        rules += [
            Rule(rf"bn1\.{theirs}", f"{collection}/bn1/{ours}"),
            Rule(rf"{block}\.bn(\d)\.{theirs}", rf"{collection}/layer\1_\2/bn\3/{ours}"),
            Rule(
                rf"{block}\.downsample\.1\.{theirs}",
                rf"{collection}/layer\1_\2/downsample_bn/{ours}",
            ),
        ]
    return rules


def _named_children(source: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    def named(key: str) -> str:
        match = re.match(r"(?:resnet\.)?(\d)\.", key)
        if match is None or match[1] not in CHILDREN:
            return key
        return f"{CHILDREN[match[1]]}.{key[match.end() :]}"

    return {named(key): array for key, array in source.items()}
