"""Numbers of each object word that say how far it may be believed.

Letters: B images, Q captions of each, N object words of a caption, T tokens, K sampled captions,
F frames, P positions.
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
from capjax.decoding.captions import abstract_features, abstract_images
from capjax.decoding.generate import generate, never_written
from capjax.explainers.language.others import coarse
from capjax.explainers.language.visual_information import read_with_others
from capjax.explainers.programs import Asked, image_seeds, keys_of, make_request
from capjax.explainers.request import Request
from capjax.explainers.wording import (
    TOKEN_BUCKET,
    USUAL_TOKENS,
    Wording,
    bucket,
    pad_sentences,
)
from capjax.ops.devices import by_rows, mesh_of, pad_rows
from capjax.runtime.memory import longest_needed, needed
from capjax.studies.doubt.maps import signals_of_maps
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
    "peak": -1,
}
"""Signal -> 1 where a high number is doubtful, -1 where a low one is.

log_probability: of the word, in nats, its tokens together.
entropy: of the distribution that it was chosen from, in nats, the mean over its tokens.
prior: logarithm of the share of other captions that name its class.
bits: how much more probable the image makes it than other pictures do; with such pictures only.
flatness: entropy of its attention as a share of a uniform map's; of |Grad-CAM| without attention.
agreement: rank correlation of attention and Grad-CAM; with attention only.
stability: share of sampled captions that name its class. They are sampled from coarse features, as
  `Captioner.others` are kept: a quarter cheaper, for an AUC that differs within its noise.
score: what the caption was ranked by.
peak: how many bits more probable it is than where the features at the peak of its map, which are
  those at half its maximum and more, are the image's mean feature; the map is its attention, or
  |Grad-CAM|. Occlusion (Zeiler and Fergus 2014) of the one place that matters; the caption is read
  once more for every word.
"""

DEARER = ("agreement", "peak")
"""Signals that are read only where they are asked for: a pass backward a word, or one forward."""
USUAL = tuple(name for name in DOUBTFUL if name not in DEARER)

SAMPLES = 8
USUAL_NAMES = 4
"""Object words that a caption is padded to, where none of its batch has more: few programs."""


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


class _Wanted(NamedTuple):
    """What to read, static under jit.

    Attributes:
      signals: by name.
      eos, max_len, suppress, samples: of the captions that are sampled.
    """

    signals: frozenset[str]
    eos: int
    max_len: int
    suppress: tuple[int, ...]
    samples: int


class _Read(NamedTuple):
    """Signals of every target by name, and the samples' tokens and lengths where there are any."""

    signals: dict[str, Float[Array, "B Q N"]]
    samples: tuple[Int[Array, "B K T"], Int[Array, "B K"]] | None


def read_signals(
    captioner: Captioner,
    images: Any,
    features: Features,
    captions: Sequence[Sequence[Caption]],
    words: ObjectWords,
    *,
    max_len: int,
    samples: int = SAMPLES,
    signals: Sequence[str] = USUAL,
) -> list[list[Doubtable]]:
    """The object words of each caption with their signals, all captions in one program.

    Its memory hardly depends on how many captions an image has.

    Args:
      captioner: the model.
      images: [B *F H W 3] as its encoder wants them; rows beyond `captions` are padding.
      features: of these images, as `see` and `caption_batch` leave them.
      captions: of each image one or several, such as the candidates of a beam search.
      words: which words name which class.
      max_len: most tokens of a sampled caption.
      samples: captions sampled from each image, from the key of its pixels.
      signals: to read; what this captioner cannot tell is left out.

    Returns:
      Of each image one entry a caption, in order.
    """
    mesh = mesh_of(len(images))
    images = pad_rows(np.asarray(images), mesh)
    named = [[tuple(object_names(caption, words)) for caption in own] for own in captions]
    asked = asked_names(captioner, images, features, captions, named)
    wanted = _wanted(captioner, max_len, samples, signals)
    read: _Read = jax.device_get(
        _read_signals(captioner.net, wanted, captioner.placed(mesh), captioner.others, asked, mesh)
    )
    found: list[list[Doubtable]] = []
    for row, (own, names) in enumerate(zip(captions, named, strict=True)):
        heard = None
        if read.samples is not None:
            tokens, lengths = (leaf[row] for leaf in read.samples)
            heard = [
                words.named([captioner.text.decode(tuple(map(int, one[:length])))])
                for one, length in zip(tokens, lengths, strict=True)
            ]
        found.append([])
        for column, (caption, those) in enumerate(zip(own, names, strict=True)):
            numbers = {
                name: np.asarray(value[row, column, : len(those)], np.float64)
                for name, value in read.signals.items()
            }
            if heard is not None:
                shares = [
                    np.mean([bool(said & set(one.classes)) for said in heard]) for one in those
                ]
                numbers["stability"] = np.array(shares, np.float64)
            if "score" in signals:
                numbers["score"] = np.full(len(those), caption.score, np.float64)
            found[-1].append(Doubtable(caption, those, numbers))
    return found


