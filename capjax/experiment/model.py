"""The net of an experiment with its first weights, and the cache of its frozen features."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jaxtyping import Array, Key

from capjax import rng
from capjax.captioner import CaptionNet, build_net
from capjax.checkpoints.settings import module_to_json
from capjax.config import ExperimentConfig
from capjax.config.sections import build_module
from capjax.data.batches.pipeline import Inputs, Loading
from capjax.data.batches.unreadable import RequiredInputs
from capjax.data.cache.feature_cache import Rendered
from capjax.data.cache.feature_writer import build_cache
from capjax.data.inputs import FeatureInputs, resized_by
from capjax.data.pictures.resizers import resizing
from capjax.decoders import DECODERS
from capjax.encoders import ENCODERS
from capjax.experiment.data import Split
from capjax.experiment.initial_weights import described_weights, glove_rows, weights_path
from capjax.ops import barrier
from capjax.text.protocol import Text
from capjax.train.checkpoint import digest
from capjax.types import Features, Preprocessing
from capjax.weights.encoders import load_encoder_weights

ENCODE_BATCH = 32
"""Images, or frames of clips, encoded at once when features are cached."""
NAME_LENGTH = 60
"""Letters of the data's name that the folder of a cache takes over."""
SHARD_RECORDS = 1024
"""Images, or frames, of one file of a feature cache: an interrupted computation loses less."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A net before training.

    Attributes:
      net: encoder and decoder.
      variables: initial or pretrained.
      preprocessing: how photographs and clips become its input.
      grid: (h, w) of its feature map; (1, 1) where frame means are cached in its place.
      weights: where the encoder's pretrained weights are from, pinned, with the sha256 of the
        file; empty for random initialisation.
    """

    net: CaptionNet
    variables: dict[str, Any]
    preprocessing: Preprocessing
    grid: tuple[int, int]
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)


def describe_net(
    config: ExperimentConfig, text: Text
) -> tuple[CaptionNet, Preprocessing, Features]:
    """The net of the settings, what it sees, and the shapes of one image's features.

    No weights are read or drawn.
    """
    encoder: Any = build_module(config.encoder, ENCODERS)
    side = config.data.image_size
    preprocessing = encoder.preprocessing((side, side)) if side else encoder.preprocessing()
    preprocessing = resizing(preprocessing, config.data.resize, config.data.shorter)
    preprocessing = dataclasses.replace(preprocessing, frames=config.data.frames)
    images = jax.ShapeDtypeStruct((1, *preprocessing.size, 3), jnp.float32)
    seen: Any = jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x)[0], images)
    decoder = build_module(
        config.decoder, DECODERS, vocab_size=text.size, features=seen.positions.shape[-1]
    )
    return build_net(encoder, decoder, preprocessing), preprocessing, seen


def build_model(config: ExperimentConfig, text: Text, key: Key[Array, ""]) -> Model:
    """The net of the settings, with pretrained encoder weights and word vectors where named.

    Raises:
      FileNotFoundError, ValueError: weights that are missing or do not fit.
    """
    net, preprocessing, seen = describe_net(config, text)
    path = weights_path(config)
    pretrained = None if path is None else load_encoder_weights(net.encoder, path)
    variables = _initialise(net, preprocessing, rng.stream(key, "init"), pretrained)
    if config.data.glove and not config.init_from:
        drawn = variables["params"]["decoder"]
        table = glove_rows(config, text, np.asarray(drawn["embedding"]))
        variables["params"] = {**variables["params"], "decoder": {**drawn, "embedding": table}}
    grid = (1, 1) if config.data.cache_frame_means else seen.grid
    origin = {} if path is None else described_weights(path, config.encoder.weights)
    return Model(net, jax.tree.map(jnp.asarray, variables), preprocessing, grid, origin)


def with_frequency_bias(model: Model, tokens: np.ndarray) -> Model:
    """The model whose output bias is the log frequency of each word, 0 for the most frequent one.

    As the released code of Ramanishka et al. (2017). A word that never occurs counts as one.

    Args:
      model: before training.
      tokens: ids of all training captions, end tokens included.
    """
    counts = np.maximum(np.bincount(tokens, minlength=model.net.decoder.vocab_size), 1)
    decoder = {**model.variables["params"]["decoder"]}
    if "head_bias" not in decoder:
        raise ValueError(
            f"data.frequency_bias sets a bias of the last layer, and "
            f"{type(model.net.decoder).__name__} has none; leave it off"
        )
    decoder["head_bias"] = jnp.asarray(np.log(counts / counts.max()), decoder["head_bias"].dtype)
    params = {**model.variables["params"], "decoder": decoder}
    return dataclasses.replace(model, variables={**model.variables, "params": params})


