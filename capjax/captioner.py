"""A captioner: an encoder, a decoder, its words and its preprocessing, as one frozen object.

Only `(net, variables, arrays)` enter jit: `net` is static and hashable, weights are arguments.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from capjax.checkpoints.model_folder import (
    FORMAT,
    MODEL_FILE,
    TEXTS,
    read_description,
    read_doubt,
    read_others,
    write_folder,
)
from capjax.checkpoints.settings import module_from_json, module_to_json
from capjax.checkpoints.summary import summary
from capjax.checkpoints.weights_file import check_weights, model_digest, read_weights
from capjax.decoders import DECODERS, without_added
from capjax.decoders.selection import READINGS
from capjax.encoders import ENCODERS
from capjax.encoders.encode import encode
from capjax.encoders.encoder import Relu
from capjax.ops.devices import local_mesh
from capjax.runtime.files import without_places
from capjax.text.byte_pair import BytePair
from capjax.text.protocol import Text
from capjax.text.vocabulary import Vocabulary
from capjax.types import Features, Preprocessing

SHIPPED = pathlib.Path(__file__).parent / "checkpoints"


class CaptionNet(nn.Module):
    """Encoder and decoder under one set of variables.

    Attributes:
      encoder: normalised images [B H W 3] -> Features of one frame.
      decoder: see `capjax.decoders`.
      mean, std: per channel on the 0..255 scale (from `Preprocessing`).
    """

    encoder: nn.Module
    decoder: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def encode(
        self, images: Float[Array, "B *F H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of RGB images or clips on the 0..255 scale (uint8 or float), normalised here.

        Args:
          images: [B H W 3], or clips [B F H W 3], whose frames are encoded like B * F images.
          train: batch statistics are those of this batch.
          remat: a backward pass computes the activations inside a block again.
        """
        if images.ndim not in (4, 5) or images.shape[-1] != 3:
            raise ValueError(f"got shape {images.shape}; expected [B H W 3] or [B F H W 3]")
        pixels = jnp.asarray(images, jnp.float32).reshape(-1, *images.shape[-3:])
        scale = jnp.asarray(self.std, jnp.float32).reshape(1, 1, 1, 3)
        normalised = (pixels - jnp.asarray(self.mean, jnp.float32).reshape(1, 1, 1, 3)) / scale
        features = encode(self.encoder, normalised, train=train, remat=remat)
        return features if images.ndim == 4 else features.as_clips(images.shape[1])

    def keeping(self, *stages: str) -> "CaptionNet":
        """The net whose features hold these stages of the encoder too; see `Encoder.keeping`."""
        return self.clone(encoder=self.encoder.keeping(*stages))

    def with_relu(self, rule: Callable[[Relu], Relu]) -> "CaptionNet":
        """The net with another backward pass of its encoder's ReLUs; see `Encoder.with_relu`."""
        return self.clone(encoder=self.encoder.with_relu(rule))

    def start(self, features: Features, length: int | None = None) -> tuple[Any, Any]:
        """(carry, memory) before the first word; at most `length` steps will follow."""
        return self.decoder.start(features, length=length)

    def step(self, carry: Any, token: Int[Array, " B"], memory: Any) -> tuple[Any, Array, Any]:
        """(carry, hidden [B Dh], attention [B F P] or None) after one more word."""
        return self.decoder.step(carry, token, memory)

    def readout(self, hidden: Float[Array, "*N Dh"]) -> Float[Array, "*N V"]:
        """Logits of the next word."""
        return self.decoder.readout(hidden)

    def head(self) -> tuple[Float[Array, "Dh V"], Float[Array, " V"]]:
        """Kernel and bias of `readout`."""
        return self.decoder.head()

    def teacher_force(
        self,
        features: Features,
        tokens: Int[Array, "B T"],
        keys: Key[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T Dh"], Float[Array, "B T F P"] | None]:
        """Hidden and attention at every position; `readout(hidden)[:, t]` predicts `tokens[:, t]`.

        Args:
          features: of the images.
          tokens: predicted words, end token included, any padding.
          keys: one key an example turns dropout on.
        """
        return self.decoder(features, tokens, keys)

    def __call__(
        self, images: Float[Array, "B H W 3"], tokens: Int[Array, "B T"]
    ) -> Float[Array, "B T V"]:
        """Logits of `tokens` for `images`; used to create variables."""
        hidden, _ = self.teacher_force(self.encode(images), tokens)
        return self.readout(hidden)


def token_log_probs(
    net: CaptionNet, variables: Mapping[str, Any], features: Features, tokens: Int[Array, "B T"]
) -> Float[Array, "B T"]:
    """Natural-log probability of each token given the features and the tokens before it."""
    hidden, _ = net.apply(variables, features, tokens, method="teacher_force")
    return log_probs_after(net, variables, hidden, tokens)


def log_probs_after(
    net: CaptionNet,
    variables: Mapping[str, Any],
    hidden: Float[Array, "B T Dh"],
    tokens: Int[Array, "B T"],
) -> Float[Array, "B T"]:
    """Natural-log probability of each token, read from what teacher forcing left before it."""
    logits: Any = net.apply(variables, hidden, method="readout")
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Captioner:
    """A captioner on the host.

    Attributes:
      net: the static module.
      variables: {"params": {"encoder", "decoder"}, "batch_stats": {...}}, float32.
      text: words and their ids.
      preprocessing: how photographs become `net`'s input.
      card: where the model comes from (config, data, scores); plain JSON values.
      others: features of other pictures of its kind, always the same ones, which visual information
        compares with (`capjax.explainers.language`); None where the model has none. They decide no
        caption and no map, and are no part of the hash.
      doubt: what doubt.json beside the model says (`capjax.studies.doubt`), as plain values; None
        where there is none. No part of the hash, and not saved: it belongs to one saved model.
    """

    net: CaptionNet
    variables: Mapping[str, Any]
    text: Text
    preprocessing: Preprocessing
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    others: Features | None = None
    doubt: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return summary(self.net.encoder, self.net.decoder, self.text, self.preprocessing, self.card)

    @functools.cached_property
    def hash(self) -> str:
        """Digest of all that decides an output: net, weights, words and preprocessing."""
        return model_digest(self._static(), _flatten(self.variables))

    @functools.cached_property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the encoder's map at this preprocessing's size."""
        shape = jax.ShapeDtypeStruct((1, *self.preprocessing.size, 3), jnp.uint8)
        seen: Features = _encode.eval_shape(self.net, self.variables, shape)
        return seen.grid

    def placed(self, mesh: Mesh | None) -> Mapping[str, Any]:
        """The variables for a batch on `mesh` (`capjax.ops.devices.mesh_of`)."""
        return self.variables if mesh is None else self._everywhere

    @functools.cached_property
    def _everywhere(self) -> Mapping[str, Any]:
        """The variables, whole on every device of this process."""
        placed: Mapping[str, Any] = jax.device_put(
            self.variables, NamedSharding(local_mesh(), PartitionSpec())
        )
        return placed

    @property
    def noun(self) -> str:
        """What it captions."""
        return "clip" if self.preprocessing.frames else "image"

    def at_once(self, images: int) -> int:
        """How many inputs make a batch of so many images: a clip counts as its frames."""
        return max(1, images // max(1, self.preprocessing.frames))

    @property
    def precision(self) -> str:
        """Of the decoder's products, "float32" or "bfloat16"."""
        return jnp.dtype(self.net.decoder.dtype).name

    def in_precision(self, dtype: str | None) -> "Captioner":
        """The same captioner with its products and activations in "float32" or "bfloat16".

        Encoder and decoder alike, so that features come in that precision too; None: as they are.
        Weights, sums, states, softmax, logarithms and maps stay float32. The hash differs: so may
        the outputs, in the third digit.
        """
        if dtype is None:
            return self
        kind = jnp.dtype(dtype)
        parts = self.net.encoder.clone(dtype=kind), self.net.decoder.clone(dtype=kind)
        return dataclasses.replace(self, net=self.net.clone(encoder=parts[0], decoder=parts[1]))

    def with_reading(self, reading: str) -> "Captioner":
        """The same captioner with another `reading` of attention (see `AttentionLSTM`)."""
        if not hasattr(self.net.decoder, "reading"):
            name = type(self.net.decoder).__name__
            raise ValueError(f"{name} has no attention whose reading could be chosen; leave it out")
        if reading not in READINGS:
            raise ValueError(f"unknown reading {reading!r}; choose one of: {', '.join(READINGS)}")
        decoder = self.net.decoder.clone(reading=reading)
        return dataclasses.replace(self, net=self.net.clone(decoder=decoder))

    def save(self, folder: str | os.PathLike[str], *, storage: str = "float32") -> None:
        """Writes `model.json` and the files it names into `folder`; see `checkpoints.model_folder`.

        Of absolute paths in the card the last name is kept.

        Args:
          folder: created where missing.
          storage: dtype of the weights on disk; "float16" halves the file and rounds the weights.
        """
        if not isinstance(self.text, Vocabulary | BytePair):
            raise ValueError(
                f"cannot save words of type {type(self.text).__name__}; expected a Vocabulary or "
                "a BytePair"
            )
        arrays = {
            name: np.asarray(value).astype(storage, order="C")
            for name, value in _flatten(self.variables).items()
        }
        card = without_places(self.card)
        description = {"format": FORMAT, **self._static(), "card": card}
        write_folder(pathlib.Path(folder), description, arrays, self.text, self.others)

    def _static(self) -> dict[str, Any]:
        return {
            "encoder": module_to_json(self.net.encoder, ENCODERS),
            "decoder": without_added(module_to_json(self.net.decoder, DECODERS)),
            "preprocessing": dataclasses.asdict(self.preprocessing),
            "vocabulary": self.text.hash,
        }


def build_net(encoder: nn.Module, decoder: nn.Module, preprocessing: Preprocessing) -> CaptionNet:
    """The net of an encoder, a decoder and the normalisation of `preprocessing`."""
    return CaptionNet(encoder, decoder, preprocessing.mean, preprocessing.std)


def shipped_models() -> list[str]:
    """Names of the captioners that come with capjax."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{MODEL_FILE}"))


def captioner_folder(name_or_dir: str | os.PathLike[str]) -> pathlib.Path | None:
    """The folder of a captioner, or of the one shipped under this name; None if it is neither."""
    folder = pathlib.Path(name_or_dir)
    if (folder / MODEL_FILE).is_file():
        return folder
    return SHIPPED / str(name_or_dir) if str(name_or_dir) in shipped_models() else None


def load_captioner(folder: str | os.PathLike[str]) -> Captioner:
    """The captioner that `Captioner.save` wrote, checked against its digest, names and shapes.

    Raises:
      FileNotFoundError: `folder` holds no model.
      ValueError: a file is damaged or belongs to another model; the text names it.
    """
    folder = pathlib.Path(folder)
    description = read_description(folder)
    words = description.get("text", Vocabulary.FILE)
    if words not in TEXTS:
        raise ValueError(
            f"{folder / MODEL_FILE} has its words in {words!r}; expected {' or '.join(TEXTS)}"
        )
    text = TEXTS[words].load(folder / words, expected_hash=description["vocabulary"])
    preprocessing = Preprocessing(**description["preprocessing"])
    net = build_net(
        module_from_json(description["encoder"], ENCODERS),
        module_from_json(description["decoder"], DECODERS),
        preprocessing,
    )
    arrays = read_weights(folder / description["weights"]["file"], description["weights"])
    check_weights(arrays, _expected(net, preprocessing), folder)
    variables = traverse_util.unflatten_dict(
        {name: jnp.asarray(value, jnp.float32) for name, value in arrays.items()}, sep="/"
    )
    others, doubt = read_others(folder, description), read_doubt(folder)
    return Captioner(net, variables, text, preprocessing, description["card"], others, doubt)


def _flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.flatten_dict(dict(variables), sep="/")


def _expected(net: CaptionNet, preprocessing: Preprocessing) -> dict[str, Any]:
    images = jax.ShapeDtypeStruct((1, *preprocessing.size, 3), jnp.uint8)
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    return _flatten(_init.eval_shape(net, jax.random.key(0), images, tokens))


# Of these only shapes are asked, each traced once for all captioners of one net.
@functools.partial(jax.jit, static_argnums=0)
def _init(net: CaptionNet, *inputs: Any) -> Any:
    return net.init(*inputs)


@functools.partial(jax.jit, static_argnums=0)
def _encode(net: CaptionNet, variables: Mapping[str, Any], images: Array) -> Any:
    return net.apply(variables, images, method="encode")
