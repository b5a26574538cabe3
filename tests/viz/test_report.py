"""The viewer's page: self-contained, escaped, and carrying the raw numbers."""

import base64
import dataclasses
import importlib.resources
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from capjax.types import Explanation, Preprocessing
from capjax.viz.report.page import (
    ReportHead,
    ReportItem,
    ReportSentence,
    item_html,
    thumbnail,
    write_page,
)

NASTY = '</script><img src="x" onerror="alert(1)">&'


def item(maps=None, flags=None, query=None, **fields):
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
    sentence = ReportSentence([explanation], query)
    return ReportItem(NASTY, picture, "red " + NASTY, [sentence], **fields)


def explained(given):
    """The only explanation of an item."""
    return given.sentences[0].explanations[0]


def having(given, explanation):
    """The item with another one."""
    return dataclasses.replace(given, sentences=[ReportSentence([explanation])])


def numbers(packed):
    """Maps of the page, by its own description: N rows."""
    levels = np.frombuffer(base64.b64decode(packed["levels"]), "<u2")
    levels = levels.reshape(len(packed["low"]), -1).astype(np.float64)
    values = np.array(packed["low"])[:, None] + np.array(packed["step"])[:, None] * levels
    return np.where(levels == 65535, np.nan, values)


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


def test_numbers_are_in_the_page():
    given = item()
    data = data_of(item_html(given))
    (asked,) = data["sentences"]
    method = asked["methods"]["gradcam"]
    raw = explained(given).maps.reshape(2, 6)
    np.testing.assert_allclose(numbers(method["maps"]), raw, atol=5 / 65534 / 2 + 1e-9)
    assert method["signed"] is True
    assert asked["labels"] == ["red", NASTY] and asked["words"] == 2 and data["grid"] == [2, 3]
    # 200x400 -> 128x256, central 64x96: x from 80 to 176 of 256, y from 32 to 96 of 128.
    np.testing.assert_allclose(data["box"], [80 / 256, 32 / 128, 176 / 256, 96 / 128])


def test_warnings_are_said():
    text = item_html(item(flags={"flat": True, "unknown_words": [0], "unfinished": True}))
    assert "nearly alike" in text and "not in the model" in text and "length limit" in text
    text = item_html(item(flags={"degenerate_words": [0]}))
    assert "constant map, nothing to see, for red" in text
    given = item(np.arange(18, dtype=np.float32).reshape(3, 1, 2, 3))
    twice = dataclasses.replace(
        explained(given),
        words=("red", "red", "dog"),
        word_spans=((0, 1), (1, 2), (2, 3)),
        score=np.log(np.array([0.5, 0.25, 0.5], np.float32)),
        flags={"degenerate_words": [0, 1]},
    )
    assert "nothing to see, for red (2 times)." in item_html(having(given, twice))
    noted = item_html(item(flags={"notes": ["what the method says"]}))
    assert "gradcam: what the method says" in noted
    assert 'class="note"' not in item_html(item(flags={"contextual": False}))


def test_words_that_were_not_read_are_said_to_be():
    whole = item(flags={"unknown_words": [0]})
    score = np.array([np.nan, -1.0], np.float32)
    explanation = dataclasses.replace(explained(whole), score=score)
    text = item_html(having(whole, explanation))
    assert (
        "not read by the model: red" in text and "--p:0.000" in text and "nan" not in text.lower()
    )
    assert (
        data_of(text)["sentences"][0]["log_probs"] == [None, -1.0]
        and "mean log p <b>-1.00<" in text
    )


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


def clip_item(frames=3):
    """A clip with a phrase; raw values tell word, frame and cell apart."""
    maps = np.arange(2 * frames * 6, dtype=np.float32).reshape(2, frames, 2, 3)
    whole = item(maps)
    explanation = dataclasses.replace(
        explained(whole),
        frame_maps=-np.arange(2.0 * frames).reshape(2, frames),
        phrases=((0, 2),),
        phrase_maps=maps.sum(axis=0, keepdims=True),
    )
    pictures = [np.full((200, 400, 3), 60 * index, np.uint8) for index in range(frames)]
    return dataclasses.replace(
        having(whole, explanation),
        thumbnail=thumbnail(np.stack(pictures)),
        frames=frames,
        seconds=[0.5 * index for index in range(frames)],
    )


