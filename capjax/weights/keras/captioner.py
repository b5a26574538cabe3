"""A captioner that was trained in Keras: EfficientNetV2, an LSTM beside it, and a list of words.

The architecture is the usual one of captioners in Keras (Tanti et al. 2017, the "merge" model): the
pooled descriptor goes through a dense layer, the words so far through an embedding and an LSTM; the
sum of both goes through a dense layer and a softmax over the words.
"""

import itertools
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from capjax.captioner import Captioner, build_net
from capjax.decoders import LSTM
from capjax.encoders.efficientnet import SIZES, EfficientNetV2
from capjax.runtime.fingerprint import sha256_of
from capjax.text.keras_words import WordIds, read_word_ids
from capjax.text.vocabulary import SPECIALS, Vocabulary
from capjax.weights.convert import Arrays
from capjax.weights.encoders import fit_weights
from capjax.weights.keras.graph import MergeLayers, check_graph
from capjax.weights.readers import read_weights
from capjax.weights.tables.efficientnet import KERAS_KEY

NEVER = -1e9
"""Output bias of an entry that the file has no word for."""


def load_keras_captioner(
    path: str | os.PathLike[str],
    vocabulary: str | os.PathLike[str],
    *,
    encoder_weights: str | os.PathLike[str] | None = None,
) -> Captioner:
    """The captioner of a Keras file and its list of words, with exactly Keras' probabilities.

    Words keep their order and get new ids behind our four special ones. `<start>` and `<end>` take
    the place of the file's own ("startseq", "endseq" and the like); an entry that the file lacks
    has a probability of zero. Id 0, which Keras pads with, becomes `<pad>`. Keras reads the last
    so many words, padded and masked; here the LSTM's state is carried on, which is the same.

    Args:
      path: `.h5` or `.keras` of the whole model, or of its weights alone; then the layers' settings
        cannot be checked, and are taken to be the usual ones.
      vocabulary: the list of words, see `capjax.text.keras_words`.
      encoder_weights: a Keras file of the EfficientNetV2, where `path` holds the LSTM alone.

    Raises:
      FileNotFoundError: there is no such file.
      ImportError: h5py is not installed.
      ValueError: a file is damaged, or the model has another architecture; the text says what.
    """
    origin = os.fspath(path)
    arrays = read_weights(path)
    ours = {key: array for key, array in arrays.items() if not re.fullmatch(KERAS_KEY, key)}
    image = {key: array for key, array in arrays.items() if key not in ours}
    if encoder_weights is not None:
        image = dict(read_weights(encoder_weights))
    encoder = EfficientNetV2(size=_size(image, origin))
    depth = SIZES[encoder.size].top
    layers = _find_layers(ours, depth, origin)
    # An array's name starts with its layer's; an LSTM's are its cell's.
    check_graph(pathlib.Path(path), MergeLayers(*(name.split("/")[0] for name in layers)))
    words = read_word_ids(vocabulary, entries=len(ours[f"{layers.embedding}/embeddings"]))
    text, ids = _our_words(words)
    decoder, decoder_params = _decoder(ours, layers, ids, words.start, depth)
    preprocessing = encoder.preprocessing()
    pixels = jnp.zeros((1, *preprocessing.size, 3), jnp.float32)
    pretrained = fit_weights(encoder, image, pixels, origin=origin)
    return Captioner(
        net=build_net(encoder, decoder, preprocessing),
        variables={
            "params": {"encoder": pretrained["params"], "decoder": decoder_params},
            "batch_stats": {"encoder": pretrained["batch_stats"]},
        },
        text=text,
        preprocessing=preprocessing,
        card={"imported": {"from": pathlib.Path(path).name, "sha256": sha256_of(path)}},
    )


def _size(arrays: Arrays, origin: str) -> Any:
    """Which EfficientNetV2 has these blocks."""
    found = {match[1] for key in arrays if (match := re.search(r"\bblock(\d+[a-z])_", key))}
    if not found:
        raise ValueError(
            f"{origin} holds no EfficientNetV2; pass its Keras file too, e.g. "
            "encoder_weights='efficientnetv2-l_notop.h5'"
        )
    for name, size in SIZES.items():
        blocks = {
            f"{number}{chr(ord('a') + block)}"
            for number, stage in enumerate(size.stages, start=1)
            for block in range(stage.blocks)
        }
        if found == blocks:
            return name
    raise ValueError(
        f"the encoder of {origin} has {len(found)} blocks, up to {max(found)}; expected an "
        f"EfficientNetV2 of size {', '.join(SIZES)}, which has "
        + ", ".join(str(sum(stage.blocks for stage in size.stages)) for size in SIZES.values())
    )


