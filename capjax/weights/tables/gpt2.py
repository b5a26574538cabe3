"""Weight files of GPT-2 with cross-attention, and of the captioner ViT-GPT2, from transformers."""

from collections.abc import Sequence

from capjax.decoders.gpt2 import GPT2
from capjax.weights.convert import Rule, Table
from capjax.weights.tables.transformer import norm_rules
from capjax.weights.tables.vit import transformers_rules

BUFFERS = r"h\.\d+\.(?:attn|crossattention)\.(?:bias|masked_bias)"
"""Causal masks that older files hold beside the weights."""


def gpt2_layouts(decoder: GPT2) -> Sequence[Table]:
    """transformers' names; masks and the copy of the tied embeddings are ignored."""
    del decoder
    ignored = (rf"(?:transformer\.)?{BUFFERS}", r"lm_head\.weight")
    return (Table(_rules(r"(?:transformer\.)?", "params"), ignored, layout="transformers"),)


def vit_gpt2_layouts() -> Sequence[Table]:
    """A whole VisionEncoderDecoderModel of ViT and GPT-2, as the variables of a `CaptionNet`."""
    rules = (
        *transformers_rules(r"encoder\.", "params/encoder"),
        *_rules(r"decoder\.transformer\.", "params/decoder"),
    )
    ignored = (
        r"encoder\.pooler\..*",
        rf"decoder\.transformer\.{BUFFERS}",
        r"decoder\.lm_head\.weight",
    )
    return (Table(rules, ignored, layout="transformers"),)


def _rules(prefix: str, scope: str) -> list[Rule]:
    """A matrix here stands as [in, out], as ours do; query, key and value are one."""
    block, ours = rf"{prefix}h\.(\d+)\.", rf"{scope}/block_\1/"
    rules = [
        Rule(rf"{prefix}wte\.weight", f"{scope}/embedding"),
        Rule(rf"{prefix}wpe\.weight", f"{scope}/position_embedding"),
    ]
    for theirs, parts in (
        (r"attn\.c_attn", ("attention/query", "attention/key", "attention/value")),
        (r"attn\.c_proj", ("attention/out",)),
        (r"crossattention\.q_attn", ("cross_attention/query",)),
        (r"crossattention\.c_attn", ("cross_attention/key", "cross_attention/value")),
        (r"crossattention\.c_proj", ("cross_attention/out",)),
        (r"mlp\.c_fc", ("mlp_in",)),
        (r"mlp\.c_proj", ("mlp_out",)),
    ):
        for leaf, name in (("weight", "kernel"), ("bias", "bias")):
            names = tuple(f"{ours}{part}/{name}" for part in parts)
            rules.append(Rule(rf"{block}{theirs}\.{leaf}", names))
    return [
        *rules,
        *norm_rules(rf"{block}ln_1", f"{ours}norm1"),
        *norm_rules(rf"{block}ln_cross_attn", f"{ours}norm_cross"),
        *norm_rules(rf"{block}ln_2", f"{ours}norm2"),
        *norm_rules(rf"{prefix}ln_f", f"{scope}/norm"),
    ]
