"""Weight files of BERT and MiniLM, from transformers and sentence-transformers."""

from collections.abc import Sequence

from capjax.text.bert import Bert
from capjax.weights.convert import Rule, Table
from capjax.weights.tables.transformer import linear_rules, norm_rules


def bert_layouts(encoder: Bert) -> Sequence[Table]:
    """transformers' names, with or without `bert.`; heads, and a pooler that is not used, are
    ignored."""
    prefix = r"(?:bert\.)?"
    block, ours = rf"{prefix}encoder\.layer\.(\d+)\.", r"params/block_\1/"
    rules = [
        Rule(rf"{prefix}embeddings\.(word|position)_embeddings\.weight", r"params/\1_embedding"),
        Rule(rf"{prefix}embeddings\.token_type_embeddings\.weight", "params/type_embedding"),
        *norm_rules(rf"{prefix}embeddings\.LayerNorm", "params/embedding_norm"),
        Rule(rf"{block}attention\.self\.(query|key|value)\.weight", rf"{ours}\2/kernel", "OI"),
        Rule(rf"{block}attention\.self\.(query|key|value)\.bias", rf"{ours}\2/bias"),
        *linear_rules(rf"{block}attention\.output\.dense", f"{ours}out"),
        *norm_rules(rf"{block}attention\.output\.LayerNorm", f"{ours}norm1"),
        *linear_rules(rf"{block}intermediate\.dense", f"{ours}mlp_in"),
        *linear_rules(rf"{block}output\.dense", f"{ours}mlp_out"),
        *norm_rules(rf"{block}output\.LayerNorm", f"{ours}norm2"),
    ]
    ignored = [rf"{prefix}embeddings\.position_ids", r"cls\..*"]
    if encoder.pooling == "pooler":
        rules += linear_rules(rf"{prefix}pooler\.dense", "params/pooler")
    else:
        ignored.append(rf"{prefix}pooler\..*")
    return (Table(rules, tuple(ignored), layout="transformers"),)
