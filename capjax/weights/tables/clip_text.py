"""Weight files of CLIP's text encoder: transformers', and OpenAI's own (in one matrix: q, k, v)."""

from collections.abc import Sequence

from capjax.text.clip_text import ClipText
from capjax.weights.convert import Rule, Table
from capjax.weights.tables.transformer import fused_rules, linear_rules, norm_rules


def clip_text_layouts(encoder: ClipText) -> Sequence[Table]:
    """Both layouts; the image encoder of a whole CLIP is ignored."""
    return (_transformers(encoder), _openai(encoder))


def _transformers(encoder: ClipText) -> Table:
    block, ours = r"text_model\.encoder\.layers\.(\d+)\.", r"params/block_\1/"
    rules = [
        Rule(r"text_model\.embeddings\.(token|position)_embedding\.weight", r"params/\1_embedding"),
        *(
            rule
            for theirs, part in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "out"))
            for rule in linear_rules(rf"{block}self_attn\.{theirs}_proj", f"{ours}{part}")
        ),
        *linear_rules(rf"{block}mlp\.fc1", f"{ours}mlp_in"),
        *linear_rules(rf"{block}mlp\.fc2", f"{ours}mlp_out"),
        *norm_rules(rf"{block}layer_norm1", f"{ours}norm1"),
        *norm_rules(rf"{block}layer_norm2", f"{ours}norm2"),
        *norm_rules(r"text_model\.final_layer_norm", "params/norm"),
    ]
    ignored = [
        r"text_model\.embeddings\.position_ids",
        r"vision_model\..*|visual_projection\.weight",
        r"logit_scale",
    ]
    if encoder.projection is None:
        ignored.append(r"text_projection\.weight")
    else:
        rules.append(Rule(r"text_projection\.weight", "params/projection/kernel", "OI"))
    return Table(rules, tuple(ignored), layout="transformers")


def _openai(encoder: ClipText) -> Table:
    block, ours = r"transformer\.resblocks\.(\d+)\.", r"params/block_\1/"
    rules = [
        Rule(r"token_embedding\.weight", "params/token_embedding"),
        Rule(r"positional_embedding", "params/position_embedding"),
        *fused_rules(rf"{block}attn\.in_proj_", ours),
        *linear_rules(rf"{block}attn\.out_proj", f"{ours}out"),
        *linear_rules(rf"{block}mlp\.c_fc", f"{ours}mlp_in"),
        *linear_rules(rf"{block}mlp\.c_proj", f"{ours}mlp_out"),
        *norm_rules(rf"{block}ln_1", f"{ours}norm1"),
        *norm_rules(rf"{block}ln_2", f"{ours}norm2"),
        *norm_rules(r"ln_final", "params/norm"),
    ]
    ignored = [r"visual\..*", r"logit_scale|input_resolution|context_length|vocab_size"]
    if encoder.projection is None:
        ignored.append("text_projection")
    else:
        # Not a Linear: it stands on the right already.
        rules.append(Rule("text_projection", "params/projection/kernel"))
    return Table(rules, tuple(ignored), layout="OpenAI")
