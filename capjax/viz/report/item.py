"""One image or clip of the viewer: HTML that can be read as it is, and the numbers for the page."""

import base64
import collections
import dataclasses
import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from capjax.explainers.cells import on_cells
from capjax.explainers.language.visual_information import VisualInformation
from capjax.explainers.scaling import both_signs
from capjax.runtime.files import counted
from capjax.studies.contract import Finding
from capjax.types import Explanation, WordDoubt
from capjax.viz import parts
from capjax.viz.findings import finding_html
from capjax.viz.language.page import earlier_words, numbers, under_word
from capjax.viz.report.doubts import listed, mark
from capjax.viz.report.packed import packed

ANY = 'dir="auto" lang=""'
"""Attributes of text of any language, beside the page's own English."""


@dataclasses.dataclass(frozen=True)
class ReportSentence:
    """One sentence that was explained.

    Attributes:
      explanations: of the same words, one a method; at least one.
      query: the sentence as it was asked, None for the caption.
      visual_information: of its words and phrases; None where it was not asked for.
      linguistic: way -> [N N] bits that each word owes to each earlier one.
    """

    explanations: Sequence[Explanation]
    query: str | None = None
    visual_information: VisualInformation | None = None
    linguistic: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ReportItem:
    """One image or clip of a report.

    Attributes:
      name: shown above the words, and the key of the reader's marks.
      thumbnail: JPEG bytes of the upright photograph, whole, any size; of a clip its frames side by
        side, all of one size.
      caption: what the captioner says by itself.
      sentences: what was explained, at least one; a reader chooses among several.
      references: captions written by people.
      scores: name -> score of the caption.
      frames: of a clip, and in its thumbnail.
      seconds: when each frame is shown; may be unknown.
      findings: study -> what it found out about the picture.
      doubts: words of the caption that are marked as doubtful.
    """

    name: str
    thumbnail: bytes
    caption: str
    sentences: Sequence[ReportSentence]
    references: Sequence[str] = ()
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    frames: int = 1
    seconds: Sequence[float] = ()
    findings: Mapping[str, Finding] = dataclasses.field(default_factory=dict)
    doubts: Sequence[WordDoubt] = ()


def item_html(item: ReportItem) -> str:
    """One image as an `<article>`: readable as it is, drawn over by the page's script.

    Raises:
      ValueError: maps of more or fewer frames than the item has.
    """
    several = len(item.sentences) > 1
    spoken = [word for own in item.sentences for word in own.explanations[0].words]
    picture = base64.b64encode(item.thumbnail).decode()
    width, height = Image.open(io.BytesIO(item.thumbnail)).size
    searched = " ".join([item.caption, *spoken, *item.references])
    clip = item.frames > 1
    lines = [
        f'<article class="item" data-file="{escaped(item.name)}" data-text="{escaped(searched)}">',
        f'<div class="photo"><img src="data:image/jpeg;base64,{picture}" width="{width}" '
        f'height="{height}" alt="{escaped(item.name)}: {escaped(item.caption)}"></div>',
        _player(item.frames) if clip else "",
        '<div class="bar idle"><span class="low"></span><canvas aria-hidden="true"></canvas>'
        '<span class="high"></span><span class="readout" aria-live="polite"></span></div>',
        '<div class="text">',
        _choice(item) if several else "",
        *(
            _sentence(own, () if own.query is not None else item.doubts, shown=number == 0)
            for number, own in enumerate(item.sentences)
        ),
        '<div class="timeline"></div>' if clip else "",
    ]
    if any(own.query is not None for own in item.sentences):
        caption = f"<bdi {ANY}>{escaped(item.caption)}</bdi>"
        lines.append(f'<p class="own">The model itself says: {caption}</p>')
    lines.append(listed(item.doubts))
    lines.append(f'<p class="facts">{_facts(item)}</p>')
    lines += [finding_html(study, finding) for study, finding in item.findings.items()]
    if item.references:
        entries = "".join(f"<li {ANY}>{escaped(reference)}</li>" for reference in item.references)
        lines.append(
            f"<details><summary>{counted(len(item.references), 'caption')} by people</summary>"
            f"<ul>{entries}</ul></details>"
        )
    lines += [
        '<div class="actions"><button type="button" data-mark="right" aria-pressed="false">'
        '✓ right</button><button type="button" data-mark="wrong" aria-pressed="false">✗ wrong'
        '</button><button type="button" data-all aria-expanded="false">all words</button></div>',
        '<div class="all" hidden></div>',
        f'</div><script type="application/json">{json_text(_data(item))}</script></article>\n',
    ]
    return "\n".join(line for line in lines if line)


