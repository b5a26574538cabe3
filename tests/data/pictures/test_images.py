"""Every kind of file a folder of photographs may hold, made here and read back."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

import capjax
from capjax.data.pictures.images import (
    from_pillow,
    load_image,
    load_prepared,
    load_prepared_pair,
    prepare,
)
from capjax.types import Preprocessing

RED, GREEN, BLUE, YELLOW = (230, 20, 20), (20, 200, 20), (20, 20, 230), (230, 230, 20)
HEIGHT, WIDTH = 48, 80


def quadrants(height=HEIGHT, width=WIDTH):
    """Red, green / blue, yellow: any rotation or flip shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = YELLOW
    return image


def assert_upright(image, tolerance=12):
    height, width = image.shape[:2]
    for colour, row, column in ((RED, 1, 1), (GREEN, 1, 3), (BLUE, 3, 1), (YELLOW, 3, 3)):
        found = image[row * height // 4, column * width // 4].astype(int)
        assert np.abs(found - colour).max() <= tolerance, (row, column, found)


# What a camera stores for each EXIF orientation, from the standard's table (tag 274): the side of
# the picture that the stored array's first row and first column show.
STORED = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a[:, ::-1].transpose(1, 0, 2),  # right, top
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda a: a[::-1].transpose(1, 0, 2),  # left, bottom
}
SQUASH = Preprocessing(size=(32, 32))
PHOTOGRAPHS = Path(capjax.__file__).parent / "data" / "photographs"
MOST_LOST, MEAN_LOST = 32, 1.5
"""Of 255, what a JPEG loses that is decoded at a fraction of its size."""


def with_orientation(path, orientation, height=HEIGHT, width=WIDTH):
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(STORED[orientation](quadrants(height, width)))
    Image.fromarray(stored).save(path, exif=exif, quality=95)


