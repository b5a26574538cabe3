"""ArrayRecord as the house's own builders write it, through tensorflow-datasets."""

import json
from pathlib import Path

import pytest

from capjax.data.stores.choosing import open_store
from tests.data.stores.written import contents, jpeg

pytest.importorskip("tensorflow_datasets", reason="needs the extra `tfds`")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Three photographs with captions, in a folder of shards."""
    from capjax.data.builders.images import Captions, CaptionsConfig

    folder = tmp_path_factory.mktemp("photographs")
    (folder / "images").mkdir()
    for number in range(3):
        (folder / f"images/{number}.jpg").write_bytes(jpeg(number))
    entries = [{"image": f"{n}.jpg", "caption": f"caption {n}", "split": "test"} for n in range(3)]
    (folder / "captions.json").write_text(json.dumps(entries))
    config = CaptionsConfig(name="few", captions=str(folder / "captions.json"))
    builder = Captions(config=config, data_dir=str(folder / "prepared"))
    builder.download_and_prepare()
    return Path(builder.data_dir)


def opened(path, tmp_path):
    return open_store([str(path)], exclude=tmp_path / "out")


def test_images_names_captions_and_metadata(prepared, tmp_path):
    store = opened(prepared / "*.array_record*", tmp_path)
    shard = "capjax_captions-test.array_record-00000-of-00001"
    names = [f"{shard}/{number}.jpg" for number in range(3)]
    assert list(store.names) == names
    assert contents(store) == ({name: jpeg(number) for number, name in enumerate(names)}, {})
    assert store.captions == {name: (f"caption {number}",) for number, name in enumerate(names)}
    assert [store.metadata(name)["image_id"] for name in names] == [0, 1, 2]


def test_damage_is_named(prepared, tmp_path):
    (path,) = prepared.glob("*.array_record*")
    for file in prepared.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "a.array_record").write_bytes(path.read_bytes()[:1000])
    good, bad = contents(opened(tmp_path / "a.array_record", tmp_path))
    assert not good and "is damaged" in bad["a.array_record"]


def test_records_without_images_are_refused(prepared, tmp_path):
    (path,) = prepared.glob("*.array_record*")
    (tmp_path / "a.array_record").write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"lies beside no features\.json"):
        opened(tmp_path / "a.array_record", tmp_path)
