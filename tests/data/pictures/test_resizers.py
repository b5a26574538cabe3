"""The resizer with vector instructions against Pillow's, pixel by pixel."""

import importlib.util
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from capjax.config import DataConfig
from capjax.data.inputs import EncodedImages, FeatureInputs, ImageFiles, ImageInputs, resized_by
from capjax.data.pictures import resizers
from capjax.data.pictures.images import load_prepared
from capjax.data.pictures.resizers import check_resizer, with_pillow, with_simd
from capjax.types import Preprocessing
from tests.golden.clip_maps import resized

SIZES = [(24, 24), (57, 31), (97, 130), (200, 20)]  # smaller, larger and one of each
needs_simd = pytest.mark.skipif(
    not importlib.util.find_spec("cykooz_resizer"), reason="needs the extra `fast`"
)


def pictures():
    """Noise, which shows every rounding, and edges, which overshoot."""
    random = np.random.default_rng(0)
    yield Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8))
    edges = np.zeros((48, 64, 3), np.uint8)
    edges[::7, :, 0] = edges[:, ::5, 1] = edges[20:30, 20:40] = 255
    yield Image.fromarray(edges)


@pytest.mark.parametrize(("resample", "filter"), [("bilinear", "triangle"), ("bicubic", "cubic")])
@pytest.mark.parametrize("size", SIZES)
def test_every_pillow_gives_the_values_of_rows_before_columns(size, resample, filter):
    for picture in pictures():
        for shape in (picture, picture.transpose(Image.Transpose.ROTATE_90)):
            rows = resized(np.asarray(shape), 1, size[0], filter)
            expected = resized(rows, 0, size[1], filter)
            np.testing.assert_array_equal(np.asarray(with_pillow(shape, size, resample)), expected)


@needs_simd
@pytest.mark.parametrize(("resample", "most"), [("bilinear", 1), ("bicubic", 0)])
@pytest.mark.parametrize("size", SIZES)
def test_simd_gives_pillows_values_or_those_next_to_them(size, resample, most):
    for picture in pictures():
        theirs = np.asarray(with_pillow(picture, size, resample)).astype(int)
        ours = np.asarray(with_simd(picture, size, resample))
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= most


@needs_simd
def test_photographs_as_files_and_as_examples(tmp_path):
    size = Preprocessing((32, 24), resize="crop", shorter=40)
    paths = []
    for number, picture in enumerate(pictures()):
        paths.append(tmp_path / f"{number}.jpg")
        picture.save(paths[-1], quality=90)
    simd = ImageInputs(ImageFiles(tuple(paths), size))
    simd = resized_by("simd", pickle.loads(pickle.dumps(simd)))
    examples = [{"image": path.read_bytes()} for path in paths]
    encoded = EncodedImages(examples, size, resizer="simd")
    for number, path in enumerate(paths):
        fast = simd(np.array([number]))["image"][0]
        exact, _ = load_prepared(path, size)
        assert fast.shape == (32, 24, 3)
        assert np.abs(fast.astype(int) - exact).max() <= 1
        np.testing.assert_array_equal(encoded(number), fast)
        np.testing.assert_array_equal(EncodedImages(examples, size)(number), exact)
    examples.append({"image": examples[0]["image"][:300]})
    with pytest.raises(ValueError, match="example 2"):
        encoded(2)


@needs_simd
def test_threads_do_not_disturb_each_other():
    picture = next(pictures()).resize((640, 480))
    expected = np.asarray(with_simd(picture, (224, 224), "bilinear"))
    together = threading.Barrier(4)

    def work(_):
        together.wait()
        return [np.asarray(with_simd(picture, (224, 224), "bilinear")) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(work, range(4)):
            assert all(np.array_equal(expected, result) for result in results)


def test_only_image_files_are_resized_otherwise():
    features = FeatureInputs(None, np.zeros(1, int))
    assert resized_by("simd", features) is features


def test_what_is_not_there_is_refused(monkeypatch):
    check_resizer(DataConfig().resizer)
    with pytest.raises(ValueError, match=r"data.resizer is 'fast'; choose one of: pillow, simd"):
        check_resizer("fast")
    monkeypatch.setattr(resizers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install \"capjax\[fast\]\", or choose 'pillow'"):
        check_resizer("simd")
