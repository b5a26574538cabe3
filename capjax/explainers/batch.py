"""Captions and maps of a batch of images: what every shell calls.

Batches and sentences are padded to a few fixed sizes, so that a folder of 100,000 images compiles
a handful of programs and no more.
"""

import dataclasses
import functools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from capjax.captioner import Captioner, CaptionNet
from capjax.decoding import Decoding
from capjax.decoding.captions import (
    abstract_features,
    abstract_images,
    caption_batch,
    caption_memory,
    see,
)
from capjax.explainers.choosing import Chosen, Wanted, choose
from capjax.explainers.contract import Maps
from capjax.explainers.flags import reading_flags
from capjax.explainers.language.program import (
    NOT_ASKED,
    Language,
    about_sentence,
    ask_language,
    unknown_token,
)
from capjax.explainers.language.visual_information import VisualInformation
from capjax.explainers.programs import Asked, Watch, explain_targets, explain_watched, make_request
from capjax.explainers.wording import (
    TOKEN_BUCKET,
    USUAL_TOKENS,
    Sizes,
    Wording,
    bucket,
    pad_sentences,
    word_scores,
)
from capjax.ops import barrier
from capjax.ops.devices import mesh_of, pad_rows
from capjax.runtime.memory import longest_needed, needed
from capjax.types import Caption, Explanation


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a captioner says of one image, and the maps of one sentence.

    Attributes:
      caption: the captioner's own.
      sentence: what was explained, the caption or the query.
      log_probs: [T] of each of the sentence's tokens.
      explanations: label of a method's answer -> maps.
      visual_information: of its words and phrases; None where it was not asked for.
      linguistic: way -> [N N] bits that each word (row) owes to each earlier one (column), see
        `capjax.explainers.language.linguistic`.
    """

    caption: Caption
    sentence: Wording
    log_probs: np.ndarray
    explanations: Mapping[str, Explanation]
    visual_information: VisualInformation | None = None
    linguistic: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def prepared_net(net: CaptionNet, methods: Sequence[Chosen]) -> CaptionNet:
    """The net whose features hold all that these methods read; its variables are the same."""
    return functools.reduce(lambda own, one: one.method.prepare(own), methods, net)


def check_methods(
    captioner: Captioner, wanted: Wanted | Sequence[Wanted], options: Sequence[str] = ()
) -> tuple[Chosen, ...]:
    """The methods that are wanted, with their options; see `choose`.

    Raises:
      ValueError: what `choose` raises, or a method that this captioner cannot give.
    """
    chosen = choose(wanted, options)
    net = prepared_net(captioner.net, chosen)
    clip = (captioner.preprocessing.frames,) if captioner.preprocessing.frames else ()
    images = jax.ShapeDtypeStruct((1, *clip, *captioner.preprocessing.size, 3), jnp.uint8)
    features = jax.eval_shape(
        functools.partial(net.apply, method="encode"), captioner.variables, images
    )
    tokens = jax.ShapeDtypeStruct((1, 1, TOKEN_BUCKET), jnp.int32)
    lengths = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    weights = jax.ShapeDtypeStruct((1, 1, TOKEN_BUCKET, TOKEN_BUCKET), jnp.float32)
    request = jax.eval_shape(
        functools.partial(make_request, net),
        *(captioner.variables, features, tokens, lengths, weights),
        images=images,
    )
    for one in chosen:
        jax.eval_shape(functools.partial(one.method, net), captioner.variables, request)
    return chosen


def explain_batch(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    sizes: Sequence[tuple[int, int]],
    *,
    methods: Sequence[Chosen],
    decoding: Decoding,
    max_len: int,
    queries: Sequence[Sequence[Wording]] | None = None,
    captions: Sequence[Caption] | None = None,
    least_tokens: int = 1,
    narrow: bool = False,
    watch: Watch | None = None,
    language: Language = NOT_ASKED,
) -> list[list[Explained]]:
    """Captions and raw maps of prepared images or clips.

    All devices of this process share the images (`capjax.ops.devices`).

    Args:
      captioner: the model.
      images: as its encoder wants them; rows beyond `sizes` are padding.
      sizes: (height, width) of each original photograph, upright.
      methods: from `check_methods`.
      decoding, max_len: how captions are written.
      queries: sentences to explain for each image instead of its caption.
      captions: of an earlier run, one a size; nothing is decoded then.
      least_tokens: sentences are padded to this many and more; see `LEAST_TOKENS`.
      narrow: for queries of which few words are explained; see `pad_sentences`.
      watch: told of every part of the work; without it all of it is one program.
      language: what is asked about words beside their maps.

    Returns:
      For each image one entry a query, in order; without queries the one of its caption.
    """
    net = prepared_net(captioner.net, methods)
    mesh = mesh_of(len(images))
    images = pad_rows(images, mesh)
    variables = captioner.placed(mesh)
    if captions is None:
        features, found = caption_batch(
            captioner, images, decoding=decoding, max_len=max_len, net=net
        )
        captions = found[: len(sizes)]
    else:
        features = see(net, variables, images, mesh=mesh)
    sentences = queries or [[Wording.of_caption(captioner, caption)] for caption in captions]
    padding = [[Wording((), (), ())]] * (len(images) - len(sizes))
    tokens, lengths, weights = pad_sentences(
        [*sentences, *padding], least=least_tokens, narrow=narrow
    )
    asked = Asked(features, tokens, lengths, weights, images, _seeds(images))
    if watch is None:
        own = tuple(one.method for one in methods)
        log_probs, answers = explain_targets(net, own, variables, asked, mesh)
    else:
        log_probs, answers = explain_watched(net, methods, watch, variables, asked, mesh)
    words = None
    if language:
        unknown, others = unknown_token(captioner), captioner.others
        words = ask_language(net, language, unknown, variables, others, asked, mesh)
    log_probs, answers, words = jax.device_get((log_probs, answers, words))
    explained: list[list[Explained]] = []
    for row, (caption, mine, size) in enumerate(zip(captions, sentences, sizes, strict=True)):
        cut = queries is None and not caption.finished
        explained.append([])
        for column, sentence in enumerate(mine):
            spoken = np.array(log_probs[row, column, : lengths[row, column]])
            explanations = {}
            for one, given in zip(methods, answers, strict=True):
                for name, label in one.labels.items():
                    maps = jax.tree.map(lambda leaf: leaf[row, column], given[name])  # noqa: B023
                    explanations[label] = _explanation(
                        captioner, sentence, spoken, maps, one, name, size=size, unfinished=cut
                    )
            about: Any = (None, {})
            if words is not None:
                found = jax.tree.map(lambda leaf: leaf[row, column], words)  # noqa: B023
                about = about_sentence(found, sentence, spoken, captioner)
            explained[-1].append(Explained(caption, sentence, spoken, explanations, *about))
    return explained


def explain_memory(
    captioner: Captioner,
    count: int,
    *,
    methods: Sequence[Chosen],
    decoding: Decoding,
    max_len: int,
    usable: float,
    sizes: Sizes | None = None,
    captioned: bool = False,
    language: Language = NOT_ASKED,
) -> float:
    """Bytes of each device that `explain_batch` of so many images takes; compiles its programs.

    Args:
      captioner, methods, decoding, max_len: as of `explain_batch`.
      count: images of a batch.
      usable: bytes of memory, beyond which it matters how much too much it would be.
      sizes: of the queries, at their largest; None: captions are explained, of any length.
      captioned: captions are known from an earlier run.
      language: as of `explain_batch`.
    """
    net = prepared_net(captioner.net, methods)
    images, mesh = abstract_images(captioner, count)
    variables = captioner.placed(mesh)
    if captioned:
        first = needed(barrier.lower(see, net, variables, images, mesh=mesh))
    else:
        first = caption_memory(captioner, count, decoding=decoding, max_len=max_len, net=net)
    features = abstract_features(net, variables, images, mesh)
    own = tuple(one.method for one in methods)

    def explaining(sizes: Sizes) -> float:
        asked = Asked.abstract(features, images, **sizes._asdict())
        most = needed(explain_targets.lower(net, own, variables, asked, mesh))
        if not language:
            return most
        about = (net, language, unknown_token(captioner), variables, captioner.others)
        return max(most, needed(ask_language.lower(*about, asked, mesh)))

    if sizes is not None:
        return max(first, explaining(sizes))
    longest = bucket(max_len)
    tokens = min(longest, USUAL_TOKENS)
    usual = explaining(Sizes(1, tokens, tokens))
    # At worst as targets times tokens; a word that takes several tokens makes fewer targets.
    growth = (longest / tokens) ** 2
    at_most = functools.partial(explaining, Sizes(1, longest, longest))
    return max(first, longest_needed(usual, growth, at_most, usable))


def _seeds(images: UInt8[np.ndarray, "B *F H W 3"]) -> np.ndarray:
    """A number of each image's pixels, from which its random keys come."""
    return np.array([zlib.crc32(image.tobytes()) for image in images], np.uint32)


