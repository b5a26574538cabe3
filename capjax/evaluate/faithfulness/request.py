"""What is asked of every method, and of which words of which images."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Literal

from capjax.captioner import Captioner
from capjax.data.boxes.grounded import Source
from capjax.data.captions.records import Record
from capjax.evaluate.faithfulness.removal import Plan
from capjax.evaluate.queries import Protocol, Query, narrowed, phrase_queries
from capjax.explainers.choosing import Chosen
from capjax.explainers.wording import Wording
from capjax.types import Caption

Words = Literal["objects", "all"]


@dataclasses.dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
      methods: from `check_methods`; baselines among them.
      plan: what is taken away, in which steps.
      protocol: whose sentences, and how pointing is counted.
      source: where words point; None where nothing says so.
      words: "objects", those that have a box, or "all".
      removals: from how many of the first images cells are taken away; None: all.
      checks: how many of the first images the sanity checks and max-sensitivity are for.
    """

    methods: tuple[Chosen, ...]
    plan: Plan
    protocol: Protocol
    source: Source | None = None
    words: Words = "objects"
    removals: int | None = None
    checks: int = 8


def faithfulness_queries(
    captioner: Captioner, records: Sequence[Record], captions: Sequence[Caption], request: Request
) -> list[list[Query]]:
    """The sentences to explain of every image that has any, each with the words that are wanted.

    Raises:
      ValueError: there is none.
    """
    found: dict[int, list[Query]] = {}
    if request.source is not None:
        for query in phrase_queries(
            captioner, records, request.source, protocol=request.protocol, predicted=captions
        )[0]:
            own = narrowed(query) if request.words == "objects" else query
            found.setdefault(query.image, []).append(own)
    if request.words == "all":
        for index, caption in enumerate(captions):
            sentence = Wording.of_caption(captioner, caption)
            if index not in found and sentence.words:
                found[index] = [Query(index, captioner.preprocessing.size, sentence)]
    if not found:
        raise ValueError(
            f"no caption of these {len(records)} images has a word for an object with a box; do "
            "the boxes belong to these images, by file name? --words=all asks about every word"
        )
    return [found[index] for index in sorted(found)]


def digest(queries: Sequence[Sequence[Query]]) -> str:
    """sha256 of all that is asked: which images, which words of them, and the boxes of these."""
    return hashlib.sha256(repr(queries).encode()).hexdigest()
