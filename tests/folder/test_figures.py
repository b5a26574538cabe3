"""explain.py --figures: what is drawn, with which boxes, and when it is drawn again."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from capjax.data.stores.files import Files
from capjax.folder.boxes import Boxes
from capjax.types import Explanation, Geometry
from capjax.viz.figure_files import FigureFiles, panels
from tests.api.conftest import write_photographs
from tests.folder.test_run import lines, run


def instances(path, size, boxes, name="0.jpg"):
    """A COCO instances file of one photograph; boxes are (category, x, y, width, height)."""
    categories = list(dict.fromkeys(box[0] for box in boxes))
    body = {
        "images": [{"id": 1, "file_name": name, "height": size[0], "width": size[1]}],
        "categories": [{"id": index, "name": own} for index, own in enumerate(categories)],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": categories.index(own), "bbox": box}
            for index, (own, *box) in enumerate(boxes)
        ],
    }
    path.write_text(json.dumps(body))
    return path


def test_figures_are_written_once_and_drawn_again_where_the_boxes_differ(model, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 2)  # 40 and 47 pixels high, 90 wide
    asked = ("--query=[a red] wave", "--query=a red dog", "--no-overlays")
    assert run(model, images, out, *asked, "--figures=svg") == 0
    names = {"0.jpg.attention.svg", "0.jpg.2.attention.svg"}
    names |= {name.replace("0.jpg", "1.jpg") for name in names}
    assert {path.name for path in (out / "figures").iterdir()} == names
    entry = lines(out)["0.jpg"]["methods"]["attention"]
    assert entry["figures"] == ["figures/0.jpg.attention.svg"] and "overlay" not in entry
    # A panel a phrase, or a word where no phrase was asked about; the sentence underneath.
    drawn = [(out / "figures" / name).read_text() for name in sorted(names)[:2]]
    assert [text.count("<!-- dog -->") for text in drawn] == [1, 0]
    assert "<!-- a red -->" in drawn[1] and "<!-- a red dog -->" in drawn[0]

    def stamps():
        return {path.name: path.stat().st_mtime_ns for path in (out / "figures").iterdir()}

    before = stamps()
    for options in ((), ("--figures=svg",)):
        assert run(model, images, out, *asked, *options) == 0
        assert stamps() == before
    boxes = instances(tmp_path / "boxes.json", (40, 90), [("dog", 10, 5, 20, 30)])
    assert run(model, images, out, *asked, "--figures=svg", f"--boxes={boxes}") == 0
    entry = lines(out)["0.jpg"]["more"][0]["methods"]["attention"]
    assert set(entry["figures_drawn"]) == {"boxes"}
    framed = (out / "figures" / "0.jpg.2.attention.svg").read_text()
    white = "stroke: #ffffff; stroke-width: 1.8"
    assert framed.count(white) == drawn[0].count(white) + 1
    before = stamps()
    assert run(model, images, out, *asked, "--figures=svg", f"--boxes={boxes}") == 0
    assert stamps() == before
    # Another format takes the place of the first; a strip that is added leaves the figures alone.
    assert run(model, images, out, *asked, "--figures") == 0
    assert {path.suffix for path in (out / "figures").iterdir()} == {".pdf"}
    before = stamps()
    assert run(model, images, out, *asked[:2]) == 0
    assert stamps() == before and "overlay" in lines(out)["0.jpg"]["methods"]["attention"]
    assert lines(out)["0.jpg"]["methods"]["attention"]["figures"] == ["figures/0.jpg.attention.pdf"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--boxes=nowhere.json", "--figures"], "nowhere.json"),
        (["--boxes=boxes.json"], "--boxes would have no effect"),
        (["--boxes=of_others"], "has no boxes of these images: it names 'other.jpg'"),
        (["--boxes=other_shape"], "0.jpg"),
    ],
)
def test_boxes_that_cannot_be_drawn_are_refused(model, tmp_path, capsys, options, said):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 1)
    box = [("dog", 1, 1, 2, 2)]
    made = {
        "--boxes=of_others": instances(tmp_path / "a.json", (40, 90), box, "other.jpg"),
        "--boxes=other_shape": instances(tmp_path / "b.json", (90, 40), box),
    }
    if options[0] in made:
        options = [f"--boxes={made[options[0]]}", "--figures"]
    assert run(model, images, out, *options) == 2
    assert said in capsys.readouterr().err and not out.exists()


def test_boxes_are_those_of_what_the_words_of_a_panel_name(tmp_path):
    boxes = [("dog", 10, 5, 20, 30), ("person", 0, 0, 5, 5), ("hot dog", 1, 1, 3, 3)]
    path = instances(tmp_path / "boxes.json", (40, 90), boxes)
    Image.new("RGB", (90, 40)).save(tmp_path / "0.jpg")
    store = Files.of_folder(tmp_path, ["0.jpg"])
    found = Boxes.read(str(path), store, store.names, lambda note: None)
    words = "a man and his dog near a hot dog".split()
    each = [(index, index + 1) for index in range(len(words))]
    whole = found.of("0.jpg", words, each, (40, 90))
    assert whole == {
        1: [(0, 0, 5, 5)],
        4: [(10, 5, 30, 35)],
        7: [(1, 1, 4, 4)],
        8: [(1, 1, 4, 4)],
    }
    # Phrases, on a copy of twice the size.
    phrases = found.of("0.jpg", words, [(0, 2), (2, 4), (3, 5)], (80, 180))
    assert phrases == {0: [(0, 0, 10, 10)], 2: [(20, 10, 60, 70)]}
    assert found.of("unknown.jpg", words, each, (40, 90)) == {}
    same = [found.digest(name, words) for name in ("0.jpg", "unknown.jpg")]
    assert same[0] != same[1] and same[0] == found.digest("0.jpg", words)
    assert same[0] != found.digest("0.jpg", words[:4])


def explanation(words, frames, score=None, **fields):
    maps = np.random.default_rng(0).random((len(words), frames, 2, 3)).astype(np.float32)
    spans = tuple((index, index + 1) for index in range(len(words)))
    score = np.zeros(len(words), np.float32) if score is None else np.array(score, np.float32)
    geometry = Geometry((40, 60), (40, 60), (0, 0, 40, 60), (2, 3))
    return Explanation(maps, words, spans, score, "attention", geometry, **fields)


def test_clips_have_their_frames_and_an_animation(tmp_path):
    frames = np.random.default_rng(1).integers(0, 255, (3, 40, 60, 3), dtype=np.uint8)
    files = FigureFiles("png")
    for words in (("a", "dog", "runs"), ("on", "the")):  # of the second no word is shown otherwise
        found = explanation(words, 3)
        assert files.kinds(found) == ("png", "gif")
        for suffix, format in (("png", "PNG"), ("gif", "GIF")):
            path = tmp_path / f"clip.{suffix}"
            with open(path, "wb") as stream:
                files.write(stream, suffix, frames, found, seconds=[0.0, 0.5, 1.0])
            with Image.open(path) as picture:
                assert picture.format == format
                assert getattr(picture, "n_frames", 1) == (3 if suffix == "gif" else 1)


def test_sentences_without_a_word_to_show_have_no_figure():
    assert FigureFiles().kinds(explanation((), 1)) == ()
    assert FigureFiles().kinds(explanation(("zebra",), 3, [np.nan])) == ()
    assert FigureFiles().kinds(explanation(("zebra",), 1, [np.nan])) == ("pdf",)


def test_panels_are_phrases_or_words():
    assert panels(explanation(("a", "dog"), 1)) == ((0, 1), (1, 2))
    phrase = {"phrases": ((0, 2),), "phrase_maps": np.ones((1, 1, 2, 3), np.float32)}
    assert panels(explanation(("a", "dog"), 1, **phrase)) == ((0, 2),)
    with pytest.raises(ValueError, match="unknown format 'gif'"):
        FigureFiles("gif")
