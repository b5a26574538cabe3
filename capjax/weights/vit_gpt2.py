"""Whole ViT-GPT2 captioners, from folders as transformers writes them or from the hub."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.captioner import Captioner, build_net
from capjax.decoding import describe
from capjax.decoding.rules import CARD_ENTRY
from capjax.text.byte_pair import BytePair
from capjax.weights import vit_gpt2_config as read
from capjax.weights.encoders import fit_weights
from capjax.weights.hub import WEIGHT_FILES, hub_file, is_hub, parse_hub, sha256_of
from capjax.weights.readers import read_weights
from capjax.weights.tables.gpt2 import vit_gpt2_layouts

CONFIG_FILE = "config.json"
_TABLE, _HEAD = "decoder.transformer.wte.weight", "decoder.lm_head.weight"


@dataclasses.dataclass(frozen=True)
class _Files:
    """The files of one model.

    Attributes:
      origin: what errors and the card call it.
      get: a file by its name, or the weights without a name; FileNotFoundError where there is none.
      used: sha256 of each file that was asked for, by its name.
    """

    origin: str
    get: Callable[[str | None], os.PathLike[str]]
    used: dict[str, str] = dataclasses.field(default_factory=dict)

    def find(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            self.get(name)
        except FileNotFoundError:
            return False
        return True

    def need(self, name: str) -> os.PathLike[str]:
        """A file that must be there."""
        path = self.get(name)
        self.used[name] = sha256_of(path)
        return path

    def weights(self) -> os.PathLike[str]:
        """The first of `WEIGHT_FILES` that there is."""
        path = self.get(None)
        self.used[pathlib.Path(path).name] = sha256_of(path)
        return path


def is_transformers_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a model as transformers writes it; a training workdir has settings of
    the same name."""
    path = pathlib.Path(folder) / CONFIG_FILE
    return path.is_file() and "model_type" in _read_json(path)


def load_vit_gpt2(source: str | os.PathLike[str]) -> Captioner:
    """The captioner of a `VisionEncoderDecoderModel` of ViT and GPT-2.

    Captions come as from transformers' `generate`: the card says by which search. Texts that are
    given to it are lowered, since these models are trained on lower-case captions (transformers'
    example script lowers them), and no file says so.

    Args:
      source: a folder, or "hf:owner/name[@revision]"; with `config.json`,
        `preprocessor_config.json`, weights, `vocab.json` and `merges.txt` or `tokenizer.json`,
        and perhaps `generation_config.json`.

    Raises:
      FileNotFoundError: a file is missing; the text says which.
      ImportError: tokenizers or huggingface_hub is not installed.
      ValueError: a file is damaged or asks for what is not supported; the text names it.
    """
    files = _of_hub(str(source)) if is_hub(source) else _of_folder(pathlib.Path(source))
    origin = files.origin
    config = _read_json(files.need(CONFIG_FILE))
    generation: Mapping[str, Any] = {}
    if files.find("generation_config.json"):
        generation = _read_json(files.need("generation_config.json"))
    encoder, decoder = read.read_encoder(config), read.read_decoder(config)
    preprocessing = read.read_preprocessing(
        _read_json(files.need("preprocessor_config.json")), encoder
    )
    method, longest = read.read_decoding(generation)
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


def _of_folder(folder: pathlib.Path) -> _Files:
    def get(name: str | None) -> pathlib.Path:
        names = (name,) if name else WEIGHT_FILES
        for each in names:
            if (folder / each).is_file():
                return folder / each
        raise FileNotFoundError(f"{folder} holds no {' or '.join(names)}, which a ViT-GPT2 needs")

    return _Files(os.fspath(folder), get)


def _of_hub(name: str) -> _Files:
    """Files of one commit: that of config.json."""
    spec = parse_hub(name)
    if spec.file is not None:
        raise ValueError(f"got {name!r}; a captioner is a whole repository: leave out /{spec.file}")
    pinned = spec.at(hub_file(spec, CONFIG_FILE).revision)
    return _Files(str(pinned), lambda wanted: hub_file(pinned, wanted))


def _read_text(files: _Files, eos: int) -> BytePair:
    pair = ("vocab.json", "merges.txt")
    if all(map(files.find, pair)):
        return BytePair.from_files(*map(files.need, pair), eos=eos, lowercase=True)
    path = pathlib.Path(files.need(BytePair.FILE))
    try:
        return BytePair.from_json(path.read_text("utf-8"), eos=eos, lowercase=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_json(path: os.PathLike[str]) -> Mapping[str, Any]:
    try:
        found = json.loads(pathlib.Path(path).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} is damaged ({error}); fetch it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{os.fspath(path)} holds a {type(found).__name__}; expected an object")
    return found


def _check_tied(arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """The table for the logits is that of the words, where a file holds both."""
    if _HEAD in arrays and _TABLE in arrays and not np.array_equal(arrays[_HEAD], arrays[_TABLE]):
        raise ValueError(
            f"{origin} has an output layer ({_HEAD}) of its own; supported are models whose "
            "output layer is the embeddings of words"
        )
