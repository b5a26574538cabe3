"""Writes what belongs to one image: maps, thumbnail, strips; and its result."""

import dataclasses
from collections.abc import Sequence

from capjax.data.pictures.given import Picture
from capjax.explainers.batch import Explained
from capjax.folder.maps_file import write_maps
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.folder.results import ResultFolder
from capjax.runtime.files import replacing
from capjax.runtime.fingerprint import Fingerprint
from capjax.types import Explanation
from capjax.viz.report.page import thumbnail
from capjax.viz.strip_files import SUFFIXES, StripFiles


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One image or clip, and what file it was read from."""

    file: str
    known: Fingerprint
    picture: Picture


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes the files of images, one by one; any thread may.

    Attributes:
      folder: where they go.
      overlays: how strips are written, if they are.
    """

    folder: ResultFolder
    overlays: StripFiles | None

    def write(
        self,
        loaded: Loaded,
        explained: Sequence[Explained],
        queries: Sequence[str | None],
        before: Result | None,
    ) -> Result:
        """Writes the files of one image; returns its result.

        Args:
          loaded: the image.
          explained: one a sentence.
          queries: the sentences, None for the caption.
          before: its result so far, to which methods are added; None: all is new.
        """
        path = self.folder.maps_path(loaded.file)
        write_maps(path, [own.explanations for own in explained], keep=before is not None)
        with replacing(self.folder.thumbnail_path(loaded.file)) as stream:
            stream.write(thumbnail(loaded.picture.shown))
        answers = []
        for number, (own, query) in enumerate(zip(explained, queries, strict=True)):
            methods = dict(before.answers[number].methods) if before else {}
            for name, explanation in own.explanations.items():
                methods[name] = self._stored(loaded, number, name, explanation)
            answers.append(
                Answer(
                    query,
                    tuple(own.sentence.words),
                    tuple(own.sentence.spans),
                    tuple(own.sentence.tokens),
                    tuple(round(float(value), 6) for value in own.log_probs),
                    methods,
                )
            )
        caption = explained[0].caption
        seconds = loaded.picture.moments.get("seconds", ())
        return Result(
            loaded.file,
            loaded.known.bytes,
            loaded.known,
            caption=caption.text,
            tokens=tuple(caption.tokens),
            score=caption.score,
            finished=caption.finished,
            answers=tuple(answers),
            frames=max(1, len(seconds)),
            seconds=tuple(seconds),
        )

    def _stored(
        self, loaded: Loaded, number: int, method: str, explanation: Explanation
    ) -> StoredMaps:
        maps = self.folder.maps_path(loaded.file).relative_to(self.folder.path).as_posix()
        stored = StoredMaps(maps, dict(explanation.flags))
        if self.overlays is None:
            return stored
        kinds = {
            suffix: self.folder.picture_path("overlays", loaded.file, method, number, suffix)
            for suffix in set(SUFFIXES.values())
        }
        overlay = kinds.pop(self.overlays.suffix)
        with replacing(overlay) as stream:
            self.overlays.write(stream, loaded.picture.shown, explanation)
        for other in kinds.values():  # of another format, which an earlier run drew
            other.unlink(missing_ok=True)
        drawn = overlay.relative_to(self.folder.path).as_posix()
        return dataclasses.replace(stored, overlay=drawn, drawn=self.overlays.look)
