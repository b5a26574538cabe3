"""The part of a folder run that makes the findings of studies, those that are missing."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from PIL import Image

from capjax.captioner import Captioner
from capjax.data.pictures.given import prepared, shown
from capjax.data.pictures.images import UnreadableFileError
from capjax.data.stores.contract import Store
from capjax.folder.results import ResultFolder
from capjax.folder.stored_findings import StoredFinding
from capjax.runtime.files import replacing
from capjax.studies.contract import Finding, Study, Subject, checked, settings
from capjax.viz.findings import with_drawn


def study_files(
    folder: ResultFolder,
    captioner: Captioner,
    study: Study,
    store: Store,
    files: Sequence[str],
    done: Callable[[], Any],
    *,
    exact: bool,
) -> None:
    """Makes the findings of files, and appends each result with its finding.

    Args:
      folder: holds a result of every file.
      captioner: that is studied.
      study: to run.
      store: holds the images.
      files: explained ones without a finding of the study.
      done: called after each file.
      exact: large JPEGs are decoded at their full size.
    """

    def keep(file: str, finding: Finding) -> None:
        result = folder.read(file)
        stored = _write(folder, file, study, with_drawn(finding))
        findings = {**result.findings, study.NAME: stored}
        folder.append(dataclasses.replace(result, findings=findings))
        done()

    def subjects() -> Iterator[Subject]:
        for file in files:
            result = folder.read(file)
            try:
                pixels, _ = prepared(store.open(file), captioner.preprocessing, exact=exact)
                image, _ = shown(store.open(file), captioner.preprocessing.frames)
            except (UnreadableFileError, OSError) as error:
                keep(file, Finding(file, refused=str(error)))
                continue
            yield Subject(file, image, pixels, result.as_caption(captioner.text))

    for finding in checked(study, subjects(), captioner):
        keep(finding.name, finding)


def lacking(folder: ResultFolder, files: Sequence[str], study: Study) -> list[str]:
    """The files that have no finding of a study."""
    return [file for file in files if not _has(folder, file, study)]


def _has(folder: ResultFolder, file: str, study: Study) -> bool:
    stored = folder.read(file).findings.get(study.NAME)
    return stored is not None and all(
        (folder.path / path).exists() for path in stored.pictures.values()
    )


def _write(folder: ResultFolder, file: str, study: Study, finding: Finding) -> StoredFinding:
    pictures = {}
    for number, (title, picture) in enumerate(finding.pictures.items()):
        path = folder.study_path(file, study.NAME, number)
        with replacing(path) as stream:
            Image.fromarray(picture).save(stream, "PNG")
        pictures[title] = path.relative_to(folder.path).as_posix()
    own = finding.tables, finding.numbers, finding.refused, finding.spots
    return StoredFinding(settings(study), pictures, *own)
