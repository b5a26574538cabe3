"""The card that travels with every score: without it two numbers cannot be compared."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from capjax.decoding import Decoding, describe
from capjax.metrics.captions import NAMES
from capjax.runtime.text_table import format_table
from capjax.text import ptb_lite

COLUMNS = (*NAMES, "CLIP-text")
"""Names of the scores of a training run, in the order of tables."""

SIMILARITIES = ("CLIP-text", "MiniLM", "BERT")
"""Mean cosines of text embeddings, by the kind of their encoder."""


def metric_card(
    *,
    split: str,
    images: int,
    references: int,
    decoding: Decoding,
    max_len: int,
    model_hash: str,
    code: str,
) -> dict[str, Any]:
    """What the scores of one evaluation depend on, as plain JSON values.

    Args:
      split: name of the evaluated part of the data.
      images, references: how many of each.
      decoding: its name and fields are recorded.
      max_len: most tokens of a caption, end token included.
      model_hash: digest of net, weights, words and preprocessing.
      code: version of capjax.
    """
    return {
        "split": split,
        "images": images,
        "references": references,
        "tokenizer": ptb_lite.NAME,
        "decoding": describe(decoding, max_len),
        "model_hash": model_hash,
        "scorers": f"pycocoevalcap {importlib.metadata.version('pycocoevalcap')}, CIDEr-D",
        "code": code,
    }


def format_scores(scores: Mapping[str, Any]) -> str:
    """A table of the scores with their card and notes below it."""
    names = [name for name in (*NAMES, *SIMILARITIES) if name in scores]
    values = ["n/a" if scores[name] is None else f"{scores[name]:.4f}" for name in names]
    card = scores["card"]
    decoding = card["decoding"]
    settings = ", ".join(f"{key}={value}" for key, value in decoding.items() if key != "method")
    lines = [
        format_table([names, values], left=0),
        f"split {card['split']}: n={card['images']} images, {card['references']} references; "
        f"tokenizer {card['tokenizer']}; {card['scorers']}",
        f"decoding {decoding['method']} ({settings}){_reading(card)}; "
        f"model {card['model_hash'][:12]}; capjax {card['code']}",
        *(_similarity(scores["similarity"]) if "similarity" in scores else []),
        *scores["notes"],
    ]
    return "\n".join(lines)


def _similarity(own: Mapping[str, Any]) -> list[str]:
    """The score's other readings: of single references, and of raw sentences."""
    readings = {"first": "the first reference", "mean": "their mean", "best": "the best"}
    shown = [
        f"{text} {own[name]:.4f} (raw {own[f'{name}_raw']:.4f})" for name, text in readings.items()
    ]
    return [f"{own['score']}: {', '.join(shown)}", f"embeddings of sentences: {own['encoder']}"]


def _reading(card: Mapping[str, Any]) -> str:
    return f", {card['reading']} attention" if card.get("reading") else ""
