"""Doubts about the captions of a batch: signals, probability, reason."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
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
from capjax.ops.devices import mesh_of
from capjax.studies.doubt.doubter import Kept
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.reasons import is_languages, reason
from capjax.studies.doubt.signals import Doubtable, read_signals
from capjax.types import Caption, Features, WordDoubt

ASKED_ROWS = 4
"""Captions that are asked at once what their words owe to earlier ones: few need it."""

_WAY: Way = "leave_one_out"

Doubting = Callable[[Any, Features, Sequence[Caption]], list[Caption]]
"""(images, features, captions) -> the captions with doubts; see `doubted_captions`."""


def doubting(captioner: Captioner, kept: Kept | None, *, max_len: int) -> Doubting | None:
    """`doubted_captions` of a captioner, for `explain_batch`; None where nothing was fitted."""
    if kept is None:
        return None
    return functools.partial(doubted_captions, captioner, kept, max_len=max_len)


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
    features = dataclasses.replace(features, attentions=None, stages={})
    found = read_signals(
        captioner,
        images,
        features,
        captions,
        kept.words,
        max_len=max_len,
        samples=kept.samples,
        signals=kept.doubter.signals,
    )
    chances = [kept.doubter(one) for one in found]
    rows = [
        row
        for row, (one, own) in enumerate(zip(found, chances, strict=True))
        if "bits" in one.signals and is_languages(own, one.signals["bits"]).any()
    ]
    owed: dict[int, list[Float[np.ndarray, " N"]]] = {}
    if rows and _can_tell(captioner):
        for start in range(0, len(rows), ASKED_ROWS):
            some = rows[start : start + ASKED_ROWS]
            owed |= zip(some, _owed(captioner, images, features, found, some), strict=True)
    return [
        dataclasses.replace(one.caption, doubts=_doubts(one, own, owed.get(row), kept))
        for row, (one, own) in enumerate(zip(found, chances, strict=True))
    ]


def _doubts(
    one: Doubtable,
    chances: Float[np.ndarray, " N"],
    owed: Sequence[Float[np.ndarray, " N"]] | None,
    kept: Kept,
) -> tuple[WordDoubt, ...]:
    words = one.caption.words
    table = {**one.signals, "prior": kept.doubter.prior.signal(one.names)}
    doubts = []
    for row, name in enumerate(one.names):
        signals = {signal: float(values[row]) for signal, values in table.items()}
        chance, own = float(chances[row]), None if owed is None else owed[row]
        doubts.append(
            WordDoubt(
                name.start,
                name.end,
                " ".join(words[name.start : name.end]),
                name.classes,
                chance,
                reason(name, words, signals, kept.doubter, chance, own),
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
    captioner: Captioner,
    images: Any,
    features: Features,
    found: Sequence[Doubtable],
    rows: Sequence[int],
) -> list[list[Float[np.ndarray, " N"]]]:
    """Bits that each object word owes to every word before it, of the captions of some rows."""
    mesh = mesh_of(ASKED_ROWS)
    room = ASKED_ROWS if mesh is None else -(-ASKED_ROWS // mesh.size) * mesh.size
    chosen = np.array([*rows, *[rows[-1]] * (room - len(rows))])
    images = np.asarray(images)[chosen]
    features = jax.tree.map(lambda leaf: leaf[chosen], features)
    sentences = [[Wording.of_caption(captioner, found[row].caption)] for row in chosen]
    padded = pad_sentences(sentences)
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
    for at, row in enumerate(rows):
        (sentence,) = sentences[at]
        count = len(sentence.words)
        table = earlier_alone(effects[at, 0, :count, :count], sentence.spans)
        owed.append([_of_name(table, name) for name in found[row].names])
    return owed


def _of_name(table: Float[np.ndarray, "N N"], name: ObjectName) -> Float[np.ndarray, " N"]:
    """Bits of all its words together, owed to words before the first."""
    total = table[name.start : name.end].sum(axis=0)
    total[name.start :] = 0.0
    return total
