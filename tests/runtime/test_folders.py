"""Which files below a folder are somebody's: links, loops, and what other programs leave."""

import os

from capjax.data.captions.splits import Draw
from capjax.data.sources.sources import read_folder
from capjax.runtime.folders import walk


def make(folder, *files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")


def test_links_are_followed_once_and_loops_named(tmp_path):
    make(tmp_path, "disk/part/a.jpg", "job/own.jpg", "job/z/b.jpg")
    (tmp_path / "job/data").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "job/again").symlink_to(tmp_path / "job/z", target_is_directory=True)
    (tmp_path / "disk/part/loop").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "job/self").symlink_to(tmp_path / "job/self")
    (tmp_path / "job/dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "job/file.jpg").symlink_to(tmp_path / "disk/part/a.jpg")
    told = []
    found = list(walk(tmp_path / "job", tell=told.append))
    assert found == ["dead.jpg", "file.jpg", "own.jpg", "self", "z/b.jpg", "data/part/a.jpg"]
    assert told == [
        "again leads to z, which is read once",
        "data/part/loop leads to data, which is read once",
    ]
    records = read_folder(tmp_path / "job")
    assert [record.key for record in records] == sorted(set(found) - {"self"})
    assert records.rejected == tuple(told)


def test_a_link_up_does_not_read_the_folder_again(tmp_path):
    make(tmp_path, "a/b/x.jpg", "a/y.jpg")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a", target_is_directory=True)
    told = []
    assert list(walk(tmp_path / "a", tell=told.append)) == ["y.jpg", "b/x.jpg"]
    assert told == ["b/up leads to the folder itself, which is read once"]


def test_hidden_files_and_those_of_other_programs_are_left(tmp_path):
    others = ["__MACOSX/._a.jpg", "@eaDir/a.jpg", ".ipynb_checkpoints/a.jpg", "$RECYCLE.BIN/a.jpg"]
    make(tmp_path, "a.jpg", ".hidden.jpg", "._a.jpg", "Thumbs.db", "sub/.git/a.jpg", *others)
    assert list(walk(tmp_path)) == ["a.jpg"]
    make(tmp_path, ".cache/b.jpg")
    assert list(walk(tmp_path / ".cache")) == ["b.jpg"]  # asked for by its name


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    make(tmp_path, "a.jpg", "closed/b.jpg")
    scandir = os.scandir

    def refusing(folder):
        if folder == tmp_path / "closed":  # root reads every folder, so permissions would not do
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("os.scandir", refusing)
    told = []
    assert list(walk(tmp_path, tell=told.append)) == ["a.jpg"]
    assert told == ["closed cannot be read and is left out: Permission denied"]


def test_the_output_is_not_entered(tmp_path):
    make(tmp_path, "a.jpg", "out/b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "out", target_is_directory=True)
    assert list(walk(tmp_path, exclude=(tmp_path / "out").resolve())) == ["a.jpg"]


def test_names_in_any_bytes_have_a_split():
    names = [os.fsdecode(bytes([0xE9, 48 + number])) for number in range(20)]
    draw = Draw(val_share=0, test_share=0.5)
    assert draw.splits(names) == [draw.splits([name])[0] for name in names]
    assert set(draw.splits(names)) == {"train", "test"}
