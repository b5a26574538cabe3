"""Pictures of a comparison: distributions and scatters, and the best and worst images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from capjax.data.captions.records import Record
from capjax.data.pictures.given import shown
from capjax.evaluate.against.comparing import SENTENCE_BLEU, Pair, Side
from capjax.metrics.intervals import format_measured
from capjax.viz.scores.comparison import Histogram, Scatter, plot_comparison
from capjax.viz.scores.gallery import Shown, gallery

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_figure(pair: Pair, scores: Mapping[str, Any]) -> "Figure":
    """Distributions and scatters; which encoder measured stands above.

    Args:
      pair: the two.
      scores: from `evaluate_against`.
    """
    title = [_title(pair)]
    if pair.score is not None:
        title.append(f"{pair.score}: cosine of sentences by {pair.encoder}")
    return plot_comparison(panels(pair, scores), title="\n".join(title))


def gallery_sheet(pair: Pair, records: Sequence[Record], *, count: int, frames: int) -> Image.Image:
    """The best and the worst images of each captioner with what was said of them.

    Args:
      pair: the two.
      records: all images.
      count: of each section.
      frames: that the captioners see of a clip, whose middle one is shown; 0 for images.
    """
    files = {record.key: record.image for record in records}
    sections = {
        one.heading: [
            _shown(pair, number, one.side, files[pair.keys[number]], frames)
            for number in one.numbers
        ]
        for one in pair.extremes(count)
    }
    about = f"Ordered by, and beside each caption: {pair.ordered_by}."
    return gallery(sections, title=_title(pair), about=about)


def _title(pair: Pair) -> str:
    return f"{pair.model.name} against {pair.against.name}, {len(pair.keys)} images"


def panels(pair: Pair, scores: Mapping[str, Any]) -> list[list[Histogram | Scatter]]:
    """What the figure shows: distributions, both captioners, and similarity against BLEU."""
    correlations = scores["correlations"]

    def note(name: str) -> str:
        return f"Spearman {format_measured(correlations[name], '+')}"

    one, other = pair.sides
    rows: list[list[Histogram | Scatter]] = []
    measures: list[tuple[str, Any, Any]] = [(SENTENCE_BLEU, one.bleu, other.bleu)]
    if pair.score is not None:
        measures.insert(0, (pair.score, one.similarity, other.similarity))
    for (name, own, its), side in zip(measures, pair.sides, strict=False):
        series = {one.name: own, other.name: its}
        across = f"{name}, with the references"
        if name == pair.score and pair.between is not None:
            series["each with the other"] = pair.between
            across = f"mean cosine with the references ({name})"
        row: list[Histogram | Scatter] = [Histogram(series, across)]
        labels = (f"{name} of {one.name}", f"{name} of {other.name}")
        row.append(Scatter(own, its, *labels, note(f"{name} of both"), alike=True))
        if side.similarity is not None:
            both = f"{pair.score} and {SENTENCE_BLEU} of {side.name}"
            axes = (f"{SENTENCE_BLEU} of {side.name}", f"{pair.score} of {side.name}")
            row.append(Scatter(side.bleu, side.similarity, *axes, note(both)))
        rows.append(row)
    return rows


def _shown(pair: Pair, number: int, side: Side, file: Path, frames: int) -> Shown:
    """An image with the reference that is closest to this captioner's caption."""
    picture, _ = shown(file, frames)
    if picture.ndim == 4:
        picture = picture[len(picture) // 2]
    references = pair.references[number]
    line = ("reference", references[0], "")
    if side.cosines is not None:
        closest = int(side.cosines[number].argmax())
        line = ("closest reference", references[closest], f"{side.cosines[number][closest]:.3f}")
    said = [
        (each.name, each.captions[number], f"{each.goodness[number]:.3f}") for each in pair.sides
    ]
    return Shown(pair.keys[number], Image.fromarray(picture), (line, *said))