@pytest.mark.parametrize("orientation", STORED)
def test_exif_rotation_is_undone(tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    with_orientation(path, orientation)
    image = load_image(path)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    assert_upright(image)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_large_rotated_jpeg_is_drafted_upright(tmp_path, orientation):
    """The reduced decode keeps orientation, and the geometry is that of the full size."""
    path = tmp_path / "photo.jpg"
    with_orientation(path, orientation, 601, 999)
    image, geometry = load_prepared(path, SQUASH, grid=(4, 4))
    assert image.shape == (32, 32, 3)
    assert_upright(image)
    assert geometry.original == (601, 999)
    assert geometry.grid == (4, 4)


@pytest.mark.parametrize("orientation", STORED)
def test_open_images_are_read_like_files(tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    with_orientation(path, orientation)
    with Image.open(path) as image:
        np.testing.assert_array_equal(from_pillow(image), load_image(path))


def test_first_picture_of_a_multi_picture_jpeg(tmp_path):
    """What many phones and stereo cameras write."""
    second = Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    path = tmp_path / "photo.jpg"
    Image.fromarray(quadrants()).save(
        path, "MPO", save_all=True, append_images=[second], quality=95
    )
    assert_upright(load_image(path))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_unknown_orientation_is_ignored(tmp_path, value):
    exif = Image.Exif()
    exif[274] = value
    Image.fromarray(quadrants()).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert_upright(load_image(tmp_path / "photo.jpg"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored(tmp_path):
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + b"\xff" * 20
    Image.fromarray(quadrants()).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert_upright(load_image(tmp_path / "photo.jpg"))


def test_transparency_is_white(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., :3] = 100
    pixels[:, 2:4, 3] = 51  # a fifth of the grey, four fifths of white
    pixels[:, 4:, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    assert (image[:, :2] == 255).all()
    assert np.abs(image[:, 2:4].astype(int) - 224).max() <= 1
    assert (image[:, 4:] == 100).all()


def test_grey_with_alpha(tmp_path):
    pixels = np.array([[[0, 0], [0, 255]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "la.png")
    assert load_image(tmp_path / "la.png").tolist() == [[[255] * 3, [0] * 3]]


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "opaque.png")
    assert load_image(tmp_path / "opaque.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    for name in ("p.png", "p.gif"):
        image.save(tmp_path / name, transparency=1)
        assert load_image(tmp_path / name).tolist() == [[[10, 20, 30], [255, 255, 255]]], name


def test_a_colour_marked_transparent(tmp_path):
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    image.save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert load_image(tmp_path / "key.png").tolist() == [[[255] * 3, [4, 5, 6]]]


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    grey = np.linspace(0, 65535, 64 * 4).round().astype(np.uint16).reshape(4, 64)
    Image.fromarray(grey).save(tmp_path / name)
    image = load_image(tmp_path / name)
    expected = np.round(grey / 65535 * 255)
    assert np.abs(image - expected[..., None]).max() == 0
    assert len(np.unique(image)) == 256


def test_sixteen_bit_big_endian_tiff(tmp_path):
    grey = np.array([[0, 257, 65535]], ">u2")
    image = Image.frombytes("I;16B", (3, 1), grey.tobytes())
    image.save(tmp_path / "grey.tif")
    assert load_image(tmp_path / "grey.tif")[0, :, 0].tolist() == [0, 1, 255]


def test_sixteen_bit_rgb_png(tmp_path):
    """Written by hand, as Pillow cannot: 48 bits a pixel."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    row = b"\0" + np.array([[65535, 32896, 0]], ">u2").tobytes()
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "rgb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert load_image(tmp_path / "rgb.png").tolist() == [[[255, 128, 0]]]


def test_cmyk_jpeg(tmp_path):
    Image.fromarray(quadrants()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert_upright(load_image(tmp_path / "cmyk.jpg"))
    prepared, _ = load_prepared(tmp_path / "cmyk.jpg", Preprocessing(size=(12, 20)))
    assert_upright(prepared, tolerance=20)


@pytest.mark.parametrize(("name", "mode"), [("bit.png", "1"), ("grey.jpg", "L"), ("grey.bmp", "L")])
def test_grey_and_one_bit(tmp_path, name, mode):
    Image.fromarray(np.full((8, 8), 255, np.uint8)).convert(mode).save(tmp_path / name)
    image = load_image(tmp_path / name)
    assert image.shape == (8, 8, 3)
    assert (image == 255).all()


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.bmp", "a.ppm"])
def test_other_formats(tmp_path, name):
    Image.fromarray(quadrants()).save(tmp_path / name)
    assert_upright(load_image(tmp_path / name), tolerance=20)


def test_the_extension_does_not_matter(tmp_path):
    Image.fromarray(quadrants()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert_upright(load_image(tmp_path / "a.jpg"))


def damaged_files(folder):
    """Path and what the message must say, for each kind of file that holds no picture."""
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)
    jpeg, png, tiff = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(noise).save(jpeg, "JPEG")
    Image.fromarray(noise).save(png, "PNG")
    Image.fromarray(noise).save(tiff, "TIFF", compression="tiff_deflate")
    contents = {
        "cut.jpg": (jpeg.getvalue()[: len(jpeg.getvalue()) // 2], "truncated"),
        "header.jpg": (jpeg.getvalue()[:10], ""),
        "cut.png": (png.getvalue()[: len(png.getvalue()) // 2], ""),
        "cut.tif": (tiff.getvalue()[:-200], ""),
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"not a picture\n" * 20, "no image of a known format"),
        "page.jpg": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "it is a document (PDF or PostScript)",
        ),
    }
    for name, (content, said) in contents.items():
        (folder / name).write_bytes(content)
        yield folder / name, said
    yield folder / "absent.jpg", "no such file"
    (folder / "folder.jpg").mkdir()
    yield folder / "folder.jpg", ""


@pytest.mark.parametrize("load", [load_image, lambda path: load_prepared(path, SQUASH)])
def test_what_holds_no_picture_is_named(tmp_path, load):
    for path, said in damaged_files(tmp_path):
        with pytest.raises(ValueError) as failure:
            load(path)
        assert path.name in str(failure.value)
        assert said in str(failure.value), path.name


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ValueError, match=r"f.tif.*convert the file to 8 bits"):
        load_image(tmp_path / "f.tif")


def test_squash_is_pillows_resize():
    image = np.random.RandomState(1).randint(0, 256, (50, 70, 3), np.uint8)
    prepared, geometry = prepare(image, SQUASH, grid=(2, 3))
    expected = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(prepared, expected)
    assert (geometry.original, geometry.resized) == ((50, 70), (32, 32))
    assert geometry.crop == (0, 0, 32, 32)
    assert geometry.grid == (2, 3)


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (64, 64)])
def test_crop_is_central(shape):
    """A mark at the centre stays there; the geometry says where the crop lies."""
    image = np.zeros((*shape, 3), np.uint8)
    image[shape[0] // 2 - 2 : shape[0] // 2 + 2, shape[1] // 2 - 2 : shape[1] // 2 + 2] = 255
    preprocessing = Preprocessing(size=(24, 20), resize="crop", shorter=30, resample="bicubic")
    prepared, geometry = prepare(image, preprocessing)
    assert prepared.shape == (24, 20, 3)
    weight = prepared[..., 0] / prepared[..., 0].sum()
    centre = [(weight * (index + 0.5)).sum() for index in np.indices((24, 20))]
    np.testing.assert_allclose(centre, [12, 10], atol=0.5)
    x0, y0, x1, y1 = geometry.cell_box(0, 0)
    np.testing.assert_allclose([(y0 + y1) / 2, (x0 + x1) / 2], np.divide(shape, 2), atol=1.5)


def test_the_right_size_is_left_alone():
    image = quadrants(32, 32)
    np.testing.assert_array_equal(prepare(image, SQUASH)[0], image)


def test_small_files_load_exactly_and_large_jpegs_nearly(tmp_path):
    columns, rows = np.meshgrid(np.arange(600) / 3, np.arange(400) / 2)
    smooth = np.stack([columns, rows, np.full((400, 600), 90)])
    image = Image.fromarray(smooth.transpose(1, 2, 0).astype(np.uint8))
    image.save(tmp_path / "large.jpg", quality=95)
    image.resize((100, 60)).save(tmp_path / "small.jpg", quality=95)
    for name, tolerance in (("small.jpg", 0), ("large.jpg", 3)):
        path = tmp_path / name
        fast, geometry = load_prepared(path, SQUASH)
        plain, same_geometry = prepare(load_image(path), SQUASH)
        assert geometry == same_geometry
        assert np.abs(fast.astype(int) - plain).max() <= tolerance


def test_prepare_refuses_other_arrays():
    with pytest.raises(ValueError, match=r"float32 \(4, 4, 3\)"):
        prepare(np.zeros((4, 4, 3), np.float32), SQUASH)


def test_files_in_memory_are_read_like_files(tmp_path):
    path = tmp_path / "photo.jpg"
    with_orientation(path, 6)
    with path.open("rb") as stream:
        np.testing.assert_array_equal(load_image(stream), load_image(path))
    content = io.BytesIO(path.read_bytes())
    np.testing.assert_array_equal(load_prepared(content, SQUASH)[0], load_prepared(path, SQUASH)[0])
    with pytest.raises(ValueError, match="in memory: the file is empty"):
        load_image(io.BytesIO())
    cut = io.BytesIO(path.read_bytes()[:500])
    cut.name = "example 7"
    with pytest.raises(ValueError, match="cannot read image example 7"):
        load_image(cut)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [(90, 120), (300, 400), (900, 1200)])
@pytest.mark.parametrize("side", [32, 150])
def test_a_pair_is_what_two_readings_give(tmp_path, orientation, size, side):
    """Bit for bit, whether one fraction of a JPEG is decoded for both or one each."""
    path = tmp_path / "photo.jpg"
    with_orientation(path, orientation, *size)
    other = Preprocessing((side, side), resize="crop", shorter=side)
    one, two, original = load_prepared_pair(path, SQUASH, lambda found: other)
    np.testing.assert_array_equal(one, load_prepared(path, SQUASH)[0])
    np.testing.assert_array_equal(two, load_prepared(path, other)[0])
    assert original == load_image(path).shape[:2]


@pytest.mark.parametrize("size", [(90, 120), (900, 1200)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_exact_is_the_whole_decoding_and_then_the_resize(tmp_path, orientation, size):
    """Bit for bit; and without asking, a large JPEG is another."""
    path = tmp_path / "photo.jpg"
    with_orientation(path, orientation, *size)
    other = Preprocessing((150, 150), resize="crop", shorter=150)
    whole, wanted = load_image(path), {}
    for name, own in (("one", SQUASH), ("two", other)):
        wanted[name], _ = prepare(whole, own)
        np.testing.assert_array_equal(load_prepared(path, own, exact=True)[0], wanted[name])
    one, two, original = load_prepared_pair(path, SQUASH, lambda found: other, exact=True)
    np.testing.assert_array_equal(one, wanted["one"])
    np.testing.assert_array_equal(two, wanted["two"])
    assert original == whole.shape[:2]
    assert np.array_equal(load_prepared(path, SQUASH)[0], one) == (size == (90, 120))


def test_a_pair_is_decoded_once_where_one_fraction_serves_both(tmp_path, monkeypatch):
    decoded = []
    prepare_load = ImageFile.ImageFile.load_prepare

    def counted(self):
        decoded.append(self.size)
        prepare_load(self)

    path = tmp_path / "photo.jpg"
    with_orientation(path, 1, 300, 400)
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", counted)
    load_prepared_pair(path, SQUASH, lambda original: Preprocessing((36, 36)))
    assert decoded == [(100, 75)]
    load_prepared_pair(path, SQUASH, lambda original: Preprocessing((150, 150)))
    assert decoded == [(100, 75), (100, 75), (400, 300)]


@pytest.mark.parametrize("fraction", [2, 4, 8])
@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee"])
def test_a_jpeg_decoded_at_a_fraction_stays_within_the_stated_bound(name, fraction, tmp_path):
    """Against the whole decoding: what `load_prepared` states, of real photographs."""
    with Image.open(PHOTOGRAPHS / f"{name}.jpg") as photograph:
        width, height = photograph.size
        side = 2 * fraction * 96
        scale = side / min(width, height)
        large = photograph.resize((round(scale * width), round(scale * height)), Image.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=90)
    wanted = Preprocessing((96, 96))
    with Image.open(tmp_path / "large.jpg") as image:
        image.draft(None, (192, 192))
        assert min(image.size) == 192  # this fraction is what is tested
    found, _ = load_prepared(tmp_path / "large.jpg", wanted)
    whole, _ = prepare(load_image(tmp_path / "large.jpg"), wanted)
    lost = np.abs(found.astype(int) - whole)
    assert 0 < lost.max() <= MOST_LOST and lost.mean() <= MEAN_LOST
