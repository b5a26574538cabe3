"""The probability that an object word is hallucinated: a logistic regression of its signals.

Kept as `doubt.json` beside a model, for that model alone.
"""

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from capjax.captioner import Captioner
from capjax.checkpoints.model_folder import DOUBT_FILE as FILE
from capjax.data.boxes.object_words import ObjectWords
from capjax.explainers.language.others import digest_of_others
from capjax.metrics.hallucination import calibration_curve
from capjax.runtime.files import replacing
from capjax.studies.doubt.object_names import ObjectName, is_person, said_by
from capjax.studies.doubt.signals import DOUBTFUL, Doubtable
from capjax.studies.doubt.weighing import Weighing

FORMAT = 4


@dataclasses.dataclass(frozen=True)
class Prior:
    """How often captions of a captioner name each class.

    Attributes:
      counts: class -> captions that name it.
      captions: how many there are.
    """

    counts: Mapping[str, int]
    captions: int

    @classmethod
    def of(cls, captions: Sequence[Doubtable]) -> "Prior":
        """Of these captions."""
        said = said_by([own.names for own in captions])
        return cls(dict(collections.Counter(name for own in said for name in own)), len(said))

    def signal(
        self, names: Sequence[ObjectName], *, counted: bool = False
    ) -> Float[np.ndarray, " N"]:
        """log((captions that say so + 1/2) / (captions + 1)) of the most usual class of each.

        Args:
          names: of one caption.
          counted: that caption is among those counted, and is left out.
        """
        own = 1 if counted else 0
        most = [max(self.counts.get(one, 0) for one in name.classes) - own for name in names]
        return np.log((np.array(most, np.float64) + 0.5) / (self.captions - own + 1))


@dataclasses.dataclass(frozen=True)
class Doubter:
    """What was fitted: persons apart from other things, whose signals mean something else.

    A captioner that says *man* is nearly always right, so that of all words together the signals
    tell persons from things first, and are too sure among things.

    Attributes:
      signals: that it reads, in the order of the numbers.
      persons, others: how the signals of words are weighed that may name a person, and of others.
      prior: of the captions that it was fitted on.
    """

    signals: tuple[str, ...]
    persons: Weighing
    others: Weighing
    prior: Prior

    @classmethod
    def fit(
        cls,
        captions: Sequence[Doubtable],
        truth: Sequence[Bool[np.ndarray, " N"]],
        folds: Sequence[int] | None = None,
        *,
        signals: Sequence[str] | None = None,
    ) -> "Doubter":
        """Of captions and whether each of their object words is hallucinated.

        Args:
          captions: of photographs that the captioner did not learn from.
          truth: of each caption's object words.
          folds: of the photographs, on which ridges are chosen; None: every ridge is `RIDGE`.
          signals: to read; default: all that these captions have.

        Raises:
          ValueError: no signal; or no object word, or all of them hallucinated, or none.
        """
        chosen = available(captions) if signals is None else tuple(signals)
        if not chosen:
            raise ValueError(f"no signal is given; give some of {', '.join(DOUBTFUL)}, or None")
        prior = Prior.of(captions)
        table = np.concatenate([_columns(one, chosen, prior, counted=True) for one in captions])
        known = np.concatenate([np.asarray(own, bool) for own in truth])
        if not len(known) or known.all() or not known.any():
            raise ValueError(
                f"{int(known.sum())} of {len(known)} object words in {len(captions)} captions are "
                "hallucinated; what tells them apart needs both kinds: give more photographs"
            )
        person = np.array([is_person(name) for one in captions for name in one.names], bool)
        count = [len(one.names) for one in captions]
        owner = None if folds is None else np.repeat(np.asarray(folds, int), count)

        def of_kind(rows: Bool[np.ndarray, " N"]) -> Weighing:
            if not rows.any():  # no word of this kind: as all the others
                rows = ~rows
            if owner is None:
                return Weighing.fit(table[rows], known[rows])
            return Weighing.chosen(table[rows], known[rows], owner[rows])

        return cls(chosen, of_kind(person), of_kind(~person), prior)

    def of_kind(self, name: ObjectName) -> Weighing:
        """How the signals of a word are weighed."""
        return self.persons if is_person(name) else self.others

    def __call__(self, caption: Doubtable) -> Float[np.ndarray, " N"]:
        """The probability that each object word of a caption is hallucinated."""
        table = _columns(caption, self.signals, self.prior)
        chances = [
            self.of_kind(name)(row[None]) for name, row in zip(caption.names, table, strict=True)
        ]
        return np.concatenate([np.zeros(0), *chances])

    def added(self, name: ObjectName, signals: Mapping[str, float]) -> dict[str, float]:
        """What each signal of a word adds to the log odds of an average one of its kind."""
        row = np.array([[signals[signal] for signal in self.signals]])
        found = self.of_kind(name).added(row)[0]
        return dict(zip(self.signals, map(float, found), strict=True))

    def mean(self, name: ObjectName, signal: str) -> float:
        """Of a signal, over the words of a word's kind that this was fitted on."""
        return self.of_kind(name).means[self.signals.index(signal)]

    def without(self, signals: Sequence[str]) -> "Doubter":
        """The same that leaves some signals out: cheaper, and no longer calibrated."""
        columns = [at for at, signal in enumerate(self.signals) if signal not in signals]
        kept = tuple(self.signals[column] for column in columns)
        return Doubter(kept, self.persons.of(columns), self.others.of(columns), self.prior)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Doubter":
        """The inverse of `to_json`."""
        persons, others = (Weighing.from_json(value[name]) for name in ("persons", "others"))
        return cls(tuple(value["signals"]), persons, others, Prior(**value["prior"]))


