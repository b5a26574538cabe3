"""Whole ViT-GPT2 captioners, from folders as transformers writes them or from the hub."""

import os
import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from capjax.captioner import Captioner, build_net
from capjax.decoding import describe
from capjax.decoding.rules import CARD_ENTRY
from capjax.text.byte_pair import BytePair
from capjax.weights.encoders import fit_weights
from capjax.weights.model_files import ModelFiles, model_files, read_json
from capjax.weights.readers import read_weights
from capjax.weights.tables.gpt2 import vit_gpt2_layouts
from capjax.weights.vit_gpt2 import config as read

FOLDER = (
    "config.json, preprocessor_config.json, vocab.json and merges.txt (or tokenizer.json), weights "
    "(model.safetensors or pytorch_model.bin), and generation_config.json where there is one"
)
"""The files of a captioner."""

_TABLE, _HEAD = "decoder.transformer.wte.weight", "decoder.lm_head.weight"


def is_transformers_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a model as transformers writes it.

    A training workdir does not, though it has a `config.json` too.
    """
    path = pathlib.Path(folder) / read.CONFIG
    return path.is_file() and "model_type" in read_json(path)


def load_vit_gpt2(source: str | os.PathLike[str]) -> Captioner:
    """The captioner of a `VisionEncoderDecoderModel` of ViT and GPT-2.

    Captions come as from transformers' `generate`: the card says by which search. What the files
    of a model of the hub leave open is as its page says (`DOCUMENTED`). Texts that are
    given to it are lowered, since these models are trained on lower-case captions (transformers'
    example script lowers them), and no file says so.

    Args:
      source: a folder, or "hf:owner/name[@revision]"; with `config.json`,
        `preprocessor_config.json`, weights, `vocab.json` and `merges.txt`, or `tokenizer.json`,
        and perhaps `generation_config.json`.

    Raises:
      FileNotFoundError: a file is missing; the text says which.
      ImportError: tokenizers or huggingface_hub is not installed.
      ValueError: a file is damaged or asks for what is not supported; the text names it.
    """
    files = model_files(source, first=[read.CONFIG], needed=FOLDER)
    origin = files.origin
    config = read_json(files.need(read.CONFIG))
    asked = files.find(read.GENERATION)
    stated = read_json(asked) if asked else None
    generation = stated or {}
    encoder, decoder = read.read_encoder(config), read.read_decoder(config, generation)
    preprocessing = read.read_preprocessing(
        read_json(files.need("preprocessor_config.json")), encoder
    )
    repository = files.repository.spec.repo if files.repository else ""
    method, longest = read.read_decoding(config, stated, read.DOCUMENTED.get(repository))
    text = _read_text(files, read.read_end_token(config, generation))
    if text.size > decoder.vocab_size:
        raise ValueError(
            f"the tokenizer of {origin} has {text.size} pieces, and the decoder "
            f"{decoder.vocab_size} embeddings; the files belong to different models"
        )
    net = build_net(encoder, decoder, preprocessing)
    weights = files.weights()
    arrays = read_weights(weights)
    _check_tied(arrays, origin)
    images = jnp.zeros((1, *preprocessing.size, 3), jnp.uint8)
    tokens = jnp.zeros((1, 1), jnp.int32)
    variables = fit_weights(
        net, arrays, images, tokens, origin=os.fspath(weights), layouts=vit_gpt2_layouts()
    )
    card = {
        "source": origin,
        "files": {name: {"sha256": digest} for name, digest in files.used.items()},
        CARD_ENTRY: describe(method, longest),
    }
    return Captioner(net, jax.tree.map(jnp.asarray, variables), text, preprocessing, card)


def _read_text(files: ModelFiles, eos: int) -> BytePair:
    """The pair of files of GPT-2, or else the library's own; without either both are named."""
    pair = ("vocab.json", "merges.txt")
    if all(map(files.has, pair)) or not files.has(BytePair.FILE):
        return BytePair.from_files(*map(files.need, pair), eos=eos, lowercase=True)
    path = files.need(BytePair.FILE)
    try:
        return BytePair.from_json(path.read_text("utf-8"), eos=eos, lowercase=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_tied(arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """The table for the logits is that of the words, where a file holds both."""
    if _HEAD in arrays and _TABLE in arrays and not np.array_equal(arrays[_HEAD], arrays[_TABLE]):
        raise ValueError(
            f"{origin} has an output layer ({_HEAD}) of its own; supported are models whose "
            "output layer is the embeddings of words"
        )
