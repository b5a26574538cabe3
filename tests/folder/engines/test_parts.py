"""Work that goes through other processes leaves the same folder as work done here."""

import dataclasses
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import cloudpickle  # as Ray does; Grain needs it too
import jax
import numpy as np
import pytest

from capjax.folder import run as command
from capjax.folder.engines.options import ClusterError
from capjax.folder.engines.parts import Part, collect, cut, record
from capjax.folder.engines.worker import Images, Sent, Worker
from capjax.folder.opened.results import open_results
from capjax.folder.pipeline.folder_run import FolderRun
from tests.api.conftest import write_photographs


@pytest.fixture
def ray_is_here(monkeypatch):
    """As far as the options ask."""
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))


@pytest.fixture
def by_pickles(monkeypatch, ray_is_here):
    """What crosses between processes is pickled; the last part is done first, one twice."""

    def explain(run, files, _):
        groups, states = run.missing(files)
        images = sent(Images.of(run))
        worker = Worker(sent(Sent.of(run, tuple(groups))), gpu=False, memory=None)
        parts = cut(run, groups)
        for part in [*reversed(parts), *parts[:1]]:
            loaded = sent(images.read(sent(part)))
            for parcel in sent(worker.explain(sent(part), loaded)):
                record(run, parcel, keep=states[parcel.file] == "done")
        return states

    monkeypatch.setattr(command, "_by_ray", explain)


def sent(value):
    return pickle.loads(cloudpickle.dumps(value))


def run(model, images, out, *options):
    fixed = [f"--model={model}", f"--images={images}", f"--out={out}"]
    fixed += ["--max-length=7", "--batch-size=2", "--no-visual-information"]
    return command.main([*fixed, *options])


def contents(out: Path) -> dict[str, Any]:
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()} | {"results.jsonl": lines(out)}


def lines(out: Path) -> list[dict]:
    """Without the times of images, which are not known of files as new as these."""
    found = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    return [{name: own for name, own in line.items() if name != "times"} for line in found]


def same(ours: Path, theirs: Path) -> None:
    one, other = contents(ours), contents(theirs)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


def test_folders_are_the_same_files(model, zoo, tmp_path, by_pickles):
    here, there = tmp_path / "here", tmp_path / "there"
    assert [run(model, zoo, here), run(model, zoo, there, "--engine=ray")] == [3, 3]
    same(here, there)


@pytest.mark.parametrize("form", ["files", "arrayrecord"])
def test_methods_are_added_to_what_the_other_engine_left(model, tmp_path, by_pickles, form):
    """To an image that stays, and anew to one that changed; a stale strip goes."""
    here, there = tmp_path / "here", tmp_path / "there"
    for out, engine in ((here, []), (there, ["--engine=ray"])):
        images = tmp_path / "images"
        write_photographs(images, 2)
        both = f"--format={form}", "--overlays=png"
        assert run(model, images, out, *both) == 0
        (images / "1.jpg").write_bytes((images / "0.jpg").read_bytes())
        more = *both, "--methods=gradcam", "--overlays=jpeg", *engine
        assert run(model, images, out, both[0], *more[2:]) == 0
        assert [path.name for path in out.glob("overlays/1.*")] == ["1.jpg.gradcam.jpg"]
    names = {name for name in contents(here) if not name.startswith("shards/")}
    assert names == {name for name in contents(there) if not name.startswith("shards/")}
    assert lines(here) == lines(there)
    for ours, theirs in zip(open_results(here), open_results(there), strict=True):
        assert [*ours.explanations] == [*theirs.explanations] and ours.explanations
        for method, own in ours.explanations.items():
            np.testing.assert_array_equal(own.maps, theirs.explanations[method].maps)


def test_captions_and_figures_go_along(model, tmp_path, by_pickles):
    images = tmp_path / "images"
    write_photographs(images, 2)
    captions = tmp_path / "captions.tsv"
    rows = ["filepath\ttitle", *(f"{n}.jpg\ta red {'wave ' * (n + 1)}" for n in range(2))]
    captions.write_text("\n".join(rows))
    asked = f"--captions={captions}", "--queries=captions", "--figures=png"
    assert run(model, images, tmp_path / "here", *asked) == 0
    assert run(model, images, tmp_path / "there", *asked, "--engine=ray") == 0
    same(tmp_path / "here", tmp_path / "there")


def test_a_worker_with_too_little_memory_takes_fewer_at_once(
    model, tmp_path, by_pickles, monkeypatch, capsys
):
    images = tmp_path / "images"
    write_photographs(images, 2)
    whole, asked = FolderRun.explain_steps, []

    def refusing(run, pictures, *rest):
        asked.append(len(pictures))
        if len(pictures) > 1 or "1.jpg" in pictures:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return (yield from whole(run, pictures, *rest))

    monkeypatch.setattr(FolderRun, "explain_steps", refusing)
    assert run(model, images, tmp_path / "there", "--engine=ray") == 3
    done, failed = lines(tmp_path / "there")
    assert "error" not in done and "1.jpg: the device has too little memory" in failed["error"]
    assert "going on with 1 image at once" in capsys.readouterr().err
    assert asked.count(2) == 1, "the part that is sent twice is halved from the start"


def test_machines_with_other_versions_are_refused(model, zoo, tmp_path, by_pickles, monkeypatch):
    whole = Sent.of
    monkeypatch.setattr(
        Sent, "of", lambda *run: dataclasses.replace(whole(*run), versions="capjax 0 and jax 0")
    )
    with pytest.raises(ClusterError, match="started with capjax 0 and jax 0; install the same"):
        Worker(Sent.of(*made(model, zoo, tmp_path, monkeypatch)), gpu=False, memory=None)


def test_a_worker_without_its_gpu_is_refused(model, zoo, tmp_path, ray_is_here, monkeypatch):
    sent = Sent.of(*made(model, zoo, tmp_path, monkeypatch))
    with pytest.raises(ClusterError, match="was given a GPU, and JAX finds none there"):
        Worker(sent, gpu=True, memory=None)


def made(model, images, tmp_path, monkeypatch):
    """A run, and the groups of its work."""
    taken = []

    def keep(run, files, _):
        taken.append((run, (*run.missing(files)[0],)))
        raise ClusterError("it is not run")

    monkeypatch.setattr(command, "_by_ray", keep)
    assert run(model, images, tmp_path / "made", "--engine=ray") == 2
    return taken[0]


def test_what_lies_beside_the_folders_is_no_image_of_theirs(tmp_path):
    (tmp_path / "maps" / "deep").mkdir(parents=True)
    for name in ("results.jsonl", "maps/a.npz", "maps/deep/run.json.npz"):
        (tmp_path / name).write_text(name)
    assert collect(tmp_path) == {
        name: name.encode() for name in ("maps/a.npz", "maps/deep/run.json.npz")
    }
    assert (tmp_path / "results.jsonl").exists() and collect(tmp_path) == {}


def test_parts_are_the_batches_of_this_process(model, tmp_path, ray_is_here, monkeypatch):
    images = tmp_path / "images"
    write_photographs(images, 5)
    owner, groups = made(model, images, tmp_path, monkeypatch)
    names = [f"{number}.jpg" for number in range(5)]
    parts = cut(owner, {groups[0]: names})
    assert parts == [Part(tuple(names[start : start + 2]), 0) for start in (0, 2, 4)]
