"""Damaged checkpoints and full disks: what is read instead, what is said, and that nothing goes."""

import errno
import json
import os
import shutil

import pytest
from orbax.checkpoint import CheckpointManager, StandardCheckpointer

from capjax.runtime.files import fullness, replacing
from capjax.train.checkpoint import SaveError
from capjax.train.checksums import SUMS, damage, write_sums
from capjax.train.records import MetricsFile, read_metrics
from tests.train.toy import ToyRun, same


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed: 8 updates, checkpoints of 3, 4, 6 and 8, three of them kept."""
    folder = tmp_path_factory.mktemp("whole")
    return ToyRun(folder).run(), folder


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole[1], tmp_path / "run")


def steps_kept(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def largest(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def truncate(folder):
    os.truncate(largest(folder), largest(folder).stat().st_size // 2)


def garble(folder):
    data = bytearray(largest(folder).read_bytes())
    data[len(data) // 2] ^= 1
    largest(folder).write_bytes(data)


def lose_a_file(folder):
    largest(folder).unlink()


def truncate_unnoticed(folder):
    (folder / SUMS).unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("harm", [truncate, garble, lose_a_file, truncate_unnoticed])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole, copy, caplog, harm):
    assert steps_kept(copy) == [4, 6, 8]
    harm(copy / "checkpoints" / "8")
    caplog.set_level("WARNING", logger="absl")
    again = ToyRun(copy)
    outcome = again.run()
    warnings = [each.getMessage() for each in caplog.records if "of step" in each.getMessage()]
    assert len(warnings) == 1
    assert "checkpoint of step 8 is damaged" in warnings[0]
    assert "goes on from step 6" in warnings[0]
    assert (copy / "checkpoints_damaged" / "8").is_dir()
    assert steps_kept(copy) == [4, 6, 8]
    assert again.scored == [8]
    assert [record["step"] for record in read_metrics(copy / "metrics.jsonl")] == [*range(1, 9)]
    assert same(outcome.state.params, whole[0].state.params)
    assert outcome.progress == whole[0].progress


def rewrite(folder, step, change):
    """Writes the checkpoint of a step again with a changed tree, as another version would."""
    item = folder / "checkpoints" / str(step) / "state"
    checkpointer = StandardCheckpointer()
    content = checkpointer.restore(item)
    change(content)
    shutil.rmtree(item)
    checkpointer.save(item, content)
    checkpointer.close()
    write_sums(item.parent)


def with_empty_parts(content):
    content["moving"] = content["of_later"] = {}


def without_them(content):
    content.pop("moving", None)


@pytest.mark.parametrize("version", [with_empty_parts, without_them])
@pytest.mark.parametrize("summed", [True, False])
def test_unused_parts_of_the_state_may_be_saved_or_not(whole, copy, version, summed):
    rewrite(copy, 8, version)
    if not summed:
        (copy / "checkpoints" / "8" / SUMS).unlink()
    outcome = ToyRun(copy).run()
    assert same(outcome.state.params, whole[0].state.params)
    assert outcome.state.moving == {}
    assert steps_kept(copy) == [4, 6, 8]
    assert not (copy / "checkpoints_damaged").exists()


def with_an_average(content):
    content["moving"] = {"params": {"bias": content["step"]}}


def with_another_width(content):
    del content["params"]["decoder"]["head_kernel"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (with_an_average, r"moving/params/bias is \(\) there, missing here"),
        (with_another_width, r"params/decoder/head_kernel is missing there, \(\d+, \d+\) here"),
    ],
)
@pytest.mark.parametrize("summed", [True, False])
def test_other_arrays_are_other_settings_not_damage(copy, change, text, summed):
    rewrite(copy, 8, change)
    if not summed:
        (copy / "checkpoints" / "8" / SUMS).unlink()
    with pytest.raises(ValueError, match=rf"(?s)of a run with other settings:.*{text}"):
        ToyRun(copy).run()
    assert steps_kept(copy) == [4, 6, 8]


def test_where_all_are_damaged_nothing_starts_anew(copy):
    for step in (4, 6, 8):
        truncate(copy / "checkpoints" / str(step))
    before = (copy / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"(?s)none of the checkpoints .* step 8: .* step 4: "):
        ToyRun(copy).run()
    assert steps_kept(copy) == [4, 6, 8]
    assert (copy / "metrics.jsonl").read_bytes() == before


def test_checksums_name_the_file(tmp_path):
    (tmp_path / "state").mkdir()
    file = tmp_path / "state" / "array"
    file.write_bytes(b"0123")
    (tmp_path / "METADATA").write_text("changes later")
    assert damage(tmp_path) is None
    write_sums(tmp_path)
    (tmp_path / "METADATA").write_text("changed")
    assert damage(tmp_path) == ""
    file.write_bytes(b"0124")
    assert damage(tmp_path) == "the content of state/array has changed"
    file.write_bytes(b"01")
    assert damage(tmp_path) == "state/array has 2 bytes instead of 4"
    file.unlink()
    assert damage(tmp_path) == "state/array is missing"
    (tmp_path / SUMS).write_text("{")
    assert damage(tmp_path) == f"{SUMS} is no JSON"


def no_space(*arguments, **settings):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(whole, tmp_path, monkeypatch):
    """The background thread fails, as it does on a full disk; the run hears of it and ends."""
    rename = os.rename

    def full(source, target, **settings):
        if os.path.basename(str(target)) == "6":
            no_space()
        rename(source, target, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.raises(SaveError) as stopped:
            ToyRun(tmp_path).run()
    text = str(stopped.value)
    assert "the checkpoint of step 6 could not be written" in text
    assert "is full" in text and "MB are free" in text
    assert "The checkpoint of step 4 and the best model are whole" in text
    assert "run the same command" in text
    outcome = ToyRun(tmp_path).run()
    assert same(outcome.state.params, whole[0].state.params)
    assert [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")] == [*range(1, 9)]


def test_metrics_that_cannot_be_written_end_the_run(whole, tmp_path, monkeypatch):
    write = MetricsFile.write

    def full(self, records):
        records = list(records)
        if records and records[-1]["step"] > 4:
            self._file.write(json.dumps(records[0])[:9])  # what still fits
            no_space()
        write(self, records)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsFile, "write", full)
        with pytest.raises(SaveError, match="metrics or the best model could not be written"):
            ToyRun(tmp_path).run()
    outcome = ToyRun(tmp_path).run()
    assert same(outcome.state.params, whole[0].state.params)
    assert [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")] == [*range(1, 9)]


def test_another_trouble_is_named_too(tmp_path, monkeypatch):
    def refused(*arguments, **settings):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(CheckpointManager, "save", refused)
    with pytest.raises(SaveError, match=r"step 3 .*Permission denied.*No checkpoint is complete"):
        ToyRun(tmp_path).run()


def test_a_full_disk_is_recognised_in_what_libraries_say():
    assert fullness(OSError(errno.ENOSPC, "No space left on device")) == "the disk is full"
    text = "RESOURCE_EXHAUSTED: write [OS error 28: No space left on device]"
    assert fullness(ValueError(text)) == "the disk is full"
    try:
        try:
            no_space()
        except OSError as error:
            raise RuntimeError("cannot save") from error
    except RuntimeError as error:
        assert fullness(error) == "the disk is full"
    assert "quota" in str(fullness(OSError(errno.EDQUOT, "Disk quota exceeded")))
    assert "ulimit -f" in str(fullness(OSError(errno.EFBIG, "File too large")))
    assert fullness(ValueError("shape")) is None
    assert fullness(None) is None


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path):
    path = tmp_path / "model.json"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"), replacing(path) as stream:
        stream.write(b"half")
        no_space()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