def _choice(item: ReportItem) -> str:
    """One button a sentence; the arrow keys move among them."""
    group = f"sentence-{hashlib.sha256(item.name.encode(errors='replace')).hexdigest()[:12]}"
    labels = [
        f'<label><input type="radio" name="{group}" value="{number}"'
        f"{'' if number else ' checked'}><span {ANY}>{escaped(_text(own))}</span>"
        f'<b title="mean log p">{_mean(own)}</b></label>'
        for number, own in enumerate(item.sentences)
    ]
    return f'<fieldset class="choice"><legend>Sentence</legend>{"".join(labels)}</fieldset>'


def _text(sentence: ReportSentence) -> str:
    """What a reader chooses it by."""
    if sentence.query is None:
        return " ".join(sentence.explanations[0].words)
    return sentence.query.replace("[", "").replace("]", "")


def _sentence(sentence: ReportSentence, doubts: Sequence[WordDoubt], *, shown: bool) -> str:
    first, visual = sentence.explanations[0], sentence.visual_information
    words = _words(first, visual, doubts)
    lines = [
        f'<div class="sentence"{"" if shown else " hidden"}>',
        f'<div class="words" role="group" aria-label="words" {ANY}>{words}</div>',
        _beside_words(first, visual),
        *(earlier_words(way, first.words, own) for way, own in sentence.linguistic.items()),
        *(f'<p class="note">{escaped(note)}</p>' for note in _notes(sentence.explanations)),
        "</div>",
    ]
    return "\n".join(line for line in lines if line)


def escaped(value: str) -> str:
    """Text for an element or an attribute."""
    return html.escape(value, quote=True)


