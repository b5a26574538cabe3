"""Cached features: read back as computed, refused when anything about them differs."""

import hashlib
import json
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from capjax.data.batches.pipeline import (
    CaptionSamples,
    Loading,
    evaluation_batches,
    training_batches,
)
from capjax.data.cache.feature_cache import Rendered, open_cache
from capjax.data.cache.feature_writer import build_cache
from capjax.data.captions.records import Record
from capjax.data.inputs import FeatureInputs, file_inputs
from capjax.runtime import locks
from capjax.text.vocabulary import Vocabulary
from capjax.types import Preprocessing

DESCRIBE = {
    "encoder": {"name": "mobilenet", "fields": {"width": 1.0}},
    "weights": "ab12",
    "preprocessing": {"size": (4, 4), "resize": "squash"},
    "grid": (2, 2),
}
PREPROCESSING = Preprocessing(size=(4, 4))
COUNT = 23


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    found = []
    for i in range(COUNT):
        path = folder / f"{i}.png"
        Image.new("RGB", (5, 5), (10 * i, i, 255 - i)).save(path)
        found.append(Record(path.name, path, (f"red {i}", "dog"), "train", i))
    return found


class Encoder:
    """Four positions of three features; counts its calls and dies on demand."""

    def __init__(self, calls=None):
        self.calls, self.left = 0, calls

    def __call__(self, images):
        if self.left is not None and self.calls == self.left:
            raise KeyboardInterrupt
        self.calls += 1
        assert images.shape == (4, 4, 4, 3) and images.dtype == np.uint8
        pooled = images.astype(np.float32).mean((1, 2))
        return pooled[:, None, None, :] / np.arange(1, 5)[None, None, :, None]


def expected(i):
    pixel = np.array([10 * i, i, 255 - i], np.float32)
    return (pixel / np.arange(1, 5)[:, None]).astype(np.float16)[None]


def build(folder, records, encode=None, inputs=None, **options):
    return build_cache(
        folder,
        records,
        encode or Encoder(),
        **{
            "inputs": inputs or file_inputs(records, PREPROCESSING),
            "describe": DESCRIBE,
            "batch_size": 4,
            "shard_records": 7,  # rounded up to 8
            "loading": Loading(threads=1),
            **options,
        },
    )


def test_round_trip_in_any_order(tmp_path, records):
    seen = []
    cache = build(tmp_path / "cache", records, progress=lambda *at: seen.append(at))
    assert cache.shape == (1, 4, 3) and len(cache) == COUNT
    assert [shard[1] for shard in cache.shards] == [8, 8, 7]
    assert seen == [(0, 23), *((done, 23) for done in (4, 8, 12, 16, 20, 23))]
    order = np.random.default_rng(0).permutation(COUNT)
    read = cache.read(cache.rows([records[i].key for i in order]))
    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, np.stack([expected(i) for i in order]))
    again = open_cache(tmp_path / "cache", describe=DESCRIBE, records=records[5:9])
    np.testing.assert_array_equal(again.read(np.array([22]))[0], expected(22))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache"]
    assert {p.suffix for p in (tmp_path / "cache").iterdir()} == {".array_record", ".json"}


def test_features_to_measure_with_are_kept_exactly(tmp_path, records):
    cache = build(tmp_path / "cache", records, dtype="float32")
    pixel = np.array([70, 7, 248], np.float32) / np.arange(1, 5, dtype=np.float32)[:, None]
    (read,) = open_cache(tmp_path / "cache").read(np.array([7]))
    assert cache.dtype == "float32" and not np.array_equal(read, read.astype(np.float16))
    np.testing.assert_array_equal(read[0], pixel)


def test_a_complete_cache_is_not_computed_again(tmp_path, records):
    build(tmp_path / "cache", records)
    encode = Encoder()
    build(tmp_path / "cache", records, encode)
    build(tmp_path / "cache", records[3:7], encode)
    assert encode.calls == 0


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5])
def test_an_interrupted_computation_goes_on(tmp_path, records, calls):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cache", records, Encoder(calls))
    assert not (tmp_path / "cache").exists()
    with pytest.raises(FileNotFoundError, match="no feature cache"):
        open_cache(tmp_path / "cache")
    encode = Encoder()
    cache = build(tmp_path / "cache", records, encode)
    assert encode.calls == 6 - calls // 2 * 2  # two batches a file; a half-written file starts over
    np.testing.assert_array_equal(
        cache.read(np.arange(COUNT)), np.stack([expected(i) for i in range(COUNT)])
    )


def test_what_another_encoder_left_is_not_continued(tmp_path, records):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cache", records, Encoder(3))
    encode = Encoder()
    build(tmp_path / "cache", records, encode, describe={**DESCRIBE, "weights": "cd34"})
    assert encode.calls == 6


