"""Writes what belongs to one image: maps, thumbnail, strips, figures; and its result."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from capjax.data.pictures.given import Picture, shown
from capjax.data.pictures.images import UnreadableFileError
from capjax.data.pictures.opening import ImageFile
from capjax.data.stores.contract import Metadata
from capjax.explainers.cells import on_cells
from capjax.explainers.results import Explained
from capjax.folder.boxes import Boxes
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.folder.results import Pictures, ResultFolder
from capjax.runtime.files import replacing
from capjax.runtime.fingerprint import Fingerprint
from capjax.types import Explanation
from capjax.viz.figure_files import ANIMATION, FigureFiles, panels
from capjax.viz.report.page import thumbnail
from capjax.viz.strip_files import StripFiles


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One image or clip, and what it was read from.

    Attributes:
      file: its name.
      known: of what content it is.
      picture: as the captioner and people see it.
      content: the file, which figures show at full size.
      metadata: that lies beside it.
    """

    file: str
    known: Fingerprint
    picture: Picture
    content: ImageFile
    metadata: Metadata


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes the files of images, one by one; any thread may.

    Attributes:
      folder: where they go.
      overlays: how strips are written, if they are.
      figures: how figures are written, if they are.
      boxes: that figures show.
      cells: grid on which finer maps are stored as means; None: on their own.
      linguistic: ways to find what words owe to earlier ones, which are asked for.
      doubted: doubts of captions are asked for.
    """

    folder: ResultFolder
    overlays: StripFiles | None
    figures: FigureFiles | None = None
    boxes: Boxes | None = None
    cells: tuple[int, int] | None = None
    linguistic: tuple[str, ...] = ()
    doubted: bool = False

    def lacking(self, file: str, methods: Sequence[str]) -> tuple[str, ...]:
        """Of some methods, those of which an explained image lacks maps, or a picture as asked.

        Where it lacks what words owe to earlier ones, or doubts, these come with the first method's
        maps.

        Older versions did not write down how an overlay was `drawn`: like one of default height.
        """
        result = self.folder.read(file)
        answers = result.answers
        known = all({*self.linguistic} <= {*answer.linguistic} for answer in answers)
        known = known and not (self.doubted and result.doubts is None)
        return tuple(
            method
            for method in methods
            if (not known and method == methods[0])
            or not all(self._has(file, answer, answer.methods.get(method)) for answer in answers)
        )

    def _has(self, file: str, answer: Answer, stored: StoredMaps | None) -> bool:
        """Whether maps are there, and the pictures that are asked for, drawn as they are now."""
        if stored is None:
            return False
        if self.overlays is not None:
            there = stored.overlay is not None and (self.folder.path / stored.overlay).exists()
            suffix = (stored.overlay or "").rpartition(".")[2]
            if not there or not self.overlays.accept(suffix, stored.drawn or {}):
                return False
        if self.figures is None:
            return True
        if stored.figures is None:
            return False
        paths = [self.folder.path / figure for figure in stored.figures]
        look = self._figures_look(file, answer.words)
        drawn = stored.figures_drawn or {}
        return (
            all(path.exists() for path in paths)
            and all(path.suffix[1:] in (self.figures.format, ANIMATION) for path in paths)
            and all(drawn.get(name) == value for name, value in look.items())
        )

    def _figures_look(self, file: str, words: Sequence[str]) -> dict[str, Any]:
        """How figures are drawn, in as far as that is asked for."""
        look = dict(self.figures.look) if self.figures else {}
        return look | ({"boxes": self.boxes.digest(file, words)} if self.boxes else {})

    def write(
        self,
        loaded: Loaded,
        explained: Sequence[Explained],
        queries: Sequence[str | None],
        before: Result | None,
        *,
        keep: bool,
    ) -> Result:
        """Writes the files of one image; returns its result.

        Args:
          loaded: the image.
          explained: one a sentence.
          queries: the sentences, None for the caption.
          before: its result so far, if there is one.
          keep: that result is still true: methods are added to it. Else all is new.
        """
        kept = [
            {label: self._kept(maps) for label, maps in own.explanations.items()}
            for own in explained
        ]
        small = thumbnail(loaded.picture.shown)
        place = self.folder.maps.write(loaded.file, kept, small, keep=keep)
        answers = []
        whole = functools.cache(functools.partial(self._whole, loaded))
        for number, (own, query) in enumerate(zip(explained, queries, strict=True)):
            methods = {}
            for name, explanation in kept[number].items():
                stored = StoredMaps(
                    place,
                    dict(explanation.flags),
                    settings=explanation.settings or None,
                    unit=explanation.unit,
                    measure=explanation.measure,
                )
                draw = functools.partial(self._picture, loaded.file, name, number)
                stored = self._with_overlay(stored, loaded, explanation, draw)
                stored = self._with_figures(stored, loaded.file, explanation, draw, whole)
                methods[name] = stored
            answers.append(Answer.of(query, own, methods))
        caption = explained[0].caption
        seconds = loaded.picture.moments.get("seconds", ())
        result = Result(
            loaded.file,
            loaded.known.bytes,
            loaded.known,
            caption=caption.text,
            tokens=tuple(caption.tokens),
            score=caption.score,
            finished=caption.finished,
            rank=caption.rank,
            answers=tuple(answers),
            frames=max(1, len(seconds)),
            seconds=tuple(seconds),
            doubts=caption.doubts,
            metadata=loaded.metadata,
        )
        return succeeding(self.folder, before, result, keep=keep)

    def _kept(self, explanation: Explanation) -> Explanation:
        """The maps as they are stored."""
        return explanation if self.cells is None else on_cells(explanation, self.cells)

    def _with_overlay(
        self, stored: StoredMaps, loaded: Loaded, explanation: Explanation, place: "_Place"
    ) -> StoredMaps:
        """Draws the strip of a sentence, if strips are asked for."""
        if self.overlays is None:
            return stored

        def draw(stream: IO[bytes], suffix: str) -> None:
            assert self.overlays is not None
            self.overlays.write(stream, loaded.picture.shown, explanation)

        (overlay,) = place("overlays", draw, (self.overlays.suffix,))
        return dataclasses.replace(stored, overlay=overlay, drawn=self.overlays.look)

    def _with_figures(
        self,
        stored: StoredMaps,
        file: str,
        explanation: Explanation,
        place: "_Place",
        whole: Callable[[], tuple[Any, Any]],
    ) -> StoredMaps:
        """Draws the figures of a sentence, if they are asked for."""
        figures = self.figures
        if figures is None:
            return stored
        boxes: Mapping[int, Any] = {}
        if self.boxes is not None:
            size = explanation.geometry.original
            boxes = self.boxes.of(file, explanation.words, panels(explanation), size)

        def draw(stream: IO[bytes], suffix: str) -> None:
            picture, seconds = whole()
            options = {"boxes": boxes, "seconds": seconds}
            figures.write(stream, suffix, picture, explanation, **options)

        names = place("figures", draw, figures.kinds(explanation))
        look = self._figures_look(file, explanation.words)
        return dataclasses.replace(stored, figures=names, figures_drawn=look)

    def _picture(
        self,
        file: str,
        method: str,
        number: int,
        kind: Pictures,
        draw: Callable[[IO[bytes], str], None],
        suffixes: Sequence[str],
    ) -> tuple[str, ...]:
        """Draws the pictures of one kind of a sentence and method; returns their paths.

        Args:
          file, method, number, kind: see `ResultFolder.picture_path`.
          draw: writes one of a suffix.
          suffixes: of those to draw.
        """
        drawn = []
        for suffix in suffixes:
            path = self.folder.picture_path(kind, file, method, number, suffix)
            with replacing(path) as stream:
                draw(stream, suffix)
            drawn.append(self._relative(path))
        return tuple(drawn)

    def _relative(self, path: pathlib.Path) -> str:
        return path.relative_to(self.folder.path).as_posix()

    def _whole(self, loaded: Loaded) -> tuple[Any, Any]:
        """The picture at full size, and when frames of a clip are shown."""
        picture = loaded.picture
        clip = picture.seconds is not None
        frames = len(picture.prepared) if clip else 0
        try:
            return shown(loaded.content, frames)[0], picture.seconds
        except (UnreadableFileError, OSError):  # gone since it was read
            return picture.shown, picture.seconds


def succeeding(
    folder: ResultFolder, before: Result | None, result: Result, *, keep: bool
) -> Result:
    """The result to record of an image; what was drawn of an earlier one alone is removed.

    Args:
      folder: that holds the files of both.
      before: the earlier result, if there is one.
      result: of what was explained now.
      keep: the earlier one is still true: its methods are added.
    """
    if before is not None and keep:
        result = _joined(before, result)
    for stale in _pictures(before) - _pictures(result):
        (folder.path / stale).unlink(missing_ok=True)
    return result


def _joined(before: Result, more: Result) -> Result:
    """`more`, found later of the same sentences, with what it lacks of the result before."""
    answers = []
    for old, new in zip(before.answers, more.answers, strict=True):
        methods = {
            name: _with_pictures(old.methods[name], own) if name in old.methods else own
            for name, own in new.methods.items()
        }
        answers.append(
            dataclasses.replace(
                new,
                methods={**old.methods, **methods},
                visual_information=new.visual_information or old.visual_information,
                linguistic={**old.linguistic, **new.linguistic},
            )
        )
    return dataclasses.replace(more, answers=tuple(answers), findings=before.findings)


def _with_pictures(before: StoredMaps, more: StoredMaps) -> StoredMaps:
    """`more`, of the same maps, with the pictures of the maps before that it lacks."""
    overlay = before if more.overlay is None else more
    figures = before if more.figures is None else more
    return dataclasses.replace(
        more,
        overlay=overlay.overlay,
        drawn=overlay.drawn,
        figures=figures.figures,
        figures_drawn=figures.figures_drawn,
    )


def _pictures(result: Result | None) -> set[str]:
    """Paths of all that was drawn of an image."""
    found: set[str] = set()
    for answer in result.answers if result else ():
        for stored in answer.methods.values():
            found.update(stored.figures or ())
            found.update([stored.overlay] if stored.overlay else [])
    return found


_Place = Callable[..., tuple[str, ...]]
"""`Writer._picture` of one sentence and method."""