def data_of(page):
    found = re.search(r'<script type="application/json">(.*?)</script>', page).group(1)
    return json.loads(found)


def test_clips_carry_every_frame():
    given = clip_item()
    page = item_html(given)
    data = data_of(page)
    (asked,) = data["sentences"]
    assert (data["frames"], data["seconds"], asked["words"]) == (3, [0.0, 0.5, 1.0], 2)
    assert asked["labels"] == ["red", NASTY, f"red {NASTY}"]
    assert asked["log_probs"][2] == pytest.approx(np.log(0.5 * 0.25), abs=1e-5)
    method = asked["methods"]["gradcam"]
    own = explained(given)
    expected = np.concatenate([own.maps, own.maps.sum(axis=0, keepdims=True)]).reshape(3, -1)
    np.testing.assert_allclose(numbers(method["maps"]), expected, atol=np.ptp(expected) / 1e5)
    summed = own.frame_maps.sum(axis=0)
    np.testing.assert_allclose(numbers(method["relevance"])[2], summed, atol=1e-4)
    assert 'type="range" min="0" max="2"' in page and "data-play" in page
    assert page.count('class="word phrase"') == 1
    assert "data-play" not in item_html(item())


def test_maps_of_one_sign_are_not_signed():
    maps = -1 - np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3)
    assert data_of(item_html(item(maps)))["sentences"][0]["methods"]["gradcam"]["signed"] is False


def test_thumbnails_of_clips_are_sprites():
    frames = np.stack([np.full((300, 600, 3), 60 * index, np.uint8) for index in range(4)])
    with Image.open(io.BytesIO(thumbnail(frames))) as sprite:
        assert sprite.size == (4 * 192, 96)
        for index in range(4):
            assert sprite.getpixel((192 * index + 96, 48)) == pytest.approx([60 * index] * 3, abs=3)


def test_maps_of_other_frames_are_refused():
    with pytest.raises(ValueError, match=r"picture of 1 frame; expected \[N 1 h w\]"):
        item_html(item(maps=np.zeros((2, 3, 2, 3), np.float32)))


def test_text_of_any_language_has_its_own_direction():
    page = page_of(item(references=["كلب"], query="كلب يجري"))
    for words in ('class="words"', "<li", "<bdi"):
        assert re.search(rf'{words}[^>]* dir="auto" lang=""', page)


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
def test_the_page_draws_logarithms_as_probabilities(tmp_path):
    """What a map spans on the page, against NumPy: of one word, of the sentence, of the report."""
    maps = np.log([[[[0.5, 1e-6, 0.1]] * 2], [[[0.25, 0.125, 0.3]] * 2]]).astype(np.float32)
    shown = dataclasses.replace(explained(item(maps)), method="caption_guided", unit="p")
    body = item_html(having(item(), shown))
    data = re.search(r'<script type="application/json">(.*?)</script>', body)[1]
    stream = io.StringIO()
    units = {"caption_guided": "p"}
    write_page(stream, [], ReportHead(title="", methods=["caption_guided"], units=units))
    report = re.search(r'id="report">(.*?)</script>', stream.getvalue())[1]
    assert json.loads(report)["units"] == {"caption_guided": "p"}
    parts = importlib.resources.files("capjax.viz").joinpath("page")
    script = f"""
      const report = {{ranges: {{caption_guided: [-20, 0]}}, units: {{caption_guided: "p"}}}};
      const state = {{method: "caption_guided"}};
      {parts.joinpath("drawing.js").read_text("utf-8")}
      {parts.joinpath("picking.js").read_text("utf-8")}
      {parts.joinpath("item.js").read_text("utf-8")}
      const item = Object.create(Item.prototype);
      item.parsed = {data};
      item.sentence = 0;
      item.cache = new Map();
      const found = {{}};
      for (state.values of ["natural", "raw"])
        for (state.scale of ["word", "sentence", "raw"])
          found[`${{state.values}} ${{state.scale}}`] = item.range(0);
      console.log(JSON.stringify(found));
    """
    path = tmp_path / "ranges.js"
    path.write_text(script, "utf-8")
    done = subprocess.run(["node", path], capture_output=True, text=True, check=True)
    expected = {
        "natural word": [1e-6, 0.5],
        "natural sentence": [1e-6, 0.5],
        "natural raw": [0.0, 1.0],
        "raw word": [np.log(1e-6), np.log(0.5)],
        "raw sentence": [np.log(1e-6), np.log(0.5)],
        "raw raw": [-20.0, 0.0],
    }
    for name, found in json.loads(done.stdout).items():
        np.testing.assert_allclose(found, expected.pop(name), rtol=1e-5, atol=1e-9, err_msg=name)
    assert not expected


