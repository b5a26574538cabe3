"""The lines of docs/getting_started.md run as they stand, and draw what they say."""

from PIL import Image

from tests.docs.pages import DOCS, blocks


def test_a_photograph_is_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks((DOCS / "getting_started.md").read_text(), "python")
    names = {}
    exec(compile(block, "getting_started.md", "exec"), names)
    (image,) = names["result"]
    assert list(image.explanations) == ["attention", "ig"]
    with Image.open("ig.png") as strip:
        assert strip.width > strip.height > 100
    assert len(image["ig"].maps) == len(image.caption.words)
