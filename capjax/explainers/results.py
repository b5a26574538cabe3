"""What was found about one sentence, as a reader gets it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from capjax.captioner import Captioner
from capjax.explainers.choosing import Chosen
from capjax.explainers.contract import Maps
from capjax.explainers.flags import reading_flags
from capjax.explainers.language.visual_information import VisualInformation
from capjax.explainers.wording import Wording, word_scores
from capjax.types import Caption, Explanation, SentenceTarget


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a captioner says of one image, and the maps of one sentence.

    Attributes:
      caption: the captioner's own.
      sentence: what was explained, the caption or the query.
      log_probs: [T] of each of the sentence's tokens.
      explanations: label of a method's answer -> maps.
      targets: what was explained of the sentence beside words and phrases.
      visual_information: of its words and phrases; None where it was not asked for.
      linguistic: way -> [N N] bits that each word (row) owes to each earlier one (column), see
        `capjax.explainers.language.linguistic`.
    """

    caption: Caption
    sentence: Wording
    log_probs: np.ndarray
    explanations: Mapping[str, Explanation]
    targets: tuple[SentenceTarget, ...] = ()
    visual_information: VisualInformation | None = None
    linguistic: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Read(NamedTuple):
    """One sentence about one image, as it was read; `unfinished` where the caption was cut."""

    sentence: Wording
    log_probs: Float[np.ndarray, " T"]
    targets: tuple[SentenceTarget, ...]
    size: tuple[int, int]
    unfinished: bool


def explanation_of(
    captioner: Captioner, read: Read, found: Maps, one: Chosen, name: str
) -> Explanation:
    """One answer for one sentence, with arrays of its own.

    Views would keep the whole batch in memory for as long as one image's result lives.
    """
    sentence = read.sentence
    count, phrases, extras = map(len, (sentence.words, sentence.phrases, read.targets))
    last = count + phrases
    words, beside = slice(0, count), slice(last, last + extras)
    maps = np.array(found.values[: last + extras], np.float32)
    frames = found.frames
    if frames is None and maps.shape[1] > 1:
        frames = maps.sum(axis=(-1, -2))
    flags: dict[str, Any] = {
        "unknown_words": list(sentence.unknown),
        "unfinished": read.unfinished,
        **reading_flags(maps[words]),
        **_rounded(found.flags, words),
        **one.method.facts(captioner.net),
    }
    notes = one.method.notes(flags, sentence.words)
    spans = [" ".join(sentence.words[first:end]) for first, end in sentence.phrases]
    targets = [target.label for target in read.targets]
    for kind, rows, labels in (
        ("of_phrases", slice(count, last), spans),
        ("of_targets", beside, targets),
    ):
        if labels and found.flags:
            flags[kind] = _rounded(found.flags, rows)
            own = one.method.notes({**flags, **flags[kind]}, labels)
            notes = [*notes, *(note for note in own if note not in notes)]
    if notes:
        flags["notes"] = notes
    return Explanation(
        maps=maps[words],
        words=sentence.words,
        word_spans=sentence.spans,
        score=word_scores(read.log_probs, sentence.spans),
        method=one.labels[name],
        geometry=captioner.preprocessing.geometry(read.size, (maps.shape[-2], maps.shape[-1])),
        flags=flags,
        frame_maps=None if frames is None else np.array(frames[words], np.float32),
        phrases=sentence.phrases,
        phrase_maps=maps[count:last] if phrases else None,
        unit=one.method.UNITS.get(name, ""),
        error=None if found.error is None else np.array(found.error[words], np.float32),
        settings=one.settings,
        measure=one.measure_of(name),
        targets=read.targets,
        target_maps=maps[beside] if extras else None,
        target_frames=(
            np.array(frames[beside], np.float32) if extras and frames is not None else None
        ),
        lacking=sentence.lacking,
    )


def _rounded(flags: Mapping[str, Any], rows: slice) -> dict[str, list[float]]:
    return {name: [round(float(value), 4) for value in flag[rows]] for name, flag in flags.items()}
