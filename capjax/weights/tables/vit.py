"""Weight files of ViT: transformers, timm (query, key and value as one) and torchvision."""

from collections.abc import Sequence

from capjax.encoders.vit import ViT
from capjax.weights.convert import Rule, Table
from capjax.weights.tables.transformer import fused_rules, linear_rules, norm_rules


def vit_layouts(encoder: ViT) -> Sequence[Table]:
    """The three layouts, which fit every size; poolers and classifiers are ignored."""
    del encoder
    return (
        Table(
            transformers_rules(r"(?:vit\.)?"),
            ignored=(r"(vit\.)?(pooler\..*|embeddings\.mask_token)", r"classifier\..*"),
            layout="transformers",
        ),
        Table(_timm_rules(), ignored=(r"head\..*",), layout="timm"),
        Table(_torchvision_rules(), ignored=(r"heads\..*",), layout="torchvision"),
    )


def transformers_rules(prefix: str = "", scope: str = "params") -> list[Rule]:
    """Rules for the keys of transformers' ViTModel.

    Args:
      prefix: pattern of what stands before each key, without groups that count.
      scope: where the encoder's parameters are in ours.
    """
    block, ours = rf"{prefix}encoder\.layer\.(\d+)\.", rf"{scope}/block_\1/"
    return [
        Rule(rf"{prefix}embeddings\.cls_token", f"{scope}/class_token"),
        Rule(rf"{prefix}embeddings\.position_embeddings", f"{scope}/position_embedding"),
        Rule(
            rf"{prefix}embeddings\.patch_embeddings\.projection\.weight",
            f"{scope}/patch_kernel",
            "OIHW",
        ),
        Rule(rf"{prefix}embeddings\.patch_embeddings\.projection\.bias", f"{scope}/patch_bias"),
        Rule(
            rf"{block}attention\.attention\.(query|key|value)\.weight",
            rf"{ours}\2/kernel",
            "OI",
        ),
        Rule(rf"{block}attention\.attention\.(query|key|value)\.bias", rf"{ours}\2/bias"),
        *linear_rules(rf"{block}attention\.output\.dense", f"{ours}out"),
        *linear_rules(rf"{block}intermediate\.dense", f"{ours}mlp_in"),
        *linear_rules(rf"{block}output\.dense", f"{ours}mlp_out"),
        *norm_rules(rf"{block}layernorm_before", f"{ours}norm1"),
        *norm_rules(rf"{block}layernorm_after", f"{ours}norm2"),
        *norm_rules(rf"{prefix}layernorm", f"{scope}/norm"),
    ]


def _timm_rules() -> list[Rule]:
    block, ours = r"blocks\.(\d+)\.", r"params/block_\1/"
    return [
        Rule(r"cls_token", "params/class_token"),
        Rule(r"pos_embed", "params/position_embedding"),
        Rule(r"patch_embed\.proj\.weight", "params/patch_kernel", "OIHW"),
        Rule(r"patch_embed\.proj\.bias", "params/patch_bias"),
        *fused_rules(rf"{block}attn\.qkv\.", ours),
        *linear_rules(rf"{block}attn\.proj", f"{ours}out"),
        *linear_rules(rf"{block}mlp\.fc1", f"{ours}mlp_in"),
        *linear_rules(rf"{block}mlp\.fc2", f"{ours}mlp_out"),
        *norm_rules(rf"{block}norm1", f"{ours}norm1"),
        *norm_rules(rf"{block}norm2", f"{ours}norm2"),
        *norm_rules("norm", "params/norm"),
    ]


def _torchvision_rules() -> list[Rule]:
    block, ours = r"encoder\.layers\.encoder_layer_(\d+)\.", r"params/block_\1/"
    return [
        Rule(r"class_token", "params/class_token"),
        Rule(r"encoder\.pos_embedding", "params/position_embedding"),
        Rule(r"conv_proj\.weight", "params/patch_kernel", "OIHW"),
        Rule(r"conv_proj\.bias", "params/patch_bias"),
        *fused_rules(rf"{block}self_attention\.in_proj_", ours),
        *linear_rules(rf"{block}self_attention\.out_proj", f"{ours}out"),
        *linear_rules(rf"{block}mlp\.(?:0|linear_1)", f"{ours}mlp_in"),
        *linear_rules(rf"{block}mlp\.(?:3|linear_2)", f"{ours}mlp_out"),
        *norm_rules(rf"{block}ln_1", f"{ours}norm1"),
        *norm_rules(rf"{block}ln_2", f"{ours}norm2"),
        *norm_rules(r"encoder\.ln", "params/norm"),
    ]
