"""explain.py on lists, shards and addresses: the lines of a folder, resumed, and nothing lost."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from capjax.data.pictures.given import shown
from capjax.data.stores.choosing import open_store
from capjax.folder.boxes import Boxes
from capjax.folder.reading import read_image
from capjax.runtime import fingerprint
from capjax.types import Preprocessing
from tests.api.conftest import write_photographs
from tests.data.stores.written import jpeg, members, table, text
from tests.folder.test_figures import instances
from tests.folder.test_run import check_whole, lines, run

COUNT = 5
CAPTIONS = [f"a photograph number {number}" for number in range(COUNT)]
METADATA = [
    {"group": "odd" if number % 2 else "even", "year": 1990 + number} for number in range(COUNT)
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def expected(photographs, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected") / "out"
    assert run(model, photographs, out) == 0
    return comparable(out, ["{}.jpg"])


def comparable(out, patterns):
    """Lines without what is named after the file, and when that was written; number -> line."""
    found = {}
    for name, line in lines(out).items():
        (number,) = {n for n in range(COUNT) if name in [own.format(n) for own in patterns]}
        plain = json.dumps(
            {k: v for k, v in line.items() if k not in ("file", "times", "metadata")}
        )
        found[number] = plain.replace(f"/{name}.", "/NAME.")
    return found


def in_order(folder):
    return [(folder / f"{number}.jpg").read_bytes() for number in range(COUNT)]


def as_tar(folder, to):
    for shard, numbers in enumerate((range(3), range(3, COUNT))):
        entries = []
        for number in numbers:
            entries += [(f"{number}.jpg", in_order(folder)[number])]
            entries += [(f"{number}.txt", text(CAPTIONS[number]))]
            entries += [(f"{number}.json", text(METADATA[number]))]
        members(to / f"s-{shard:03d}.tar", entries)
    return str(to / "s-{000..001}.tar"), ["s-000.tar/{}.jpg", "s-001.tar/{}.jpg"]


def as_parquet(folder, to, images):
    columns = {"caption": CAPTIONS, **{key: [own[key] for own in METADATA] for key in METADATA[0]}}
    table(to / "t.parquet", {"image": images, **columns}, row_group_size=2)
    return str(to / "t.parquet"), ["t.parquet/{}.jpg"]


def of_datasets(folder, to):
    cells = [{"bytes": own, "path": f"{n}.jpg"} for n, own in enumerate(in_order(folder))]
    return as_parquet(folder, to, cells)


def of_paths(folder, to):
    for number, content in enumerate(in_order(folder)):
        (to / f"{number}.jpg").write_bytes(content)
    return as_parquet(folder, to, [f"{number}.jpg" for number in range(COUNT)])


def as_list(folder, to):
    (to / "list.txt").write_text("\n".join(f"{folder}/{number}.jpg" for number in range(COUNT)))
    return str(to / "list.txt"), [f"{str(folder.resolve()).lstrip('/')}/{{}}.jpg"]


def as_records(folder, to):
    pytest.importorskip("tensorflow_datasets", reason="needs the extra `tfds`")
    from capjax.data.builders.images import Captions, CaptionsConfig

    entries = [{"image": f"{n}.jpg", "caption": CAPTIONS[n], "split": "test"} for n in range(COUNT)]
    (to / "captions.json").write_text(json.dumps(entries))
    config = CaptionsConfig(name="few", captions=str(to / "captions.json"), images=str(folder))
    builder = Captions(config=config, data_dir=str(to / "prepared"))
    builder.download_and_prepare()
    name = "capjax_captions-test.array_record-00000-of-00001"
    return f"{builder.data_dir}/{name}", [f"{name}/{{}}.jpg"]


def with_address(folder, to):
    system = pytest.importorskip("fsspec", reason="needs the extra `remote`").filesystem("memory")
    for number, content in enumerate(in_order(folder)):
        system.pipe(f"/photographs/{number}.jpg", content)
    return "memory://photographs", ["{}.jpg"]


KINDS = (as_tar, of_datasets, of_paths, as_list, as_records, with_address)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_gives_the_lines_of_the_folder(kind, photographs, expected, model, tmp_path):
    """The same photographs: the same results to the last bit, and those of a second run too."""
    if kind in (of_datasets, of_paths):
        pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    given, patterns = kind(photographs, tmp_path)
    out = tmp_path / "out"
    assert run(model, given, out) == 0
    assert comparable(out, patterns) == expected
    found = lines(out)
    check_whole(out, found)
    if kind in (as_tar, of_datasets, of_paths):
        assert {line["year"]: line for line in (own["metadata"] for own in found.values())} == {
            own["year"]: own for own in METADATA
        }
        page = (out / "index.html").read_text("utf-8")
        assert all(caption in page for caption in CAPTIONS) and "lowest CIDEr first" in page
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert run(model, given, out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")} == before


def test_captions_beside_images_are_explained(photographs, model, tmp_path, capsys):
    given, _ = as_tar(photographs, tmp_path)
    assert run(model, given, tmp_path / "out", "--queries=captions", "--unknown-words=token") == 0
    assert {line["query"] for line in lines(tmp_path / "out").values()} == {*CAPTIONS}
    assert run(model, photographs, tmp_path / "none", "--queries=captions") == 2
    assert "none lie beside the images: add --captions=FILE" in capsys.readouterr().err


def test_a_resumed_run_reads_the_images_that_are_left(photographs, model, tmp_path, monkeypatch):
    from capjax.data.stores.tar import TarShard

    monkeypatch.setattr(fingerprint, "_TICK", -(10**12))  # shards count as written long ago
    given, _ = as_tar(photographs, tmp_path)
    out = tmp_path / "out"
    assert run(model, given, out) == 0
    whole = (out / "results.jsonl").read_bytes()
    kept = [line for line in whole.splitlines(keepends=True) if b"s-000" in line]
    (out / "results.jsonl").write_bytes(b"".join(kept))
    read, reads = TarShard.read, []
    monkeypatch.setattr(
        TarShard, "read", lambda self, name: (reads.append(name), read(self, name))[1]
    )
    assert run(model, given, out) == 0
    assert reads == ["3.jpg", "4.jpg"]
    assert [*lines(out)] == [json.loads(line)["file"] for line in whole.splitlines()]


def test_shards_that_changed_are_done_again_where_images_changed(
    photographs, model, tmp_path, capsys
):
    given, _ = as_tar(photographs, tmp_path)
    out = tmp_path / "out"
    assert run(model, given, out) == 0
    new = {"group": "new"}
    entries = [("0.jpg", in_order(photographs)[0]), ("0.json", text(new)), ("1.jpg", jpeg(9))]
    members(tmp_path / "s-000.tar", [*entries, ("2.jpg", in_order(photographs)[2])])
    capsys.readouterr()
    assert run(model, given, out) == 0
    assert "1 done again: files had changed" in capsys.readouterr().out
    assert lines(out)["s-000.tar/0.jpg"]["metadata"] == new


def test_hostile_and_broken_shards_lose_nothing(photographs, model, tmp_path, capsys):
    """Every member is explained, or fails by its name, and nothing is written elsewhere."""
    good = in_order(photographs)
    stream = io.BytesIO()
    Image.open(io.BytesIO(good[0])).save(stream, "PNG")
    long = f"{'lang ' * 60}ü.jpg"
    entries = [
        ("../../up.jpg", good[0]),
        ("/abs.jpg", good[1]),
        (long, good[2]),
        ("日本.jpg", good[3]),
    ]
    entries += [("../../up.jpg", good[4]), ("png.jpg", stream.getvalue())]
    bad = [("empty.jpg", b""), ("text.jpg", b"no picture"), ("half.jpg", good[0][:300])]
    bad += [("clip.mp4", b"\0\0\0\x18ftypisom"), ("photo.heic", b"x")]
    (tmp_path / "in").mkdir()
    path = members(tmp_path / "in/s.tar", [*entries, *bad, ("last.jpg", good[0])])
    with tarfile.open(path) as archive:
        end = archive.getmember("last.jpg").offset_data
    path.write_bytes(path.read_bytes()[: end + 50])
    shutil.copy(path, tmp_path / "in/copy.tar")
    out = tmp_path / "deep/er/out"
    assert run(model, f"{tmp_path}/in/*.tar", out) == 3
    said = capsys.readouterr()
    names = ["__/__/up.jpg", "abs.jpg", long, "日本.jpg", "__/__/up~2.jpg", "png.jpg"]
    failed = [*(name for name, _ in bad), "last.jpg"]
    found = lines(out)
    for shard in ("s.tar", "copy.tar"):
        assert all("error" not in found.pop(f"{shard}/{name}") for name in names)
        for name in failed:
            assert f"{shard}/{name}" in found.pop(f"{shard}/{name}")["error"]
            assert f"failed: {shard}/{name}: " in said.err
        assert "behind last.jpg" in found.pop(shard)["error"]
    assert not found
    assert "../../up.jpg as __/__/up.jpg" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"in", "deep"}
    assert {path.name for path in (tmp_path / "deep/er").iterdir()} == {"out"}


def test_boxes_and_figures_of_shards_are_of_the_pictures_in_them(tmp_path):
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # upright it is 40 wide and 90 high
    Image.new("RGB", (90, 40)).save(stream, "JPEG", exif=exif)
    path = members(tmp_path / "s.tar", [("deep/0.jpg", stream.getvalue())])
    store = open_store([str(path)], exclude=tmp_path / "out")
    for size in ((90, 40), (40, 90)):
        boxes = instances(tmp_path / "boxes.json", size, [("dog", 10, 5, 20, 30)])
        if size == (40, 90):
            with pytest.raises(ValueError, match="turned upright by EXIF"):
                Boxes.read(str(boxes), store, store.names, lambda note: None)
        else:
            found = Boxes.read(str(boxes), store, store.names, lambda note: None)
            assert found.of(store.names[0], ["dog"], [(0, 1)], size) == {0: [(10, 5, 30, 35)]}
    loaded = read_image(store, Preprocessing((8, 8)), store.names[0], exact=False)
    assert loaded.picture.prepared.shape == (8, 8, 3)
    assert shown(loaded.content, 0)[0].shape == (90, 40, 3)
