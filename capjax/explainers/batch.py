"""Captions and maps of a batch of images: the two jitted calls that every shell shares.

Batches and sentences are padded to a few fixed sizes, so that a folder of 100,000 images compiles
a handful of programs and no more.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from capjax.captioner import Captioner, CaptionNet, token_log_probs
from capjax.decoding import Decoded, Decoding, generate, never_written
from capjax.explainers.flags import reading_flags
from capjax.explainers.maps import (
    GUIDED,
    IMPLIED,
    METHODS,
    Maps,
    explain_targets,
    mixes_positions,
    net_for,
)
from capjax.explainers.sentence import TOKEN_BUCKET, Sentence, pad_sentences, word_scores
from capjax.ops import barrier
from capjax.types import Caption, Explanation, Features


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a captioner says of one image, and the maps of one sentence.

    Attributes:
      caption: the captioner's own.
      sentence: what was explained, the caption or the query.
      log_probs: [T] of each of the sentence's tokens.
      explanations: method name -> maps.
    """

    caption: Caption
    sentence: Sentence
    log_probs: np.ndarray
    explanations: Mapping[str, Explanation]


@functools.partial(barrier.jit, static_argnames=("net", "decoding", "eos", "max_len", "suppress"))
def _see_and_say(
    net: CaptionNet,
    variables: Any,
    images: UInt8[Array, "B *F H W 3"],
    decoding: Decoding,
    eos: int,
    max_len: int,
    suppress: tuple[int, ...],
) -> tuple[Features, Decoded]:
    features = _seen(net, variables, images)
    decoded = generate(
        net, variables, features, decoding, eos=eos, max_len=max_len, suppress=suppress
    )
    return features, decoded


def _seen(net: CaptionNet, variables: Any, images: UInt8[Array, "B *F H W 3"]) -> Features:
    features: Any = net.apply(variables, images, method="encode")
    return features


_see = barrier.jit(_seen, static_argnames=("net",))


@functools.partial(jax.jit, static_argnames=("net", "methods"))
def _explain_targets(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Float[Array, "B Q N T"],
    methods: tuple[str, ...],
) -> tuple[Float[Array, "B Q T"], dict[str, Maps]]:
    log_probs = jax.lax.map(
        lambda words: token_log_probs(net, variables, features, words), tokens.swapaxes(0, 1)
    )
    maps = explain_targets(net, variables, features, tokens, lengths, weights, methods=methods)
    return log_probs.swapaxes(0, 1), maps