def _find_layers(arrays: Arrays, depth: int, origin: str) -> MergeLayers:
    """The layers by their arrays: the only assignment of dense layers whose shapes fit."""
    of = {leaf: _layers_with(arrays, leaf) for leaf in ("embeddings", "recurrent_kernel", "kernel")}
    dense = [layer for layer in of["kernel"] if layer not in of["recurrent_kernel"]]
    held = f"it holds {', '.join(f'{key} {array.shape}' for key, array in arrays.items())}"
    if (len(of["embeddings"]), len(of["recurrent_kernel"]), len(dense)) != (1, 1, 3):
        raise ValueError(
            f"{origin}: expected one embedding, one LSTM and three dense layers beside the "
            f"encoder; {held}"
        )
    (embedding,), (lstm,) = of["embeddings"], of["recurrent_kernel"]
    units = arrays[f"{lstm}/recurrent_kernel"].shape[0]
    entries = arrays[f"{embedding}/embeddings"].shape[0]
    fitting = []
    for image, merge, output in itertools.permutations(dense):
        shapes = [arrays[f"{layer}/kernel"].shape for layer in (image, merge, output)]
        if shapes == [(depth, units), (units, shapes[1][1]), (shapes[1][1], entries)]:
            fitting.append(MergeLayers(embedding, lstm, image, merge, output))
    used = {key.rpartition("/")[0] for key in arrays}
    if len(fitting) != 1 or used - set(fitting[0]):
        raise ValueError(
            f"{origin}: expected dense layers ({depth}, {units}), ({units}, any) and "
            f"(any, {entries}), each once and nothing else; {held}"
        )
    return fitting[0]


def _layers_with(arrays: Arrays, leaf: str) -> list[str]:
    return [key.removesuffix(f"/{leaf}") for key in arrays if key.endswith(f"/{leaf}")]


def _our_words(words: WordIds) -> tuple[Vocabulary, list[int | None]]:
    """Our vocabulary, and the file's id of each of its entries, None for what it lacks."""
    special = [words.pad, words.start, words.end, words.unknown]
    rest = sorted(set(words.ids.values()) - {number for number in special if number is not None})
    spelled = {number: word for word, number in words.ids.items()}
    entries = (*SPECIALS, *(spelled[number] for number in rest))
    return Vocabulary(entries), [*special, *rest]


def _decoder(
    arrays: Arrays, layers: MergeLayers, ids: Sequence[int | None], start: int, depth: int
) -> tuple[LSTM, dict[str, np.ndarray]]:
    def array(layer: str, leaf: str) -> np.ndarray:
        return np.asarray(arrays[f"{layer}/{leaf}"], np.float32)

    known = np.array([number is not None for number in ids])
    rows = np.array([number or 0 for number in ids])
    embedding = array(layers.embedding, "embeddings")
    kernel, bias = array(layers.output, "kernel"), array(layers.output, "bias")
    units = array(layers.lstm, "recurrent_kernel").shape[0]

    def gates(packed: np.ndarray) -> np.ndarray:
        """Input, forget, candidate, output -> ours: input, forget, output, candidate."""
        entry, forget, candidate, output = np.split(packed, 4, axis=-1)
        return np.concatenate([entry, forget, output, candidate], axis=-1)

    parameters = {
        "embedding": np.where(known[:, None], embedding[rows], np.float32(0)),
        "start": embedding[start],
        "lstm_embedding": gates(array(layers.lstm, "kernel")),
        "lstm_recurrent": gates(array(layers.lstm, "recurrent_kernel")),
        "lstm_bias": gates(array(layers.lstm, "bias")),
        "image_merge_kernel": array(layers.image, "kernel"),
        "image_merge_bias": array(layers.image, "bias"),
        "merge_kernel": array(layers.merge, "kernel"),
        "merge_bias": array(layers.merge, "bias"),
        "head_kernel": np.where(known, kernel[:, rows], np.float32(0)),
        "head_bias": np.where(known, bias[rows], np.float32(NEVER)),
    }
    decoder = LSTM(
        vocab_size=len(ids),
        features=depth,
        hidden=units,
        embedding=embedding.shape[1],
        inject="merge",
        merged=kernel.shape[0],
        start_input="token",
    )
    return decoder, parameters
