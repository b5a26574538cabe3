"""Doubts about the captions of a batch: signals, probability, reason."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from capjax.captioner import Captioner
from capjax.explainers.language.linguistic import Way, earlier_alone
from capjax.explainers.language.program import Language, ask_language, check_language, unknown_token
from capjax.ops.devices import mesh_of
from capjax.studies.doubt.doubter import Kept
from capjax.studies.doubt.reasons import is_languages, reason
from capjax.studies.doubt.signals import Doubtable, asked_names, read_signals
from capjax.types import Caption, Features, WordDoubt

ASKED_ROWS = 4
"""Captions that are asked at once what object words owe to earlier ones: few need it."""

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
        [[caption] for caption in captions],
        kept.words,
        max_len=max_len,
        samples=kept.samples,
        signals=kept.doubter.signals,
    )
    return with_doubts(captioner, kept, images, features, [own[0] for own in found])


def with_doubts(
    captioner: Captioner,
    kept: Kept,
    images: Any,
    features: Features,
    found: Sequence[Doubtable],
) -> list[Caption]:
    """As `doubted_captions`, of captions whose signals were read, one an image."""
    chances = [kept.doubter(one) for one in found]
    rows = [
        row
        for row, (one, own) in enumerate(zip(found, chances, strict=True))
        if "bits" in one.signals and is_languages(own, one.signals["bits"])[1:].any()
    ]
    owed: dict[int, Float[np.ndarray, "N N"]] = {}
    if rows and _can_tell(captioner):
        for start in range(0, len(rows), ASKED_ROWS):
            some = rows[start : start + ASKED_ROWS]
            owed |= zip(some, owed_bits(captioner, images, features, found, some), strict=True)
    return [
        dataclasses.replace(one.caption, doubts=_doubts(one, own, owed.get(row), kept))
        for row, (one, own) in enumerate(zip(found, chances, strict=True))
    ]


def _doubts(
    one: Doubtable,
    chances: Float[np.ndarray, " N"],
    owed: Float[np.ndarray, "N N"] | None,
    kept: Kept,
) -> tuple[WordDoubt, ...]:
    words = one.caption.words
    table = {**one.signals, "prior": kept.doubter.prior.signal(one.names)}
    doubts = []
    said = [" ".join(words[name.start : name.end]) for name in one.names]
    for row, name in enumerate(one.names):
        signals = {signal: float(values[row]) for signal, values in table.items()}
        chance = float(chances[row])
        own = {} if owed is None else dict(zip(said[:row], map(float, owed[row]), strict=False))
        doubts.append(
            WordDoubt(
                name.start,
                name.end,
                said[row],
                name.classes,
                chance,
                reason(name, said[row], signals, kept.doubter, chance, own),
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


def owed_bits(
    captioner: Captioner,
    images: Any,
    features: Features,
    found: Sequence[Doubtable],
    rows: Sequence[int],
) -> list[Float[np.ndarray, "N N"]]:
    """Bits that each object word (row) owes to each earlier one (column), of some captions.

    Args:
      captioner, images, features: as of `doubted_captions`.
      found: of all captions.
      rows: which of them to ask, at most `ASKED_ROWS`.
    """
    mesh = mesh_of(ASKED_ROWS)
    room = ASKED_ROWS if mesh is None else -(-ASKED_ROWS // mesh.size) * mesh.size
    chosen = np.array([*rows, *[rows[-1]] * (room - len(rows))])
    asked = asked_names(
        captioner,
        np.asarray(images)[chosen],
        jax.tree.map(lambda leaf: leaf[chosen], features),
        [[found[row].caption] for row in chosen],
        [[found[row].names] for row in chosen],
    )
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
        count = len(found[row].names)
        owed.append(earlier_alone(effects[at, 0, :count, :count], [(0, 1)] * count))
    return owed
