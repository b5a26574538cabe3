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
from capjax.decoding import Beam, Decoded, Greedy, generate
from capjax.explain import METHODS
from capjax.explain.reading import reading_flags
from capjax.targets import Phrase
from capjax.types import Caption, Explanation, Features

Decoding = Greedy | Beam
TOKEN_BUCKET = 8
"""Sentences are padded to a multiple of this many tokens."""


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
    sentence: "Sentence"
    log_probs: np.ndarray
    explanations: Mapping[str, Explanation]


@dataclasses.dataclass(frozen=True)
class Sentence:
    """Tokens to explain, and the words that a reader sees for them.

    Attributes:
      tokens: ids, end token included where there is one.
      words, spans: what to show, and the (start, end) tokens of each word.
      unknown: indices of words outside the vocabulary; they are shown as they were written and
        explained as the unknown token.
    """

    tokens: tuple[int, ...]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    unknown: tuple[int, ...] = ()

    @classmethod
    def of_caption(cls, captioner: Captioner, caption: Caption) -> "Sentence":
        """The sentence of a decoded caption."""
        words, spans = captioner.text.spans(caption.tokens)
        return cls(caption.tokens, tuple(words), tuple(spans))

    @classmethod
    def of_query(cls, captioner: Captioner, text: str) -> "Sentence":
        """The sentence of a query, as the captioner reads it; one without words is an error."""
        tokens = captioner.text.encode(text)
        words, spans = captioner.text.spans(tokens, text)
        if not words:
            raise ValueError(f"the query {text!r} has no words; give a sentence to explain")
        unknown = tuple(
            index
            for index, (start, end) in enumerate(spans)
            if captioner.text.unk in tokens[start:end]
        )
        return cls(tuple(tokens), tuple(words), tuple(spans), unknown)


@functools.partial(jax.jit, static_argnames=("net", "decoding", "eos", "max_len", "suppress"))
def _see_and_say(
    net: CaptionNet,
    variables: Any,
    images: UInt8[Array, "B H W 3"],
    decoding: Decoding,
    eos: int,
    max_len: int,
    suppress: tuple[int, ...],
) -> tuple[Features, Decoded]:
    features = _see(net, variables, images)
    decoded = generate(
        net, variables, features, decoding, eos=eos, max_len=max_len, suppress=suppress
    )
    return features, decoded


@functools.partial(jax.jit, static_argnames=("net",))
def _see(net: CaptionNet, variables: Any, images: UInt8[Array, "B H W 3"]) -> Features:
    features: Any = net.apply(variables, images, method="encode")
    return features


@functools.partial(jax.jit, static_argnames=("net", "methods"))
def _explain_words(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    weights: Float[Array, "B N T"],
    methods: tuple[str, ...],
) -> tuple[Float[Array, "B T"], dict[str, Float[Array, "B N F P"]]]:
    log_probs = token_log_probs(net, variables, features, tokens)
    maps = {
        name: METHODS[name](net, variables, features, tokens, lengths, weights) for name in methods
    }
    return log_probs, maps


def default_decoding() -> Beam:
    """Beam search of width 3, ranked by the mean log-probability of a token."""
    return Beam(width=3, length_penalty=1.0)


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
    chosen = tuple(dict.fromkeys(methods))
    images = jax.ShapeDtypeStruct((1, *captioner.preprocessing.size, 3), jnp.uint8)
    features = jax.eval_shape(
        functools.partial(captioner.net.apply, method="encode"), captioner.variables, images
    )
    tokens = jax.ShapeDtypeStruct((1, TOKEN_BUCKET), jnp.int32)
    lengths = jax.ShapeDtypeStruct((1,), jnp.int32)
    weights = jax.ShapeDtypeStruct((1, TOKEN_BUCKET, TOKEN_BUCKET), jnp.float32)
    for name in chosen:
        method = functools.partial(METHODS[name], captioner.net)
        jax.eval_shape(method, captioner.variables, features, tokens, lengths, weights)
    return chosen


