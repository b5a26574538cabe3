"""Everything that is measured of a batch of images.

Every method explains the same words of the same images. What each map calls important is then
taken away from the image, cell by cell, and the word's probability is read again; maps are compared
with boxes, with those of shuffled captioners, of other words and of near images.

Letters: R words of all sentences of the batch, C cells of all frames of a map.
"""

import collections
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.captioner import Captioner
from capjax.decoding import Greedy
from capjax.decoding.rules import MAX_TOKENS
from capjax.evaluate.faithfulness import sanity
from capjax.evaluate.faithfulness.pointing import phrase_scores
from capjax.evaluate.faithfulness.removal import Items, Kind, Plan, measure
from capjax.evaluate.faithfulness.request import Request
from capjax.evaluate.queries import Query
from capjax.explainers.batch import explain_batch
from capjax.explainers.cells import cell_means
from capjax.explainers.choosing import Chosen
from capjax.explainers.programs import image_seeds
from capjax.explainers.results import Explained
from capjax.explainers.wording import Wording, pad_sentences
from capjax.metrics import faithfulness as metric
from capjax.types import Caption, Explanation

ORDERS = 2
"""Random orders of removal, whose every step is a perturbation of infidelity."""
INFIDELITIES = {
    "infidelity": metric.scaled_infidelity,
    "relative_infidelity": metric.relative_infidelity,
}
"""Name of a score -> its formula."""
NEIGHBOURS = 4
"""Images near each one whose maps max-sensitivity compares."""


