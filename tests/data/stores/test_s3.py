"""Addresses of S3, by s3fs, against a server of moto that runs here; both need to be installed."""

import pytest

from capjax.data.stores.choosing import open_store
from tests.buckets import served
from tests.data.stores.written import contents, jpeg, members, table

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PICTURES = [jpeg(number) for number in range(4)]


@pytest.fixture
def bucket(monkeypatch):
    with served(monkeypatch) as system:
        yield system


def test_folders_lists_and_shards_of_a_bucket(bucket, tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    for number in range(2):
        bucket.pipe(f"bucket/photographs/{number}/a.jpg", PICTURES[number])
        path = members(tmp_path / "s.tar", [("b.jpg", PICTURES[number]), ("b.txt", b"a cat")])
        bucket.put(str(path), f"bucket/shards/s-{number}.tar")
    bucket.pipe("bucket/list.txt", b"photographs/1/a.jpg\ns3://bucket/photographs/0/a.jpg\n")
    path = table(tmp_path / "t.parquet", {"image": [{"bytes": PICTURES[2], "path": "c.jpg"}]})
    bucket.put(str(path), "bucket/t.parquet")

    def found(given):
        return contents(open_store([given], exclude=tmp_path / "out"))

    folder = {"0/a.jpg": PICTURES[0], "1/a.jpg": PICTURES[1]}
    assert found("s3://bucket/photographs") == (folder, {})
    shards = {f"s-{number}.tar/b.jpg": PICTURES[number] for number in range(2)}
    for pattern in ("s3://bucket/shards/*.tar", "s3://bucket/shards/s-{0..1}.tar"):
        assert found(pattern) == (shards, {})
    listed = {"photographs/1/a.jpg": PICTURES[1], "bucket/photographs/0/a.jpg": PICTURES[0]}
    assert found("s3://bucket/list.txt") == (listed, {})
    assert found("s3://bucket/t.parquet") == ({"t.parquet/c.jpg": PICTURES[2]}, {})
    with pytest.raises((ValueError, OSError), match="s3://nowhere/a.jpg"):
        found("s3://nowhere/a.jpg")


def test_a_version_is_told_by_its_checksum(bucket, tmp_path, monkeypatch):
    bucket.pipe("bucket/a.jpg", PICTURES[0])
    store = open_store(["s3://bucket/a.jpg"], exclude=tmp_path / "out")
    known = store.read("a.jpg")[1]
    assert known.times is not None and known.times[0] == 0
    bucket.invalidate_cache()
    bucket.pipe("bucket/a.jpg", PICTURES[0])  # later, with the same checksum
    with monkeypatch.context() as patch:
        patch.setattr(type(bucket), "cat_file", lambda *given, **named: pytest.fail("fetched"))
        assert store.still("a.jpg", known) == known
    bucket.pipe("bucket/a.jpg", PICTURES[1])
    assert store.still("a.jpg", known) is None
