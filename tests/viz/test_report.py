"""The viewer's page: self-contained, escaped, and carrying the raw numbers."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from capjax.types import Explanation, Preprocessing
from capjax.viz.report import ReportHead, ReportItem, item_html, thumbnail, write_page

NASTY = '</script><img src="x" onerror="alert(1)">&'


def item(maps=None, flags=None, **fields):
    maps = np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3) - 4 if maps is None else maps
    geometry = Preprocessing((64, 96), "crop", 128).geometry((200, 400), (2, 3))
    explanation = Explanation(
        maps=maps,
        words=("red", NASTY),
        word_spans=((0, 1), (1, 2)),
        score=np.log(np.array([0.5, 0.25], np.float32)),
        method="gradcam",
        geometry=geometry,
        flags=flags or {},
    )
    picture = thumbnail(np.full((200, 400, 3), 200, np.uint8))
    return ReportItem(NASTY, picture, "red " + NASTY, [explanation], **fields)


class Links(HTMLParser):
    """Collects elements and everything that a page would load."""

    def __init__(self, page):
        super().__init__()
        self.loaded, self.tags = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action"):
                self.loaded.append(value)


def page_of(*items, **fields):
    stream = io.StringIO()
    write_page(stream, iter(items), ReportHead(title=NASTY, methods=["gradcam"], **fields))
    return stream.getvalue()


def test_the_page_loads_nothing_and_nothing_escapes():
    page = page_of(
        item(references=(NASTY,), query=NASTY), summary={NASTY: NASTY}, failures=[(NASTY, NASTY)]
    )
    links = Links(page)
    assert [link[:23] for link in links.loaded] == ["data:image/jpeg;base64,"]
    assert links.tags.count("img") == 1 and links.tags.count("article") == 1
    assert links.tags.count("script") == 3  # the item's data, the report's data, the viewer
    assert "@import" not in page and "url(" not in page and "http" not in page
    words = re.findall(r"<button[^>]*class=\"word[^>]*>", page)
    assert len(words) == 2 and "--p:0.500" in words[0]


def test_raw_numbers_are_in_the_page():
    given = item()
    data = json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', item_html(given)).group(1)
    )
    maps = np.frombuffer(base64.b64decode(data["methods"]["gradcam"]["maps"]), "<f4")
    np.testing.assert_array_equal(maps, given.explanations[0].maps.reshape(-1))
    assert data["methods"]["gradcam"]["signed"] is True
    assert data["words"] == ["red", NASTY] and data["grid"] == [2, 3]
    # 200x400 -> 128x256, central 64x96: x from 80 to 176 of 256, y from 32 to 96 of 128.
    np.testing.assert_allclose(data["box"], [80 / 256, 32 / 128, 176 / 256, 96 / 128])


def test_warnings_are_said():
    text = item_html(item(flags={"flat": True, "unknown_words": [0], "unfinished": True}))
    assert "nearly alike" in text and "not in the model" in text and "length limit" in text
    text = item_html(item(flags={"degenerate_words": [0]}))
    assert "constant map, nothing to see, for red" in text
    assert 'class="note"' not in item_html(item())


def test_pages_are_linked():
    links = [("1", "index.html", False), ("2", "index-0002.html", True)]
    page = page_of(links=links)
    assert Links(page).loaded == ["index.html", "index.html"]
    assert page.count('aria-current="page">2<') == 2


def test_thumbnails_keep_the_aspect_ratio():
    with Image.open(io.BytesIO(thumbnail(np.zeros((600, 1200, 3), np.uint8)))) as picture:
        assert picture.size == (320, 160)
    with Image.open(io.BytesIO(thumbnail(np.zeros((30, 20, 3), np.uint8)))) as picture:
        assert picture.size == (20, 30)


def test_video_maps_are_refused():
    with pytest.raises(ValueError, match="draws images"):
        item_html(item(maps=np.zeros((2, 3, 2, 3), np.float32)))
