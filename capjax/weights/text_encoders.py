"""Pretrained text encoders from folders laid out as transformers and sentence-transformers do."""

import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from capjax.text.bert import POOLINGS, Bert, Pooling
from capjax.text.clip_text import ClipText
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.text.subwords import (
    Subwords,
    clip_bpe,
    read_merges,
    read_tokenizer,
    read_vocabulary,
    word_piece,
)
from capjax.weights.encoders import load_weights
from capjax.weights.json_settings import Settings
from capjax.weights.model_files import ModelFiles, model_files, read_json

FOLDER = (
    "config.json, weights (model.safetensors or pytorch_model.bin), tokenizer.json or the "
    "vocabulary's files, and what sentence-transformers adds"
)
"""The files of a text encoder."""

LEGACY_END = 2
"""The `eos_token_id` of CLIP configs that mean the largest id of a text instead."""

CLIP_ACTIVATIONS = ("quick_gelu", "gelu")


def load_text_encoder(
    name: str | os.PathLike[str],
    *,
    pooling: Pooling | None = None,
    normalise: bool | None = None,
    dtype: Any = jnp.float32,
) -> SentenceEncoder:
    """A BERT, a MiniLM or CLIP's text encoder with its tokenizer.

    Args:
      name: a folder with `config.json`, weights, and `tokenizer.json` or the vocabulary's files;
        or "hf:owner/name[@revision]". What sentence-transformers adds (`modules.json`,
        `1_Pooling/config.json`, `sentence_bert_config.json`) is followed.
      pooling: of a BERT, in place of the folder's; needed where it names none.
      normalise: whether embeddings have length 1; by default as the folder says, and for CLIP so.
      dtype: of activations and products.

    Raises:
      ImportError: `tokenizers` (or for "hf:", huggingface_hub) is not installed.
      FileNotFoundError: there is no such folder, or a file is missing; the text says which.
      ValueError: another architecture, or weights that do not fit.
    """
    files = model_files(name, first=["config.json", "modules.json"], needed=FOLDER)
    origin = files.origin
    base, recipe = _recipe(files)
    config = read_json(files.need(f"{base}config.json"))
    kind = config.get("model_type")
    net: Bert | ClipText
    if kind == "bert":
        pooling = pooling or recipe.get("pooling")
        if pooling not in POOLINGS:
            raise ValueError(
                f"{origin} names no pooling; say which: pooling={' | '.join(map(repr, POOLINGS))}, "
                "on a command line :mean, :cls or :pooler after the name"
            )
        unit = recipe.get("normalise", False) if normalise is None else normalise
        net = _bert(config, origin).clone(pooling=pooling, normalise=unit, dtype=dtype)
        tokenizer = _bert_tokenizer(files, base)
        pad = Settings(config, f"config.json of {origin}").token("pad_token_id") or 0
    elif kind in ("clip", "clip_text_model"):
        if pooling is not None:
            raise ValueError(f"got pooling={pooling!r} for {origin}; CLIP reads its end token")
        net = _clip(config, origin).clone(normalise=normalise is not False, dtype=dtype)
        tokenizer = _clip_tokenizer(files, base)
        pad = 0  # what follows the end token changes nothing
    else:
        raise ValueError(f"{origin} has model_type {kind!r}; expected bert, clip, clip_text_model")
    length = min(net.positions, _longest(files, base) or net.positions)
    example = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
    variables = load_weights(net, files.weights(base), *example)
    return SentenceEncoder(net, variables, Subwords(tokenizer, pad, length), origin)


def _recipe(files: ModelFiles) -> tuple[str, dict[str, Any]]:
    """Where sentence-transformers keeps the transformer, and what it does with its tokens."""
    path, origin = files.find("modules.json"), files.origin
    if path is None:
        return "", {}
    parts = [Settings(each, f"modules.json of {origin}") for each in read_json(path, list)]
    folders = {each.text("type").rsplit(".", 1)[-1]: each.text("path") for each in parts}
    unknown = sorted(set(folders) - {"Transformer", "Pooling", "Normalize"})
    if unknown or "Transformer" not in folders:
        raise ValueError(
            f"{origin} is made of {', '.join(folders)}; expected a Transformer, then Pooling and "
            "perhaps Normalize"
        )
    base = f"{folders['Transformer']}/" if folders["Transformer"] else ""
    recipe: dict[str, Any] = {"normalise": "Normalize" in folders}
    if "Pooling" in folders:
        found = files.need(f"{folders['Pooling']}/config.json")
        recipe["pooling"] = _pooling(read_json(found), origin)
    return base, recipe


