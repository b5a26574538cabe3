"""Weight files of DETR, from transformers."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from capjax.detectors.detr import Detr
from capjax.weights.convert import Rule, Table
from capjax.weights.tables.resnet import resnet_rules
from capjax.weights.tables.transformer import linear_rules, norm_rules

BACKBONE = r"model\.backbone\.conv_encoder\.model\."
SUBLAYERS = (
    ("encoder", "self_attn", "self"),
    ("decoder", "self_attn", "self"),
    ("decoder", "encoder_attn", "cross"),
)
NORMS = (
    ("encoder", "self_attn_layer_norm", "norm1"),
    ("decoder", "self_attn_layer_norm", "norm1"),
    ("decoder", "encoder_attn_layer_norm", "norm2"),
    ("encoder", "final_layer_norm", "norm3"),
    ("decoder", "final_layer_norm", "norm3"),
)


def detr_layouts(net: Detr) -> Sequence[Table]:
    """transformers' names, with the backbone as timm names it or as transformers does; batch
    counters are ignored."""
    rules = [
        *(
            Rule(BACKBONE + rule.pattern, _of_backbone(rule), rule.transform)
            for rule in resnet_rules()
        ),
        Rule(r"model\.input_projection\.weight", "params/input_projection/kernel", "OI11"),
        Rule(r"model\.input_projection\.bias", "params/input_projection/bias"),
        Rule(r"model\.query_position_embeddings\.weight", "params/queries"),
        *norm_rules(r"model\.decoder\.layernorm", "params/decoder_norm"),
        *linear_rules("class_labels_classifier", "params/classifier"),
        *linear_rules(r"bbox_predictor\.layers\.(\d)", r"params/box_\1"),
    ]
    for part, theirs, ours in SUBLAYERS:
        layer, own = rf"model\.{part}\.layers\.(\d+)\.", rf"params/{part}_\1/{ours}_"
        for letter, name in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "out")):
            rules += linear_rules(rf"{layer}{theirs}\.{letter}_proj", f"{own}{name}")
    for part, theirs, ours in NORMS:
        rules += norm_rules(rf"model\.{part}\.layers\.(\d+)\.{theirs}", rf"params/{part}_\1/{ours}")
    for part in ("encoder", "decoder"):
        layer, own = rf"model\.{part}\.layers\.(\d+)\.", rf"params/{part}_\1/"
        rules += linear_rules(rf"{layer}fc1", f"{own}mlp_in")
        rules += linear_rules(rf"{layer}fc2", f"{own}mlp_out")
    ignored = (r".*\.num_batches_tracked",)
    return (
        Table(rules, ignored, layout="transformers, backbone of timm"),
        Table(rules, ignored, layout="transformers", prepare=_as_timm),
    )


def _of_backbone(rule: Rule) -> str:
    (name,) = rule.names
    return re.sub("^(params|batch_stats)/", r"\1/backbone/", name)


_STEM = re.compile(rf"({BACKBONE})embedder\.embedder\.(\w+)\.(\w+)")
_BLOCK = re.compile(
    rf"({BACKBONE})encoder\.stages\.(\d)\.layers\.(\d+)\.(shortcut|layer\.(\d))\.(\w+)\.(\w+)"
)


def _as_timm(source: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The ResNet of transformers under the names of torchvision and timm."""

    def named(key: str) -> str:
        if match := _STEM.fullmatch(key):
            start, kind, leaf = match.groups()
            return f"{start}{'conv1' if kind == 'convolution' else 'bn1'}.{leaf}"
        if match := _BLOCK.fullmatch(key):
            start, stage, block, where, number, kind, leaf = match.groups()
            own = f"{start}layer{int(stage) + 1}.{block}."
            is_convolution = kind == "convolution"
            if where == "shortcut":
                return f"{own}downsample.{0 if is_convolution else 1}.{leaf}"
            return f"{own}{'conv' if is_convolution else 'bn'}{int(number) + 1}.{leaf}"
        return key

    return {named(key): array for key, array in source.items()}
