"""`--decode=exact`: what the captioner and studies see, and what one folder cannot mix."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from capjax.api import load
from capjax.data.pictures.images import load_image, prepare
from capjax.folder import run as command
from capjax.folder.engines.parts import Part
from capjax.folder.engines.worker import Images
from capjax.folder.pipeline.folder_run import FolderRun
from capjax.studies.contract import Finding, Study, Summary
from tests.api.conftest import photograph


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Photographs many times as large as what the captioner sees."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 60, (400, 600, 3), dtype=np.uint8)
        own = np.minimum(photograph(number, 400, 600), 195) + noise
        Image.fromarray(own).save(folder / f"{number}.jpg", quality=95)
    return folder


@dataclasses.dataclass(frozen=True)
class Watching(Study):
    """Notes what it is given, and finds nothing out."""

    NAME = "watching"
    COST = "none"
    SOURCE = "this test"
    SEEN: ClassVar[dict[str, np.ndarray]] = {}

    def run(self, captioner, subjects):
        for subject in subjects:
            self.SEEN[subject.name] = subject.prepared
            yield Finding(subject.name)

    def summarise(self, findings):
        return Summary()


def run(model, images, out, *options, studies=()):
    fixed = [f"--model={model}", f"--images={images}", f"--out={out}", "--max-length=5"]
    fixed += ["--no-visual-information", "--overlays=none"]
    return command.main([*fixed, *options], studies=studies)


def test_captioner_workers_and_studies_see_the_whole_decoding(model, images, tmp_path, monkeypatch):
    explained, runs, whole = {}, [], FolderRun.explain_steps

    def watched(self, pictures, *rest):
        runs.append(self)
        explained.update({file: own.prepared for file, own in pictures.items()})
        return (yield from whole(self, pictures, *rest))

    monkeypatch.setattr(FolderRun, "explain_steps", watched)
    preprocessing = load(model).preprocessing
    expected = {path.name: prepare(load_image(path), preprocessing)[0] for path in images.iterdir()}
    for decode, same in (("scaled", False), ("exact", True)):
        own = tmp_path / decode, f"--decode={decode}"
        assert run(model, images, *own, studies=[Watching()]) == 0
        sent = Images.of(runs[-1]).read(Part(tuple(expected), 0))
        by_workers = {one.file: one.picture.prepared for one in sent}
        for seen in (explained, Watching.SEEN, by_workers):
            assert {*seen} == {*expected}
            for file, pixels in expected.items():
                assert np.array_equal(seen[file], pixels) is same, (file, decode)


def test_results_of_the_one_never_pass_for_the_other(model, images, tmp_path, capsys):
    for decode, other in (("scaled", "exact"), ("exact", "scaled")):
        out = tmp_path / decode
        assert run(model, images, out, f"--decode={decode}") == 0
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        capsys.readouterr()
        assert run(model, images, out, f"--decode={other}") == 2
        assert f"decode is {other!r}, there it is {decode!r}" in capsys.readouterr().err
        assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert run(model, images, tmp_path / "scaled") == 0  # as folders of older versions are
