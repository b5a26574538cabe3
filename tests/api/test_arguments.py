"""What people pass in their first hour: every kind of picture, and every kind of mistake."""

import io
import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.data.pictures.arrays import rgb, rgb_frames
from capjax.data.pictures.given import prepared, several, shown
from capjax.explainers import programs
from tests.api.conftest import photograph
from tests.explainers.toys import attentive

PIXELS = photograph(3, 24, 40)
GREY = PIXELS[..., 0]


class Tensor:
    """As torch's: on a device, with gradients, and no array before both are left."""

    def __init__(self, values, plain=False):
        self.values, self.plain = values, plain
        self.shape, self.dtype = values.shape, "torch.float32"

    def detach(self):
        return Tensor(self.values)

    def cpu(self):
        return Tensor(self.values, plain=True)

    def __array__(self, dtype=None, copy=None):
        if not self.plain:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.values


def test_arrays_of_every_library_are_pixels():
    share = PIXELS / np.float64(255)
    for same in (
        *(PIXELS, jnp.asarray(PIXELS), share, share.astype(np.float32), jnp.asarray(share)),
        *(Tensor(share.astype(np.float32)), np.asfortranarray(PIXELS), PIXELS[::-1][::-1]),
        np.dstack([PIXELS, np.full((24, 40, 1), 255, np.uint8)]),
    ):
        np.testing.assert_array_equal(rgb(same), PIXELS)
    coarse = rgb(jnp.asarray(share, jnp.bfloat16)).astype(int)
    assert np.abs(coarse - PIXELS).max() <= 1
    grey = np.repeat(GREY[..., None], 3, axis=2)
    for same in (GREY, GREY[..., None], GREY / 255.0, jnp.asarray(GREY)):
        np.testing.assert_array_equal(rgb(same), grey)
    clear = np.dstack([PIXELS, np.zeros((24, 40, 1), np.uint8)])
    assert (rgb(clear) == 255).all()
    np.testing.assert_array_equal(
        rgb_frames(np.stack([clear, clear])), np.full((2, 24, 40, 3), 255)
    )


def test_frames_of_a_clip_are_pixels():
    clip = np.stack([PIXELS, PIXELS[::-1]])
    for same in (clip, clip / 255.0, jnp.asarray(clip), np.insert(clip, 3, 255, axis=3)):
        np.testing.assert_array_equal(rgb_frames(same), clip)
    np.testing.assert_array_equal(rgb_frames(clip[..., :1]), np.repeat(clip[..., :1], 3, axis=3))
    for one in (PIXELS, PIXELS / 255.0):
        np.testing.assert_array_equal(rgb_frames(one), PIXELS[None])


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (PIXELS.transpose(2, 0, 1), r"uint8 \(3, 24, 40\).*channels come last: use .transpose\(1"),
        (PIXELS * 1.0, r"float64 \(24, 40, 3\), .*divide by 255"),
        ((PIXELS - 128.0) / 64, "undo its normalisation"),
        (np.full((2, 2), np.nan), r"nan to nan; expected .* or \[H W\]$"),
        (PIXELS.astype(np.int64), r"int64.*use .astype\('uint8'\)"),
        (PIXELS.astype(np.uint16) * 257, r"uint16 \(24, 40, 3\), .* to \d+; expected uint8"),
        (GREY > 3, "bool"),
        (PIXELS[..., :2], r"\(24, 40, 2\)"),
        (PIXELS[None, None], r"\(1, 1, 24, 40, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.uint8(3), r"\(\)"),
    ],
)
def test_other_arrays_are_refused_with_what_to_do(array, said):
    with pytest.raises(ValueError, match=said):
        rgb(array)
    with pytest.raises(ValueError, match="expected uint8"):
        rgb(array)


def test_clips_of_torch_are_told_where_channels_belong():
    with pytest.raises(ValueError, match=r"\(2, 3, 24, 40\).*permute\(0, 2, 3, 1\)"):
        rgb_frames(np.zeros((2, 3, 24, 40), np.uint8))


def kinds(folder):
    """The same picture in every way to hand it over."""
    Image.fromarray(PIXELS).save(folder / "a.png")
    content = (folder / "a.png").read_bytes()
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)  # as it is left after writing
    return [str(folder / "a.png"), folder / "a.png", content, stream, Image.fromarray(PIXELS)]


