"""Parquet: tables as `datasets` of Hugging Face and pandas write them, by pyarrow itself."""

import datetime
import decimal
import math

import pytest

from capjax.data.stores.beside import AskedColumns
from capjax.data.stores.choosing import open_store
from tests.data.stores.written import contents, jpeg, table

pa = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
PICTURES = [jpeg(number) for number in range(5)]


def opened(path, tmp_path, image=None, name=None):
    told = []
    asked = AskedColumns(image, name)
    given = [str(path)]
    return open_store(given, exclude=tmp_path / "out", columns=asked, tell=told.append), told


def test_the_struct_of_datasets(tmp_path):
    """Bytes and path, either null: the path is the name, and a file's where there are no bytes."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/3.jpg").write_bytes(PICTURES[3])
    images = [
        {"bytes": PICTURES[0], "path": "0.jpg"},
        {"bytes": PICTURES[1], "path": None},
        {"bytes": PICTURES[2], "path": "../../0.jpg"},
        {"bytes": None, "path": "deep/3.jpg"},
        {"bytes": PICTURES[4], "path": "0.jpg"},
        {"bytes": None, "path": None},
        None,
        {"bytes": None, "path": "gone.jpg"},
        {"bytes": b"", "path": "empty.jpg"},
    ]
    table(tmp_path / "t.parquet", {"image": images, "label": range(9)}, row_group_size=3)
    store, told = opened(tmp_path / "t.parquet", tmp_path)
    names = ["0.jpg", "000001", "__/__/0.jpg", "deep/3.jpg", "0~2.jpg", "000005", "000006"]
    names = [f"t.parquet/{name}" for name in [*names, "gone.jpg", "empty.jpg"]]
    assert list(store.names) == names
    good, bad = contents(store)
    assert good == dict(zip([*names[:5], names[8]], [*PICTURES, b""], strict=True))
    assert set(bad) == set(names[5:8])
    assert "row 5 has none" in bad[names[5]] and "No such file" in bad[names[7]]
    assert [store.metadata(name) for name in names] == [{"label": number} for number in range(9)]
    assert len(told) == 2 and "../../0.jpg" in told[0] and "0~2.jpg" in told[1]


def test_plain_bytes_captions_and_metadata(tmp_path):
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    columns = {
        "file_name": ["a.jpg", "b.png"],
        "payload": pa.array([b"\x01\x02", b"\x03"], pa.binary()),
        "picture": pa.array(PICTURES[:2], pa.large_binary()),
        "captions": [["a dog", " a  hound"], []],
        "url": ["https://x.org/1.jpg", None],
        "share": [0.5, math.nan],
        "when": [moment, None],
        "price": [decimal.Decimal("1.50"), None],
        "kind": pa.array(["cat", "dog"]).dictionary_encode(),
        "box": [[1, 2], [3]],
    }
    table(tmp_path / "t.parquet", columns)
    store, told = opened(tmp_path / "t.parquet", tmp_path)
    assert contents(store) == ({"t.parquet/a.jpg": PICTURES[0], "t.parquet/b.png": PICTURES[1]}, {})
    assert store.captions == {"t.parquet/a.jpg": ("a dog", "a hound")}
    first, second = map(store.metadata, store.names)
    assert first == {
        **{"url": "https://x.org/1.jpg", "share": 0.5, "when": "2026-01-02T03:04:05+00:00"},
        **{"price": "1.50", "kind": "cat"},
    }
    assert second == {**dict.fromkeys(("url", "share", "when", "price")), "kind": "dog"}
    assert not told


def test_paths_are_read_beside_the_table_and_noticed_when_they_change(tmp_path):
    (tmp_path / "photographs").mkdir()
    for number in range(2):
        (tmp_path / f"photographs/{number}.jpg").write_bytes(PICTURES[number])
    paths = ["photographs/0.jpg", str(tmp_path / "photographs/1.jpg"), "photographs/2.jpg", None]
    table(tmp_path / "t.parquet", {"path": paths, "caption": ["a", "b", "c", "d"]})
    store, _ = opened(tmp_path / "t.parquet", tmp_path)
    good, bad = contents(store)
    assert list(good.values()) == PICTURES[:2] and len(bad) == 2
    name = "t.parquet/photographs/0.jpg"
    known = store.read(name)[1]
    assert store.still(name, known).sha256 == known.sha256
    (tmp_path / "photographs/0.jpg").write_bytes(PICTURES[3])
    assert store.still(name, known) is None
    assert store.captions[name] == ("a",)


def test_columns_that_are_unclear_are_asked_for(tmp_path):
    both = {
        "left": pa.array(PICTURES[:2], pa.binary()),
        "right": pa.array(PICTURES[2:4], pa.binary()),
    }
    path = table(tmp_path / "t.parquet", {**both, "n": ["x", "y"], "id": [7, 8]})
    with pytest.raises(ValueError, match="left, right; choose with --image-column"):
        opened(path, tmp_path)
    store, _ = opened(path, tmp_path, image="right", name="id")
    assert contents(store)[0] == {"t.parquet/7": PICTURES[2], "t.parquet/8": PICTURES[3]}
    assert store.metadata("t.parquet/7") == {"n": "x"}
    with pytest.raises(ValueError, match=r"--image-column=middle is no column; there are: left"):
        opened(path, tmp_path, image="middle")
    with pytest.raises(ValueError, match=r"--image-column=id holds int64; expected bytes"):
        opened(path, tmp_path, image="id")
    path = table(tmp_path / "u.parquet", {"n": [1], "text": ["no picture"]})
    with pytest.raises(ValueError, match=r"no column holds images: n \(int64\), text"):
        opened(path, tmp_path)
    named = {"img": both["left"], "a": ["0.jpg", "1.jpg"], "b": ["0.png", "1.png"]}
    path = table(tmp_path / "v.parquet", named)
    with pytest.raises(ValueError, match="names of images: a, b; choose with --name-column"):
        opened(path, tmp_path)
    (tmp_path / "a.jpg").write_bytes(PICTURES[0])
    with pytest.raises(ValueError, match="--name-column are of Parquet, and none is given"):
        opened(tmp_path / "a.jpg", tmp_path, name="id")


def test_rows_in_any_order_are_the_rows(tmp_path):
    images = [number.to_bytes(2, "big") * 50 for number in range(200)]
    table(tmp_path / "t.parquet", {"image": pa.array(images, pa.binary())}, row_group_size=64)
    store, _ = opened(tmp_path / "t.parquet", tmp_path)
    assert list(store.names) == [f"t.parquet/{number:06d}" for number in range(200)]
    for number in (0, 1, 70, 3, 199, 64, 63, 130, 131, 5, *range(200)):
        assert store.open(store.names[number]).read() == images[number]


def test_a_resumed_run_reads_only_the_row_groups_that_are_left(tmp_path, monkeypatch):
    from capjax.data.stores import parquet

    images = [bytes([number]) * 50 for number in range(40)]
    table(tmp_path / "t.parquet", {"image": pa.array(images, pa.binary())}, row_group_size=10)
    store, _ = opened(tmp_path / "t.parquet", tmp_path)
    groups, go_to = [], parquet._Reader._go_to
    monkeypatch.setattr(
        parquet._Reader, "_go_to", lambda self, group: (groups.append(group), go_to(self, group))
    )
    for name in store.names[25:]:
        store.read(name)
    assert groups == [2, 3]


def test_damage_fails_by_name_and_the_rest_is_read(tmp_path):
    images = [bytes([number]) * 5000 for number in range(4)]
    columns = {"image": pa.array(images, pa.binary()), "n": range(4)}
    options = {"use_dictionary": False, "compression": "zstd"}
    path = table(tmp_path / "t.parquet", columns, row_group_size=2, **options)
    import pyarrow.parquet as pq

    chunk = pq.read_metadata(path).row_group(1).column(0)
    damaged = bytearray(path.read_bytes())
    start, length = chunk.data_page_offset, chunk.total_compressed_size
    damaged[start + length // 2 : start + length] = bytes(length - length // 2)
    path.write_bytes(damaged)
    (tmp_path / "cut.parquet").write_bytes(damaged[: len(damaged) // 2])
    store, _ = opened(f"{tmp_path}/*.parquet", tmp_path)
    good, bad = contents(store)
    assert list(good) == ["t.parquet/000000", "t.parquet/000001"]
    assert set(bad) == {"cut.parquet", "t.parquet/000002", "t.parquet/000003"}
    assert all("damaged Parquet" in said for said in bad.values()), bad
