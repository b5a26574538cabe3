"""Sound pictures behind large metadata, extreme shapes, and files that are taken for pictures."""

import os
import resource
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from capjax.data.pictures.clips import load_clip
from capjax.data.pictures.images import UnreadableFileError, load_image, load_prepared, prepare
from capjax.types import Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
CROP = Preprocessing((24, 32), resize="crop", shorter=40)


def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def with_chunks(path, before=b"", after=b""):
    """The pixels as a PNG, with chunks before and after those of the picture."""
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    header = struct.pack(">IIBBBBB", PIXELS.shape[1], PIXELS.shape[0], 8, 2, 0, 0, 0)
    picture = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + after
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + picture + chunk(b"IEND", b""))
    return path


LARGE = zlib.compress(b"x" * 2_000_000)
TEXTS = {
    "zTXt": chunk(b"zTXt", b"workflow\0\0" + LARGE),
    "iTXt, compressed": chunk(b"iTXt", b"workflow\0\1\0en\0\0" + LARGE),
    "iTXt": chunk(b"iTXt", b"workflow\0\0\0\0\0" + b"x" * 700_000),
    "tEXt": chunk(b"tEXt", b"workflow\0" + b"x" * 700_000),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + LARGE),
    "many": chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 9_000)) * 70,
    "damaged": chunk(b"zTXt", b"a\0\0no zlib") + chunk(b"iTXt", b"") + chunk(b"tEXt", b"x"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_large_texts_of_a_png_leave_its_pixels(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 600_000)  # 64 MB take time to write
    for place in ("before", "after"):
        path = with_chunks(tmp_path / f"{place}.png", **{place: TEXTS[kind]})
        np.testing.assert_array_equal(load_image(path), PIXELS)
    np.testing.assert_array_equal(load_clip(path, 2).frames, [PIXELS] * 2)


def test_a_png_is_upright_beside_a_large_text(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    texts = {
        "eXIf": chunk(b"eXIf", exif.tobytes()[6:]),
        "XMP": chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
    }
    for kind, text in texts.items():
        path = with_chunks(tmp_path / f"{kind}.png", before=TEXTS["zTXt"] + text)
        np.testing.assert_array_equal(load_image(path), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("ending", ["webp", "tif", "jp2", "gif", "bmp"])
def test_large_metadata_of_other_formats(tmp_path, ending):
    path = tmp_path / f"picture.{ending}"
    options = {
        "webp": {"lossless": True, "xmp": b"x" * 3_000_000, "icc_profile": b"\0" * 2_000_000},
        "tif": {"icc_profile": b"\0" * 2_000_000, "tiffinfo": {270: "x" * 2_000_000}},
        "gif": {"comment": b"x" * 2_000_000},
    }.get(ending, {})
    picture = Image.fromarray(PIXELS)
    picture = picture.quantize(256) if ending == "gif" else picture
    picture.save(path, **options)
    np.testing.assert_array_equal(load_image(path), np.asarray(picture.convert("RGB")))


def test_segments_of_a_jpeg(tmp_path):
    picture = Image.fromarray(np.full((20, 30, 3), 90, np.uint8))
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "x" * 60_000, 8
    picture.save(tmp_path / "a.jpg", exif=exif, icc_profile=b"z" * 5_000_000, comment=b"c" * 60_000)
    assert load_image(tmp_path / "a.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (3, 40_000), (1, 1)])
def test_a_strip_takes_no_more_memory_than_its_crop(tmp_path, shape):
    """Its longer side, stretched with the shorter one, would be of gigabytes."""
    strip = np.zeros((*shape, 3), np.uint8)
    strip[..., 0], strip[..., 1] = np.indices(shape) * 250 // max(shape)
    Image.fromarray(strip).save(tmp_path / "strip.png")
    for preprocessing in (CROP, Preprocessing((24, 32))):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found, geometry = load_prepared(tmp_path / "strip.png", preprocessing)
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert found.shape == (24, 32, 3) and kilobytes < 200_000
        middle = strip[shape[0] // 2, shape[1] // 2]
        np.testing.assert_allclose(found[11:13, 15:17].mean((0, 1)), middle, atol=2)
        assert geometry.original == shape


def test_the_part_of_a_large_picture_is_that_of_the_whole(monkeypatch):
    picture = np.asarray(Image.fromarray(PIXELS[:5, :7]).resize((90, 60), Image.Resampling.BICUBIC))
    whole, geometry = prepare(picture, CROP)
    monkeypatch.setattr("capjax.data.pictures.images.MOST_RESIZED", 0)
    part, same = prepare(picture, CROP)
    assert geometry == same
    assert np.abs(part.astype(int) - whole).max() <= 1


def foreign(folder):
    """Path and what the message must say."""
    contents = {
        "phone.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC photograph"),
        "drawing.svg": (b"\xef\xbb\xbf <svg xmlns='x'></svg>", "a drawing made of lines"),
        "page.jpg": (b"<!DOCTYPE html><html>", "it is a web page, as failed downloads leave"),
        "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        "layers.psd": (b"8BPS\0\1", "a Photoshop document"),
        "new.jxl": (b"\xff\x0a\0\0", "a JPEG XL picture"),
        "clip.jpg": (b"\0\0\0\x18ftypisom\0\0\0\0", "it is a clip"),
        "nothing.jpg": (b"", "the file is empty"),
    }
    for name, (content, said) in contents.items():
        (folder / name).write_bytes(content)
        yield folder / name, said
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")
    yield folder / "bomb.png", r"900000000 pixels\) exceeds limit.*Make a smaller copy"
    os.mkfifo(folder / "pipe.jpg")
    yield folder / "pipe.jpg", "no ordinary file"
    (folder / "folder.jpg").mkdir()
    yield folder / "folder.jpg", "it is a folder"


def test_what_is_no_picture_is_told_by_its_content(tmp_path):
    for path, said in foreign(tmp_path):
        for load in (load_image, lambda path: load_clip(path, 2)):
            with pytest.raises(UnreadableFileError, match=rf"{path.name}: .*{said}.*; expected"):
                load(path)
