"""Of the captions that a beam search ends with, the one that probably invents least."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.captioner import Captioner
from capjax.data.boxes.object_words import ObjectWords
from capjax.decoding import Beam, Decoding, HuggingFaceBeam
from capjax.decoding.captions import candidate_batch, caption_memory
from capjax.decoding.rules import RERANK_WEIGHT, RERANKINGS
from capjax.studies.doubt.doubter import Kept, kept_doubt
from capjax.studies.doubt.signals import Doubtable, read_signals, signals_memory
from capjax.types import Caption, Features


def best_candidate(
    candidates: Sequence[Doubtable],
    chances: Sequence[Float[np.ndarray, " N"]],
    weight: float,
) -> int:
    """The place of the candidate with the largest score - weight * expected hallucinated words.

    Of equal ones the first: with weight 0 it is the search's own.

    Args:
      candidates: of one image, in the order of the search. The score of a caption is what the
        search ranked it by, its log-probability divided by a power of its length.
      chances: probabilities that each object word of each is hallucinated; their sum is expected.
      weight: 0 or more.
    """
    doubted = [own.sum() for own in chances]
    scores = [
        one.caption.score - weight * own for one, own in zip(candidates, doubted, strict=True)
    ]
    return int(np.argmax(scores))


@dataclasses.dataclass(frozen=True)
class Reranker:
    """Writes captions, chosen by `best_candidate` among those that a beam search ends with.

    Attributes:
      captioner, decoding, max_len: what writes the candidates, and how.
      kept: what doubts are told by.
      weight: of a hallucinated object word.
    """

    captioner: Captioner
    decoding: Decoding
    max_len: int
    kept: Kept
    weight: float

    @classmethod
    def of(
        cls,
        captioner: Captioner,
        decoding: Decoding,
        max_len: int,
        rerank: str | None,
        weight: float | None = None,
    ) -> "Reranker | None":
        """What a user asks for; None where it is nothing.

        Args:
          captioner, decoding, max_len: what writes, and how.
          rerank: by what, "doubt"; None: the search's own order.
          weight: default `RERANK_WEIGHT`.

        Raises:
          ValueError: another word, a weight below 0 or without `rerank`, a search that ends with
            one caption, or a captioner for which no doubts were fitted; the text says what to do.
        """
        if rerank is None:
            if weight is not None:
                raise ValueError(
                    f"the weight of reranking is {weight:g} and nothing is reranked; "
                    "ask for reranking by doubt (--rerank=doubt)"
                )
            return None
        if rerank not in RERANKINGS:
            raise ValueError(f"got reranking by {rerank!r}; choose one of: {', '.join(RERANKINGS)}")
        weight = RERANK_WEIGHT if weight is None else weight
        if not 0 <= weight < np.inf:
            raise ValueError(f"the weight of reranking is {weight}; expected 0 or more")
        check_several(decoding)
        return cls(captioner, decoding, max_len, kept_doubt(captioner), weight)

    def write(self, images: Any, count: int) -> tuple[Features, list[Doubtable]]:
        """Features of a batch, and the chosen caption of each image with its signals.

        Args:
          images: [B *F H W 3] as the encoder wants them.
          count: of them; the rest is padding.
        """
        features, found = read_candidates(
            self.captioner,
            images,
            count,
            self.kept.words,
            decoding=self.decoding,
            max_len=self.max_len,
            samples=self.kept.samples,
            signals=self.kept.doubter.signals,
        )
        return features, [self._choose(own) for own in found]

    def captions(self, images: Any, count: int) -> list[Caption]:
        """The chosen captions alone; arguments as of `write`."""
        return [one.caption for one in self.write(images, count)[1]]

    def memory(self, count: int, *, usable: float) -> float:
        """Bytes of each device that so many images take; see `candidates_memory`."""
        return candidates_memory(
            self.captioner,
            count,
            decoding=self.decoding,
            max_len=self.max_len,
            usable=usable,
            samples=self.kept.samples,
            signals=self.kept.doubter.signals,
        )

    def describe(self) -> dict[str, Any]:
        """As plain values, beside those of the decoding."""
        weight = self.weight
        return {"rerank": "doubt", "rerank_weight": weight, "rerank_doubt": self.kept.digest}

    def _choose(self, candidates: Sequence[Doubtable]) -> Doubtable:
        chances = [self.kept.doubter(one) for one in candidates]
        return candidates[best_candidate(candidates, chances, self.weight)]


def check_several(decoding: Decoding) -> None:
    """Raises ValueError where a search ends with one caption."""
    if not isinstance(decoding, Beam | HuggingFaceBeam):
        raise ValueError(
            f"this model writes with {type(decoding).__name__}, which ends with one caption, and "
            "reranking chooses among several; use a beam search (--search=beam --beam=5)"
        )
    if decoding.width < 2:
        raise ValueError(
            "a beam of one ends with one caption, and reranking chooses among several; use a wider "
            "one (--beam=5)"
        )


def read_candidates(
    captioner: Captioner,
    images: Any,
    count: int,
    words: ObjectWords,
    *,
    decoding: Decoding,
    max_len: int,
    samples: int,
    signals: Sequence[str],
) -> tuple[Features, list[list[Doubtable]]]:
    """Features of a batch, and all candidates of each image with their signals.

    Args:
      captioner, decoding, max_len: what writes, and how.
      images, count: as of `Reranker.write`.
      words, samples, signals: as of `read_signals`.
    """
    features, candidates = candidate_batch(captioner, images, decoding=decoding, max_len=max_len)
    found = read_signals(
        captioner,
        images,
        features,
        candidates[:count],
        words,
        max_len=max_len,
        samples=samples,
        signals=signals,
    )
    return features, found


def candidates_memory(
    captioner: Captioner,
    count: int,
    *,
    decoding: Decoding,
    max_len: int,
    usable: float,
    samples: int,
    signals: Sequence[str],
) -> float:
    """Bytes of each device that `read_candidates` of so many images takes; compiles its programs.

    Args:
      captioner, decoding, max_len, samples, signals: as of `read_candidates`.
      count: images of a batch.
      usable: as of `signals_memory`.
    """
    return max(
        caption_memory(captioner, count, decoding=decoding, max_len=max_len),
        signals_memory(
            captioner, count, max_len=max_len, usable=usable, samples=samples, signals=signals
        ),
    )
