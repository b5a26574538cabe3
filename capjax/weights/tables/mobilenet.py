"""Weight files of MobileNet."""

from collections.abc import Sequence

from capjax.encoders.mobilenet import BLOCKS, MobileNet, blocks_of
from capjax.weights.convert import Rule, Table


def mobilenet_layouts(encoder: MobileNet) -> Sequence[Table]:
    """`mobilenet_v1_1.0_224.npz`: our names and layouts; blocks after the output are ignored."""
    last = blocks_of(encoder.output)[-1]
    unused = tuple(rf"block_{number}/.*" for number in range(last + 1, len(BLOCKS) + 1))
    rules = (Rule(r"(conv_0|block_\d+)/(.*)", r"params/\1/\2"),)
    return (Table(rules, ignored=unused, layout="mobilenet_v1 npz"),)