def caption_batch(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B H W 3"],
    *,
    decoding: Decoding,
    max_len: int,
) -> tuple[Features, list[Caption]]:
    """Features (on the device) and captions of prepared images."""
    text = captioner.text
    features, decoded = _see_and_say(
        captioner.net,
        captioner.variables,
        images,
        decoding,
        text.eos,
        max_len,
        tuple(sorted({text.pad, text.bos, text.unk} - {text.eos})),
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
    images: UInt8[np.ndarray, "B H W 3"],
    sizes: Sequence[tuple[int, int]],
    *,
    methods: Sequence[str],
    decoding: Decoding,
    max_len: int,
    query: Sentence | None = None,
    captions: Sequence[Caption] | None = None,
) -> list[Explained]:
    """Captions and raw maps of prepared images.

    Args:
      captioner: the model.
      images: as its encoder wants them; rows beyond `sizes` are padding.
      sizes: (height, width) of each original photograph, upright.
      methods: keys of `METHODS`.
      decoding, max_len: how captions are written.
      query: a sentence to explain instead of each caption.
      captions: of an earlier run, one a size; nothing is decoded then.
    """
    if captions is None:
        features, found = caption_batch(captioner, images, decoding=decoding, max_len=max_len)
        captions = found[: len(sizes)]
    else:
        features = _see(captioner.net, captioner.variables, images)
    sentences = [query or Sentence.of_caption(captioner, caption) for caption in captions]
    tokens, lengths, weights = _pad(sentences, rows=len(images))
    log_probs, maps = jax.device_get(
        _explain_words(
            captioner.net, captioner.variables, features, tokens, lengths, weights, tuple(methods)
        )
    )
    explained = []
    for row, (caption, sentence, size) in enumerate(zip(captions, sentences, sizes, strict=True)):
        own = np.array(log_probs[row, : lengths[row]])
        flags = {
            "unknown_words": list(sentence.unknown),
            "unfinished": query is None and not caption.finished,
        }
        explanations = {
            name: _explanation(
                captioner,
                sentence,
                own,
                value[row],
                method=name,
                size=size,
                flags=flags,
                off_grid=features.extra.shape[1] > 0,
            )
            for name, value in maps.items()
        }
        explained.append(Explained(caption, sentence, own, explanations))
    return explained


def _pad(sentences: Sequence[Sentence], *, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens [B T], lengths [B] and weights [B N T] of one target a word; N = T, a bucket."""
    longest = max(len(sentence.tokens) for sentence in sentences)
    padded = -(-longest // TOKEN_BUCKET) * TOKEN_BUCKET
    tokens = np.zeros((rows, padded), np.int32)
    lengths = np.zeros(rows, np.int32)
    weights = np.zeros((rows, padded, padded), np.float32)
    for row, sentence in enumerate(sentences):
        lengths[row] = len(sentence.tokens)
        tokens[row, : lengths[row]] = sentence.tokens
        for word, span in enumerate(sentence.spans):
            weights[row, word] = Phrase(*span).weights(padded)
    return tokens, lengths, weights


def _explanation(
    captioner: Captioner,
    sentence: Sentence,
    log_probs: np.ndarray,
    maps: Float[np.ndarray, "N F P"],
    *,
    method: str,
    size: tuple[int, int],
    flags: Mapping[str, Any],
    off_grid: bool,
) -> Explanation:
    count, frames = len(sentence.words), maps.shape[1]
    # A copy: a view would keep the whole batch in memory for as long as one image's result lives.
    maps = np.array(maps[:count], np.float32).reshape(count, frames, *captioner.grid)
    flags = {**flags, **reading_flags(maps)}
    if off_grid and method == "attention":
        flags["off_grid_mass"] = [round(float(1 - value.sum()), 4) for value in maps]
    return Explanation(
        maps=maps,
        words=sentence.words,
        word_spans=sentence.spans,
        score=np.array([log_probs[start:end].sum() for start, end in sentence.spans], np.float32),
        method=method,
        geometry=captioner.preprocessing.geometry(size, captioner.grid),
        flags=flags,
    )