def test_one_or_many_of_every_kind(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    preprocessing = attentive().preprocessing
    seen, _ = prepared(PIXELS, preprocessing)

    def check(images, count):
        found = several(images, clips=False)
        assert len(found) == count
        for image in found:
            pixels, original = prepared(image, preprocessing)
            np.testing.assert_array_equal(pixels, seen)
            assert original == (24, 40) and shown(image, 0)[0].shape == (24, 40, 3)

    everything = [*kinds(tmp_path), PIXELS, jnp.asarray(PIXELS), PIXELS / 255.0, Tensor(PIXELS)]
    check(everything, len(everything))
    for single in (*everything, "~/a.png", [PIXELS], (PIXELS,), iter([PIXELS]), PIXELS[None]):
        check(single, 1)
    check(np.array([str(tmp_path / "a.png")] * 2, object), 2)
    check(Tensor(np.stack([PIXELS] * 3)), 3)
    assert len(several(np.stack([GREY] * 5), clips=False)) == 5
    assert len(several(np.stack([PIXELS] * 5), clips=True)) == 1  # a clip of five frames
    (found,) = capjax.caption(attentive(), io.BytesIO((tmp_path / "a.png").read_bytes()), max_len=7)
    assert found.tokens == capjax.caption(attentive(), PIXELS, max_len=7)[0].tokens


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "got no images: a list of none"),
        (np.zeros((0, 8, 8, 3), np.uint8), "got no images: a ndarray of none"),
        (None, "got None for images"),
        ([None], "got None for an image"),
        (3, "got a int for images"),
        ({"image": PIXELS}, "got a dict for images"),
        ([[1, 2, 3]], "got a list for an image"),
        ("https://host/a.jpg", "images=https://host/a.jpg is an address"),
        ("", "images is empty"),
        (".", "is a folder; give its files"),
        ("no.jpg", "cannot read image no.jpg: there is no such file"),
        (b"", "the file is empty"),
        (Image.new("F", (4, 6)), r"Pillow image of mode F and 4x6 pixels.*convert it to RGB"),
        (PIXELS.transpose(2, 0, 1), "channels come last"),
        (np.zeros((2, 3, 8, 8), np.uint8), "channels come last"),
    ],
)
def test_what_is_no_picture_is_named(images, said):
    for call in (capjax.caption, capjax.explain):
        with pytest.raises(ValueError, match=said):
            call(attentive(), images)


def test_modes_of_pillow():
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I;16"):
        image = Image.fromarray(PIXELS)
        image = image.convert("L").convert(mode) if mode in ("I;16", "PA") else image.convert(mode)
        assert prepared(image, attentive().preprocessing)[1] == (24, 40)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"captioner": None}, r"the captioner is None; expected one, such as capjax.load\('scenes"),
        ({"captioner": "runs/soft"}, r"the captioner is str; .*capjax.load\('runs/soft'\)"),
        ({"max_len": 0}, "max_len is 0; expected a whole number, 1 or more"),
        ({"max_len": 2.5}, "max_len is 2.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": "4"}, "batch_size is '4'"),
        ({"decoding": "beam"}, r"decoding is 'beam'; expected one such as capjax.Greedy\(\)"),
        ({"methods": "nothing"}, "unknown method 'nothing'; choose from: attention"),
        ({"methods": None}, "no method given; choose from: attention"),
        ({"methods": []}, "no method given; choose from: attention"),
        ({"unknown_words": "skp"}, "unknown_words is 'skp'; choose one of: token, skip"),
        ({"query": []}, "empty list of queries"),
        ({"query": 3}, "query is 3; expected a sentence"),
        ({"query": ["a dog", None]}, r"query is \['a dog', None\]; expected a sentence"),
    ],
)
def test_arguments_of_another_kind_are_named(arguments, said):
    arguments = {"captioner": attentive(), "images": PIXELS, **arguments}
    with pytest.raises(ValueError, match=said):
        capjax.explain(**arguments)
    if not arguments.keys() & {"methods", "unknown_words", "query"}:
        with pytest.raises(ValueError, match=said):
            capjax.caption(**arguments)


def test_load_names_what_is_no_captioner():
    for given, said in ((None, "got None; expected the name or"), ("gs://a/b", "is an address")):
        with pytest.raises(ValueError, match=said):
            capjax.load(given)


def test_one_method_may_be_a_string_and_slices_stay_results(tmp_path):
    found = capjax.explain(attentive(), [PIXELS, PIXELS[::-1]], methods="attention", max_len=7)
    assert list(found[0].explanations) == ["attention"]
    for part, count in ((found[:1], 1), (found[::-1], 2), (found[:1] + found[1:], 2)):
        assert isinstance(part, capjax.ExplainedImages)
        part.save_html(tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text("utf-8")
        assert page.count('<article class="item"') == count
    assert isinstance(found[-1], capjax.ExplainedImage)
    found[1].save_html(tmp_path / "one.html")
    assert (tmp_path / "one.html").read_text("utf-8").count('<article class="item"') == 1


def test_a_captioner_introduces_itself_in_a_few_lines():
    shown = repr(capjax.load("scenes-soft"))
    assert len(shown.splitlines()) == 6 and len(shown) < 600
    for part in ("ConvNet(widths=(24, 48, 96)", "AttentionLSTM(hidden=256", "words    40"):
        assert part in shown
    assert "images of 80x80 pixels (squash)" in shown and re.search(r"CIDEr 9\.93", shown)
    assert "none in its card" in repr(attentive())


def test_the_table_of_contents_shows_what_is_for_people():
    assert set(capjax.__all__) <= set(dir(capjax))
    assert not {"Any", "ModuleType", "importlib", "sys", "_HOMES"} & set(dir(capjax))
    assert capjax.__version__[0].isdigit()


def test_captions_of_any_length_share_one_program():
    """Queries of 1 to 20 words stand for captions of as many; their lengths are no shape."""
    programs.explain_targets.clear_cache()
    for words in (1, 7, 8, 9, 16, 20):
        query = " ".join(["red"] * words)
        (found,) = capjax.explain(attentive(), PIXELS, query=query)
        assert len(found.words) == words and found["attention"].maps.shape[0] == words
    assert programs.explain_targets._cache_size() == 1
    capjax.explain(attentive(), PIXELS)
    assert programs.explain_targets._cache_size() == 1
