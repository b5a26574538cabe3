"""Pretrained text encoders from folders laid out as transformers and sentence-transformers do."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping
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
from capjax.weights.hub import WEIGHT_FILES, hub_file, is_hub, parse_hub

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
    source = _hub(str(name)) if is_hub(name) else _folder(pathlib.Path(name))
    base, recipe = _recipe(source)
    origin, config = source.name, _json(source.get(f"{base}config.json"))
    kind = config.get("model_type")
    net: Bert | ClipText
    if kind == "bert":
        pooling = pooling or recipe.get("pooling")
        if pooling not in POOLINGS:
            raise ValueError(
                f"{origin} names no pooling; say which: pooling={' | '.join(map(repr, POOLINGS))}"
            )
        unit = recipe.get("normalise", False) if normalise is None else normalise
        net = _bert(config, origin).clone(pooling=pooling, normalise=unit, dtype=dtype)
        tokenizer = _bert_tokenizer(source, base)
        pad = int(config.get("pad_token_id") or 0)
    elif kind in ("clip", "clip_text_model"):
        if pooling is not None:
            raise ValueError(f"got pooling={pooling!r} for {origin}; CLIP reads its end token")
        net = _clip(config, origin).clone(normalise=normalise is not False, dtype=dtype)
        tokenizer = _clip_tokenizer(source, base)
        pad = 0  # what follows the end token changes nothing
    else:
        raise ValueError(f"{origin} has model_type {kind!r}; expected bert, clip, clip_text_model")
    length = min(net.positions, _longest(source, base) or net.positions)
    found = (source.find(base + file) for file in WEIGHT_FILES)
    weights = next((path for path in found if path), None) or source.get(base + WEIGHT_FILES[0])
    example = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
    variables = load_weights(net, weights, *example)
    return SentenceEncoder(net, variables, Subwords(tokenizer, pad, length), origin)


@dataclasses.dataclass(frozen=True)
class _Source:
    """A model's files.

    Attributes:
      name: for errors and reports.
      get: a file's path by its name; FileNotFoundError where there is none.
    """

    name: str
    get: Callable[[str], pathlib.Path]

    def find(self, file: str) -> pathlib.Path | None:
        """The path of a file that need not be there."""
        try:
            return self.get(file)
        except FileNotFoundError:
            return None


def _folder(folder: pathlib.Path) -> _Source:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; expected one with config.json, or hf:owner/name"
        )

    def get(file: str) -> pathlib.Path:
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} lacks {file}; copy or fetch the whole folder")
        return folder / file

    return _Source(str(folder), get)


def _hub(spec: str) -> _Source:
    """The files of one commit."""
    named = parse_hub(spec)
    try:
        first = hub_file(named, "modules.json")
    except FileNotFoundError:
        first = hub_file(named, "config.json")
    pinned = named.at(first.revision)
    return _Source(str(pinned), lambda file: hub_file(pinned, file).path)


def _recipe(source: _Source) -> tuple[str, dict[str, Any]]:
    """Where sentence-transformers keeps the transformer, and what it does with its tokens."""
    path, origin = source.find("modules.json"), source.name
    if path is None:
        return "", {}
    folders = {entry["type"].rsplit(".", 1)[-1]: entry["path"] for entry in _json(path)}
    unknown = sorted(set(folders) - {"Transformer", "Pooling", "Normalize"})
    if unknown or "Transformer" not in folders:
        raise ValueError(
            f"{origin} is made of {', '.join(folders)}; expected a Transformer, then Pooling and "
            "perhaps Normalize"
        )
    base = f"{folders['Transformer']}/" if folders["Transformer"] else ""
    recipe: dict[str, Any] = {"normalise": "Normalize" in folders}
    if "Pooling" in folders:
        found = source.get(f"{folders['Pooling']}/config.json")
        recipe["pooling"] = _pooling(_json(found), origin)
    return base, recipe


def _longest(source: _Source, base: str) -> int | None:
    """Tokens of the longest text, where sentence-transformers or, in newer files, the tokenizer
    sets a limit."""
    for file, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        path = source.find(base + file)
        if path is not None and (limit := _json(path).get(key)):
            return int(limit)
    return None


def _pooling(config: Mapping[str, Any], origin: str) -> Pooling:
    modes = [
        key.removeprefix("pooling_mode_")
        for key, chosen in config.items()
        if key.startswith("pooling_mode_") and chosen is True
    ]
    if "pooling_mode" in config:
        modes.append(config["pooling_mode"])
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
    return Bert(
        vocab_size=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        mlp=config["intermediate_size"],
        positions=config["max_position_embeddings"],
        types=config["type_vocab_size"],
        epsilon=config["layer_norm_eps"],
    )


def _clip(config: Mapping[str, Any], origin: str) -> ClipText:
    """Fields that a config leaves out have the values of CLIP ViT-B/32."""
    plain = "CLIPTextModel" in (config.get("architectures") or ())
    text = config.get("text_config") or config
    size = config.get("projection_dim", text.get("projection_dim", ClipText.projection))
    end = text.get("eos_token_id", LEGACY_END)
    activation = text.get("hidden_act", ClipText.activation)
    if activation not in CLIP_ACTIVATIONS:
        raise ValueError(
            f"{origin} has hidden_act {activation!r}; expected {' or '.join(CLIP_ACTIVATIONS)}"
        )
    return ClipText(
        vocab_size=text.get("vocab_size", ClipText.vocab_size),
        width=text.get("hidden_size", ClipText.width),
        layers=text.get("num_hidden_layers", ClipText.layers),
        heads=text.get("num_attention_heads", ClipText.heads),
        mlp=text.get("intermediate_size", ClipText.mlp),
        positions=text.get("max_position_embeddings", ClipText.positions),
        projection=None if plain else size,
        end=None if end == LEGACY_END else end,
        activation=activation,
        epsilon=text.get("layer_norm_eps", ClipText.epsilon),
    )


def _bert_tokenizer(source: _Source, base: str) -> Any:
    if (path := source.find(f"{base}tokenizer.json")) is not None:
        return read_tokenizer(path)
    lines = source.get(f"{base}vocab.txt").read_text(encoding="utf-8").split("\n")
    settings = source.find(f"{base}tokenizer_config.json")
    config = {} if settings is None else _json(settings)
    return word_piece(
        lines[:-1] if lines[-1] == "" else lines,
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
    )


def _clip_tokenizer(source: _Source, base: str) -> Any:
    if (path := source.find(f"{base}tokenizer.json")) is not None:
        return read_tokenizer(path)
    symbols = read_vocabulary(source.get(f"{base}vocab.json"))
    return clip_bpe(symbols, read_merges(source.get(f"{base}merges.txt")))


def _json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"cannot read {path} as JSON ({error}); fetch it again") from error