class Batch:
    """Some images, their words, and all that is asked about these."""

    def __init__(
        self,
        captioner: Captioner,
        images: np.ndarray,
        here: Sequence[Sequence[Query]],
        captions: Sequence[Caption],
        request: Request,
        *,
        width: int,
        at_once: int,
    ) -> None:
        self.captioner, self.images, self.here, self.captions = captioner, images, here, captions
        self.request, self.width, self.at_once = request, width, at_once
        self.sentences = [[query.sentence for query in one] for one in here]
        padded = pad_sentences(self.sentences, least=width, narrow=True)
        self.places = np.array(
            [
                (row, column, word)
                for row, own in enumerate(self.sentences)
                for column, sentence in enumerate(own)
                for word in range(len(sentence.words))
            ]
        ).reshape(-1, 3)
        self.rows = self.places[:, 0]
        self.seeds = image_seeds(images)
        self.shape = (len(images), *padded.weights.shape[1:])
        self._spent: dict[str, list[float]] = collections.defaultdict(list)
        self.words = Items(
            images[self.rows],
            padded.tokens[self.rows, self.places[:, 1]],
            padded.weights[tuple(self.places.T)],
            self.seeds[self.rows],
            np.zeros((len(self.rows), request.plan.count), np.int32),
        )

    def measured(
        self, removed: set[int], checked: set[int], compiled: bool
    ) -> Iterator[dict[str, Any]]:
        """Of each image: `seconds` a method, `words`, their `intact` probabilities, `methods`.

        Of each label of `methods`: `curves` (kind -> a curve a word), `infidelity` and
        `relative_infidelity`, a number a word, which are empty for images that are not among
        `removed`; a number a word of `gini` and `entropy`, one a sentence of `words_distance`;
        scores of `phrases`; and `checks`, empty for images that are not among `checked`.

        Args:
          removed, checked: images of these queries.
          compiled: whether a batch of this `shape` was measured before. If not, the first pass of
            each method compiles and is not timed; `seconds` are then those of the neighbours of
            `checked` images, and empty without these.
        """
        found: dict[str, list[list[Explained]]] = {}
        for one in self.request.methods:
            explained = self._explain_timed(one, self.images)
            found |= dict.fromkeys(one.labels.values(), explained)
        maps = {label: self._maps(label, explained) for label, explained in found.items()}
        first = next(iter(found.values()))
        intact = np.array(
            [
                math.exp(first[row][column].log_probs[slice(*self._span(row, column, word))].sum())
                for row, column, word in self.places
            ]
        )
        taken = np.array([one[0].image in removed for one in self.here])
        curves, unfaithful = self._removals(maps, intact, np.flatnonzero(taken[self.rows]))
        checks = self._checks(maps, [one[0].image in checked for one in self.here])
        timed = {label: own if compiled else own[1:] for label, own in self._spent.items()}
        seconds = {
            label: round(float(np.median(own)) / len(self.here), 6)
            for label, own in timed.items()
            if own
        }
        for row, queries in enumerate(self.here):
            mine = self.rows == row
            methods = {}
            for label, explained in found.items():
                own = maps[label][mine]
                columns = self.places[mine, 1]
                answers = [one.explanations[label] for one in explained[row]]
                methods[label] = {
                    "curves": {
                        kind: rounded(curve[mine])
                        for kind, curve in curves[label].items()
                        if taken[row]
                    },
                    **{
                        name: rounded(own[mine]) if taken[row] else []
                        for name, own in unfaithful[label].items()
                    },
                    "gini": rounded(metric.gini(own)),
                    "entropy": rounded(metric.map_entropy(own)),
                    "words_distance": rounded(
                        [
                            metric.words_distance(own[columns == column])
                            for column in range(len(queries))
                            if (columns == column).sum() > 1
                        ]
                    ),
                    "phrases": self._phrases(label, queries, answers),
                    "checks": checks[label][row],
                }
            yield {
                "seconds": seconds,
                "words": [
                    query.sentence.words[word]
                    for query in queries
                    for word in range(len(query.sentence.words))
                ],
                "intact": rounded(intact[mine]),
                "methods": methods,
            }

    def _span(self, row: int, column: int, word: int) -> tuple[int, int]:
        return self.sentences[row][column].spans[word]

    def _explain_timed(self, one: Chosen, images: np.ndarray) -> list[list[Explained]]:
        """The sentences of these images, or of near ones; how long it took is noted."""
        began = time.perf_counter()
        explained = self._explain(one, self.captioner, images, self.sentences)
        spent = time.perf_counter() - began
        for label in one.labels.values():
            self._spent[label].append(spent)
        return explained

    def _explain(
        self,
        one: Chosen,
        captioner: Captioner,
        images: np.ndarray,
        sentences: Sequence[Sequence[Wording]],
    ) -> list[list[Explained]]:
        return explain_batch(
            captioner,
            images,
            [queries[0].size for queries in self.here],
            methods=[one],
            decoding=Greedy(),
            max_len=MAX_TOKENS,
            captions=[self.captions[queries[0].image] for queries in self.here],
            queries=sentences,
            least_tokens=self.width,
            narrow=True,
            seeds=self.seeds,
        )

    def _maps(
        self, label: str, explained: Sequence[Sequence[Explained]]
    ) -> Float[np.ndarray, "R C"]:
        """The maps of all words, as means over the cells of the plan."""
        of_sentences = [
            on_plan(one.explanations[label], self.request.plan) for own in explained for one in own
        ]
        return np.concatenate(of_sentences)

    def _removals(
        self, maps: Mapping[str, np.ndarray], intact: np.ndarray, chosen: np.ndarray
    ) -> tuple[dict[str, dict[Kind, np.ndarray]], dict[str, dict[str, np.ndarray]]]:
        """Curves and infidelities of the chosen words, by label; NaN for the others."""
        plan, shape = self.request.plan, (len(maps), len(intact))
        probabilities = np.full((*shape, len(plan.copies())), np.nan)
        unfaithful = {
            label: {name: np.full(len(intact), np.nan) for name in INFIDELITIES} for label in maps
        }
        if len(chosen):
            own = np.stack(list(maps.values()))[:, chosen]
            ranks = metric.removal_ranks(own)
            probabilities[:, chosen] = self._measure(chosen, ranks, plan.copies())
            perturbed = self._perturbations(chosen, intact)
            for label, values in zip(maps, own, strict=True):
                for name, of in INFIDELITIES.items():
                    unfaithful[label][name][chosen] = of(values, *perturbed)
        curves = [plan.curves(own, intact) for own in probabilities]
        return dict(zip(maps, curves, strict=True)), unfaithful

    def _measure(
        self, chosen: np.ndarray, ranks: np.ndarray, copies: Sequence[tuple[Kind, int]]
    ) -> Float[np.ndarray, "L r K"]:
        return measure(
            self.captioner,
            self.words.taken(chosen),
            ranks,
            copies,
            self.request.plan.cells,
            at_once=self.at_once,
        )

    def _perturbations(
        self, chosen: np.ndarray, intact: np.ndarray
    ) -> tuple[Float[np.ndarray, "r M C"], Float[np.ndarray, "r M"]]:
        """Random sets of cells, the same for every word of an image, and what each word loses.

        They are the steps of random orders, so that the program of the curves measures them.
        """
        plan = self.request.plan
        counts = np.linspace(1, max(plan.count - 1, 1), len(plan.copies())).round().astype(int)
        orders = np.array(
            [
                [
                    np.random.default_rng((int(seed), order)).permutation(plan.count)
                    for seed in self.words.seeds[chosen]
                ]
                for order in range(ORDERS)
            ],
            np.int32,
        )  # [ORDERS r C]
        left = self._measure(chosen, orders, [("deletion", int(count)) for count in counts])
        gone = (orders[:, :, None] < counts[:, None]).astype(np.float64)  # [ORDERS r K C]
        changes = intact[chosen, None] - np.concatenate(list(left), axis=1)
        return np.concatenate(list(gone), axis=1), changes

    def _phrases(
        self, label: str, queries: Sequence[Query], answers: Sequence[Explanation]
    ) -> dict[str, list[float]]:
        scores: dict[str, list[float]] = collections.defaultdict(list)
        method = next(one for one in self.request.methods if label in one.labels.values()).method
        for query, answer in zip(queries, answers, strict=True):
            for phrase in query.phrases:
                own = phrase_scores(query, phrase, answer, self.request.protocol, method)
                for name, value in own.items():
                    scores[name].append(round(value, 6))
        return dict(scores)

    def _checks(
        self, maps: Mapping[str, np.ndarray], wanted: Sequence[bool]
    ) -> dict[str, list[dict[str, Any]]]:
        """Sanity checks and max-sensitivity of the rows that are wanted, by label and row."""
        found: dict[str, list[dict[str, Any]]] = {label: [{} for _ in wanted] for label in maps}
        if not any(wanted):
            return found

        def compare(kind: str, level: str, captioner: Captioner, sentences: Any) -> None:
            for one in self.request.methods:
                explained = self._explain(one, captioner, self.images, sentences)
                for label in one.labels.values():
                    other = self._maps(label, explained)
                    for row in np.flatnonzero(wanted):
                        mine = self.rows == row
                        pair = maps[label][mine], other[mine]
                        alike = sanity.similarities(*pair, self.request.plan.cells)
                        found[label][row].setdefault(kind, {})[level] = alike

        for kind, level, captioner in sanity.shuffled_captioners(self.captioner):
            compare(kind, level, captioner, self.sentences)
        compare("captions", "another image's", self.captioner, self._other_sentences())
        near = collections.defaultdict(list)
        for number in range(NEIGHBOURS):
            pairs = zip(self.images, self.seeds, strict=True)
            images = np.stack([sanity.neighbour(own, number, int(seed)) for own, seed in pairs])
            for one in self.request.methods:
                explained = self._explain_timed(one, images)
                for label in one.labels.values():
                    near[label].append(self._maps(label, explained))
        for label, own in near.items():
            sensitivity = metric.max_sensitivity(maps[label], np.stack(own))
            for row in np.flatnonzero(wanted):
                found[label][row]["max_sensitivity"] = [
                    round(value, 6) if math.isfinite(value) else None  # of a map of zeros
                    for value in sensitivity[self.rows == row].tolist()
                ]
        return found

    def _other_sentences(self) -> list[list[Wording]]:
        """Of every sentence the caption of another image, with as many words to explain."""
        turned = []
        for own, queries in zip(self.sentences, self.here, strict=True):
            count = len(self.captions)
            following = [
                self.captions[(queries[0].image + step) % count] for step in range(1, count + 1)
            ]
            mine = self.captions[queries[0].image].tokens
            other = next((one for one in following if one.words and one.tokens != mine), None)
            other = other or self.captions[queries[0].image]
            wording = Wording.of_caption(self.captioner, other)
            turned.append([sanity.other_words(sentence, wording) for sentence in own])
        return turned


def on_plan(explanation: Explanation, plan: Plan) -> Float[np.ndarray, "N C"]:
    """Maps of all words as means over the plan's cells, frame after frame.

    Raises:
      ValueError: the maps have other frames than the plan.
    """
    maps = np.asarray(explanation.maps, np.float64)
    if maps.shape[1] != plan.frames:
        raise ValueError(
            f"{explanation.method} gives maps of {maps.shape[1]} frames for inputs of "
            f"{plan.frames}; cells are taken away frame by frame: leave the method out"
        )
    return cell_means(maps, plan.cells).reshape(len(maps), -1)


def rounded(values: Any) -> Any:
    """Nested lists of numbers with six digits after the point."""
    return np.round(np.asarray(values, np.float64), 6).tolist()
