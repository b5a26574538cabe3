"""Captions and maps of a batch of images: what every shell calls.

Batches and sentences are padded to a few fixed sizes, so that a folder of 100,000 images compiles
a handful of programs and no more.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, UInt8, UInt32

from capjax.captioner import Captioner, CaptionNet
from capjax.decoding import Decoding
from capjax.decoding.captions import (
    abstract_features,
    abstract_images,
    caption_memory,
    captions_of,
    say,
    see,
)
from capjax.explainers.choosing import Chosen, Wanted, choose
from capjax.explainers.contract import Maps, Method, answer
from capjax.explainers.language.program import (
    NOT_ASKED,
    Language,
    about_sentence,
    ask_language,
    unknown_token,
)
from capjax.explainers.methods import METHODS
from capjax.explainers.perturbation.superpixels import superpixel_shapes, superpixels_for
from capjax.explainers.programs import (
    Answered,
    Asked,
    Watch,
    explain_targets,
    explain_watched,
    image_seeds,
    make_request,
    measured,
)
from capjax.explainers.request import Measure
from capjax.explainers.results import Explained, Read, explanation_of
from capjax.explainers.targets import Questions
from capjax.explainers.wording import (
    TOKEN_BUCKET,
    USUAL_TOKENS,
    Sizes,
    Wording,
    bucket,
    pad_sentences,
    scored_targets,
)
from capjax.ops import barrier
from capjax.ops.devices import Steps, at_one_go, mesh_of, pad_rows
from capjax.runtime.memory import longest_needed, needed
from capjax.types import Caption, Features

Stage = Callable[[str], contextlib.AbstractContextManager[Any]]
"""The context of a part of the work, by its name."""


def prepared_net(net: CaptionNet, methods: Sequence[Chosen]) -> CaptionNet:
    """The net whose features hold all that these methods read; its variables are the same."""
    return functools.reduce(lambda own, one: one.method.prepare(own), methods, net)


def check_methods(
    captioner: Captioner,
    wanted: Wanted | Sequence[Wanted],
    options: Sequence[str] = (),
    *,
    measure: Measure | None = None,
    contrasts: bool = False,
) -> tuple[Chosen, ...]:
    """The methods that are wanted, with their options; see `choose`.

    Args:
      captioner: that is explained.
      wanted, options, measure: as of `choose`.
      contrasts: a word is to be told from another one.

    Raises:
      ValueError: what `choose` raises, or a method that this captioner cannot give, or that cannot
        contrast where it has to.
    """
    chosen = choose(wanted, options, measure)
    if contrasts:
        _check_contrasts(chosen)
    net = prepared_net(captioner.net, chosen)
    clip = (captioner.preprocessing.frames,) if captioner.preprocessing.frames else ()
    images = jax.ShapeDtypeStruct((1, *clip, *captioner.preprocessing.size, 3), jnp.uint8)
    tokens = jax.ShapeDtypeStruct((1, 1, TOKEN_BUCKET), jnp.int32)
    lengths = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    weights = jax.ShapeDtypeStruct((1, 1, TOKEN_BUCKET, TOKEN_BUCKET), jnp.float32)
    superpixels = superpixel_shapes([one.method for one in chosen], images)
    asked = tokens, lengths, weights, superpixels
    _answers.eval_shape(net, chosen, captioner.variables, images, *asked)
    return chosen


@functools.partial(jax.jit, static_argnames=("net", "chosen"))
def _answers(
    net: CaptionNet,
    chosen: tuple[Chosen, ...],
    variables: Any,
    images: Array,
    tokens: Array,
    lengths: Array,
    weights: Array,
    superpixels: dict[int, Array],
) -> list[dict[str, Maps]]:
    """What the methods answer; only traced, once for all questions to captioners of a net."""
    features: Any = net.apply(variables, images, method="encode")
    request = make_request(
        *(net, variables, features, tokens, lengths, weights),
        images=images,
        superpixels=superpixels,
    )
    return [answer(one.method, net, variables, measured(request, one.measure)) for one in chosen]


def _check_contrasts(chosen: Sequence[Chosen]) -> None:
    """Raises ValueError where a method cannot tell a word from another."""
    unable = [label for one in chosen if not one.method.CONTRASTS for label in one.labels.values()]
    if unable:
        able = [name for name, method in METHODS.items() if method.CONTRASTS]
        raise ValueError(
            f"a contrast asks for the difference of two words, and {', '.join(unable)} cannot tell "
            f"one from another at the same step; choose of: {', '.join(able)}"
        )


def explain_steps(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    sizes: Sequence[tuple[int, int]],
    *,
    methods: Sequence[Chosen],
    decoding: Decoding,
    max_len: int,
    queries: Sequence[Sequence[Wording]] | None = None,
    captions: Sequence[Caption] | None = None,
    questions: Questions | None = None,
    least_tokens: int = 1,
    narrow: bool = False,
    seeds: UInt32[np.ndarray, " B"] | None = None,
    watch: Watch | None = None,
    language: Language = NOT_ASKED,
    doubting: Callable[[Any, Features, Sequence[Caption]], list[Caption]] | None = None,
    stage: Stage = jax.profiler.TraceAnnotation,
) -> Steps[list[list[Explained]]]:
    """Captions and raw maps of prepared images or clips, in three steps: see, explain, fetch.

    All devices of this process share the images (`capjax.ops.devices`). The second step waits for
    what the first asked of them, captions, and the third for what the second did, maps.

    Args:
      captioner: the model.
      images: as its encoder wants them; rows beyond `sizes` are padding.
      sizes: (height, width) of each original photograph, upright.
      methods: from `check_methods`.
      decoding, max_len: how captions are written.
      queries: sentences to explain for each image instead of its caption.
      captions: of an earlier run, one a size; nothing is decoded then.
      questions: what is explained of every sentence beside its words.
      least_tokens: sentences are padded to this many and more; see `LEAST_TOKENS`.
      narrow: for queries of which few words are explained; see `pad_sentences`.
      seeds: of the images' random keys; default: `image_seeds`.
      watch: told of every part of the work; without it all of it is one program.
      language: what is asked about words beside their maps.
      doubting: makes captions of (images, features, captions) that say what to doubt.
      stage: context of each part of the work: encode (and caption), explain, fetch.

    Returns:
      For each image one entry a query, in order; without queries the one of its caption.
    """
    net = prepared_net(captioner.net, methods)
    mesh = mesh_of(len(images))
    variables = captioner.placed(mesh)
    with stage("encode"):
        seeds = pad_rows(image_seeds(images) if seeds is None else seeds, mesh)
        images = pad_rows(images, mesh)
        if captions is None:
            features, decoded = say(captioner, images, decoding=decoding, max_len=max_len, net=net)
        else:
            features = see(net, variables, images, mesh=mesh)
    yield
    with stage("encode"):
        if captions is None:
            captions = captions_of(captioner.text, decoded, len(sizes))
        if doubting is not None:
            captions = doubting(images, features, captions)
    with stage("explain"):
        questions = questions or Questions()
        spoken = queries or [[Wording.of_caption(captioner, caption)] for caption in captions]
        sentences = [[sentence.asked(questions) for sentence in own] for own in spoken]
        padding = [[Wording((), (), ())]] * (len(images) - len(sizes))
        padded = pad_sentences([*sentences, *padding], least=least_tokens, narrow=narrow)
        asked = Asked(features, *padded[:3], images, seeds)
        if questions.contrasts:
            asked = asked._replace(alternatives=padded.alternatives)
        superpixels = superpixels_for([one.method for one in methods], images)
        asked = asked._replace(superpixels=superpixels)
        if watch is None:
            own, measures = _asked_of(methods)
            answered = explain_targets(net, own, variables, asked, mesh, measures)
        else:
            answered = explain_watched(net, methods, watch, variables, asked, mesh)
        words = None
        if language:
            unknown, others = unknown_token(captioner), captioner.others
            words = ask_language(net, language, unknown, variables, others, asked, mesh)
    del features, asked  # memory of the device, for the batches behind
    yield
    with stage("explain"):
        answered, words = jax.block_until_ready((answered, words))
    with stage("fetch"):
        answered, words = jax.device_get((answered, words))
        explained: list[list[Explained]] = []
        for row, (caption, mine, size) in enumerate(zip(captions, sentences, sizes, strict=True)):
            cut = queries is None and not caption.finished
            explained.append([])
            for column, sentence in enumerate(mine):
                found = jax.tree.map(lambda leaf: leaf[row, column], (answered, words))  # noqa: B023
                explained[-1].append(
                    _explained(captioner, methods, caption, sentence, size, cut, *found)
                )
    return explained


explain_batch = at_one_go(explain_steps)
"""`explain_steps` at one go."""


def _explained(
    captioner: Captioner,
    methods: Sequence[Chosen],
    caption: Caption,
    sentence: Wording,
    size: tuple[int, int],
    cut: bool,
    answered: Answered,
    words: Any,
) -> Explained:
    """One sentence of an image, with what was `answered` for it and found about its `words`."""
    log_probs = np.array(answered.log_probs[: len(sentence.tokens)])
    targets = scored_targets(sentence, log_probs, answered.scores)
    read = Read(sentence, log_probs, targets, size, cut)
    explanations = {
        label: explanation_of(captioner, read, given[name], one, name)
        for one, given in zip(methods, answered.answers, strict=True)
        for name, label in one.labels.items()
    }
    about: Any = (None, {})
    if words is not None:
        about = about_sentence(words, sentence, log_probs, captioner)
    return Explained(caption, sentence, log_probs, explanations, targets, *about)


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
    contrasts: bool = False,
    language: Language = NOT_ASKED,
    overlapped: bool = False,
) -> float:
    """Bytes of each device that `explain_batch` of so many images takes; compiles its programs.

    Args:
      captioner, methods, decoding, max_len: as of `explain_batch`.
      count: images of a batch.
      usable: bytes of memory, beyond which it matters how much too much it would be.
      sizes: of the queries, at their largest; None: captions are explained, of any length.
      captioned: captions are known from an earlier run.
      contrasts: words are told from others.
      language: as of `explain_batch`.
      overlapped: while a batch is explained, the next was seen, and the maps of the one before
        are still there.
    """
    net = prepared_net(captioner.net, methods)
    images, mesh = abstract_images(captioner, count)
    variables = captioner.placed(mesh)
    if captioned:
        first = needed(barrier.lower(see, net, variables, images, mesh=mesh))
    else:
        first = caption_memory(captioner, count, decoding=decoding, max_len=max_len, net=net)
    features = abstract_features(net, variables, images, mesh)
    own, measures = _asked_of(methods)
    seen = _size((images, features), mesh) if overlapped else 0.0

    def explaining(sizes: Sizes) -> float:
        asked = Asked.abstract(features, images, **sizes._asdict(), contrasts=contrasts)
        asked = asked._replace(superpixels=superpixel_shapes(own, images))
        lowered = explain_targets.lower(net, own, variables, asked, mesh, measures)
        beside = seen + (_size(lowered.out_info, mesh) if overlapped else 0.0)
        most = needed(lowered) + beside
        if not language:
            return most
        about = (net, language, unknown_token(captioner), variables, captioner.others)
        return max(most, needed(ask_language.lower(*about, asked, mesh)) + beside)

    first += seen
    if sizes is not None:
        return max(first, explaining(sizes))
    longest = bucket(max_len)
    tokens = min(longest, USUAL_TOKENS)
    usual = explaining(Sizes(1, tokens, tokens))
    # At worst as targets times tokens; a word that takes several tokens makes fewer targets.
    growth = (longest / tokens) ** 2
    at_most = functools.partial(explaining, Sizes(1, longest, longest))
    return max(first, longest_needed(usual, growth, at_most, usable))


def _size(tree: Any, mesh: Mesh | None) -> float:
    """Bytes of each device that arrays of these shapes take, divided by rows."""
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    return whole / (1 if mesh is None else mesh.size)


def _asked_of(
    chosen: Sequence[Chosen],
) -> tuple[tuple[Method, ...], tuple[Measure | None, ...]]:
    """The methods, and what each explains."""
    return tuple(one.method for one in chosen), tuple(one.measure for one in chosen)
