"""What people do on the page, in a browser: every way a picture comes in, and all that is asked."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from tests.serve.browser.chromium import Visit, axe, browsing
from tests.serve.serving import animated, asked, held, of_clips, picture, running, served

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from capjax.serve.app import make_app  # noqa: E402
from capjax.serve.asking import maps  # noqa: E402
from capjax.serve.guard import Access  # noqa: E402
from capjax.serve.limits import Limits  # noqa: E402

pytestmark = pytest.mark.slow

TALKER = served(seed=5)
"""A toy that has something to say of every picture."""


def objects():
    """The file of a picture of two things on a plain ground."""
    pixels = np.full((120, 160, 3), 200, np.uint8)
    pixels[30:70, 20:60], pixels[60:100, 100:140] = (220, 30, 30), (20, 60, 200)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def port(browser):
    with running(make_app(held(TALKER), Limits(), Access(), warm=False)) as port:
        yield port


@pytest.fixture
def visit(browser, port):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Visit(context.new_page(), f"http://localhost:{port}")
    context.close()


def test_a_file_is_captioned_and_every_word_has_its_map(visit):
    visit.upload(picture(1))
    assert len(visit.text()) >= 2
    drawn = set()
    for number in range(2):
        visit.words().nth(number).hover()
        drawn.add(visit.pixels())
    assert len(drawn) == 2 and None not in drawn
    assert visit.page.title() == "capjax · toy"
    visit.check()


def test_a_picture_is_pasted(visit):
    visit.page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 60, height: 40 });
          canvas.getContext("2d").fillRect(10, 10, 20, 20);
          const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([blob], "pasted.png", { type: "image/png" }));
          dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }"""
    )
    visit.settled()
    assert "pasted.png" in visit.page.inner_text(".facts")
    visit.check()


def test_the_webcam_gives_pictures_and_captions_one_after_another(visit):
    visit.page.click("#webcam")
    visit.page.wait_for_selector("#camera:not([hidden])")
    visit.page.click("#shoot")
    visit.settled()
    first = visit.pixels()
    assert first and visit.text()
    visit.page.check("#live")
    visit.shows("document.getElementById('latency').textContent.includes(' ms ')")
    assert visit.page.inner_text("#live-caption")
    visit.page.click("#webcam")
    assert visit.page.is_hidden("#camera")
    visit.check()


def test_a_sentence_is_asked_and_a_phrase_of_it_is_picked(visit):
    visit.upload(picture(2))
    visit.page.fill("#query", "a man on a horse")
    visit.page.press("#query", "Enter")
    visit.settled()
    assert visit.text() == ["a", "man", "on", "a", "horse"]
    start, end = (visit.middle(visit.words().nth(at)) for at in (0, 1))
    visit.drag(start, end)
    visit.settled()
    assert visit.page.input_value("#query") == "[a man] on a horse"
    phrase = visit.page.locator(".phrase")
    assert phrase.get_attribute("aria-pressed") == "true"
    assert phrase.inner_text().split("\n")[0] == "a man"
    whole = visit.pixels()
    visit.words().nth(1).click()
    assert visit.pixels() != whole
    visit.words().nth(3).focus()
    visit.page.keyboard.press("Shift+ArrowRight")
    visit.settled()
    assert visit.page.input_value("#query") == "a man on [a horse]"
    visit.check()