def _explanation(
    captioner: Captioner,
    sentence: Wording,
    log_probs: np.ndarray,
    found: Maps,
    one: Chosen,
    name: str,
    *,
    size: tuple[int, int],
    unfinished: bool,
) -> Explanation:
    """One answer for one sentence, with arrays of its own.

    Views would keep the whole batch in memory for as long as one image's result lives.
    """
    count, phrases = len(sentence.words), len(sentence.phrases)
    maps = np.array(found.values[: count + phrases], np.float32)
    frames = found.frames
    if frames is None and maps.shape[1] > 1:
        frames = maps.sum(axis=(-1, -2))
    flags: dict[str, Any] = {
        "unknown_words": list(sentence.unknown),
        "unfinished": unfinished,
        **reading_flags(maps[:count]),
        **{key: [round(float(x), 4) for x in flag[:count]] for key, flag in found.flags.items()},
        **one.method.facts(captioner.net),
    }
    if notes := one.method.notes(flags, sentence.words):
        flags["notes"] = notes
    return Explanation(
        maps=maps[:count],
        words=sentence.words,
        word_spans=sentence.spans,
        score=word_scores(log_probs, sentence.spans),
        method=one.labels[name],
        geometry=captioner.preprocessing.geometry(size, (maps.shape[-2], maps.shape[-1])),
        flags=flags,
        frame_maps=None if frames is None else np.array(frames[:count], np.float32),
        phrases=sentence.phrases,
        phrase_maps=maps[count:] if phrases else None,
        unit=one.method.UNITS.get(name, ""),
        error=None if found.error is None else np.array(found.error[:count], np.float32),
        settings=one.settings,
    )