def _initialise(
    net: CaptionNet,
    preprocessing: Preprocessing,
    key: Key[Array, ""],
    pretrained: dict[str, Any] | None,
) -> dict[str, Any]:
    """Random variables, those of the encoder replaced by pretrained ones.

    The same key gives the same decoder with and without pretrained weights.
    """
    images = jnp.zeros((1, *preprocessing.size, 3), jnp.uint8)

    def draw(key: Key[Array, ""]) -> dict[str, Any]:
        variables = dict(net.init(key, images, jnp.zeros((1, 1), jnp.int32)))
        if pretrained is not None:  # what is not returned is not computed
            variables = {name: _without_encoder(parts) for name, parts in variables.items()}
        return variables

    variables = jax.jit(draw)(key)
    for collection, arrays in (pretrained or {}).items():
        variables[collection] = {**variables[collection], "encoder": arrays}
    return variables


def _without_encoder(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: arrays for name, arrays in parts.items() if name != "encoder"}


def caches_features(config: ExperimentConfig) -> bool:
    """Whether batches hold a frozen encoder's features instead of images."""
    return config.data.cache_features and not config.optimizer.encoder_learning_rate


def make_inputs(
    config: ExperimentConfig, model: Model, splits: tuple[Split, Split], folder: pathlib.Path
) -> tuple[Inputs, Inputs]:
    """What training and validation batches hold: cached features, computed here if new, or images.

    Validation features are stored in full, training features in half the bytes: scores are then
    those of the images.

    Args:
      config: settings.
      model: whose encoder makes the features.
      splits: training and validation.
      folder: of the caches; each has the digest of what made it in its name.
    """
    train, validation = splits
    seen: tuple[Inputs, Inputs] = (
        train.images(model.preprocessing),
        RequiredInputs(validation.images(model.preprocessing)),
    )
    if not caches_features(config):
        return resized_by(config.data.resizer, seen[0]), seen[1]
    describe = {
        "data": config.data.name,
        "encoder": module_to_json(model.net.encoder, ENCODERS),
        "weights": digest(_of_encoder(model.variables)),
        "preprocessing": dataclasses.asdict(model.preprocessing),
        "grid": model.grid,
    }
    encode = _encoder_function(model, frame_means=config.data.cache_frame_means)
    frames = model.preprocessing.frames or 1
    inputs = []
    allowed = (int(config.data.unreadable_share * len(train)), 0)
    stored: tuple[dict[str, str], ...] = ({}, {"dtype": "float32"})
    for split, images, unreadable, form in zip(splits, seen, allowed, stored, strict=True):
        origin = {**describe, **form}
        if isinstance(split.records[0], Rendered):  # no file would tell that they are drawn anew
            contents = "".join(getattr(record, "content", "") for record in split.records)
            stored_as = hashlib.sha256(contents.encode()).hexdigest() if contents else None
            origin = {**origin, "first": stored_as or digest(images(np.zeros(1, int)))}
        named = re.sub(r"[^\w.-]+", "_", config.data.name)[:NAME_LENGTH]
        place = folder / f"{named}-{split.name}-{_short(origin, split)}"
        with tqdm.tqdm(
            total=len(split),
            unit="image",
            desc=f"features of {split.name}",
            delay=2.0,
            disable=not config.train.progress or jax.process_index() > 0,
        ) as bar:
            cache = build_cache(
                place,
                split.records,
                encode,
                inputs=images,
                describe=origin,
                batch_size=max(1, ENCODE_BATCH // frames),
                shard_records=max(1, SHARD_RECORDS // frames),
                loading=Loading(workers=config.data.workers),
                unreadable=unreadable,
                **form,
                progress=_advance(bar),
            )
        inputs.append(FeatureInputs.of(cache, split.records))
    return inputs[0], inputs[1]


def _advance(bar: tqdm.tqdm) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        del total
        bar.update(done - bar.n)

    return show


def _of_encoder(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: parts["encoder"] for name, parts in variables.items() if "encoder" in parts}


def _short(describe: dict[str, Any], split: Split) -> str:
    keys = [record.key for record in split.records]
    return digest({"text": np.frombuffer(repr((describe, keys)).encode(), np.uint8)})[:12]


def _encoder_function(model: Model, *, frame_means: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Images [B H W 3] or clips to features [B F P D] on the host, jitted; weights are an argument.

    A long clip is encoded some frames at a time, so that no clip takes more memory than a batch of
    images does.
    """

    def encode(variables: dict[str, Any], images: Array) -> Array:
        features: Any = model.net.apply(variables, images, method="encode")
        return _positions(features.frame_means() if frame_means else features)

    compiled = barrier.jit(encode)
    variables = {name: {"encoder": parts} for name, parts in _of_encoder(model.variables).items()}
    pieces = -(-model.preprocessing.frames // ENCODE_BATCH)

    def on_host(images: np.ndarray) -> np.ndarray:
        parts = np.array_split(images, pieces, axis=1) if pieces > 1 else [images]
        return np.concatenate([np.asarray(compiled(variables, part)) for part in parts], axis=1)

    return on_host


def _positions(features: Features) -> Array:
    if features.extra.shape[1]:
        raise ValueError(
            "this encoder has tokens off the grid, which a feature cache does not hold; "
            "pass --config.data.cache_features=False"
        )
    return features.positions