def test_what_is_shown_is_saved(visit, browser, tmp_path):
    visit.upload(picture(3))
    assert Image.open(io.BytesIO(visit.save("png"))).format == "PNG"
    answer = json.loads(visit.save("json"))
    assert answer["words"] == visit.text() and "view" not in answer
    assert answer["methods"]["gradcam"]["maps"]["float32"]
    page = tmp_path / "saved.html"
    page.write_bytes(visit.save("html"))
    saved, said = browser.new_page(), []
    saved.on("console", lambda message: said.append(message.text))
    saved.on("pageerror", lambda error: said.append(str(error)))
    saved.goto(page.as_uri())
    words = saved.locator(".word")
    place = words.last.bounding_box()
    words.last.hover()
    assert words.last.bounding_box() == place  # what is said above it takes no new room
    words.first.click()
    assert saved.locator(".photo canvas").count() == 1
    assert [text.split("\n")[0] for text in words.all_inner_texts()] == visit.text()
    # A report asks nobody: the map of a phrase is made of its words'.
    words.first.focus()
    saved.keyboard.press("Shift+ArrowRight")
    saved.wait_for_selector(".phrase[aria-pressed=true]")
    assert "of its words’ maps" in saved.inner_text(".readout")
    assert said == []
    saved.close()
    visit.check()


def test_objects_and_regions_are_removed(visit):
    pytest.importorskip("skimage", reason="the extra `segments` is not installed")
    visit.upload(objects())
    visit.page.click("#remove")
    stroke = visit.page.locator(".stroke")
    x, y = visit.middle(stroke)
    visit.drag((x - 50, y - 50), (x + 50, y - 50), (x + 50, y + 50), (x - 50, y + 50))
    card = visit.finding(1)
    assert "without region:" in card.locator(".said:not([hidden])").inner_text()
    shown = card.locator(".stage img:not([hidden])")
    without = shown.get_attribute("src")
    card.locator(".spot").click()
    assert shown.get_attribute("src") != without
    assert visit.page.locator(".stroke").count() == 0  # nothing is removed by accident
    visit.page.click("#remove-each")
    assert visit.finding(2).locator(".spot").count() >= 1
    found = json.loads(visit.save("json"))["findings"][1]["spots"]
    x0, y0, x1, y1 = min(own["box"] for own in found.values())
    visit.page.click("#remove")
    box = visit.page.locator(".stroke").bounding_box()
    scale = min(box["width"] / 160, box["height"] / 120)
    left = box["x"] + (box["width"] - 160 * scale) / 2
    top = box["y"] + (box["height"] - 120 * scale) / 2
    visit.page.mouse.click(left + (x0 + x1) / 2 * 160 * scale, top + (y0 + y1) / 2 * 120 * scale)
    assert visit.finding(3).locator(".spot").get_attribute("aria-pressed") == "true"
    saved = json.loads(visit.save("json"))
    assert [own["study"] for own in saved["findings"]] == 3 * ["counterfactual"]
    assert visit.save("html").decode().count('<section class="finding">') == 3
    visit.check()


def test_the_picture_is_changed_so_that_the_caption_changes(visit):
    visit.upload(picture(4))
    visit.page.select_option("#epsilon", "16")
    visit.page.click("#fool button")
    card = visit.finding(1)
    assert "adversarial picture" in card.inner_text() and "became" in card.inner_text()
    assert card.locator(".pictures img").count() == 4
    visit.page.select_option("#goal", "without")
    visit.page.fill("#words", "horse")
    visit.page.click("#fool button")
    visit.finding(2)
    visit.check()


def test_two_captioners_stand_side_by_side(browser):
    both = held(served("one", seed=5), served("other", seed=2))
    context = browser.new_context()
    with running(make_app(both, Limits(), Access(), warm=False)) as port:
        visit = Visit(context.new_page(), f"http://localhost:{port}")
        visit.upload(picture(5))
        assert visit.page.locator(".pane h2").all_inner_texts() == ["one", "other"]
        assert visit.text(0) != visit.text(1) and visit.pixels(0) != visit.pixels(1)
        visit.page.fill("#query", "two dogs play")
        visit.page.press("#query", "Enter")
        visit.settled()
        assert visit.text(0) == visit.text(1) == ["two", "dogs", "play"]
        boxes = [visit.page.locator(".pane").nth(at).bounding_box() for at in range(2)]
        assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
        visit.check()
    context.close()


