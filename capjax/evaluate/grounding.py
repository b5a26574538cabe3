"""Where do maps point? The grounding half of `python -m capjax.evaluate`.

Letters: B images of a batch, N words, F frames.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from capjax.captioner import Captioner
from capjax.data.batches.pipeline import evaluation_batches
from capjax.data.boxes.grounded import (
    PERSON,
    Source,
    Timeline,
)
from capjax.data.captions.records import Record
from capjax.data.inputs import file_inputs
from capjax.decoding import Greedy
from capjax.decoding.rules import MAX_TOKENS
from capjax.evaluate.queries import (
    Protocol,
    Query,
    event_queries,
    narrowed,
    phrase_queries,
    spoken_of,
)
from capjax.explainers.batch import explain_batch, explain_memory
from capjax.explainers.choosing import MEASURE_OPTION, Chosen, labels
from capjax.explainers.wording import padded_sizes
from capjax.metrics import grounding as metric
from capjax.metrics.intervals import RESAMPLES, summarise
from capjax.ops.upsample import upsample
from capjax.runtime.files import counted
from capjax.types import Caption, Explanation, Geometry

DIFFERENCE = "pointing_game_over_centre"
OTHERS = "other"
SILENT = "left out: {} of words that one of the methods says nothing of"

Fit = Callable[[int, Callable[[int], float]], int]
"""`fit(count, need)`: how many of so many images are explained at once, where `need` of a number is
the bytes that a device then takes."""


def explain_queries(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    queries: Sequence[Query],
    *,
    methods: Sequence[Chosen],
    fit: Fit,
    usable: float,
) -> Iterator[tuple[Query, Mapping[str, Explanation]]]:
    """Maps of every query, image by image, with a progress bar; files are read ahead."""
    asked: dict[int, list[Query]] = {}
    for query in queries:
        asked.setdefault(query.image, []).append(query)
    own = list(asked.values())
    need = functools.partial(
        explain_memory,
        captioner,
        methods=methods,
        decoding=Greedy(),
        max_len=MAX_TOKENS,
        usable=usable,
        sizes=padded_sizes([[query.sentence for query in one] for one in own], narrow=True),
        captioned=True,
    )
    batch_size = fit(len(own), need)
    inputs = file_inputs([records[one[0].image] for one in own], captioner.preprocessing)
    with tqdm(total=len(own), desc="grounding", unit="image", disable=None) as progress:
        batches = evaluation_batches(inputs, len(own), batch_size=batch_size)
        for number, batch in enumerate(batches):
            here = own[number * batch_size : (number + 1) * batch_size]
            explained = explain_batch(
                captioner,
                batch["image"],
                [one[0].size for one in here],
                methods=methods,
                decoding=Greedy(),
                max_len=MAX_TOKENS,
                captions=[captions[one[0].image] for one in here],
                queries=[[query.sentence for query in one] for one in here],
                narrow=True,
            )
            for one, found in zip(here, explained, strict=True):
                for query, answer in zip(one, found, strict=True):
                    yield query, answer.explanations
            progress.update(len(here))


@dataclasses.dataclass
class Scores:
    """Numbers of every item (a phrase or an event of a sentence), by method and in order.

    Attributes:
      images: the number of its image's record.
      words: what is asked about, as written.
      categories: that it names.
      baselines: name -> score of one who sees no image.
      methods: method -> name -> score.
    """

    images: list[int] = dataclasses.field(default_factory=list)
    words: list[str] = dataclasses.field(default_factory=list)
    categories: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    baselines: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    methods: dict[str, dict[str, list[float]]] = dataclasses.field(default_factory=dict)

    def add(
        self,
        image: int,
        words: Sequence[str],
        categories: tuple[str, ...],
        baselines: Mapping[str, float],
        methods: Mapping[str, Mapping[str, float]],
    ) -> None:
        """One item."""
        self.images.append(image)
        self.words.append(" ".join(words))
        self.categories.append(categories)
        for name, value in baselines.items():
            self.baselines.setdefault(name, []).append(value)
        for method, own in methods.items():
            for name, value in own.items():
                self.methods.setdefault(method, {}).setdefault(name, []).append(value)

    def summary(self, method: str, *, order: Sequence[str] | None) -> dict[str, Any]:
        """Averages of a method and of the baselines, with intervals, as plain JSON values."""
        scores = {**self.methods[method], **self.baselines}
        found = self._shaped(summarise(scores, self.images, self.categories, order=order))
        found["categories"] = {name: self._shaped(own) for name, own in found["categories"].items()}
        if any(PERSON in own for own in self.categories):
            groups = [(PERSON if PERSON in own else OTHERS,) for own in self.categories]
            parts = summarise(scores, self.images, groups, order=(PERSON, OTHERS))["categories"]
            found["groups"] = {name: self._shaped(own) for name, own in parts.items()}
        return found

    def table(self, records: Sequence[Record]) -> Iterator[list[str | float]]:
        """One row an item, after a row of headings: image, words, categories, scores."""
        named = {
            f"{method}.{name}": values
            for method, own in self.methods.items()
            for name, values in own.items()
            if name != DIFFERENCE
        }
        columns = {**self.baselines, **named}
        yield ["image", "words", "categories", *columns]
        for row, (image, words) in enumerate(zip(self.images, self.words, strict=True)):
            own = "; ".join(self.categories[row])
            yield [records[image].key, words, own, *(values[row] for values in columns.values())]

    def _shaped(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Baselines apart from the method's own scores."""
        own = {name: value for name, value in part.items() if name not in self.baselines}
        return {**own, "baselines": {name: part[name] for name in self.baselines}}