def several():
    """An item of two sentences."""
    first, second = item(), item(maps=np.zeros((2, 1, 2, 3), np.float32))
    sentences = [
        ReportSentence([explained(first)], "[a red] dog"),
        ReportSentence([explained(second)], NASTY),
    ]
    return dataclasses.replace(first, sentences=sentences)


def test_a_reader_chooses_among_several_sentences():
    page = item_html(several())
    assert len(Links(page).loaded) == 1  # nothing escapes, and one photograph for both
    names = re.findall(r'<input type="radio" name="([^"]+)" value="([01])"( checked)?>', page)
    assert [name[1:] for name in names] == [("0", " checked"), ("1", "")]
    assert names[0][0] == names[1][0]
    assert ">a red dog</span>" in page and page.count('title="mean log p">-1.04<') == 2
    assert re.findall(r'<div class="sentence"( hidden)?>', page) == ["", " hidden"]
    first, second = data_of(page)["sentences"]
    assert numbers(first["methods"]["gradcam"]["maps"]).min() == -4
    assert not numbers(second["methods"]["gradcam"]["maps"]).any()
    assert 'type="radio"' not in item_html(item())


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
def test_the_page_reads_maps_as_they_were_and_says_what_it_knows(tmp_path):
    """Cells without a value, constant maps and small values, against the arrays themselves."""
    maps = np.array([[3.0, np.nan, -5.0], [2.0, 2.0, 2.0], [np.nan] * 3], np.float32)
    whole = item(np.repeat(maps[:2].reshape(2, 1, 1, 3), 2, axis=2))
    packed = data_of(item_html(whole))["sentences"][0]["methods"]["gradcam"]["maps"]
    parts = importlib.resources.files("capjax.viz").joinpath("page")
    path = tmp_path / "numbers.js"
    path.write_text(
        f"""{parts.joinpath("drawing.js").read_text("utf-8")}
        const said = [rounded(0.5, 1e-5), rounded(0.00071, 1e-5), rounded(3e-6, 1e-5)];
        const near = [rounded(0, 0), rounded(7e-7, 0), rounded(-0.5, 1e-5)];
        console.log(JSON.stringify([[...unpacked({json.dumps(packed)})].map(String), said, near]));
        """,
        "utf-8",
    )
    done = subprocess.run(["node", path], capture_output=True, text=True, check=True)
    values, said, near = json.loads(done.stdout)
    expected = np.repeat(maps[:2, None], 2, axis=1).reshape(-1)
    np.testing.assert_allclose(np.array(values, float), expected, atol=8 / 65534)
    assert said == ["0.500", "≈ 0.0007", "≈ 0"] and near == ["0", "7.00e-7", "-0.500"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
def test_a_chosen_sentence_has_its_own_words_maps_and_marks(tmp_path):
    page = item_html(several())
    data = re.search(r'<script type="application/json">(.*?)</script>', page)[1]
    parts = importlib.resources.files("capjax.viz").joinpath("page")
    path = tmp_path / "choice.js"
    path.write_text(
        f"""
      const state = {{method: "gradcam"}}, report = {{units: {{}}, ranges: {{}}}};
      let marked = 0;
      const drawMarks = () => {{ marked += 1; }};
      {parts.joinpath("drawing.js").read_text("utf-8")}
      {parts.joinpath("picking.js").read_text("utf-8")}
      {parts.joinpath("item.js").read_text("utf-8")}
      const block = (words) => ({{hidden: false, querySelectorAll: () => words}});
      const texts = ["one", "two"].map((textContent) => ({{textContent}}));
      const item = Object.create(Item.prototype);
      const listened = [];
      Object.assign(item, {{
        element: {{dataset: {{file: "a.jpg"}}, querySelectorAll: () => texts}},
        blocks: [block(["a", "b"]), block(["c", "d"])], heard: new Map(), cache: new Map(),
        sentence: 0, pinned: -1, parsed: {data},
        listen: (word) => listened.push(word), show: () => {{}}, redraw: () => {{}}, pick() {{}},
      }});
      item.hear();
      const found = [];
      for (const sentence of [0, 1, 0, 1]) {{
        item.ask(sentence);
        const [low] = extent(item.numbers("maps"));
        const hidden = item.blocks.map((own) => own.hidden);
        found.push([low, item.words.join(), item.keys[item.sentence], hidden]);
      }}
      console.log(JSON.stringify([found, listened, marked]));
    """,
        "utf-8",
    )
    done = subprocess.run(["node", path], capture_output=True, text=True, check=True)
    found, listened, marked = json.loads(done.stdout)
    first = [-4, "a,b", "a.jpg · one", [False, True]]
    second = [0, "c,d", "a.jpg · two", [True, False]]
    assert found == [first, second, first, second]
    assert listened == ["a", "b", "c", "d"] and marked == 4  # each word once


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
@pytest.mark.parametrize(("measure", "rule"), [("log_prob", np.sum), (None, np.mean)])
def test_a_picked_phrase_is_made_of_its_words_maps(tmp_path, measure, rule):
    """Sums against NumPy; means where the method shows what was read. Asked phrases stay first."""
    maps = np.random.default_rng(0).normal(size=(3, 2, 2, 3)).astype(np.float32)
    words = ("a", "red", "dog")
    whole = dataclasses.replace(
        explained(item()),
        maps=maps,
        words=words,
        word_spans=((0, 1), (1, 2), (2, 3)),
        score=np.log(np.array([0.5, 0.25, 0.125], np.float32)),
        phrases=((0, 2),),
        phrase_maps=maps[:2].sum(axis=0, keepdims=True),
        measure=measure,
    )
    shown = dataclasses.replace(having(item(), whole), frames=2, seconds=[0.0, 1.0])
    data = re.search(r'<script type="application/json">(.*?)</script>', item_html(shown))[1]
    parts = importlib.resources.files("capjax.viz").joinpath("page")
    path = tmp_path / "picked.js"
    path.write_text(
        f"""
      const state = {{method: "gradcam"}}, report = {{units: {{}}, ranges: {{}}}};
      {parts.joinpath("drawing.js").read_text("utf-8")}
      {parts.joinpath("picking.js").read_text("utf-8")}
      {parts.joinpath("item.js").read_text("utf-8")}
      const item = Object.create(Item.prototype);
      const pinned = [];
      Object.assign(item, {{
        sentence: 0, pinned: -1, cache: new Map(), words: ["a", "red", "dog", "a red"],
        parsed: {data}, listen() {{}}, phraseButton: (label) => label,
        pin: (index) => pinned.push(index),
      }});
      item.numbers("maps");
      for (const [first, last] of [[1, 2], [0, 2], [1, 2]]) item.phrase(first, last);
      const {{ labels, log_probs }} = item.asked;
      const values = ["maps", "relevance"].map((name) => [...item.numbers(name)]);
      console.log(JSON.stringify([labels, log_probs, pinned, values, item.words]));
    """,
        "utf-8",
    )
    done = subprocess.run(["node", path], capture_output=True, text=True, check=True)
    labels, scores, pinned, (values, relevance), shown_words = json.loads(done.stdout)
    assert labels == ["a", "red", "dog", "a red", "red dog", "a red dog"] == shown_words
    assert scores[4:] == pytest.approx(np.log([0.25 * 0.125, 0.5 * 0.25 * 0.125]), abs=1e-5)
    assert pinned == [4, 5, 4]
    found = np.array(values).reshape(6, 2, 2, 3)
    expected = [*maps, maps[:2].sum(axis=0), rule(maps[1:], axis=0), rule(maps, axis=0)]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    frames = maps.mean(axis=(2, 3))
    sums = [*frames, frames[:2].sum(axis=0), frames[1:].sum(axis=0), frames.sum(axis=0)]
    np.testing.assert_allclose(
        np.array(relevance).reshape(6, 2)[[0, 1, 2, 4, 5]],
        np.array(sums)[[0, 1, 2, 4, 5]],
        atol=1e-3,
    )


@pytest.mark.skipif(shutil.which("node") is None, reason="node checks the page's script")
def test_the_script_parses(tmp_path):
    page = page_of(item(), several(), clip_item())
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    path = tmp_path / "page.js"
    path.write_text(script, "utf-8")
    done = subprocess.run(["node", "--check", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
