"""The photographs that come with capjax: small, readable, and each with a licence."""

import pytest
from PIL import Image

from capjax.data import samples

LARGEST = 100_000
LONGEST = 512


def test_names_and_licences_are_those_of_the_files():
    assert samples.names() == ["astronaut", "cat", "coffee"]
    licences = samples.FOLDER.with_name("photographs.txt").read_text(encoding="utf-8")
    for name in samples.names():
        assert f"\n{name}.jpg " in licences
    assert {path.suffix for path in samples.FOLDER.iterdir()} == {".jpg"}


@pytest.mark.parametrize("name", samples.names())
def test_a_photograph_is_small_and_readable(name):
    path = samples.photograph(name)
    assert path.stat().st_size <= LARGEST
    with Image.open(path) as image:
        image.load()
        assert image.format == "JPEG" and image.mode == "RGB"
        assert 256 <= max(image.size) <= LONGEST
        assert not image.getexif()


def test_an_unknown_name_lists_the_known_ones():
    for name in ("dog", "cat.jpg", "", "../photographs/cat"):
        with pytest.raises(ValueError, match="choose one of: astronaut, cat, coffee"):
            samples.photograph(name)
