"""Explained images as people use them: by word, as a strip, a figure, a page, in a notebook."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from capjax.data.pictures.given import PictureLike, shown
from capjax.explainers.language.visual_information import VisualInformation
from capjax.explainers.results import Explained
from capjax.explainers.scaling import Values
from capjax.runtime.files import printable
from capjax.studies.contract import Finding, Summary
from capjax.studies.doubt.reasons import DOUBTED
from capjax.types import Caption, Explanation
from capjax.viz.language.page import legend
from capjax.viz.report.doubts import doubted
from capjax.viz.report.page import (
    ReportHead,
    ReportItem,
    ReportSentence,
    inline_html,
    thumbnail,
    write_page,
)
from capjax.viz.strips import word_strip

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedImage:
    """One image or clip, its caption, and a map for every word.

    Attributes:
      name: its path, or its number in the call.
      source: the image or clip as it was given.
      explained: caption, words and maps.
      query: the sentence that was explained instead of the caption.
      frames: of a clip, how many were seen; 0 for an image.
      findings: study -> what it found out about the picture.
    """

    name: str
    source: PictureLike
    explained: Explained
    query: str | None = None
    frames: int = 0
    findings: Mapping[str, Finding] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def _shown(self) -> tuple[np.ndarray, np.ndarray | None]:
        return shown(self.source, self.frames)

    @property
    def image(self) -> UInt8[np.ndarray, "*F H W 3"]:
        """The upright image [H W 3], or the frames of a clip, of at most 640 pixels [F H W 3]."""
        return self._shown[0]

    @property
    def seconds(self) -> Float[np.ndarray, " F"] | None:
        """When each frame of a clip is shown; None for images and clips without times."""
        return self._shown[1]

    @property
    def caption(self) -> Caption:
        """What the captioner says by itself."""
        return self.explained.caption

    @property
    def words(self) -> tuple[str, ...]:
        """The words that were explained."""
        return self.explained.sentence.words

    @property
    def explanations(self) -> Mapping[str, Explanation]:
        """Method -> maps."""
        return self.explained.explanations

    @property
    def visual_information(self) -> VisualInformation | None:
        """How many bits of each word come from the image; None where that was not asked for."""
        return self.explained.visual_information

    @property
    def linguistic(self) -> Mapping[str, Float[np.ndarray, "N N"]]:
        """Way -> bits that each word (row) owes to each earlier one (column)."""
        return self.explained.linguistic

    def __getitem__(self, method: str) -> Explanation:
        """The maps of one method."""
        if method not in self.explanations:
            raise KeyError(f"no {method!r} maps here; there are: {', '.join(self.explanations)}")
        return self.explanations[method]

    def word_strip(self, method: str | None = None, **options: Any) -> Image.Image:
        """The word strip of a method (the first by default): quick, for papers and previews;
        `options` go to `viz.word_strip`."""
        return word_strip(self.image, self[method or next(iter(self.explanations))], **options)

    def plot(
        self, method: str | None = None, *, values: Values | None = None, **options: Any
    ) -> "Figure":
        """A matplotlib figure with one subplot a word and a phrase, of a clip one row of frames;
        `values`, as in `viz.word_strip`, and `options` go to `viz.plot_attention`."""
        from capjax.viz.figures import plot_attention
        from capjax.viz.parts import all_parts

        found = self[method or next(iter(self.explanations))]
        part = all_parts(found).shown(found, values)
        own = {"geometry": found.geometry, "relevance": part.relevance, "unit": part.unit}
        options = {**own, **options}
        return plot_attention(self.image, part.labels, part.maps, **options)

    def plot_linguistic(self, way: str | None = None, **options: Any) -> "Figure":
        """A matplotlib figure of what each word owes to those before it, found one way (the first
        by default); `options` go to `viz.plot_linguistic`."""
        from capjax.viz.language.figure import plot_linguistic

        if not self.linguistic:
            raise ValueError(
                "nobody asked what words owe to those before them; explain(…, "
                'linguistic="leave_one_out")'
            )
        effects = self.linguistic[way or next(iter(self.linguistic))]
        return plot_linguistic(self.words, effects, **options)

    def report_item(self) -> ReportItem:
        """The image as the viewer shows it."""
        return ReportItem(
            name=printable(self.name),
            thumbnail=thumbnail(self.image),
            caption=self.caption.text,
            sentences=[
                ReportSentence(
                    tuple(self.explanations.values()),
                    self.query,
                    self.visual_information,
                    self.linguistic,
                )
            ],
            frames=next(iter(self.explanations.values())).maps.shape[1],
            seconds=() if self.seconds is None else self.seconds.tolist(),
            findings=self.findings,
            doubts=doubted(self.caption.doubts, DOUBTED),
        )

    def __repr__(self) -> str:
        return (
            f"ExplainedImage({self.name!r}, caption={self.caption.text!r}, "
            f"methods={list(self.explanations)})"
        )

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Writes the viewer of this image alone as one self-contained page."""
        ExplainedImages([self]).save_html(path)

    def _repr_html_(self) -> str:
        return ExplainedImages([self])._repr_html_()


class ExplainedImages(list[ExplainedImage]):
    """Explained images; a notebook shows them in the same viewer as the report of explain.py.

    A slice of them, and the sum of two, are explained images too.

    Attributes:
      summaries: study -> what its findings of all images come to; slices and sums have none.
    """

    summaries: Mapping[str, Summary] = {}

    @overload
    def __getitem__(self, index: SupportsIndex) -> ExplainedImage: ...

    @overload
    def __getitem__(self, index: slice) -> "ExplainedImages": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "ExplainedImage | ExplainedImages":
        found = super().__getitem__(index)
        return ExplainedImages(found) if isinstance(found, list) else found

    def __add__(self, others: Any) -> Any:
        return ExplainedImages([*self, *others])

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Writes the viewer as one self-contained page."""
        with open(path, "w", encoding="utf-8") as stream:
            write_page(stream, (image.report_item() for image in self), self.head())

    def head(self) -> ReportHead:
        """What a page says about all of them."""
        methods = list(dict.fromkeys(name for image in self for name in image.explanations))
        ranges, units, measures = {}, {}, {}
        for method in methods:
            found = [image[method] for image in self if method in image.explanations]
            flags = [own.flags for own in found]
            measures[method] = found[0].measure
            if found[0].unit:
                units[method] = found[0].unit
            ranges[method] = (
                min(flag["minimum"] for flag in flags),
                max(flag["maximum"] for flag in flags),
            )
        noun = "clip" if any(image.frames for image in self) else "image"
        visual = [own for own in (image.visual_information for image in self) if own is not None]
        return ReportHead(
            summary=legend(visual[0].pictures if visual else None),
            title=f"{len(self)} {noun}{'' if len(self) == 1 else 's'}, word by word",
            methods=methods,
            ranges=ranges,
            units=units,
            measures=measures,
            summaries=self.summaries,
        )

    def _repr_html_(self) -> str:
        return inline_html([image.report_item() for image in self], self.head())