def _longest(files: ModelFiles, base: str) -> int | None:
    """Most tokens of a text, if sentence-transformers or, in newer files, the tokenizer says."""
    for file, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        path = files.find(base + file)
        if path is not None and (limits := read_json(path)).get(key):
            return Settings(limits, f"{file} of {files.origin}").integer(key)
    return None


def _pooling(config: Mapping[str, Any], origin: str) -> Pooling:
    modes = [
        key.removeprefix("pooling_mode_")
        for key, chosen in config.items()
        if key.startswith("pooling_mode_") and chosen is True
    ]
    if "pooling_mode" in config:
        modes.append(str(config["pooling_mode"]))
    names: Mapping[str, Pooling] = {
        "mean_tokens": "mean",
        "mean": "mean",
        "cls_token": "cls",
        "cls": "cls",
    }
    if len(modes) != 1 or modes[0] not in names:
        raise ValueError(f"{origin} pools by {modes}; expected the mean, or the first token")
    return names[modes[0]]


def _bert(config: Mapping[str, Any], origin: str) -> Bert:
    kind = config.get("position_embedding_type", "absolute")
    if config.get("hidden_act", "gelu") != "gelu" or kind != "absolute":
        raise ValueError(
            f"{origin} has hidden_act {config.get('hidden_act')!r} and position_embedding_type "
            f"{kind!r}; expected 'gelu' and 'absolute'"
        )
    values = Settings(config, f"config.json of {origin}")
    return Bert(
        vocab_size=values.integer("vocab_size"),
        width=values.integer("hidden_size"),
        layers=values.integer("num_hidden_layers"),
        heads=values.integer("num_attention_heads"),
        mlp=values.integer("intermediate_size"),
        positions=values.integer("max_position_embeddings"),
        types=values.integer("type_vocab_size"),
        epsilon=values.positive("layer_norm_eps"),
    )


def _clip(config: Mapping[str, Any], origin: str) -> ClipText:
    """Fields that a config leaves out have the values of CLIP ViT-B/32."""
    plain = "CLIPTextModel" in (config.get("architectures") or ())
    whole = Settings(config, f"config.json of {origin}")
    text = whole.section("text_config") if config.get("text_config") else whole
    sized = whole if "projection_dim" in config else text
    size = sized.integer("projection_dim", ClipText.projection)
    end = text.integer("eos_token_id", LEGACY_END, least=0)
    activation = text.values.get("hidden_act", ClipText.activation)
    if activation not in CLIP_ACTIVATIONS:
        raise ValueError(
            f"{origin} has hidden_act {activation!r}; expected {' or '.join(CLIP_ACTIVATIONS)}"
        )
    return ClipText(
        vocab_size=text.integer("vocab_size", ClipText.vocab_size),
        width=text.integer("hidden_size", ClipText.width),
        layers=text.integer("num_hidden_layers", ClipText.layers),
        heads=text.integer("num_attention_heads", ClipText.heads),
        mlp=text.integer("intermediate_size", ClipText.mlp),
        positions=text.integer("max_position_embeddings", ClipText.positions),
        projection=None if plain else size,
        end=None if end == LEGACY_END else end,
        activation=activation,
        epsilon=text.positive("layer_norm_eps", ClipText.epsilon),
    )


def _bert_tokenizer(files: ModelFiles, base: str) -> Any:
    if (path := files.find(f"{base}tokenizer.json")) is not None:
        return read_tokenizer(path)
    lines = files.need(f"{base}vocab.txt").read_text(encoding="utf-8").split("\n")
    settings = files.find(f"{base}tokenizer_config.json")
    config = {} if settings is None else read_json(settings)
    return word_piece(
        lines[:-1] if lines[-1] == "" else lines,
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
    )


def _clip_tokenizer(files: ModelFiles, base: str) -> Any:
    if (path := files.find(f"{base}tokenizer.json")) is not None:
        return read_tokenizer(path)
    symbols = read_vocabulary(files.need(f"{base}vocab.json"))
    return clip_bpe(symbols, read_merges(files.need(f"{base}merges.txt")))
