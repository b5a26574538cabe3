"""Whole models of transformers, by what their config.json says: captioners and text encoders."""

import os
from typing import Any, NamedTuple

import jax

from capjax.text.bert import Pooling
from capjax.weights.model_files import model_files, read_json
from capjax.weights.text_encoders import FOLDER as TEXT_FOLDER
from capjax.weights.text_encoders import load_text_encoder
from capjax.weights.vit_gpt2.captioner import FOLDER, load_vit_gpt2

CAPTIONER = "vision-encoder-decoder"
TEXT_ENCODERS = ("bert", "clip", "clip_text_model")


class Loaded(NamedTuple):
    """A model that was loaded completely.

    Attributes:
      kind: what it is, in words.
      parameters: how many training could change.
      origin: where it is from; of the hub, with its commit.
    """

    kind: str
    parameters: int
    origin: str


def load_model(source: str | os.PathLike[str]) -> Loaded:
    """Loads a whole model as its commands would, to see whether it fits.

    Args:
      source: a folder as transformers writes it, or "hf:owner/name[@revision]".

    Raises:
      FileNotFoundError, ImportError: as in `load_vit_gpt2` and `load_text_encoder`.
      ValueError: a file does not fit, or the model is of another kind; the text says what.
    """
    files = model_files(source, first=["config.json", "modules.json"], needed=FOLDER)
    has_config = files.has("config.json")
    kind = read_json(files.need("config.json")).get("model_type") if has_config else None
    if kind == CAPTIONER:
        captioner = load_vit_gpt2(source)
        return Loaded("a ViT-GPT2 captioner", _count(captioner.variables), files.origin)
    of_sentences = files.find("modules.json") is not None
    if not of_sentences:
        files.need("config.json")
    if of_sentences or kind in TEXT_ENCODERS:
        # A bare BERT says nothing about pooling, and its weights do not depend on it.
        pooling: Pooling | None = "mean" if kind == "bert" and not of_sentences else None
        encoder = load_text_encoder(source, pooling=pooling)
        return Loaded(f"a text encoder ({kind})", _count(encoder.variables), files.origin)
    raise ValueError(
        f"{files.origin} has model_type {kind!r} in config.json; whole models are "
        f"{CAPTIONER} ({FOLDER}) and {', '.join(TEXT_ENCODERS)} ({TEXT_FOLDER}); for an encoder of "
        "images add --encoder=NAME"
    )


def _count(variables: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
