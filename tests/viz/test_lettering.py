"""Letters in pictures: fonts made here, told apart by the widths of their letters."""

import pathlib
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from capjax.viz import word_strip
from capjax.viz.fonts import files as font_files
from capjax.viz.fonts import lettering
from capjax.viz.fonts.figure_text import FigureText
from capjax.viz.fonts.files import faces, has, letters, system_fonts
from capjax.viz.fonts.lettering import Lettering, Run
from tests.viz.sentences import explained, single_cells

pytest.importorskip("fontTools")
WIDE = "Ⰰⰱ"  # Glagolitic, which hardly any font has


def make_font(path: pathlib.Path, text: str, *, width: int = 1000) -> str:
    """A font in which every letter is a block of this width, of 1,000 units an em."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    builder = FontBuilder(1000, isTTF=True)
    names = [f"u{ord(letter):05x}" for letter in text]
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap(dict(zip(map(ord, text), names, strict=True)))
    outlines = {}
    for number, name in enumerate([".notdef", *names]):
        pen = TTGlyphPen(None)
        corners = [
            (50, 0),
            (50, 300 + 50 * number),
            (width - 50, 300 + 50 * number),
            (width - 50, 0),
        ]
        pen.moveTo(corners[0])
        for corner in corners[1:]:
            pen.lineTo(corner)
        pen.closePath()
        outlines[name] = pen.glyph()
    builder.setupGlyf(outlines)
    builder.setupHorizontalMetrics({name: (width, 50) for name in outlines})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def bare(monkeypatch):
    """A machine without fonts; what was found before is forgotten, and again afterwards."""
    for cached in (lettering._search, lettering._SAID):
        getattr(cached, "cache_clear", getattr(cached, "clear", None))()
    monkeypatch.setattr(lettering, "system_fonts", lambda: ())
    yield
    lettering._search.cache_clear()


@pytest.mark.parametrize("beyond", ["", "\U0001f600\U00020000"])
def test_the_letters_of_a_font_are_read(tmp_path, beyond):
    """Against fontTools; format 4 alone, and with format 12 beyond the first plane."""
    from fontTools.ttLib import TTFont

    path = make_font(tmp_path / "own.ttf", f"aé猫{WIDE}{beyond}")
    (face,) = faces(path)
    with TTFont(path) as font:
        assert letters(face).tolist() == sorted(font.getBestCmap())
    assert has(face, "é猫") and not has(face, "éb")


def test_every_font_of_this_machine_is_read_like_fonttools():
    from fontTools.ttLib import TTFont

    for path, index in system_fonts()[::40]:
        number = index if path.endswith("c") else -1
        with TTFont(path, fontNumber=number) as font:
            assert letters((path, index)).tolist() == sorted(font.getBestCmap()), path


def test_what_is_no_font_has_no_letters(tmp_path):
    own = pathlib.Path(make_font(tmp_path / "own.ttf", "ab"))
    (tmp_path / "cut.ttf").write_bytes(own.read_bytes()[:60])
    (tmp_path / "text.ttf").write_text("no font")
    assert faces(str(tmp_path / "text.ttf")) == ()
    assert not letters((str(tmp_path / "cut.ttf"), 0)).size
    with pytest.raises(ValueError, match=r"text\.ttf is no font.*give a \.ttf"):
        Lettering.of(tmp_path / "text.ttf")
    with pytest.raises(FileNotFoundError, match=r"no font at .*lacking\.ttf"):
        Lettering.of(tmp_path / "lacking.ttf")


def test_a_font_that_is_given_comes_first_and_each_word_gets_its_own(bare, tmp_path):
    first = make_font(tmp_path / "first.ttf", "кот")
    second = make_font(tmp_path / "second.ttf", f"{WIDE}т")
    own = Lettering.of([first, second])
    assert own.runs("кот") == [Run("кот", (first, 0))]
    assert own.runs(f"a кот {WIDE}") == [
        *(Run("a ", None), Run("кот ", (first, 0)), Run(WIDE, (second, 0))),
    ]
    assert own.runs(f"к{WIDE}") == [Run("к", (first, 0)), Run(WIDE, (second, 0))]
    assert own.width("кот", 20) == 60 and Lettering.of(second).width(WIDE, 20) == 40


def test_words_without_a_font_are_told_apart_and_named_once_a_script(bare):
    with pytest.warns(
        UserWarning, match=r"no font here has घर \(script: devanagari\).*--font=FILE"
    ):
        assert Lettering().runs("घर") == [Run("U+0918 0930", None)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Lettering().runs("जल") == [Run("U+091C 0932", None)]
        assert Lettering().runs("a dog…") == [Run("a dog…", None)]
        assert Lettering().runs("do\u200bg \u200e") == [Run("do\u200bg \u200e", None)]
    with pytest.warns(UserWarning, match=r"猫 \(script: cjk\)"):
        assert Lettering().lines("猫 a", 10, 200) == ["猫 a"]


def test_a_system_font_is_found_for_what_others_lack(bare, tmp_path, monkeypatch):
    folder = tmp_path / "fonts" / "deeper"
    folder.mkdir(parents=True)
    path = make_font(folder / "Glagolitic-Regular.ttf", WIDE)
    make_font(folder / "AGlagolitic-Bold.ttf", WIDE)
    (folder / "broken.otf").write_text("no font")
    monkeypatch.setattr(font_files, "_folders", lambda: [str(tmp_path / "fonts")])
    monkeypatch.setattr(font_files, "_listed", list)
    monkeypatch.setattr(lettering, "system_fonts", font_files.system_fonts.__wrapped__)
    assert Lettering().runs(WIDE) == [Run(WIDE, (path, 0))]


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow without libraqm")
def test_right_to_left_words_in_two_fonts_stand_in_their_order(bare, tmp_path):
    hebrew = make_font(tmp_path / "hebrew.ttf", "אב")
    arabic = make_font(tmp_path / "arabic.ttf", "كل")
    runs = Lettering.of([hebrew, arabic]).runs("אב كل")
    assert [run.text.strip() for run in runs if run.text.strip()] == ["كل", "אב"]


def test_without_raqm_a_reader_is_told(bare, tmp_path, monkeypatch):
    lettering._say_unshaped.cache_clear()
    monkeypatch.setattr(lettering.features, "check", lambda name: False)
    monkeypatch.setattr(lettering, "system_fonts", lambda: faces(path))
    path = make_font(tmp_path / "arabic.ttf", "كلب")
    with pytest.warns(UserWarning, match="libraqm.*install fribidi"):
        Lettering().runs("كلب")
    lettering._say_unshaped.cache_clear()


@pytest.mark.parametrize(
    "text", ["one two three four", "Donaudampfschifffahrtsgesellschaft", "क़्या" * 9]
)
@pytest.mark.parametrize("width", [40, 90])
def test_lines_fit_and_lose_nothing(bare, tmp_path, text, width):
    own = Lettering.of(make_font(tmp_path / "hindi.ttf", unicodedata.normalize("NFD", "क़्या")))
    lines = own.lines(text, 12, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(own.width(line, 12) <= width for line in lines) and len(lines) > 1
    assert not any(unicodedata.category(line[0]).startswith("M") for line in lines)


def label_of(word: str, **options) -> np.ndarray:
    strip = word_strip(
        np.full((60, 100, 3), 255, np.uint8), explained(word, single_cells((0, 1, 1))), **options
    )
    return np.asarray(strip)[strip.height - 60 :]


def test_a_strip_draws_words_in_the_font_that_is_given(bare, tmp_path):
    font = make_font(tmp_path / "own.ttf", WIDE)
    one, other = label_of(WIDE[0], font=font), label_of(WIDE[1], font=font)
    assert one.shape == other.shape and (one != other).any()
    block = ImageFont.truetype(font, 15).getmask(WIDE[0])
    dark = (label_of(WIDE[0], font=font)[:40].max(axis=2) < 60).sum()
    assert dark == sum(value > 200 for value in bytes(block)) > 30


def test_lines_are_drawn_where_they_are_measured():
    own = Lettering()
    page = Image.new("RGB", (200, 60), (255, 255, 255))
    own.draw(ImageDraw.Draw(page), (150, 10), "right", size=20, fill=(0, 0, 0), align=1.0)
    rows, columns = np.nonzero(np.asarray(page)[..., 0] < 128)
    assert 150 - own.width("right", 20) - 1 <= columns.min() and columns.max() <= 150
    assert rows.min() >= 10 and rows.max() <= 10 + 20 * lettering.LINE


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("кот", "кот"),
        (WIDE, WIDE),
        (f"a {WIDE}", "a U+2C00 2C31"),  # that font has no blank
        (f"{WIDE}\u200d", WIDE),
        ("costs $5 and $6", "costs $5 and $6"),
        ("$x^$ 100%", "$x^$ 100%"),
        ("Ⰰ घ", "U+2C00 U+0918"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*code points")
def test_a_figure_takes_one_font_a_text_and_draws_no_box(bare, tmp_path, words, written):
    """matplotlib warns of a letter that it lacks, and stops at a formula that it cannot read."""
    from matplotlib.figure import Figure

    # Before 3.11 matplotlib measures lines by the letters l and p.
    own = FigureText.of(make_font(tmp_path / "own.ttf", f"{WIDE}alp"))
    figure = Figure()
    text = figure.text(0, 0, own.wrapped(words, 12, 5))
    own.put(text, 12)
    assert text.get_text() == written
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "figure.png")
    drawn = text.get_window_extent().width / figure.dpi
    assert abs(own.width(written, 12) - drawn) < 0.1 * drawn + 0.02
