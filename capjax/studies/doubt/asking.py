"""Doubts about the captions of a batch: signals, probability, reason."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from capjax.captioner import Captioner
from capjax.explainers.batch import image_seeds
from capjax.explainers.language.linguistic import Way, earlier_alone
from capjax.explainers.language.program import Language, ask_language, check_language, unknown_token
from capjax.explainers.programs import Asked
from capjax.explainers.wording import Wording, pad_sentences
from capjax.ops.devices import mesh_of, pad_rows
from capjax.studies.doubt.doubter import Kept
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.reasons import reason
from capjax.studies.doubt.signals import Doubtable, read_signals
from capjax.types import Caption, Features, WordDoubt

DOUBTED = 0.5
"""Probability from which a word counts as one not to believe."""

_WAY: Way = "leave_one_out"


def doubted_captions(
    captioner: Captioner,
    kept: Kept,
    images: Any,
    features: Features,
    captions: Sequence[Caption],
    *,
    max_len: int,
) -> list[Caption]:
    """The captions with `doubts`.

    Args:
      captioner: the model.
      kept: from `kept_doubt`.
      images, features, captions, max_len: see `read_signals`.
    """
    found = read_signals(
        captioner,
        images,
        features,
        captions,
        kept.words,
        max_len=max_len,
        samples=kept.samples,
    )
    chances = [kept.doubter(one) for one in found]
    owed: list[list[Float[np.ndarray, " N"] | None]] = [[None] * len(one.names) for one in found]
    if any((own >= DOUBTED).any() for own in chances) and _can_tell(captioner):
        owed = _owed(captioner, images, features, found)
    return [
        dataclasses.replace(one.caption, doubts=_doubts(one, own, of, kept))
        for one, own, of in zip(found, chances, owed, strict=True)
    ]


def _doubts(
    one: Doubtable,
    chances: Float[np.ndarray, " N"],
    owed: Sequence[Float[np.ndarray, " N"] | None],
    kept: Kept,
) -> tuple[WordDoubt, ...]:
    words = one.caption.words
    table = {**one.signals, "prior": kept.doubter.prior.signal(one.names)}
    doubts = []
    for row, name in enumerate(one.names):
        signals = {signal: float(values[row]) for signal, values in table.items()}
        doubts.append(
            WordDoubt(
                name.start,
                name.end,
                " ".join(words[name.start : name.end]),
                name.classes,
                float(chances[row]),
                reason(name, words, signals, kept.doubter, owed[row]),
                signals,
            )
        )
    return tuple(doubts)


def _can_tell(captioner: Captioner) -> bool:
    """Whether the decoder says what words it reads, without which no word can be left out."""
    try:
        check_language(captioner, _WAY, visual_information=False)
    except ValueError:
        return False
    return True


def _owed(
    captioner: Captioner, images: Any, features: Features, found: Sequence[Doubtable]
) -> list[list[Float[np.ndarray, " N"] | None]]:
    """Bits that each object word owes to every word before it, of every caption."""
    mesh = mesh_of(len(images))
    images = pad_rows(np.asarray(images), mesh)
    sentences = [[Wording.of_caption(captioner, one.caption)] for one in found]
    empty: list[list[Wording]] = [[Wording((), (), ())]] * (len(images) - len(found))
    padded = pad_sentences([*sentences, *empty])
    asked = Asked(features, *padded[:3], images, image_seeds(images))
    language = Language(visual_information=False, linguistic=(_WAY,))
    answered = ask_language(
        captioner.net,
        language,
        unknown_token(captioner),
        captioner.placed(mesh),
        None,
        asked,
        mesh,
    )
    effects = jax.device_get(answered.effects)[_WAY]
    owed = []
    for row, (one, (sentence,)) in enumerate(zip(found, sentences, strict=True)):
        count = len(sentence.words)
        table = earlier_alone(effects[row, 0, :count, :count], sentence.spans)
        owed.append([_of_name(table, name) for name in one.names])
    return owed


def _of_name(table: Float[np.ndarray, "N N"], name: ObjectName) -> Float[np.ndarray, " N"] | None:
    """Bits of all its words together, owed to words before the first."""
    total = table[name.start : name.end].sum(axis=0)
    total[name.start :] = 0.0
    return total
