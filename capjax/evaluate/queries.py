"""What to ask of a captioner so that grounding can be scored: sentences, spans, boxes, frames."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from capjax.captioner import Captioner
from capjax.data.boxes.grounded import (
    GroundedEvent,
    GroundedPhrase,
    Source,
    Timeline,
    moved_span,
    source_words,
)
from capjax.data.captions.records import Record
from capjax.data.pictures.resizers import resizing
from capjax.explainers.contract import Method
from capjax.explainers.wording import Wording, without_phrases
from capjax.metrics.grounding import Ties, central_crop
from capjax.types import Caption

Crop = Literal["none", "central"]
Queries = Literal["captions", "predicted"]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings that grounding scores depend on besides the model.

    Attributes:
      tolerance: of the pointing game, in pixels.
      ties: of its maxima.
      queries: whose sentences are explained, people's "captions" or the "predicted" ones.
      crop: what the model sees of each photograph; see `with_crop`.
    """

    tolerance: float = 0.0
    ties: Ties = "first"
    queries: Queries = "captions"
    crop: Crop = "none"


@dataclasses.dataclass(frozen=True)
class Query:
    """One sentence to explain for one image, and what its words name there.

    Attributes:
      image: index of the record.
      size: (height, width) that boxes and maps are compared at.
      sentence: as the captioner reads it.
      phrases: spans of the sentence's words, with boxes.
      timeline: events as spans of the sentence's words, in the model's frames; None for images.
    """

    image: int
    size: tuple[int, int]
    sentence: Wording
    phrases: tuple[GroundedPhrase, ...] = ()
    timeline: Timeline | None = None


def narrowed(query: Query) -> Query:
    """The query whose sentence explains only the words that point somewhere.

    A method that takes a pass a word is asked for a tenth of what the whole sentence would take.
    """
    timeline = query.timeline
    spans = [(phrase.start, phrase.end) for phrase in query.phrases]
    spans += [(event.start, event.end) for event in (timeline.events if timeline else ())]
    chosen = sorted({word for start, end in spans for word in range(start, end)})
    sentence = query.sentence.of_words(chosen)
    if timeline is not None:
        events = _moved_events(timeline.events, chosen)
        timeline = Timeline(sentence.words, events, timeline.frames)
    phrases = tuple(_moved_phrases(query.phrases, chosen))
    return dataclasses.replace(query, sentence=sentence, phrases=phrases, timeline=timeline)


def with_crop(captioner: Captioner, crop: Crop) -> Captioner:
    """The captioner with the protocol's crop in its preprocessing: for "central" a central square.

    A captioner that was trained on that square (`data.resize=crop`) is returned as it is.

    Raises:
      ValueError: a central square for an encoder whose input is not square, or for a captioner
        that was trained on another one.
    """
    if crop == "none":
        return captioner
    preprocessing = captioner.preprocessing
    height, width = preprocessing.size
    if height != width:
        raise ValueError(
            f"--crop=central needs an encoder with square input; this one sees {height} x {width} "
            "pixels: use --crop=none"
        )
    cropping = resizing(preprocessing, "crop")
    if preprocessing.resize == "crop" and preprocessing != cropping:
        raise ValueError(
            f"--crop=central resizes the shorter side to {cropping.shorter} pixels, and this "
            f"captioner was trained on a crop after {preprocessing.shorter}; use --crop=none, "
            "which shows it what it was trained on"
        )
    return dataclasses.replace(captioner, preprocessing=cropping)


def phrase_queries(
    captioner: Captioner,
    records: Sequence[Record],
    source: Source,
    *,
    protocol: Protocol,
    predicted: Sequence[Caption] = (),
) -> tuple[list[Query], int]:
    """Sentences with at least one phrase that has boxes, and how many phrases a crop cut away."""
    queries, dropped = [], 0
    for index, record in enumerate(records):
        original = source.size(record)
        if original is None:
            continue
        sentences: list[tuple[Wording, Sequence[GroundedPhrase]]] = []
        if protocol.queries == "predicted":
            own = Wording.of_caption(captioner, predicted[index])
            sentences.append((own, source.phrases(record, own.words)))
        else:
            for caption in source.captions(record):
                if caption.phrases:
                    own = _read(captioner, caption.words)
                    owner = source_words(own.words, caption.words)
                    sentences.append((own, _moved_phrases(caption.phrases, owner)))
        side = captioner.preprocessing.size[0]
        size = original if protocol.crop == "none" else (side, side)
        for sentence, phrases in sentences:
            kept = [_seen(phrase, original, protocol.crop, side) for phrase in phrases]
            dropped += sum(not phrase.boxes for phrase in kept)
            kept = [phrase for phrase in kept if phrase.boxes]
            if kept:
                queries.append(Query(index, size, sentence, tuple(kept)))
    return queries, dropped


def spoken_of(queries: Sequence[Query], methods: Sequence[Method]) -> tuple[list[Query], int]:
    """The phrases with a word that every method speaks of, and how many others there were."""
    kept, silent = [], 0
    for query in queries:
        words = [query.sentence.tokens[start:end] for start, end in query.sentence.spans]
        spoken = [all(method.speaks_of(own) for method in methods) for own in words]
        phrases = tuple(own for own in query.phrases if any(spoken[own.start : own.end]))
        silent += len(query.phrases) - len(phrases)
        if phrases:
            kept.append(dataclasses.replace(query, phrases=phrases))
    return kept, silent


def event_queries(
    captioner: Captioner,
    records: Sequence[Record],
    timelines: Mapping[tuple[str, str], Timeline],
) -> list[Query]:
    """Captions of clips with the events that they tell."""
    queries = []
    for index, record in enumerate(records):
        for caption in record.captions:
            told = timelines.get((record.key, caption))
            if told is None:
                continue
            told = told.sampled(captioner.preprocessing.frames)
            sentence = _read(captioner, told.words)
            events = _moved_events(told.events, source_words(sentence.words, told.words))
            if events:
                told = Timeline(sentence.words, events, told.frames)
                queries.append(Query(index, (1, 1), sentence, timeline=told))
    return queries


def _read(captioner: Captioner, words: Sequence[str]) -> Wording:
    return Wording.of_query(captioner, without_phrases(" ".join(words)))


def _moved_phrases(
    phrases: Sequence[GroundedPhrase], owner: Sequence[int | None]
) -> list[GroundedPhrase]:
    spans = [moved_span((phrase.start, phrase.end), owner) for phrase in phrases]
    return [
        dataclasses.replace(phrase, start=span[0], end=span[1])
        for phrase, span in zip(phrases, spans, strict=True)
        if span is not None
    ]


def _moved_events(
    events: Sequence[GroundedEvent], owner: Sequence[int | None]
) -> tuple[GroundedEvent, ...]:
    spans = [moved_span((event.start, event.end), owner) for event in events]
    return tuple(
        event._replace(start=span[0], end=span[1])
        for event, span in zip(events, spans, strict=True)
        if span is not None
    )


def _seen(
    phrase: GroundedPhrase, original: tuple[int, int], crop: Crop, side: int
) -> GroundedPhrase:
    boxes = phrase.boxes
    if crop == "central":
        boxes = central_crop(boxes, original, display=side)
    return dataclasses.replace(phrase, boxes=boxes)