def test_a_clip_has_a_slider(browser):
    clips = held(served("clips", captioner=of_clips()))
    context = browser.new_context()
    with running(make_app(clips, Limits(), Access(), warm=False)) as port:
        visit = Visit(context.new_page(), f"http://localhost:{port}")
        visit.page.select_option("#method", "caption_guided")
        visit.upload(animated(), "moving.gif", "image/gif")
        visit.page.fill("#query", "two dogs play")
        visit.page.press("#query", "Enter")
        visit.settled()
        visit.page.locator(".player").scroll_into_view_if_needed()
        visit.words().first.click()
        seen = set()
        for frame in range(3):
            visit.page.fill(".player input", str(frame))
            assert f"frame {frame + 1} of 3" in visit.page.inner_text(".player output")
            seen.add(visit.pixels())
        assert len(seen) == 3
        visit.check()
    context.close()


def test_long_work_is_cancelled_within_a_second(visit, port, monkeypatch):
    def slow(*_, watch, **__):
        for part in range(600):
            watch("gradcam", part, 600)
            time.sleep(0.1)

    monkeypatch.setattr(maps, "explain", slow)
    visit.page.set_input_files(
        "#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture(6)}
    )
    visit.shows("document.getElementById('progress').value > 0")
    assert 0 < visit.page.evaluate("document.getElementById('progress').value") < 600
    start = time.monotonic()
    visit.page.click("#cancel")
    visit.settled("Cancelled")
    while b"capjax_cancelled_total 1" not in asked(port, "GET", "/metrics")[2]:
        assert time.monotonic() - start < 1
        time.sleep(0.05)
    visit.check()


def test_errors_are_said_and_the_page_goes_on(browser):
    context = browser.new_context()
    with running(make_app(held(TALKER), Limits(), Access(token="s3cret"), warm=False)) as port:
        visit = Visit(context.new_page(), f"http://localhost:{port}")
        visit.page.fill("#token", "wrong")
        visit.page.press("#token", "Enter")
        visit.complains("does not take this token")
        visit.page.fill("#token", "s3cret")
        visit.page.press("#token", "Enter")
        visit.page.wait_for_selector("#samples img")
        send = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture at all"}
        visit.page.set_input_files("#file", send)
        visit.complains("is no picture")
        visit.upload(picture(7))
        visit.page.select_option("#method", "concepts")
        visit.complains("concepts fit")
        visit.page.select_option("#method", "gradcam")
        visit.settled()
    visit.page.fill("#query", "two dogs")
    visit.page.click("#question button")
    visit.complains("cannot be reached")
    visit.check(refused=5)  # no token, a wrong one, no picture, no concepts, no server
    context.close()


def test_the_keyboard_alone_will_do(visit):
    page = visit.page

    def reach(selector):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(own) => document.activeElement.matches(own)", selector):
                return
        raise AssertionError(f"no way to {selector}")

    reach("#samples button")
    page.keyboard.press("Enter")
    visit.settled()
    reach("#query")
    page.keyboard.type("two dogs play with a ball")
    page.keyboard.press("Enter")
    visit.settled()
    reach(".word")
    first = visit.pixels()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert visit.pixels() != first
    page.keyboard.press("Enter")
    assert page.locator(".word[aria-pressed=true]").count() == 1
    reach("#fool button")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    visit.check()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_narrow_and_dark_pages_are_whole_and_accessible(browser, port, width, colours):
    script = axe()
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=colours, bypass_csp=True
    )
    visit = Visit(context.new_page(), f"http://localhost:{port}")
    visit.upload(objects())
    visit.page.click("#fool button")
    visit.finding(1)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in ground[4:-1].split(",")]
    assert (max(levels) < 64) == (colours == "dark")
    visit.page.evaluate(script)
    found = visit.page.evaluate("axe.run().then(({ violations }) => violations)")
    serious = [
        (one["id"], one["help"], [node["html"][:120] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    visit.check()
    context.close()
