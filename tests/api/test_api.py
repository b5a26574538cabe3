"""load, caption and explain as someone in a notebook uses them."""

import html
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.decoding import captions
from capjax.explainers import programs
from tests.api.conftest import photograph
from tests.explainers.toys import attentive

OPTIONS = {"max_len": 7, "batch_size": 2}


@pytest.fixture(scope="module")
def image():
    return photograph(3, 50, 80)


@pytest.fixture(scope="module")
def result(image):
    methods = ("attention", "gradcam")
    return capjax.explain(attentive(), image, methods=methods, query="a red zebra", **OPTIONS)


def test_explain_is_the_function_and_explainers_the_package():
    script = (
        "import capjax.explainers; from capjax.explainers import METHODS; import capjax;"
        "assert callable(capjax.explain) and 'gradcam' in METHODS;"
        "assert set(capjax.__all__) <= set(dir(capjax));"
        "[getattr(capjax, n) for n in capjax.__all__]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_load_takes_a_folder_and_names_what_it_does_not_know(model, tmp_path):
    assert capjax.load(model).hash == attentive().hash
    with pytest.raises(ValueError, match="no captioner at 'nothing'.*shipped models"):
        capjax.load("nothing")
    with pytest.raises(ValueError, match="holds no model.json"):
        capjax.load(tmp_path)


def test_every_kind_of_image_gives_the_same_caption(image, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    kinds = [str(path), path, Image.fromarray(image), image]
    many = capjax.caption(attentive(), kinds, **OPTIONS)
    one = capjax.caption(attentive(), image, **OPTIONS)
    assert len(one) == 1 and len(many) == 4
    for found in many:
        assert found.tokens == one[0].tokens
        np.testing.assert_allclose(found.log_probs, one[0].log_probs, atol=1e-5)
    with pytest.raises(ValueError, match="expected uint8"):
        capjax.caption(attentive(), image.astype(np.float32))


def test_methods_come_in_the_order_they_were_asked_for(image):
    found = capjax.explain(attentive(), image, methods=("gradcam", "attention"), **OPTIONS)
    assert list(found[0].explanations) == ["gradcam", "attention"]
    assert "<option>gradcam</option><option>attention" in html.unescape(found._repr_html_())


def test_phrases_are_drawn_after_the_words(image):
    pytest.importorskip("matplotlib", reason="figures need the extra capjax[viz]")
    found = capjax.explain(attentive(), image, query="[a red zebra] rides", **OPTIONS)[0]
    titles = [axis.get_title().removesuffix(" (constant)") for axis in found.plot().axes]
    assert titles == ["a", "red", "zebra", "rides", "a red zebra"]
    assert 'class="word phrase"' in html.unescape(found._repr_html_())


def test_a_batch_gives_what_single_images_give():
    images = [photograph(seed, 40 + seed, 90) for seed in range(3)]
    together = capjax.explain(attentive(), images, **OPTIONS)
    for image, found in zip(images, together, strict=True):
        alone = capjax.explain(attentive(), image, **OPTIONS)[0]
        assert alone.caption.text == found.caption.text
        np.testing.assert_allclose(alone["attention"].maps, found["attention"].maps, atol=1e-5)
        assert found["attention"].geometry.original == image.shape[:2]


def test_query_words_are_kept_and_flagged(result):
    found = result[0]
    assert found.words == ("a", "red", "zebra")
    assert found["gradcam"].flags["unknown_words"] == [2]
    assert found["attention"].maps.shape == (3, 1, 8, 8)
    np.testing.assert_allclose(found["attention"].maps.sum((1, 2, 3)), 1, atol=1e-5)
    assert (found["gradcam"].maps < 0).any()
    with pytest.raises(KeyError, match="no 'ig' maps"):
        found["ig"]


def test_it_draws_itself_in_a_notebook(result):
    inline = result._repr_html_()
    assert inline.startswith("<iframe") and 'sandbox="allow-scripts"' in inline
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', inline).group(1))
    assert page.startswith("<!doctype html>") and page.count('<article class="item"') == 1
    assert "The model itself says" in page
    assert not re.search(r"//[\w-]+\.\w", page)  # no address; base64 has slashes but no dots
    assert result[0]._repr_html_() == inline


def test_strip_and_figure(result):
    strip = result[0].word_strip("gradcam")
    assert strip.width > strip.height
    pytest.importorskip("matplotlib")
    figure = result[0].plot("attention")
    titles = [axes.get_title() for axes in figure.axes]
    assert [title for title in titles if title][-3:] == ["a", "red", "zebra"] or set(
        ("a", "red", "zebra")
    ) <= set(titles)


def test_wrong_requests_are_errors(image):
    with pytest.raises(ValueError, match="unknown method 'x'; choose from: attention, .*gradcam"):
        capjax.explain(attentive(), image, methods=("x",))
    with pytest.raises(ValueError, match="has no words"):
        capjax.explain(attentive(), image, query=" . ")
    with pytest.raises(ValueError, match="batch_size is 0"):
        capjax.explain(attentive(), image, batch_size=0)


def test_few_traces_serve_any_number_of_images():
    programs.explain_targets.clear_cache()
    captions._see_and_say.compiled().clear_cache()
    images = [photograph(seed, 30 + seed, 40 + 2 * seed) for seed in range(5)]
    for count in (2, 4, 5):
        capjax.explain(attentive(), images[:count], **OPTIONS)
    # Batches of two and of one; seven tokens are one bucket.
    assert programs.explain_targets._cache_size() <= 2
    assert captions._see_and_say.compiled()._cache_size() <= 2