def test_two_processes_compute_once(tmp_path, records):
    encode = Encoder()
    threads = [
        threading.Thread(target=build, args=(tmp_path / "cache", records, encode)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encode.calls == 6


def test_a_mismatch_names_the_differing_fields(tmp_path, records):
    build(tmp_path / "cache", records)
    other = {
        **DESCRIBE,
        "encoder": {"name": "mobilenet", "fields": {"width": 0.5}},
        "grid": (1, 4),
    }
    with pytest.raises(ValueError) as caught:
        build(tmp_path / "cache", records, describe=other)
    text = str(caught.value)
    assert "encoder.fields.width is 1.0 there, 0.5 is wanted" in text
    assert "grid is [2, 2] there, [1, 4] is wanted" in text
    assert "weights" not in text and "remove the folder" in text


def test_absent_and_changed_images_are_named(tmp_path, records):
    build(tmp_path / "cache", records[:5])
    with pytest.raises(ValueError, match=r"lacks 2 of 3 images, e.g. \['5.png', '6.png'\]"):
        open_cache(tmp_path / "cache", records=records[4:7])
    replaced = tmp_path / "replaced.png"
    replaced.write_bytes(records[2].image.read_bytes() + b"\0")
    changed = Record(records[2].key, replaced, (), "train", 2)
    with pytest.raises(ValueError, match=r"1 images have changed .*\['2.png'\]"):
        open_cache(tmp_path / "cache", records=[records[1], changed])


@pytest.fixture
def pictures(tmp_path):
    """Five uncompressed pictures: others of their size have as many bytes."""
    found = []
    for number in range(5):
        path = tmp_path / "pictures" / f"{number}.bmp"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (5, 5), (10 * number, number, 255 - number)).save(path)
        found.append(Record(path.name, path, (), "train", number))
    return found


def test_a_replaced_picture_of_equal_size_is_named(tmp_path, pictures):
    cache = build(tmp_path / "cache", pictures)
    assert cache.images[3] == hashlib.sha256(pictures[3].image.read_bytes()).hexdigest()
    shutil.copy(pictures[2].image, tmp_path / "copy.bmp")
    os.replace(tmp_path / "copy.bmp", pictures[2].image)  # the same content
    open_cache(tmp_path / "cache", records=pictures)
    Image.new("RGB", (5, 5), (1, 2, 3)).save(pictures[3].image)
    with pytest.raises(ValueError, match=r"1 images have changed .*\['3.bmp'\]; remove"):
        build(tmp_path / "cache", pictures)
    open_cache(tmp_path / "cache", records=pictures[:3])
    # A manifest of before: sizes alone are compared.
    manifest = tmp_path / "cache" / "manifest.json"
    older = json.loads(manifest.read_text())
    del older["images"]
    manifest.write_text(json.dumps(older))
    assert open_cache(tmp_path / "cache", records=pictures).images == ()


def test_a_picture_replaced_before_the_computation_goes_on_is_encoded_anew(tmp_path, pictures):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cache", pictures, Encoder(1), shard_records=4)
    Image.new("RGB", (5, 5), (1, 2, 3)).save(pictures[1].image)
    encode = Encoder()
    cache = build(tmp_path / "cache", pictures, encode, shard_records=4)
    assert encode.calls == 2
    np.testing.assert_array_equal(cache.read(np.array([1]))[0, 0, 0], [1, 2, 3])


def test_a_complete_cache_is_read_where_nobody_may_write(tmp_path, pictures, monkeypatch):
    build(tmp_path / "cache", pictures)
    monkeypatch.setattr(locks, "take", lambda *_, **__: pytest.fail("nothing is to be written"))
    assert len(build(tmp_path / "cache", pictures)) == 5


def test_what_is_rendered_is_cached_too(tmp_path, records):
    drawn = [Rendered(f"train-{number}") for number in range(COUNT)]
    cache = build(tmp_path / "cache", drawn, inputs=file_inputs(records, PREPROCESSING))
    read = cache.read(cache.rows(["train-7", "train-2"]))
    assert np.array_equal(read, [expected(7), expected(2)])
    assert len(open_cache(tmp_path / "cache", records=drawn[3:5])) == COUNT


def test_a_damaged_cache_is_refused(tmp_path, records):
    cache = build(tmp_path / "cache", records)
    path = tmp_path / "cache" / cache.shards[1][0]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="features-00001.array_record has .* bytes, manifest"):
        open_cache(tmp_path / "cache")
    manifest = tmp_path / "cache" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(ValueError, match="format 99, this version reads 1"):
        open_cache(tmp_path / "cache")


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda images: np.zeros((4, 3)), r"gave shape \(4, 3\); expected \[B F P D\]"),
        (lambda images: np.full((4, 1, 4, 3), 1e6), "features reach 1e\\+06, float16 holds 65504"),
        (lambda images: np.full((4, 1, 4, 3), np.nan), "features reach nan"),
    ],
)
def test_features_that_cannot_be_stored_are_refused(tmp_path, records, encode, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "cache", records, encode)


def test_nothing_to_compute_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no images to compute"):
        build(tmp_path / "cache", [], inputs=None)


def test_batches_of_features_from_threads_and_workers(tmp_path, records):
    cache = build(tmp_path / "cache", records)
    cache.read(np.array([0]))  # files are open now
    inputs = FeatureInputs.of(pickle.loads(pickle.dumps(cache)), records)
    vocabulary = Vocabulary.build(caption for r in records for caption in r.captions)
    samples = CaptionSamples.build([r.captions for r in records], vocabulary)

    def take(loading):
        batches = training_batches(
            samples, FeatureInputs(cache, inputs.rows), batch_size=6, seed=4, loading=loading
        )
        return [next(batches) for _ in range(20)]

    plain = take(Loading(threads=0))
    for batch in plain:
        assert batch["features"].shape == (6, 1, 4, 3)
        for features, sample in zip(batch["features"], batch["id"], strict=True):
            np.testing.assert_array_equal(features, expected(samples.image[sample]))
    for loading in (Loading(threads=4), Loading(workers=2, threads=2)):
        for one, other in zip(plain, take(loading), strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
    last = list(evaluation_batches(inputs, COUNT, batch_size=10, loading=Loading(threads=2)))[-1]
    assert last["mask"].sum() == 3 and last["features"].shape[0] == 10
