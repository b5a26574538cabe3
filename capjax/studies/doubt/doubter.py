"""The probability that an object word is hallucinated: a logistic regression of its signals.

Kept as `doubt.json` beside a model, for that model alone.
"""

import collections
import dataclasses
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
from capjax.metrics.hallucination import calibration_curve
from capjax.metrics.logistic import fit_logistic, logistic
from capjax.runtime.files import replacing
from capjax.studies.doubt.object_names import ObjectName, said_by
from capjax.studies.doubt.signals import DOUBTFUL, Doubtable

FORMAT = 1
RIDGE = 1.0


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
    """What was fitted.

    Attributes:
      signals: that it reads, in the order of the numbers.
      means, scales: by which each signal is standardised.
      weights: of the standardised signals.
      bias: added to them.
      prior: of the captions that it was fitted on.
    """

    signals: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    prior: Prior

    @classmethod
    def fit(
        cls,
        captions: Sequence[Doubtable],
        truth: Sequence[Bool[np.ndarray, " N"]],
        *,
        signals: Sequence[str] | None = None,
        ridge: float = RIDGE,
    ) -> "Doubter":
        """Of captions and whether each of their object words is hallucinated.

        Args:
          captions: of photographs that the captioner did not learn from.
          truth: of each caption's object words.
          signals: to read; default: all that these captions have.
          ridge: of the weights, see `fit_logistic`.

        Raises:
          ValueError: no object word, or all of them hallucinated, or none.
        """
        chosen = tuple(signals or available(captions))
        prior = Prior.of(captions)
        table = np.concatenate([_columns(one, chosen, prior, counted=True) for one in captions])
        known = np.concatenate([np.asarray(own, bool) for own in truth])
        if not len(known) or known.all() or not known.any():
            raise ValueError(
                f"{int(known.sum())} of {len(known)} object words in {len(captions)} captions are "
                "hallucinated; what tells them apart needs both kinds: give more photographs"
            )
        means, scales = table.mean(axis=0), table.std(axis=0)
        scales = np.where(scales > 0, scales, 1.0)
        *weights, bias = fit_logistic(
            (table - means) / scales, known.astype(np.float64), ridge=ridge
        )[0]
        middle, scale, weight = (tuple(map(float, own)) for own in (means, scales, weights))
        return cls(chosen, middle, scale, weight, float(bias), prior)

    def __call__(self, caption: Doubtable) -> Float[np.ndarray, " N"]:
        """The probability that each object word of a caption is hallucinated."""
        table = (_columns(caption, self.signals, self.prior) - self.means) / self.scales
        return logistic(table @ np.array(self.weights) + self.bias)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Doubter":
        """The inverse of `to_json`."""
        lists = {name: tuple(value[name]) for name in ("signals", "means", "scales", "weights")}
        return cls(**lists, bias=value["bias"], prior=Prior(**value["prior"]))


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
    """

    doubter: Doubter
    model: str
    words: ObjectWords
    samples: int
    fitted_on: Mapping[str, Any]
    curve: Sequence[Mapping[str, float]]

    def write(self, folder: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the file beside a model; returns its path."""
        path = pathlib.Path(folder) / FILE
        body = {
            "format": FORMAT,
            "model": self.model,
            "doubter": self.doubter.to_json(),
            "samples": self.samples,
            "fitted_on": dict(self.fitted_on),
            "calibration_curve": list(map(dict, self.curve)),
            "object_words": [[" ".join(own), list(of)] for own, of in self.words.phrases.items()],
        }
        with replacing(path, durable=True) as stream:
            stream.write((json.dumps(body, indent=1) + "\n").encode())
        return path


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
    return Kept(
        doubter,
        body["model"],
        words,
        body["samples"],
        body["fitted_on"],
        body["calibration_curve"],
    )


def cross_fitted(
    captions: Sequence[Doubtable],
    truth: Sequence[Bool[np.ndarray, " N"]],
    folds: Sequence[int],
    *,
    signals: Sequence[str] | None = None,
    ridge: float = RIDGE,
) -> list[Float[np.ndarray, " N"]]:
    """The probability of each object word by what was fitted on the other folds' photographs."""
    found: list[Float[np.ndarray, " N"]] = [np.zeros(0)] * len(captions)
    for fold in sorted(set(folds)):
        rest = [at for at, own in enumerate(folds) if own != fold]
        fitted = Doubter.fit(
            [captions[at] for at in rest],
            [truth[at] for at in rest],
            signals=signals,
            ridge=ridge,
        )
        for at, own in enumerate(folds):
            if own == fold:
                found[at] = fitted(captions[at])
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