def score_phrases(
    scores: Scores,
    query: Query,
    explanations: Mapping[str, Explanation],
    protocol: Protocol,
    rules: Mapping[str, tuple[metric.PhraseRule, metric.Normalise]],
) -> None:
    """Pointing game and attention correctness of each phrase of a query.

    Args:
      rules: label -> how the maps of a phrase's words become one distribution; see `Method`.
    """
    for phrase in query.phrases:
        rule = {"tolerance": protocol.tolerance}
        centre = metric.centre_hit(query.size, phrase.boxes, **rule)
        methods = {}
        for name, explanation in explanations.items():
            geometry = explanation.geometry
            if protocol.crop == "central":  # The crop is the picture.
                geometry = Geometry(query.size, query.size, (0, 0, *query.size), geometry.grid)
            maps = explanation.maps[phrase.start : phrase.end].sum(axis=1)  # [N h w]
            hit = metric.pointing_game(
                maps.sum(axis=0), phrase.boxes, geometry=geometry, ties=protocol.ties, **rule
            )
            together, normalise = rules[name]
            share = metric.attention_correctness(
                upsample(maps, geometry), phrase.boxes, phrase=together, normalise=normalise
            )
            methods[name] = {
                "pointing_game": hit,
                "attention_correctness": share,
                DIFFERENCE: hit - centre,
            }
        baselines = {
            "centre": centre,
            "random": metric.random_hit(query.size, phrase.boxes, **rule),
            "uniform": metric.uniform_correctness(query.size, phrase.boxes),
        }
        words = query.sentence.words[phrase.start : phrase.end]
        scores.add(query.image, words, phrase.categories, baselines, methods)


def score_events(scores: Scores, query: Query, explanations: Mapping[str, Explanation]) -> None:
    """Temporal pointing of each event of a query; its category is its verb."""
    assert query.timeline is not None  # of `event_queries`
    for event in query.timeline.events:
        span = slice(event.start, event.end)
        methods = {}
        for name, explanation in explanations.items():
            if explanation.frame_maps is None:
                raise ValueError(
                    f"{name} has no maps of whole frames; events are of clips: pass a captioner "
                    "of clips"
                )
            relevance = explanation.frame_maps[span].sum(axis=0)
            hit = metric.temporal_pointing(relevance, event.first, event.last)
            methods[name] = {"temporal_pointing": hit}
        share = metric.temporal_random(query.timeline.frames, event.first, event.last)
        words = query.sentence.words[span]
        scores.add(query.image, words, (" ".join(words),), {"random": share}, methods)


@dataclasses.dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
      methods: from `check_methods`.
      protocol: how it is counted.
      source: where words point; None for clips of which only events are known.
      timelines: events of clips, from `read_timelines`; empty for images.
      order: of the categories; default by name.
      notes: what a reader of the scores must know about the boxes, such as what was left out.
    """

    methods: tuple[Chosen, ...]
    protocol: Protocol
    source: Source | None = None
    timelines: Mapping[tuple[str, str], Timeline] = dataclasses.field(default_factory=dict)
    order: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def evaluate_grounding(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    request: Request,
    *,
    fit: Fit,
    usable: float = math.inf,
) -> tuple[dict[str, dict[str, Any]], Scores]:
    """Scores of each method, as plain JSON values, and those of every phrase.

    Args:
      captioner: from `with_crop`.
      records: images or clips.
      captions: the captioner's own, one a record.
      request: what to score.
      fit: says how many images are explained at once; changes no score.
      usable: bytes of each device's memory; see `explain_memory`.

    Raises:
      ValueError: nothing to score: no sentence has a phrase with a box, or an event.
    """
    protocol = request.protocol
    queries: list[Query] = []
    dropped = silent = 0
    if request.source is not None:
        queries, dropped = phrase_queries(
            captioner, records, request.source, protocol=protocol, predicted=captions
        )
        queries, silent = spoken_of(queries, [one.method for one in request.methods])
    queries += event_queries(captioner, records, request.timelines)
    notes = [SILENT.format(counted(silent, "phrase"))] if silent else []
    if not queries:
        raise ValueError(
            f"no sentence about these {len(records)} images has a word for an object with a box, "
            f"or an event; {notes[0] if notes else 'do the boxes belong to these, by file name?'}"
        )
    phrases, events = Scores(), Scores()
    rules: dict[str, tuple[metric.PhraseRule, metric.Normalise]] = {
        label: (one.method.PHRASE, one.method.SPREAD)
        for one in request.methods
        for label in one.labels.values()
    }
    for query, explanations in explain_queries(
        captioner,
        records,
        captions,
        [narrowed(query) for query in queries],
        methods=request.methods,
        fit=fit,
        usable=usable,
    ):
        if query.timeline is None:
            score_phrases(phrases, query, explanations, protocol, rules)
        else:
            score_events(events, query, explanations)
    found: dict[str, dict[str, Any]] = {}
    settings = labels(request.methods)
    for method in settings:
        found[method] = phrases.summary(method, order=request.order) if phrases.images else {}
        if events.images:
            found[method]["temporal"] = events.summary(method, order=None)
        found[method]["protocol"] = {
            **dataclasses.asdict(protocol),
            "phrases_outside_crop": dropped,
            "intervals": f"95 %, {RESAMPLES} resamples of images",
        }
        own = dict(settings[method])
        found[method]["measure"] = own.pop(MEASURE_OPTION, None)
        found[method]["settings"] = own
        found[method]["notes"] = [*request.notes, *notes]
    return found, phrases