def json_text(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _player(frames: int) -> str:
    return (
        '<div class="player"><button type="button" data-play aria-pressed="false" '
        'aria-label="play">▶</button>'
        f'<input type="range" min="0" max="{frames - 1}" step="1" value="0" aria-label="frame">'
        "<output></output></div>"
    )


def _words(
    explanation: Explanation, visual: VisualInformation | None, doubts: Sequence[WordDoubt]
) -> str:
    unknown = set(explanation.flags.get("unknown_words", ()))
    buttons = []
    for index, word in enumerate(explanation.words):
        kind = "word unknown" if index in unknown else "word"
        title = ' title="not in the model’s vocabulary"' if index in unknown else ""
        doubtful = mark(doubts, index)
        kind += " doubtful" if doubtful else ""
        under = under_word(visual, index) + doubtful
        buttons.append(_button(word, float(explanation.score[index]), kind, title, under))
    return "".join(buttons)


def _beside_words(explanation: Explanation, visual: VisualInformation | None) -> str:
    """Phrases, keywords, contrasts and the whole sentence."""
    found = parts.beside_words(explanation)
    if not found.labels:
        return ""
    contrasts = [False] * len(explanation.phrases)
    contrasts += [target.contrast for target in explanation.targets]
    buttons = [
        # Of a contrast, which is no probability, the line is as long as the word's share of both.
        _button(
            label,
            -np.logaddexp(0, -score) if contrast else float(score),
            "word phrase",
            under=under_word(visual, index),
        )
        for index, (label, score, contrast) in enumerate(
            zip(found.labels, found.score, contrasts, strict=True), start=len(explanation.words)
        )
    ]
    start = f'<div class="words phrases" role="group" aria-label="phrases" {ANY}>'
    return f"{start}{''.join(buttons)}</div>"


def _button(label: str, log_prob: float, kind: str, title: str = "", under: str = "") -> str:
    share = 0.0 if np.isnan(log_prob) else float(np.exp(log_prob))
    return (
        f'<button type="button" class="{kind}"{title} aria-pressed="false" '
        f'style="--p:{share:.3f}"><span>{escaped(label)}</span>{under}</button>'
    )


def _notes(explanations: Sequence[Explanation]) -> list[str]:
    """Warnings a reader needs before trusting the maps."""
    notes = []
    for explanation in explanations:
        flags, method = explanation.flags, explanation.method
        constant = [explanation.words[index] for index in flags.get("degenerate_words", ())]
        if constant and len(constant) == len(explanation.words):
            notes.append(f"{method}: every map is constant, there is nothing to see.")
        elif constant:
            notes.append(f"{method}: constant map, nothing to see, for {_tallied(constant)}.")
        elif flags.get("flat"):
            notes.append(f"{method}: the maps of the words are nearly alike; read none by itself.")
        notes += [f"{method}: {note}" for note in flags.get("notes", ())]
    first = explanations[0]
    notes += [target.note for target in first.targets if target.note]
    if first.lacking:
        asked = ", ".join(first.lacking)
        notes.append(f"Not explained, for the sentence has no such word: {asked}.")
    for skipped, said in ((False, "explained as an unknown word"), (True, "not read by the model")):
        unknown = [
            first.words[index]
            for index in first.flags.get("unknown_words", ())
            if bool(np.isnan(first.score[index])) == skipped
        ]
        if unknown:
            notes.append(f"Not in the model’s vocabulary, {said}: {', '.join(unknown)}.")
    if first.flags.get("unfinished"):
        notes.append("The caption was cut at the length limit.")
    return notes


def _tallied(words: Sequence[str]) -> str:
    """Each word once, with how often it comes: "a (3 times), of"."""
    counts = collections.Counter(words)
    return ", ".join(f"{word} ({n} times)" if n > 1 else word for word, n in counts.items())


def _facts(item: ReportItem) -> str:
    facts = [escaped(item.name)]
    if item.frames > 1:
        facts.append(f"{item.frames} frames")
    facts += [f"{escaped(name)} <b>{value:.3f}</b>" for name, value in item.scores.items()]
    mean = _mean(item.sentences[0])
    if mean and len(item.sentences) == 1:
        facts.append(f"mean log p <b>{mean}</b>")
    return " · ".join(facts)


def _mean(sentence: ReportSentence) -> str:
    """Mean log-probability of the words that were read; empty where none was."""
    score = sentence.explanations[0].score
    score = score[~np.isnan(score)]
    if not len(score):
        return ""
    return f"{round(float(np.mean(score)), 2) + 0.0:.2f}"  # never "-0.00"


def _data(item: ReportItem) -> dict[str, Any]:
    """What the page's script draws: maps of the words and, after them, of what else was asked."""
    every = [own.geometry for each in item.sentences for own in each.explanations]
    geometry = min(every, key=lambda one: one.grid)
    height, width = geometry.original
    x0, y0, _, _ = geometry.cell_box(0, 0)
    _, _, x1, y1 = geometry.cell_box(geometry.grid[0] - 1, geometry.grid[1] - 1)
    return {
        "box": [x0 / width, y0 / height, x1 / width, y1 / height],
        "grid": list(geometry.grid),
        "frames": item.frames,
        "seconds": [round(float(second), 3) for second in item.seconds],
        "sentences": [_numbers(own, item, geometry.grid) for own in item.sentences],
    }


def _numbers(sentence: ReportSentence, item: ReportItem, grid: tuple[int, int]) -> dict[str, Any]:
    """Labels, log-probabilities and maps; finer ones as means over the cells of the grid."""
    first = sentence.explanations[0]
    named = parts.all_parts(first)
    return {
        "words": len(first.words),
        "labels": list(named.labels),
        "log_probs": [_finite(value) for value in named.score],
        "contrasts": [
            len(first.words) + len(first.phrases) + number
            for number, target in enumerate(first.targets)
            if target.contrast
        ],
        **numbers(sentence.visual_information),
        "methods": {
            each.method: _method(on_cells(each, grid), item) for each in sentence.explanations
        },
    }


def _method(explanation: Explanation, item: ReportItem) -> dict[str, Any]:
    shown = parts.all_parts(explanation)
    maps = shown.maps
    if maps.shape[1] != item.frames:
        raise ValueError(
            f"{item.name}: got {explanation.method} maps of shape {maps.shape} for a picture of "
            f"{counted(item.frames, 'frame')}; expected [N {item.frames} h w]"
        )
    found = {
        "measure": explanation.measure,
        "maps": packed(maps),
        "signed": both_signs(maps.min(initial=0.0), maps.max(initial=0.0)),
        "entropy": [_finite(value) for value in explanation.flags.get("entropy", ())],
    }
    if item.frames > 1:
        found["relevance"] = packed(shown.relevance)
    return found


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return round(float(value), 6) if value is not None and np.isfinite(value) else None
