"""How close written captions are to what people wrote: BLEU, METEOR, ROUGE-L and CIDEr-D.

The scorers are those of coco-caption (pycocoevalcap); sentences are cut by `ptb_lite` on every
machine. Sources: BLEU, Papineni et al. 2002; ROUGE-L, Lin 2004; CIDEr-D, Vedantam et al. 2015;
METEOR 1.5, Denkowski & Lavie 2014.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from capjax.metrics.meteor import Meteor, MeteorUnavailableError
from capjax.text import ptb_lite

ImageId = TypeVar("ImageId", int, str)
Scores = dict[str, float | None]

METRICS = ("BLEU", "METEOR", "ROUGE-L", "CIDEr")
BLEU_ORDERS = 4
BLEU_SMALL, BLEU_TINY = 1e-9, 1e-15
"""Of pycocoevalcap: added below and above each fraction of n-grams."""
NAMES = (*(f"BLEU-{order + 1}" for order in range(BLEU_ORDERS)), "METEOR", "ROUGE-L", "CIDEr")
"""Of the scores."""


def score_captions(
    references: Mapping[ImageId, Sequence[str]],
    hypotheses: Mapping[ImageId, str],
    *,
    metrics: Sequence[str] = METRICS,
    meteor: Meteor | None = None,
) -> dict[str, Any]:
    """Corpus scores of raw sentences: `BLEU-1` … `BLEU-4`, `METEOR`, `ROUGE-L`, `CIDEr` and `n`.

    All between 0 and 1, CIDEr between 0 and 10 ("CIDEr" means CIDEr-D everywhere). A score that
    cannot be computed here is None. `notes` holds a sentence for each such score, and for a number
    that would mislead.

    Args:
      references: image id → its sentences.
      hypotheses: image id → the caption; the same ids.
      metrics: which of `METRICS`; METEOR starts a Java program, which takes seconds.
      meteor: that program, if it runs already; by default one for this call.

    Raises:
      ValueError: ids differ, an image has no reference, or an unknown metric.
    """
    with contextlib.nullcontext(meteor) if meteor else Meteor() as program:
        corpus, _, notes = _measure(references, hypotheses, metrics, program)
    return {**corpus, "n": len(references), "notes": notes}


def score_images(
    references: Mapping[ImageId, Sequence[str]],
    hypotheses: Mapping[ImageId, str],
    *,
    metrics: Sequence[str] = METRICS,
    meteor: Meteor | None = None,
) -> dict[ImageId, Scores]:
    """The scores of `score_captions`, one set an image.

    CIDEr still weighs words by all the references given. BLEU of a single sentence without any
    4-gram in common is near 0, not smoothed; `sentence_bleu` is.
    """
    with contextlib.nullcontext(meteor) if meteor else Meteor() as program:
        _, per_image, _ = _measure(references, hypotheses, metrics, program)
    return {
        image: {name: _number(values, row) for name, values in per_image.items()}
        for row, image in enumerate(references)
    }


def bleu_counts(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> Float[np.ndarray, "N 10"]:
    """Of each image the words of its caption and of the closest reference, how many n-grams of
    orders 1 to 4 the caption has, and how many of them a reference has too.

    BLEU of any weighting of images comes from them (`bleu_of_counts`): what a bootstrap needs.
    """
    scorer = BleuScorer(n=BLEU_ORDERS)
    for own, caption in zip(references, captions, strict=True):
        scorer += (_cut(caption), [_cut(text) for text in own])
    rows = []
    for found in scorer.ctest:
        length = found["testlen"]
        closest = min((abs(own - length), own) for own in found["reflen"])[1]
        rows.append([length, closest, *found["guess"], *found["correct"]])
    return np.array(rows, np.float64).reshape(len(captions), 2 + 2 * BLEU_ORDERS)


def bleu_of_counts(
    counts: Float[np.ndarray, "N 10"],
    weights: Float[np.ndarray, "R N"],
    order: int = BLEU_ORDERS,
) -> Float[np.ndarray, " R"]:
    """BLEU-`order` of `score_captions`, of the images for each of R weightings of them."""
    length, closest, *ngrams = (weights @ counts).T
    there, shared = np.array(ngrams[:order]), np.array(ngrams[BLEU_ORDERS:][:order])
    precision = np.prod(((shared + BLEU_TINY) / (there + BLEU_SMALL)) ** (1 / order), axis=0)
    ratio = (length + BLEU_TINY) / (closest + BLEU_SMALL)
    return precision * np.exp(np.minimum(0.0, 1 - 1 / ratio))


def sentence_bleu(counts: Float[np.ndarray, "N 10"]) -> Float[np.ndarray, " N"]:
    """BLEU-4 of each caption by itself, smoothed: one more n-gram, found, of orders 2 to 4.

    Lin & Och 2004 (ORANGE): without it a caption that shares no 4-gram scores 0, as most do. 0 for
    a caption that shares no word.

    Args:
      counts: from `bleu_counts`.
    """
    length, closest = counts[:, 0], counts[:, 1]
    more = np.array([0.0, *[1.0] * (BLEU_ORDERS - 1)])
    there, shared = counts[:, 2 : 2 + BLEU_ORDERS] + more, counts[:, 2 + BLEU_ORDERS :] + more
    precision = np.prod((shared / np.maximum(there, 1.0)) ** (1 / BLEU_ORDERS), axis=1)
    short = np.minimum(0.0, 1 - closest / np.maximum(length, 1.0))
    return precision * np.exp(short)


def _measure(
    references: Mapping[ImageId, Sequence[str]],
    hypotheses: Mapping[ImageId, str],
    metrics: Sequence[str],
    meteor: Meteor,
) -> tuple[Scores, dict[str, Sequence[float] | None], list[str]]:
    """Corpus scores, per-image scores in the order of `references`, and notes."""
    _check(references, hypotheses, metrics)
    # One order and one cut for all scorers.
    gold = {image: [_cut(text) for text in own] for image, own in references.items()}
    own = {image: [_cut(hypotheses[image])] for image in references}
    if not any(text for sentences in gold.values() for text in sentences):
        raise ValueError("no reference has a word in it; check the captions file")

    corpus: Scores = {}
    per_image: dict[str, Sequence[float] | None] = {}
    notes: list[str] = []
    if "BLEU" in metrics:
        scores, rows = Bleu(BLEU_ORDERS).compute_score(gold, own, verbose=0)
        names = [f"BLEU-{order + 1}" for order in range(BLEU_ORDERS)]
        corpus.update(zip(names, map(float, scores), strict=True))
        per_image.update(zip(names, rows, strict=True))
    if "METEOR" in metrics:
        try:
            sentences = [text for (text,) in own.values()]
            corpus["METEOR"], per_image["METEOR"] = meteor.scores(list(gold.values()), sentences)
        except MeteorUnavailableError as reason:
            corpus["METEOR"] = per_image["METEOR"] = None
            notes.append(f"METEOR is unavailable: {reason}")
    for name, scorer in (("ROUGE-L", Rouge), ("CIDEr", Cider)):
        if name in metrics:
            score, per_image[name] = scorer().compute_score(gold, own)
            corpus[name] = float(score)
    if "CIDEr" in metrics and len(gold) == 1:
        notes.append(
            "CIDEr of a single image is 0 whatever the caption: it weighs words by how few of the "
            "evaluated images they describe; score more images together"
        )
    return corpus, per_image, notes


def _check(
    references: Mapping[ImageId, Sequence[str]],
    hypotheses: Mapping[ImageId, str],
    metrics: Sequence[str],
) -> None:
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown or not metrics:
        raise ValueError(
            f"got metrics {', '.join(unknown) or '(none)'}; choose from {', '.join(METRICS)}"
        )
    if not references:
        raise ValueError("no image to score; give references of one image or more")
    differing = set(references) ^ set(hypotheses)
    if differing:
        raise ValueError(
            f"{len(differing)} images have references or a caption but not both, e.g. "
            f"{sorted(differing)[:3]}; score the same images on both sides"
        )
    bare = [image for image, own in references.items() if not own]
    if bare:
        raise ValueError(f"{len(bare)} images have no reference, e.g. {bare[:3]}; leave them out")
    wrong = [image for image, own in references.items() if isinstance(own, str)]
    if wrong:
        raise ValueError(f"references of {wrong[0]!r} are one string; expected a list of sentences")


def _cut(text: str) -> str:
    return " ".join(ptb_lite.tokenize(text))


def _number(values: Sequence[float] | None, row: int) -> float | None:
    return None if values is None else float(values[row])
