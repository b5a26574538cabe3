"""What stands under words, and what they owe to earlier ones, as people read it."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from capjax.explainers.language.visual_information import VisualInformation
from capjax.viz import plot_linguistic
from capjax.viz.language.arrows import Arrow, arrows
from capjax.viz.language.page import earlier_words, legend, numbers, signed, under_word

VISUAL = VisualInformation(
    image=np.log([0.5, 0.5, 0.01, np.nan]),
    without_layout=np.log([0.25, 0.5, 0.01, np.nan]),
    others=np.log([0.0625, 0.49, 0.04, np.nan]),
    pictures=16,
)
WORDS = ("a", "<b>", "frisbee", "x")
EFFECTS = np.array([[0, 0, 0, 0], [3, 0, 0, 0], [0.2, -0.6, 0, 0], [9, 0.7, -1.5, 0]])


def test_every_word_says_its_source_and_its_bits():
    assert [re.sub(r"<.*?>", "", under_word(VISUAL, word)) for word in range(4)] == [
        "image 3.0",
        "language 0.0",
        "against −2.0",
        "",
    ]
    told = under_word(VISUAL, 0)
    assert 'class="image"' in told and "p 0.5 with this image; 0.25 with its mean" in told
    assert "0.062 with 16 other pictures" in told
    assert numbers(VISUAL)["bits"] == {"layout": [1, 0, 0, None], "image": [3, 0.03, -2, None]}
    assert "from 1 bit" in legend(16)["under each word"] and legend(None) == {}


def test_without_other_pictures_no_word_is_called_the_images():
    alone = VisualInformation(VISUAL.image, VISUAL.without_layout)
    assert re.sub(r"<.*?>", "", under_word(alone, 0)) == "layout 1.0"
    assert list(numbers(alone)["bits"]) == ["layout"] and under_word(None, 0) == ""
    assert "no other pictures" in legend(0)["under each word"]


def test_arrows_are_the_two_largest_effects_of_half_a_bit_and_more():
    assert arrows(EFFECTS) == [
        Arrow(0, 1, 3.0),
        Arrow(1, 2, -0.6),
        Arrow(0, 3, 9.0),
        Arrow(2, 3, -1.5),
    ]
    assert Arrow(0, 3, 9.0).strength == 1.0 and Arrow(0, 1, -3.0).strength == 0.5
    assert signed(-0.04) == "0.0"


@pytest.mark.parametrize("words", [WORDS, ("א", "<b>", "ג", "ד"), ("一", "二", "三", "四")])
def test_the_page_draws_arrows_to_later_words_and_a_table(words):
    shown = earlier_words("leave_one_out", words, EFFECTS)
    svg = ElementTree.fromstring(re.search("<svg.*</svg>", shown, re.DOTALL)[0])
    assert [text.text for text in svg.iter("text")] == list(words)
    width = float(svg.get("width"))
    places = [float(text.get("x")) for text in svg.iter("text")]
    assert (
        sorted(places, reverse=words[0] == "א") == places and 0 < min(places) < max(places) < width
    )
    groups = list(svg.iter("g"))
    assert [(group.get("class"), group.get("data-to")) for group in groups] == [
        ("for", "1"),
        ("less", "2"),
        ("for", "3"),
        ("less", "3"),
    ]
    assert groups[2].find("title").text == f"{words[0]} → {words[3]}: 9.0 bits"
    curve = groups[2].find("path").get("d")
    start, end = (float(part) for part in re.findall(r"[MC ]([\d.]+) [\d.]+", curve)[:4:3])
    assert abs(start - places[0]) <= 3.1 and abs(end - places[3]) <= 3.1
    cells = re.findall(r'<td class="\w+" style="--share:(\d+)%">(.*?)</td>', shown)
    assert cells == [
        *[("33", "3.0"), ("2", "0.2"), ("7", "−0.6")],
        *[("100", "9.0"), ("8", "0.7"), ("17", "−1.5")],
    ]
    assert earlier_words("gradient", words[:1], EFFECTS[:1, :1]) == ""
    scrolls = re.findall(r'<div class="wide"(.*?)>', shown)
    assert len(scrolls) == 2  # by the arrow keys too
    assert all('tabindex="0"' in own and 'aria-label="' in own for own in scrolls)


def test_the_figure_has_an_arrow_an_effect_and_a_cell_a_pair():
    pytest.importorskip("matplotlib")
    figure = plot_linguistic(WORDS, EFFECTS)
    top, cells = figure.axes
    texts = [text.get_text() for text in top.texts]
    assert [text for text in texts if text] == list(WORDS)
    assert len([text for text in texts if not text]) == len(arrows(EFFECTS))
    (image,) = cells.get_images()
    values = image.get_array()
    assert values.shape == (3, 3) and values.mask.sum() == 3
    assert values[2, 0] == 9.0 and image.get_clim() == (-9.0, 9.0)
    assert [label.get_text() for label in cells.get_yticklabels()] == list(WORDS[1:])
    with pytest.raises(ValueError, match=r"effects of shape \(4, 4\) for 3 words"):
        plot_linguistic(WORDS[:3], EFFECTS)
    with pytest.raises(ValueError, match="got 1 word"):
        plot_linguistic(WORDS[:1], EFFECTS[:1, :1])


def test_bits_are_logarithms_to_base_two():
    np.testing.assert_allclose(VISUAL.bits[0], math.log2(0.5 / 0.0625))