def asked_names(
    captioner: Captioner,
    images: np.ndarray,
    features: Features,
    captions: Sequence[Sequence[Caption]],
    names: Sequence[Sequence[Sequence[ObjectName]]],
) -> Asked:
    """Captions, of which only object words are asked, each as one target.

    Args:
      captioner, images, features, captions: as of `read_signals`, images padded.
      names: object words of each caption.
    """
    sentences = [
        [_wording(captioner, *one) for one in zip(*own, strict=True)]
        for own in zip(captions, names, strict=True)
    ]
    empty: list[list[Wording]] = [[Wording((), (), ())]] * (len(images) - len(captions))
    padded = pad_sentences([*sentences, *empty], narrow=True)
    weights = padded.weights
    if max((len(one) for own in names for one in own), default=0) <= USUAL_NAMES:
        weights = weights[:, :, :USUAL_NAMES]
    return Asked(features, padded.tokens, padded.lengths, weights, images, image_seeds(images))


def readable_signals(captioner: Captioner, signals: Sequence[str], *, max_len: int) -> set[str]:
    """Those of the signals that a captioner can tell, by shapes alone: nothing is compiled.

    Args:
      captioner, signals, max_len: as of `read_signals`.
    """
    images, mesh = abstract_images(captioner, 1)
    variables = captioner.placed(mesh)
    features = abstract_features(captioner.net, variables, images, mesh)
    asked = Asked.abstract(features, images, queries=1, targets=1, tokens=bucket(max_len))
    always = {"prior", "score", "stability"}
    wanted = _wanted(captioner, max_len, 1, sorted({*signals} - always))
    given = captioner.net, wanted, variables, captioner.others, asked, mesh
    read: _Read = _read_signals.eval_shape(*given)
    return {*signals} & ({*read.signals} | always)


def signals_memory(
    captioner: Captioner,
    count: int,
    *,
    max_len: int,
    usable: float,
    samples: int = SAMPLES,
    signals: Sequence[str] = USUAL,
) -> float:
    """Bytes of each device that `read_signals` of so many images takes; compiles its program.

    Args:
      captioner, max_len, samples, signals: as of `read_signals`.
      count: images of a batch.
      usable: bytes of memory, beyond which it matters how much too much it would be.
    """
    images, mesh = abstract_images(captioner, count)
    variables, others = captioner.placed(mesh), captioner.others
    features = abstract_features(captioner.net, variables, images, mesh)
    wanted = _wanted(captioner, max_len, samples, signals)

    def reading(targets: int, tokens: int) -> float:
        asked = Asked.abstract(features, images, queries=1, targets=targets, tokens=tokens)
        given = captioner.net, wanted, variables, others, asked, mesh
        return needed(_read_signals.lower(*given))

    longest = bucket(max_len)
    usual = reading(USUAL_NAMES, min(longest, USUAL_TOKENS))
    growth = TOKEN_BUCKET / USUAL_NAMES * max(1.0, longest / USUAL_TOKENS)
    return longest_needed(usual, growth, lambda: reading(TOKEN_BUCKET, longest), usable)


def _wanted(captioner: Captioner, max_len: int, samples: int, signals: Sequence[str]) -> _Wanted:
    text = captioner.text
    return _Wanted(frozenset(signals), text.eos, max_len, never_written(text), samples)


def _wording(captioner: Captioner, caption: Caption, names: Sequence[ObjectName]) -> Wording:
    """The caption, of which only object words are asked, each as one target."""
    whole = Wording.of_caption(captioner, caption)
    spans = []
    for name in names:
        own = [span for span in whole.spans[name.start : name.end] if span[1] > span[0]]
        spans.append((own[0][0], own[-1][1]))
    words = tuple(" ".join(whole.words[name.start : name.end]) for name in names)
    return Wording(whole.tokens, words, tuple(spans))


@functools.partial(jax.jit, static_argnames=("net", "wanted", "mesh"))
def _read_signals(
    net: CaptionNet,
    wanted: _Wanted,
    variables: Any,
    others: Features | None,
    asked: Asked,
    mesh: Mesh | None,
) -> _Read:
    def own(whole: tuple[Any, Features | None], asked: Asked) -> _Read:
        variables, others = whole

        def of_captions(sentences: tuple[Array, Array, Array]) -> dict[str, Float[Array, "B N"]]:
            """Signals of one caption an image."""
            request = make_request(net, variables, asked.features, *sentences, seeds=asked.seeds)
            said = _said(request)
            found = {"log_probability": said}
            if "entropy" in wanted.signals:
                found["entropy"] = _entropies(net, variables, request)
            if "bits" in wanted.signals and others is not None:
                elsewhere = read_with_others(net, variables, asked.features, others, *sentences)
                found["bits"] = (said - elsewhere[:, 0]) / math.log(2)
            return found | signals_of_maps(net, variables, request, said, wanted.signals)

        # Captions of an image one after the other, each with the whole batch.
        first = [leaf.swapaxes(0, 1)[:, :, None] for leaf in asked[1:4]]
        found = jax.tree.map(
            lambda leaf: leaf.swapaxes(0, 1), jax.lax.map(of_captions, tuple(first))
        )
        if "stability" not in wanted.signals:
            return _Read(found, None)
        drawn = generate(
            *(net, variables, coarse(asked.features), Sample(count=wanted.samples)),
            eos=wanted.eos,
            max_len=wanted.max_len,
            suppress=wanted.suppress,
            keys=rng.child(keys_of(asked.seeds), "doubt"),
        )
        return _Read(found, (drawn.tokens, drawn.lengths))

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


def _said(request: Request) -> Float[Array, "B N"]:
    """Log-probability of every target."""
    used = request.used
    log_probs = jnp.where(jnp.any(used != 0, axis=2), request.forced.log_probs, 0.0)
    return jnp.einsum("bqnt,bqt->bqn", used, log_probs, precision="highest")[:, 0]
