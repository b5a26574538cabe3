"""A captioner in a few lines, as a notebook shows it."""

import textwrap
from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from capjax.checkpoints.settings import setting_fields
from capjax.runtime.text_table import format_table
from capjax.text.protocol import Text
from capjax.types import Preprocessing

SHOWN_SCORES = ("CIDEr", "BLEU-4", "METEOR", "ROUGE-L", "CLIP-text")


def summary(
    encoder: nn.Module,
    decoder: nn.Module,
    text: Text,
    preprocessing: Preprocessing,
    card: Mapping[str, Any],
) -> str:
    """What a captioner is made of, a line each, and the scores that its card states."""
    lines = [
        ["encoder", _module(encoder)],
        ["decoder", _module(decoder)],
        ["words", f"{text.size:,}"],
        ["sees", _seen(preprocessing)],
        ["scores", _scores(card)],
    ]
    return "Captioner\n" + textwrap.indent(format_table(lines, left=2), "  ")


def _module(module: nn.Module) -> str:
    """The class and the arguments that differ from their defaults."""
    given = [
        f"{field.name}={getattr(module, field.name)}"
        for field in setting_fields(module)
        if field.name not in ("dtype", "vocab_size", "features")
        and getattr(module, field.name) != field.default
    ]
    return f"{type(module).__name__}({', '.join(given)})"


def _seen(preprocessing: Preprocessing) -> str:
    height, width = preprocessing.size
    how: str = preprocessing.resize
    if how == "crop":
        how = f"crop after resizing the shorter side to {preprocessing.shorter}"
    what = f"clips as {preprocessing.frames} frames of" if preprocessing.frames else "images of"
    return f"{what} {height}x{width} pixels ({how})"


def _scores(card: Mapping[str, Any]) -> str:
    measured = card.get("validation")
    known = measured if isinstance(measured, Mapping) else {}
    found = [f"{name} {known[name]:.3f}" for name in SHOWN_SCORES if known.get(name) is not None]
    if not found:
        return "none in its card"
    return f"{', '.join(found)} on validation, after {card.get('step', '?')} updates"
