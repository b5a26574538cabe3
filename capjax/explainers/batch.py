"""Captions and maps of a batch of images: what every shell calls.

Batches and sentences are padded to a few fixed sizes, so that a folder of 100,000 images compiles
a handful of programs and no more.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from capjax.captioner import Captioner, CaptionNet, log_probs_after
from capjax.decoding import Decoding
from capjax.decoding.captions import caption_batch, see
from capjax.explainers.choosing import Chosen, Wanted, choose
from capjax.explainers.contract import Forced, InParts, Maps, Measure, Method, Request, answer
from capjax.explainers.flags import reading_flags
from capjax.explainers.wording import TOKEN_BUCKET, Wording, pad_sentences, word_scores
from capjax.types import Caption, Explanation, Features

Watch = Callable[[str, int, int], None]
"""Told of each part of the work: the method, parts done, parts in all. Raising ends the work."""


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a captioner says of one image, and the maps of one sentence.

    Attributes:
      caption: the captioner's own.
      sentence: what was explained, the caption or the query.
      log_probs: [T] of each of the sentence's tokens.
      explanations: label of a method's answer -> maps.
    """

    caption: Caption
    sentence: Wording
    log_probs: np.ndarray
    explanations: Mapping[str, Explanation]


def prepared_net(net: CaptionNet, methods: Sequence[Chosen]) -> CaptionNet:
    """The net whose features hold all that these methods read; its variables are the same."""
    return functools.reduce(lambda own, one: one.method.prepare(own), methods, net)


def make_request(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Array,
    *,
    images: Array | None = None,
    alternatives: Int[Array, "B Q N T"] | None = None,
    seeds: Array | None = None,
    measure: Measure = "log_prob",
) -> Request:
    """A request, with the one teacher-forced pass; pure.

    Args:
      net, variables: the captioner.
      features, tokens, lengths, weights, images, alternatives: see `Request`.
      seeds: [B] uint32 of the images; default: zeros.
      measure: the scalar that is explained.
    """
    if seeds is None:
        seeds = jnp.zeros(tokens.shape[0], jnp.uint32)
    return Request(
        images=images,
        features=features,
        forced=_force(net, variables, features, tokens),
        tokens=tokens,
        lengths=lengths,
        weights=weights,
        alternatives=alternatives,
        keys=jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(seeds),
        measure=measure,
    )


def _force(
    net: CaptionNet, variables: Any, features: Features, tokens: Int[Array, "B Q T"]
) -> Forced:
    """Reads the sentences, one after the other."""

    def one(words: Int[Array, "B T"]) -> Forced:
        read: Any = net.apply(
            variables, features, words, method="teacher_force", mutable=["selection"]
        )
        (hidden, attention), selection = read
        (chosen,) = selection.get("selection", {}).get("decoder", {}).get("chosen", (None,))
        return Forced(hidden, attention, chosen, log_probs_after(net, variables, hidden, words))

    found = jax.lax.map(one, tokens.swapaxes(0, 1))
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), found)


_request = jax.jit(make_request, static_argnames=("net", "measure"))


@functools.partial(jax.jit, static_argnames=("net", "methods"))
def _answers(
    net: CaptionNet, methods: tuple[Method, ...], variables: Any, request: Request
) -> tuple[dict[str, Maps], ...]:
    return tuple(answer(method, net, variables, request) for method in methods)


@functools.partial(jax.jit, static_argnames=("net", "methods", "measure"))
def _explain_targets(
    net: CaptionNet, methods: tuple[Method, ...], variables: Any, *asked: Any, **named: Any
) -> tuple[Array, tuple[dict[str, Maps], ...]]:
    """Log-probabilities [B Q T] and what each method answers, in one program."""
    request = make_request(net, variables, *asked, **named)
    return request.forced.log_probs, _answers(net, methods, variables, request)


def _watched(
    net: CaptionNet,
    chosen: Sequence[Chosen],
    watch: Watch,
    variables: Any,
    *asked: Any,
    **named: Any,
) -> tuple[Array, tuple[dict[str, Maps], ...]]:
    """As `_explain_targets`, part by part."""
    request = _request(net, variables, *asked, **named)
    found = []
    for one in chosen:
        label = next(iter(one.labels.values()))
        method = one.method
        if isinstance(method, InParts):
            count = method.parts(request)
            watch(label, 0, count)
            tally = _start(net, method, variables, request)
            for index in range(count):
                tally = jax.block_until_ready(
                    _step(net, method, variables, request, tally, jnp.int32(index))
                )
                watch(label, index + 1, count)
            found.append(_finish(net, method, variables, request, tally))
        else:
            watch(label, 0, 1)
            (answers,) = jax.block_until_ready(_answers(net, (method,), variables, request))
            found.append(answers)
            watch(label, 1, 1)
    return request.forced.log_probs, tuple(found)


@functools.partial(jax.jit, static_argnames=("net", "method"))
def _start(net: CaptionNet, method: InParts, variables: Any, request: Request) -> Any:
    return method.start(net, variables, request)


@functools.partial(jax.jit, static_argnames=("net", "method"))
def _step(
    net: CaptionNet, method: InParts, variables: Any, request: Request, tally: Any, index: Array
) -> Any:
    return method.step(net, variables, request, tally, index)


@functools.partial(jax.jit, static_argnames=("net", "method"))
def _finish(
    net: CaptionNet, method: InParts, variables: Any, request: Request, tally: Any
) -> dict[str, Maps]:
    return method.finish(net, variables, request, tally)


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
    watch: Watch | None = None,
) -> list[list[Explained]]:
    """Captions and raw maps of prepared images or clips.

    Args:
      captioner: the model.
      images: as its encoder wants them; rows beyond `sizes` are padding.
      sizes: (height, width) of each original photograph, upright.
      methods: from `check_methods`.
      decoding, max_len: how captions are written.
      queries: sentences to explain for each image instead of its caption.
      captions: of an earlier run, one a size; nothing is decoded then.
      least_tokens: sentences are padded to this many and more; see `LEAST_TOKENS`.
      watch: told of every part of the work; without it all of it is one program.

    Returns:
      For each image one entry a query, in order; without queries the one of its caption.
    """
    net = prepared_net(captioner.net, methods)
    if captions is None:
        features, found = caption_batch(
            captioner, images, decoding=decoding, max_len=max_len, net=net
        )
        captions = found[: len(sizes)]
    else:
        features = see(net, captioner.variables, images)
    sentences = queries or [[Wording.of_caption(captioner, caption)] for caption in captions]
    padding = [[Wording((), (), ())]] * (len(images) - len(sizes))
    tokens, lengths, weights = pad_sentences([*sentences, *padding], least=least_tokens)
    asked = (captioner.variables, features, tokens, lengths, weights)
    named = {"images": images, "seeds": _seeds(images)}
    if watch is None:
        own = tuple(one.method for one in methods)
        log_probs, answers = _explain_targets(net, own, *asked, **named)
    else:
        log_probs, answers = _watched(net, methods, watch, *asked, **named)
    log_probs, answers = jax.device_get((log_probs, answers))
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
            explained[-1].append(Explained(caption, sentence, spoken, explanations))
    return explained


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