def check_methods(captioner: Captioner, methods: Sequence[str]) -> tuple[str, ...]:
    """The names, each once, in order.

    Raises:
      ValueError: an unknown name, none at all, or a method that this captioner cannot give.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        raise ValueError(
            f"unknown method {', '.join(map(repr, unknown)) or '(none given)'}; choose from: "
            f"{', '.join(METHODS)}"
        )
    chosen = tuple(
        dict.fromkeys(one for name in methods for one in (IMPLIED.get(name, name), name))
    )
    net = net_for(captioner.net, chosen)
    clip = (captioner.preprocessing.frames,) if captioner.preprocessing.frames else ()
    images = jax.ShapeDtypeStruct((1, *clip, *captioner.preprocessing.size, 3), jnp.uint8)
    features = jax.eval_shape(
        functools.partial(net.apply, method="encode"), captioner.variables, images
    )
    tokens = jax.ShapeDtypeStruct((1, TOKEN_BUCKET), jnp.int32)
    lengths = jax.ShapeDtypeStruct((1,), jnp.int32)
    weights = jax.ShapeDtypeStruct((1, TOKEN_BUCKET, TOKEN_BUCKET), jnp.float32)
    for name in chosen:
        method = functools.partial(METHODS[name], net)
        jax.eval_shape(method, captioner.variables, features, tokens, lengths, weights)
    return chosen


def caption_batch(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    *,
    decoding: Decoding,
    max_len: int,
    methods: Sequence[str] = (),
) -> tuple[Features, list[Caption]]:
    """Features (on the device) and captions of prepared images.

    Args:
      captioner: the model.
      images: as its encoder wants them.
      decoding, max_len: how captions are written.
      methods: what will explain them: the features hold what these read.
    """
    text = captioner.text
    features, decoded = _see_and_say(
        net_for(captioner.net, methods),
        captioner.variables,
        images,
        decoding,
        text.eos,
        max_len,
        never_written(text),
    )
    best = jax.tree.map(lambda leaf: np.asarray(leaf[:, 0]), decoded)
    captions = []
    for row in range(len(images)):
        length = int(best.lengths[row])
        tokens = tuple(int(token) for token in best.tokens[row, :length])
        words, _ = text.spans(tokens)
        captions.append(
            Caption(
                text=text.decode(tokens),
                words=tuple(words),
                tokens=tokens,
                log_probs=np.array(best.log_probs[row, :length]),
                score=float(best.scores[row]),
                finished=bool(best.finished[row]),
            )
        )
    return features, captions


def explain_batch(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    sizes: Sequence[tuple[int, int]],
    *,
    methods: Sequence[str],
    decoding: Decoding,
    max_len: int,
    queries: Sequence[Sequence[Sentence]] | None = None,
    captions: Sequence[Caption] | None = None,
    least_tokens: int = 1,
) -> list[list[Explained]]:
    """Captions and raw maps of prepared images or clips.

    Args:
      captioner: the model.
      images: as its encoder wants them; rows beyond `sizes` are padding.
      sizes: (height, width) of each original photograph, upright.
      methods: keys of `METHODS`.
      decoding, max_len: how captions are written.
      queries: sentences to explain for each image instead of its caption.
      captions: of an earlier run, one a size; nothing is decoded then.
      least_tokens: sentences are padded to this many and more; see `LEAST_TOKENS`.

    Returns:
      For each image one entry a query, in order; without queries the one of its caption.
    """
    if captions is None:
        features, found = caption_batch(
            captioner, images, decoding=decoding, max_len=max_len, methods=methods
        )
        captions = found[: len(sizes)]
    else:
        features = _see(net_for(captioner.net, methods), captioner.variables, images)
    sentences = queries or [[Sentence.of_caption(captioner, caption)] for caption in captions]
    padding = [[Sentence((), (), ())]] * (len(images) - len(sizes))
    tokens, lengths, weights = pad_sentences([*sentences, *padding], least=least_tokens)
    log_probs, maps = jax.device_get(
        _explain_targets(
            captioner.net, captioner.variables, features, tokens, lengths, weights, tuple(methods)
        )
    )
    explained: list[list[Explained]] = []
    for row, (caption, own, size) in enumerate(zip(captions, sentences, sizes, strict=True)):
        cut = queries is None and not caption.finished
        explained.append([])
        for column, sentence in enumerate(own):
            spoken = np.array(log_probs[row, column, : lengths[row, column]])
            explanations = {
                name: _explanation(
                    captioner,
                    sentence,
                    spoken,
                    jax.tree.map(lambda leaf: leaf[row, column], maps[name]),  # noqa: B023  at once
                    method=name,
                    size=size,
                    unfinished=cut,
                    off_grid=features.extra.shape[1] > 0,
                )
                for name in methods  # jit returned them sorted by name
            }
            explained[-1].append(Explained(caption, sentence, spoken, explanations))
    return explained


def _explanation(
    captioner: Captioner,
    sentence: Sentence,
    log_probs: np.ndarray,
    found: Maps,
    *,
    method: str,
    size: tuple[int, int],
    unfinished: bool,
    off_grid: bool,
) -> Explanation:
    count, phrases = len(sentence.words), len(sentence.phrases)
    # A copy: a view would keep the whole batch in memory for as long as one image's result lives.
    maps = np.array(found.maps[: count + phrases], np.float32)
    maps = maps.reshape(*maps.shape[:2], *captioner.grid)
    flags: dict[str, Any] = {
        "unknown_words": list(sentence.unknown),
        "unfinished": unfinished,
        **reading_flags(maps[:count]),
    }
    if method == "rollout" or (off_grid and method == "attention"):
        flags["off_grid_mass"] = [round(float(1 - value.sum()), 4) for value in maps[:count]]
    if method in GUIDED:
        flags["contextual"] = mixes_positions(captioner.net)
    return Explanation(
        maps=maps[:count],
        words=sentence.words,
        word_spans=sentence.spans,
        score=word_scores(log_probs, sentence.spans),
        method=method,
        geometry=captioner.preprocessing.geometry(size, captioner.grid),
        flags=flags,
        frame_maps=None if found.frames is None else np.array(found.frames[:count], np.float32),
        phrases=sentence.phrases,
        phrase_maps=maps[count:] if phrases else None,
    )
