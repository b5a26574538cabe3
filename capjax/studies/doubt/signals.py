"""Numbers of each object word that say how far it may be believed.

Letters: B images, N object words of a caption, T tokens, K sampled captions, F frames, P positions.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from capjax import rng
from capjax.captioner import Captioner, CaptionNet
from capjax.data.boxes.object_words import ObjectWords
from capjax.decoding import Sample
from capjax.decoding.generate import generate, never_written
from capjax.explainers.attentions.attention import Attention
from capjax.explainers.batch import image_seeds
from capjax.explainers.cams.gradcam import GradCAM
from capjax.explainers.language.visual_information import read_with_others
from capjax.explainers.programs import Asked, make_request
from capjax.explainers.request import Request
from capjax.explainers.wording import Wording, pad_sentences
from capjax.ops.devices import by_rows, mesh_of, pad_rows
from capjax.studies.doubt.object_names import ObjectName, object_names
from capjax.types import Caption, Features

DOUBTFUL = {
    "log_probability": -1,
    "entropy": 1,
    "prior": -1,
    "bits": -1,
    "flatness": 1,
    "agreement": -1,
    "stability": -1,
    "score": -1,
}
"""Signal -> 1 where a high number is doubtful, -1 where a low one is.

log_probability: of the word, in nats, its tokens together.
entropy: of the distribution that it was chosen from, in nats, the mean over its tokens.
prior: logarithm of the share of other captions that name its class.
bits: how much more probable the image makes it than other pictures do; with such pictures only.
flatness: entropy of its attention as a share of a uniform map's; of |Grad-CAM| without attention.
agreement: rank correlation of attention and Grad-CAM; with attention only.
stability: share of sampled captions that name its class.
score: what the caption was ranked by.
"""

SAMPLES = 8
LEAST_NAMES = 8
"""Object words that a caption is padded to: few programs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Doubtable:
    """The object words of one caption and their signals.

    Attributes:
      caption: the captioner's.
      names: its object words.
      signals: name -> [N]; "prior" is none of them, which depends on other captions.
    """

    caption: Caption
    names: tuple[ObjectName, ...]
    signals: dict[str, Float[np.ndarray, " N"]]


class _Read(NamedTuple):
    """Of every target, and the samples; None where there is nothing to say."""

    log_probability: Float[Array, "B N"]
    entropy: Float[Array, "B N"]
    bits: Float[Array, "B N"] | None
    flatness: Float[Array, "B N"]
    agreement: Float[Array, "B N"] | None
    tokens: Int[Array, "B K T"]
    lengths: Int[Array, "B K"]


def read_signals(
    captioner: Captioner,
    images: Any,
    features: Features,
    captions: Sequence[Caption],
    words: ObjectWords,
    *,
    max_len: int,
    samples: int = SAMPLES,
) -> list[Doubtable]:
    """The object words of each caption with their signals, in one program.

    Args:
      captioner: the model.
      images: [B *F H W 3] as its encoder wants them; rows beyond `captions` are padding.
      features: of these images, as `see` and `caption_batch` leave them.
      captions: of the images.
      words: which words name which class.
      max_len: most tokens of a sampled caption.
      samples: captions sampled from each image, from the key of its pixels.
    """
    mesh = mesh_of(len(images))
    images = pad_rows(np.asarray(images), mesh)
    names = [tuple(object_names(caption, words)) for caption in captions]
    sentences = [[_wording(captioner, *own)] for own in zip(captions, names, strict=True)]
    empty: list[list[Wording]] = [[Wording((), (), ())]] * (len(images) - len(captions))
    padded = pad_sentences([*sentences, *empty], least=LEAST_NAMES, narrow=True)
    asked = Asked(features, *padded[:3], images, image_seeds(images))
    text = captioner.text
    saying = (text.eos, max_len, never_written(text), samples)
    weights = captioner.placed(mesh)
    read: _Read = jax.device_get(
        _read_signals(captioner.net, saying, weights, captioner.others, asked, mesh)
    )
    found = []
    for row, (caption, own) in enumerate(zip(captions, names, strict=True)):
        numbers = {
            name: np.asarray(value[row, : len(own)], np.float64)
            for name in DOUBTFUL
            if (value := getattr(read, name, None)) is not None
        }
        heard = [
            words.named([text.decode(tuple(map(int, tokens[:length])))])
            for tokens, length in zip(read.tokens[row], read.lengths[row], strict=True)
        ]
        shares = [np.mean([bool(classes & set(name.classes)) for classes in heard]) for name in own]
        numbers["stability"] = np.array(shares, np.float64)
        numbers["score"] = np.full(len(own), caption.score, np.float64)
        found.append(Doubtable(caption, own, numbers))
    return found


