"""What is known of one image, as typed records and as a line of results.jsonl.

A line has the fields of the image and, beside them, those of its first answer:

    file                         path below the folder of images
    bytes, sha256, times         content of the file; older versions wrote `bytes` alone
    frames, seconds              of a clip: how many frames were seen, and when each is shown
    metadata                     what lies beside the image, name -> plain value; left out without
    error                        why it could not be explained; nothing of what follows is there
    caption, caption_tokens      what the captioner says by itself
    score, finished              of that caption
    rank                         its place among the search's candidates, where it is not the first
    doubts                       of its object words, where somebody asked: start, end, word,
                                 classes, hallucinated (a probability), reason and signals
    query                        the sentence that was explained; null for the caption
    words, word_spans            of that sentence, and the (start, end) tokens of each word
    targets                      what else was asked of it: label, words, score, and of a contrast
                                 `contrast`; left out where nothing was
    lacking                      labels of what was asked about words that it has not
    tokens, log_probabilities    of that sentence
    visual_information           of each word and phrase, see `VisualInformation`: natural logs of
                                 its probability with the `image`, `without_layout` and with
                                 `others`, so many `pictures`
    linguistic                   way -> bits that each word (row) owes to each earlier one (column);
                                 it and the one before are left out where they were not asked for
    methods                      method -> {maps, overlay, drawn, figures, figures_drawn, flags,
                                 settings, unit, measure}, see `StoredMaps`; but for `measure`,
                                 what is not there is left out
    more                         where several sentences were asked about the image: the answers to
                                 the others, in order, each with `query` to `methods`
    findings                     where studies were run, see `stored_findings`
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.data.stores.contract import Metadata
from capjax.explainers.caption_guided import CONTEXTUAL
from capjax.explainers.choosing import SEPARATOR
from capjax.explainers.language.visual_information import VisualInformation
from capjax.explainers.results import Explained
from capjax.explainers.wording import word_scores
from capjax.folder.stored_findings import StoredFinding
from capjax.runtime.fingerprint import Fingerprint
from capjax.text.protocol import Text
from capjax.types import Caption, SentenceTarget, WordDoubt

UNITS_BEFORE = {"caption_guided": "p", "caption_guided_kl": "e^-KL"}
"""Of lines that older versions wrote, which say nothing of units."""

MEASURE_BEFORE = "log_prob"
"""What methods explained before lines said so; but for those that explain no scalar:"""
UNMEASURED_BEFORE = ("attention", "attention_choice", "rollout", "caption_guided_kl")


def _completed(method: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """What a line says of a method, with what older versions left to its name and its flags."""
    flags = stored["flags"]
    if flags.get("contextual") and "notes" not in flags:
        flags = {**flags, "notes": [CONTEXTUAL]}
    unmeasured = method.partition(SEPARATOR)[0] in UNMEASURED_BEFORE
    before = {
        "unit": UNITS_BEFORE.get(method, ""),
        "measure": None if unmeasured else MEASURE_BEFORE,
    }
    return {**before, **stored, "flags": flags}


@dataclasses.dataclass(frozen=True)
class StoredMaps:
    """What one method left on disk for one sentence. Paths are below the folder of results.

    Attributes:
      maps: the file with the arrays; see `maps.arrays`.
      flags: of the maps, as `Explanation.flags`.
      overlay: the strip of word maps, where one was drawn.
      drawn: how it was drawn, see `StripFiles.look`; None where there is no strip, or where an
        older version drew it.
      figures: figures for papers, and animations of clips; None where they were not asked for.
      figures_drawn: how they were drawn: `FigureFiles.look`, and `boxes`, the digest of the boxes
        in them where these were given.
      settings: of the method; None where its line does not say.
      unit: of the maps' exponentials; empty where maps are no logarithms.
      measure: what the maps explain; None of a method that explains no scalar.
    """

    maps: str
    flags: Mapping[str, Any]
    overlay: str | None = None
    drawn: Mapping[str, Any] | None = None
    figures: tuple[str, ...] | None = None
    figures_drawn: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None
    unit: str = ""
    measure: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not there is left out."""
        optional = {
            "overlay": self.overlay,
            "drawn": None if self.drawn is None else dict(self.drawn),
            "figures": None if self.figures is None else list(self.figures),
            "figures_drawn": None if self.figures_drawn is None else dict(self.figures_drawn),
            "settings": None if self.settings is None else dict(self.settings),
            "unit": self.unit or None,
        }
        there = {name: value for name, value in optional.items() if value is not None}
        return {"maps": self.maps, "measure": self.measure, **there, "flags": dict(self.flags)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredMaps":
        """The inverse of `to_json`."""
        return cls(
            maps=value["maps"],
            flags=value["flags"],
            overlay=value.get("overlay"),
            drawn=value.get("drawn"),
            figures=None if "figures" not in value else tuple(value["figures"]),
            figures_drawn=value.get("figures_drawn"),
            settings=value.get("settings"),
            unit=value.get("unit", ""),
            measure=value["measure"],
        )


def _target_json(target: SentenceTarget) -> dict[str, Any]:
    """Plain values; what says nothing is left out."""
    own = {**vars(target), "words": list(target.words)}
    own["score"] = round(target.score, 6)
    return {name: value for name, value in own.items() if value or name in ("score", "words")}


def _doubt_json(doubt: WordDoubt) -> dict[str, Any]:
    """Plain values; a signal that is not finite is left out, which JSON cannot say."""
    signals = {
        name: round(value, 6) for name, value in doubt.signals.items() if math.isfinite(value)
    }
    own = {**vars(doubt), "classes": list(doubt.classes), "signals": signals}
    return own | {"hallucinated": round(doubt.hallucinated, 6)}


def _doubt(value: Mapping[str, Any]) -> WordDoubt:
    """The inverse of `_doubt_json`."""
    return WordDoubt(**{**value, "classes": tuple(value["classes"])})


@dataclasses.dataclass(frozen=True)
class Answer:
    """One sentence about an image, and its maps.

    Attributes:
      query: the sentence as it was asked; None for the caption.
      words, spans: what was explained, and the (start, end) tokens of each word.
      tokens, log_probs: of the sentence, the end token included where there is one.
      methods: name of a method -> what it left on disk.
      targets: what else was asked of the sentence.
      lacking: labels of what was asked about words that it has not.
      visual_information: of the words and phrases; None where it was not asked for.
      linguistic: way -> [N][N] bits that each word owes to each earlier one.
    """

    query: str | None
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    methods: Mapping[str, StoredMaps]
    targets: tuple[SentenceTarget, ...] = ()
    lacking: tuple[str, ...] = ()
    visual_information: VisualInformation | None = None
    linguistic: Mapping[str, Sequence[Sequence[float]]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        query: str | None,
        own: Explained,
        methods: Mapping[str, StoredMaps],
    ) -> "Answer":
        """What was found of a sentence."""
        return cls(
            query,
            tuple(own.sentence.words),
            tuple(own.sentence.spans),
            tuple(own.sentence.tokens),
            tuple(round(float(value), 6) for value in own.log_probs),
            methods,
            own.targets,
            own.sentence.lacking,
            own.visual_information,
            {way: np.round(found, 4).tolist() for way, found in own.linguistic.items()},
        )

    @property
    def score(self) -> Float[np.ndarray, " N"]:
        """Log-probability of each word; NaN for one that the captioner was not shown."""
        return word_scores(np.array(self.log_probs, np.float32), self.spans)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        language: dict[str, Any] = {}
        if self.visual_information is not None:
            language["visual_information"] = self.visual_information.to_json()
        if self.linguistic:
            language["linguistic"] = {
                way: [list(row) for row in effects] for way, effects in self.linguistic.items()
            }
        return {
            "query": self.query,
            "words": list(self.words),
            "word_spans": [list(span) for span in self.spans],
            **({"targets": [_target_json(own) for own in self.targets]} if self.targets else {}),
            **({"lacking": list(self.lacking)} if self.lacking else {}),
            "tokens": list(self.tokens),
            "log_probabilities": list(self.log_probs),
            **language,
            "methods": {name: stored.to_json() for name, stored in self.methods.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Answer":
        """The inverse of `to_json`; other entries are not looked at."""
        methods = value["methods"].items()
        visual = value.get("visual_information")
        return cls(
            query=value["query"],
            words=tuple(value["words"]),
            spans=tuple((start, end) for start, end in value["word_spans"]),
            tokens=tuple(value["tokens"]),
            log_probs=tuple(value["log_probabilities"]),
            methods={
                name: StoredMaps.from_json(_completed(name, stored)) for name, stored in methods
            },
            targets=tuple(
                SentenceTarget(**{**own, "words": tuple(own["words"])})
                for own in value.get("targets", ())
            ),
            lacking=tuple(value.get("lacking", ())),
            visual_information=None if visual is None else VisualInformation.from_json(visual),
            linguistic=value.get("linguistic", {}),
        )


@dataclasses.dataclass(frozen=True)
class Result:
    """One image or clip: what the captioner says of it and the answers, or why there are none.

    Attributes:
      file: path below the folder of images, with `/`.
      bytes: size of the file, -1 for one that was gone.
      known: its content; None where it could not be read, and in lines of older versions.
      error: why it could not be explained.
      caption, tokens, score, finished, rank: what the captioner says by itself.
      answers: one a sentence, at least one unless there is an `error`.
      frames, seconds: of a clip; 1 and empty for an image.
      findings: study -> what it found out about the picture.
      doubts: of the caption, see `Caption`; None where nobody asked.
      metadata: of the image.
    """

    file: str
    bytes: int
    known: Fingerprint | None = None
    error: str | None = None
    caption: str = ""
    tokens: tuple[int, ...] = ()
    score: float = 0.0
    finished: bool = True
    rank: int = 0
    answers: tuple[Answer, ...] = ()
    frames: int = 1
    seconds: tuple[float, ...] = ()
    findings: Mapping[str, StoredFinding] = dataclasses.field(default_factory=dict)
    doubts: tuple[WordDoubt, ...] | None = None
    metadata: Metadata = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it could not be explained."""
        return self.error is not None

    @property
    def queries(self) -> tuple[str | None, ...]:
        """The sentences that were asked, None for the caption."""
        return tuple(answer.query for answer in self.answers)

    def as_caption(self, text: Text) -> Caption:
        """The caption as it was decoded, its words by `text`; log-probabilities are not kept."""
        words, _ = text.spans(self.tokens)
        unknown = np.full(len(self.tokens), np.nan, np.float32)
        of = self.tokens, unknown, self.score, self.finished, self.rank, self.doubts
        return Caption(self.caption, tuple(words), *of)

    def to_json(self) -> dict[str, Any]:
        """The line of results.jsonl, as plain values."""
        content = {"bytes": self.bytes} if self.known is None else self.known.to_json()
        content |= {"metadata": dict(self.metadata)} if self.metadata else {}
        if self.error is not None:
            return {"file": self.file, **content, "error": self.error}
        first, *others = self.answers
        clip = self.frames > 1 or bool(self.seconds)
        findings = {name: stored.to_json() for name, stored in self.findings.items()}
        doubts = None if self.doubts is None else list(map(_doubt_json, self.doubts))
        return {
            "file": self.file,
            "caption": self.caption,
            "caption_tokens": list(self.tokens),
            "score": self.score,
            "finished": self.finished,
            **({"rank": self.rank} if self.rank else {}),
            **({} if doubts is None else {"doubts": doubts}),
            **first.to_json(),
            **({"more": [answer.to_json() for answer in others]} if others else {}),
            **({"findings": findings} if findings else {}),
            **content,
            **({"frames": self.frames, "seconds": list(self.seconds)} if clip else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Result":
        """The result of a line, also of one that an older version wrote."""
        metadata = value.get("metadata", {})
        of = value["file"], value.get("bytes", -1), Fingerprint.from_json(value)
        if "error" in value:
            return cls(*of, value["error"], metadata=metadata)
        return cls(
            *of,
            caption=value["caption"],
            tokens=tuple(value["caption_tokens"]),
            score=value["score"],
            finished=value["finished"],
            rank=value.get("rank", 0),
            answers=tuple(map(Answer.from_json, (value, *value.get("more", ())))),
            frames=value.get("frames", 1),
            seconds=tuple(value.get("seconds", ())),
            findings={
                name: StoredFinding.from_json(stored)
                for name, stored in value.get("findings", {}).items()
            },
            doubts=tuple(map(_doubt, value["doubts"])) if "doubts" in value else None,
            metadata=metadata,
        )