@dataclasses.dataclass(frozen=True)
class Kept:
    """What `doubt.json` holds.

    Attributes:
      doubter: what was fitted.
      model: hash of the captioner that it was fitted for.
      words: which words name which class.
      samples: captions sampled from each image.
      fitted_on: of what: digests, numbers of photographs and words.
      curve: see `calibration_curve`, of probabilities fitted without the photograph.
      others: `compared_with` of the captioner that it was fitted for.
    """

    doubter: Doubter
    model: str
    words: ObjectWords
    samples: int
    fitted_on: Mapping[str, Any]
    curve: Sequence[Mapping[str, float]]
    others: str | None = None

    @property
    def digest(self) -> str:
        """Of all that decides a doubt."""
        words = [[*own, *of] for own, of in self.words.phrases.items()]
        decisive = [self.model, self.doubter.to_json(), self.samples, words, self.others]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """What the file says, as plain values."""
        return {
            "format": FORMAT,
            "model": self.model,
            "doubter": self.doubter.to_json(),
            "samples": self.samples,
            "others": self.others,
            "fitted_on": dict(self.fitted_on),
            "calibration_curve": list(map(dict, self.curve)),
            "object_words": [[" ".join(own), list(of)] for own, of in self.words.phrases.items()],
        }

    def write(self, folder: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the file beside a model; returns its path."""
        path = pathlib.Path(folder) / FILE
        with replacing(path, durable=True) as stream:
            stream.write((json.dumps(self.to_json(), indent=1) + "\n").encode())
        return path


def compared_with(captioner: Captioner, signals: Sequence[str]) -> str | None:
    """Digest of the pictures that bits compare with; None where bits are not read.

    They are no part of the captioner's hash, and other ones give other bits.
    """
    return digest_of_others(captioner.others) if "bits" in signals else None


def kept_doubt(captioner: Captioner) -> Kept:
    """What was fitted for a captioner.

    Raises:
      ValueError: nothing was, or for another model; the text says what to do.
    """
    remedy = (
        "fit it: python -m capjax.evaluate.hallucination fit --model=FOLDER --captions=JSON "
        "--boxes=JSON --images=FOLDER, of photographs that it did not learn from"
    )
    if captioner.doubt is None:
        raise ValueError(
            f"this captioner has no {FILE}, so nobody knows when to doubt it; {remedy}"
        )
    body = captioner.doubt
    if body.get("format") != FORMAT:
        raise ValueError(f"{FILE} has format {body.get('format')!r}; this is {FORMAT}; {remedy}")
    if body["model"] != captioner.hash:
        raise ValueError(
            f"{FILE} was fitted for the model {body['model'][:12]}, and this is "
            f"{captioner.hash[:12]} (precision and reading of attention count); {remedy}"
        )
    words = ObjectWords({tuple(own.split()): tuple(of) for own, of in body["object_words"]})
    doubter = Doubter.from_json(body["doubter"])
    if "bits" in doubter.signals and captioner.others is None:
        raise ValueError(
            f"{FILE} reads bits against other pictures, which this captioner lost; give it some "
            "again (python -m capjax.explainers.language), and fit again"
        )
    if body["others"] != compared_with(captioner, doubter.signals):
        raise ValueError(
            f"{FILE} was fitted with bits against other pictures than this captioner now compares "
            f"with, and such bits mean something else; {remedy}"
        )
    return Kept(
        doubter,
        body["model"],
        words,
        body["samples"],
        body["fitted_on"],
        body["calibration_curve"],
        body["others"],
    )


def cross_fitted(
    captions: Sequence[Doubtable],
    truth: Sequence[Bool[np.ndarray, " N"]],
    folds: Sequence[int],
    *,
    signals: Sequence[str] | None = None,
    choose: bool = False,
) -> list[Float[np.ndarray, " N"]]:
    """The probability of each object word by what was fitted on the other folds' photographs.

    Args:
      captions, truth, signals: as of `Doubter.fit`.
      folds: of the photographs.
      choose: ridges, each time on the other folds alone.
    """
    fitted = fitted_without(captions, truth, folds, signals=signals, choose=choose)
    return [fitted[fold](caption) for fold, caption in zip(folds, captions, strict=True)]


def fitted_without(
    captions: Sequence[Doubtable],
    truth: Sequence[Bool[np.ndarray, " N"]],
    folds: Sequence[int],
    *,
    signals: Sequence[str] | None = None,
    choose: bool = False,
) -> dict[int, Doubter]:
    """Fold -> what was fitted on the photographs of all others; arguments as `cross_fitted`'s."""
    found = {}
    for fold in sorted(set(folds)):
        rest = [at for at, own in enumerate(folds) if own != fold]
        found[fold] = Doubter.fit(
            [captions[at] for at in rest],
            [truth[at] for at in rest],
            [folds[at] for at in rest] if choose else None,
            signals=signals,
        )
    return found


def available(captions: Sequence[Doubtable]) -> tuple[str, ...]:
    """Signals that these captions have, the prior among them."""
    there = set().union(*(own.signals for own in captions)) | {"prior"}
    return tuple(name for name in DOUBTFUL if name in there)


def _columns(
    caption: Doubtable, signals: Sequence[str], prior: Prior, *, counted: bool = False
) -> Float[np.ndarray, "N S"]:
    own = {**caption.signals, "prior": prior.signal(caption.names, counted=counted)}
    return np.stack([own[name] for name in signals], axis=1)


def curve_of(
    chances: Sequence[Float[np.ndarray, " N"]], truth: Sequence[Bool[np.ndarray, " N"]]
) -> list[dict[str, float]]:
    """`calibration_curve` of the words of all captions."""
    known = np.concatenate(list(truth)).astype(np.float64)
    return calibration_curve(np.concatenate(list(chances)), known)
