"""The jitted program behind visual information and linguistic attribution of a batch."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from capjax.captioner import Captioner, CaptionNet
from capjax.explainers.language.linguistic import (
    Way,
    earlier_alone,
    effects_of_words,
    embedded_words,
)
from capjax.explainers.language.visual_information import VisualInformation, read_otherwise
from capjax.explainers.programs import Asked
from capjax.explainers.wording import Wording, word_scores
from capjax.ops.devices import by_rows
from capjax.types import Features


@dataclasses.dataclass(frozen=True)
class Language:
    """What is asked about words beside their maps.

    Attributes:
      visual_information: how many bits of each word come from the image.
      linguistic: ways to find what it owes to each word before it; see `linguistic.Way`.
    """

    visual_information: bool = True
    linguistic: tuple[Way, ...] = ()

    def __post_init__(self) -> None:
        for way in self.linguistic:
            if way not in get_args(Way):
                known = ", ".join(get_args(Way))
                raise ValueError(f"unknown way {way!r} of linguistic attribution; choose: {known}")

    def __bool__(self) -> bool:
        return self.visual_information or bool(self.linguistic)


NOT_ASKED = Language(visual_information=False)


def check_language(
    captioner: Captioner, linguistic: str | Sequence[str], *, visual_information: bool = True
) -> Language:
    """What is asked about words.

    Args:
      captioner: that is asked.
      linguistic: names of ways, one or several.
      visual_information: whether that is asked for too.

    Raises:
      ValueError: an unknown way, or one that the captioner's decoder does not allow.
    """
    ways: Any = (linguistic,) if isinstance(linguistic, str) else tuple(linguistic)
    language = Language(visual_information, tuple(dict.fromkeys(ways)))
    if language.linguistic:
        net, frames = captioner.net, captioner.preprocessing.frames
        clip = (frames,) if frames else ()
        image = jax.ShapeDtypeStruct((1, *clip, *captioner.preprocessing.size, 3), np.uint8)
        encode = functools.partial(net.apply, method="encode")
        features = jax.eval_shape(encode, captioner.variables, image)
        tokens = jax.ShapeDtypeStruct((1, 2), np.int32)
        embedded = functools.partial(embedded_words, net)
        jax.eval_shape(embedded, captioner.variables, features, tokens)
    return language


class Found(NamedTuple):
    """What the program answers of every target; None, or nothing, where it was not asked for."""

    without_layout: Float[Array, "B Q N"] | None
    others: Float[Array, "B Q N"] | None
    effects: dict[str, Float[Array, "B Q N N"]]


@functools.partial(jax.jit, static_argnames=("net", "language", "unknown", "mesh"))
def ask_language(
    net: CaptionNet,
    language: Language,
    unknown: int | None,
    variables: Any,
    others: Features | None,
    asked: Asked,
    mesh: Mesh | None,
) -> Found:
    """All that is asked about words, in one program.

    Args:
      net, variables: the captioner.
      language: what is asked.
      unknown: see `unknown_token`.
      others: see `Captioner.others`.
      asked: the batch.
      mesh: devices that share its images.
    """

    def own(whole: tuple[Any, Features | None], asked: Asked) -> Found:
        variables, others = whole
        sentences = asked.tokens, asked.lengths, asked.weights
        bare, elsewhere = None, None
        if language.visual_information:
            seen = (asked.features, others)
            bare, elsewhere = read_otherwise(net, variables, *seen, *sentences)
        effects: dict[str, Array] = {
            way: effects_of_words(way, net, variables, asked.features, *sentences, unknown)
            for way in language.linguistic
        }
        return Found(bare, elsewhere, effects)

    return by_rows(own, mesh)((variables, others), asked)


def unknown_token(captioner: Captioner) -> int | None:
    """The id of a captioner's unknown word; None where no word is unknown to it."""
    text = captioner.text
    return None if text.unk in (text.pad, text.bos, text.eos) else text.unk


def about_sentence(
    found: Found,
    sentence: Wording,
    log_probs: Float[np.ndarray, " T"],
    captioner: Captioner,
) -> tuple[VisualInformation | None, Mapping[str, Float[np.ndarray, "N N"]]]:
    """What was found about one sentence: of its words and phrases, and between its words.

    Args:
      found: of this sentence, without the leading axes, on the host.
      sentence: the words.
      log_probs: of its tokens with the image.
      captioner: that read it.
    """
    phrases = [_joined(sentence.spans[first:last]) for first, last in sentence.phrases]
    spans = [*sentence.spans, *phrases]
    unread = np.array([end == start for start, end in spans], bool)

    def kept(values: Any) -> np.ndarray:
        return np.where(unread, np.nan, np.asarray(values)[: len(spans)]).astype(np.float32)

    visual = None
    if found.without_layout is not None:
        visual = VisualInformation(
            image=word_scores(log_probs, spans),
            without_layout=kept(found.without_layout),
            others=None if found.others is None else kept(found.others),
            pictures=0 if captioner.others is None else len(captioner.others.positions),
        )
    count = len(sentence.words)
    effects = {
        way: earlier_alone(np.asarray(found.effects[way])[:count, :count], sentence.spans)
        for way in get_args(Way)  # programs sort names
        if way in found.effects
    }
    return visual, effects


def _joined(spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """From the first to the last token of words that were read; empty where none was."""
    read = [span for span in spans if span[1] > span[0]]
    return (read[0][0], read[-1][1]) if read else (0, 0)