def _wording(captioner: Captioner, caption: Caption, names: Sequence[ObjectName]) -> Wording:
    """The caption, of which only object words are asked, each as one target."""
    whole = Wording.of_caption(captioner, caption)
    spans = []
    for name in names:
        own = [span for span in whole.spans[name.start : name.end] if span[1] > span[0]]
        spans.append((own[0][0], own[-1][1]))
    words = tuple(" ".join(whole.words[name.start : name.end]) for name in names)
    return Wording(whole.tokens, words, tuple(spans))


@functools.partial(jax.jit, static_argnames=("net", "saying", "mesh"))
def _read_signals(
    net: CaptionNet,
    saying: tuple[int, int, tuple[int, ...], int],
    variables: Any,
    others: Features | None,
    asked: Asked,
    mesh: Mesh | None,
) -> _Read:
    eos, max_len, suppress, samples = saying

    def own(whole: tuple[Any, Features | None], asked: Asked) -> _Read:
        variables, others = whole
        sentences = asked.tokens, asked.lengths, asked.weights
        request = make_request(net, variables, asked.features, *sentences, seeds=asked.seeds)
        real = jnp.arange(asked.tokens.shape[2])[None, None] < asked.lengths[..., None]
        log_probs = jnp.where(real, request.forced.log_probs, 0.0)
        said = jnp.einsum("bqnt,bqt->bqn", asked.weights, log_probs, precision="highest")
        bits = None
        if others is not None:
            elsewhere = read_with_others(net, variables, asked.features, others, *sentences)
            bits = (said - elsewhere)[:, 0] / math.log(2)
        flatness, agreement = _of_maps(net, variables, request)
        keys = rng.child(request.keys, "doubt")
        drawn = generate(
            *(net, variables, asked.features, Sample(count=samples)),
            eos=eos,
            max_len=max_len,
            suppress=suppress,
            keys=keys,
        )
        entropy = _entropies(net, variables, request)
        return _Read(said[:, 0], entropy, bits, flatness, agreement, drawn.tokens, drawn.lengths)

    return by_rows(own, mesh)((variables, others), asked)


def _entropies(net: CaptionNet, variables: Any, request: Request) -> Float[Array, "B N"]:
    """The mean over each target's tokens; the vocabulary is looked through a step at a time."""

    def of_step(hidden: Float[Array, "B Dh"]) -> Float[Array, " B"]:
        logits: Any = net.apply(variables, hidden, method="readout")
        log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)

    steps = jax.lax.map(of_step, request.forced.hidden[:, 0].swapaxes(0, 1)).T  # [B T]
    weights = request.weights[:, 0]
    total = jnp.sum(weights, axis=-1)
    return jnp.einsum("bnt,bt->bn", weights, steps, precision="highest") / jnp.maximum(total, 1.0)


def _of_maps(
    net: CaptionNet, variables: Any, request: Request
) -> tuple[Float[Array, "B N"], Float[Array, "B N"] | None]:
    """(flatness, agreement) of the maps of two cheap methods."""
    gradients = _flat(GradCAM()(net, variables, request)[GradCAM.NAME].values)
    if request.forced.attention is None:
        return flatness(jnp.abs(gradients)), None
    looked = _flat(Attention()(net, variables, request)[Attention.NAME].values)
    return flatness(looked), rank_correlation(looked, gradients)


def _flat(maps: Float[Array, "B 1 N F h w"]) -> Float[Array, "B N M"]:
    return maps[:, 0].reshape(*maps.shape[:1], maps.shape[2], -1)


def flatness(maps: Float[Array, "*B M"]) -> Float[Array, "*B"]:
    """Entropy of each map, divided by its sum, as a share of a uniform one's; 1 of zeros."""
    total = jnp.sum(maps, axis=-1, keepdims=True)
    share = maps / jnp.where(total > 0, total, 1.0)
    entropy = -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.maximum(share, 1e-30)), 0.0), -1)
    return jnp.where(total[..., 0] > 0, entropy / math.log(max(2, maps.shape[-1])), 1.0)


def rank_correlation(one: Float[Array, "*B M"], other: Float[Array, "*B M"]) -> Float[Array, "*B"]:
    """Spearman's, with mean ranks of ties; 0 where a map is constant."""
    first, second = _ranks(one), _ranks(other)
    above = jnp.sum(first * second, axis=-1)
    below = jnp.sqrt(jnp.sum(first**2, axis=-1) * jnp.sum(second**2, axis=-1))
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1.0), 0.0)


def _ranks(values: Float[Array, "*B M"]) -> Float[Array, "*B M"]:
    """Ranks from 0 less their mean."""
    rows = values.reshape(-1, values.shape[-1])

    def of_row(row: Float[Array, " M"]) -> Float[Array, " M"]:
        order = jnp.sort(row)
        below = jnp.searchsorted(order, row, side="left")
        return (below + jnp.searchsorted(order, row, side="right") - 1) / 2

    ranks = jax.vmap(of_row)(rows).reshape(values.shape)
    return ranks - (values.shape[-1] - 1) / 2
