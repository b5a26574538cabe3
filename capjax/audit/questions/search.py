"""Which images does a sentence fit best, and where does it find them sharply?"""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capjax.audit.contract import Answered, Example, Question, SeenImage
from capjax.folder.queries import CAPTIONS
from capjax.runtime.files import counted
from capjax.studies.contract import Cell, Table

MOST_RANKED = 1000
"""Images in a table, of each query and order."""
BY_PROBABILITY = "log-probability"
Ranked = tuple[float, int, str, float, Mapping[str, float]]
"""What it is ranked by, number of the image negated, file, log-probability, method -> sharpness."""


def queries_of(run: Mapping[str, Any], asked: Sequence[str]) -> tuple[str, ...]:
    """The queries to rank images by: those that were asked for, or all of the run.

    Args:
      run: what run.json says.
      asked: by the user.

    Raises:
      ValueError: the run did not explain one that is asked for.
    """
    query = run.get("query")
    stored = [query] if isinstance(query, str) else list(query or ())
    plain = {_plain(text): text for text in stored}
    unknown = [text for text in asked if _plain(text) not in plain]
    if unknown:
        there = ", ".join(map(repr, stored))
        what = "people's captions" if run.get("queries") == CAPTIONS else "the model's captions"
        known = f"it explained {there}" if stored else f"it explained {what}"
        raise ValueError(
            f"--query={unknown[0]!r} is not among the sentences of the run: {known}; run "
            f"explain.py with --query={unknown[0]!r} into another folder first"
        )
    return tuple(plain[_plain(text)] for text in asked) or tuple(stored)


def _plain(text: str) -> str:
    return " ".join(text.replace("[", " ").replace("]", " ").lower().split())


class Search(Question):
    """Images in the order in which queries fit them; memory holds the first ones alone.

    Args:
      queries: of the run.
      methods: of the run.
      examples: to show.
    """

    TITLE = "Which images does a query fit?"
    ABOUT = (
        "The mean log-probability of the query’s words, given the image; and the sharpness of its "
        "maps, one less the mean entropy of its words’ maps as a share of a uniform map’s. Words "
        "that the captioner was not shown do not count."
    )

    def __init__(self, queries: Sequence[str], methods: Sequence[str], *, examples: int) -> None:
        self._queries, self._methods, self._examples = queries, methods, examples
        self._best: dict[tuple[str, str], list[Ranked]] = {}
        self._seen: dict[str, int] = {}

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        for answer in image.result.answers:
            if answer.query is None or answer.query not in self._queries:
                continue
            score = np.asarray(answer.score, np.float64)
            known = ~np.isnan(score)
            if not known.any():
                continue
            mean = float(score[known].mean())
            self._seen[answer.query] = self._seen.get(answer.query, 0) + 1
            sharp = {
                method: 1 - float(np.asarray(stored.flags["entropy"])[known].mean())
                for method, stored in answer.methods.items()
                if len(stored.flags.get("entropy", ())) == len(known)
            }
            for order, value in {BY_PROBABILITY: mean, **sharp}.items():
                best = self._best.setdefault((answer.query, order), [])
                entry = (value, -image.number, image.result.file, mean, sharp)
                keep = heapq.heappush if len(best) < MOST_RANKED else heapq.heappushpop
                keep(best, entry)

    def result(self) -> Answered:
        """See `Question`."""
        rows, examples = list[tuple[Cell, ...]](), list[Example]()
        each = max(1, self._examples // max(1, len(self._best)))
        for (query, order), best in self._best.items():
            ranked = sorted(best, key=lambda own: own[:2], reverse=True)
            by = order if order == BY_PROBABILITY else f"sharpness by {order}"
            for rank, (value, number, file, mean, sharp) in enumerate(ranked, start=1):
                cells = (sharp.get(method) for method in self._methods)
                rows.append((query, by, rank, file, mean, *cells))
                if rank <= each:
                    method = None if order == BY_PROBABILITY else order
                    text = f"“{query}”, {by}: number {rank}, {value:.2f}"
                    examples.append(Example(-number, text, method))
        sharp_columns = [f"sharpness by {method}" for method in self._methods]
        columns = ("query", "ordered by", "rank", "image", BY_PROBABILITY, *sharp_columns)
        found = [
            f"“{query}” was asked of {counted(count, 'image')}."
            for query, count in self._seen.items()
        ]
        return Answered({"images by query": Table(columns, tuple(rows))}, found, (), examples)
