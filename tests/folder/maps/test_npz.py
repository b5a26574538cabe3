"""Arrays are read as NumPy reads them, and damage is noticed wherever it is."""

import io
import zipfile

import numpy as np
import pytest

from capjax.folder.maps.contract import UNREADABLE
from capjax.folder.maps.npz import from_npz

ARRAYS = {
    "attention": np.arange(6, dtype=np.float16).reshape(3, 1, 2),
    "2/attention.scale": np.float32([1, 2**-20, np.nan]),
    "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "none": np.zeros((0, 2, 4, 6), np.float32),
    "words": np.array(["dog", "ü\ud800", ""]),
    "no.words": np.array([], np.str_),
    "geometry": np.array('{"grid": [1, 2]}'),
    "phrases": np.array([[0, 2]], ">i4"),
    "wörter": np.array(True),
}


def npz(arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_they_are_those_that_numpy_reads():
    content = npz(ARRAYS)
    found = from_npz(content)
    with np.load(io.BytesIO(content)) as there:
        assert [*found] == [*there]
        for name, own in there.items():
            assert (found[name].dtype, found[name].shape) == (own.dtype, own.shape), name
            np.testing.assert_array_equal(found[name], own)
            assert found[name].flags.f_contiguous == own.flags.f_contiguous
    assert [*from_npz(content, only="words")] == ["words"]
    assert from_npz(npz({})) == {} == from_npz(content, only="others")


def test_no_bit_flips_unnoticed():
    """Each byte in turn; where that changes nothing, such as a date, the arrays are the same."""
    content = npz({name: ARRAYS[name] for name in ("attention", "words")})
    noticed = 0
    for place in range(len(content)):
        torn = bytearray(content)
        torn[place] ^= 0x41
        try:
            found = from_npz(bytes(torn))
        except UNREADABLE:
            noticed += 1
            continue
        assert [*found] == ["attention", "words"], place
        np.testing.assert_array_equal(found["attention"], ARRAYS["attention"])
        assert found["words"].tolist() == ARRAYS["words"].tolist()
    assert noticed > len(content) / 2


def test_no_cut_goes_unnoticed():
    content = npz({"words": ARRAYS["words"]})
    for length in range(len(content)):
        with pytest.raises(zipfile.BadZipFile):
            from_npz(content[:length])


def test_other_archives_are_refused():
    stream = io.BytesIO()
    np.savez_compressed(stream, words=np.zeros(100))
    with pytest.raises(zipfile.BadZipFile, match=r"expected an array as it is at b'words\.npy'"):
        from_npz(stream.getvalue())
    with pytest.raises(ValueError, match="holds objects of Python"):
        from_npz(npz({"a": np.array([{}])}))
