"""The page in headless Chromium: what a test clicks, waits for, and may never see."""

import contextlib
import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = (
    "--no-sandbox",  # as root
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
PATIENCE = 300_000
"""Milliseconds: programs are compiled while a test waits."""

SETTLED = """(text) => {
  const byId = (id) => document.getElementById(id);
  if (!byId("error").hidden) throw new Error(byId("error").textContent);
  return byId("cancel").hidden && byId("status").textContent.includes(text);
}"""
PIXELS = """(number) => {
  const canvas = document.querySelectorAll(".item")[number].querySelector(".photo canvas");
  return canvas && canvas.toDataURL();
}"""


@functools.cache
def chromium():
    """The path of Chromium; skips the test where there is none, or no Playwright."""
    pytest.importorskip("playwright", reason="the extra `browser` is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    return found


@functools.cache
def axe():
    """The script of axe-core; skips the test where the npm package is not installed.

    It is looked for in $AXE_CORE, in the global packages of npm, and in node_modules above.
    """
    folders = [Path(os.environ["AXE_CORE"])] if "AXE_CORE" in os.environ else []
    if shutil.which("npm"):
        asked = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True)
        folders.append(Path(asked.stdout.strip()) / "axe-core")
    folders += [parent / "node_modules" / "axe-core" for parent in Path(__file__).parents]
    for folder in folders:
        if (folder / "axe.min.js").is_file():
            return (folder / "axe.min.js").read_text("utf-8")
    pytest.skip("axe-core is not installed: npm install --global axe-core, or set AXE_CORE")


class Visit:
    """One page of a server, in a browser."""

    def __init__(self, page, origin):
        self.page, self.origin = page, origin
        self.said, self.asked = [], []
        page.set_default_timeout(30_000)
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(origin)
        page.wait_for_selector("#samples img, #sign-in:not([hidden])")

    def settled(self, text="Explained"):
        """Waits until the status says so and nothing runs."""
        self.page.wait_for_function(SETTLED, arg=text, timeout=PATIENCE)

    def shows(self, rule):
        """Waits until a rule of JavaScript holds; as a function, for the page evaluates no text."""
        self.page.wait_for_function(f"() => {rule}", timeout=PATIENCE)

    def complains(self, text):
        """Waits until the page says so."""
        self.shows(f"document.getElementById('error').textContent.includes({text!r})")

    def finding(self, number):
        """The newest finding, once there are so many."""
        self.shows(f"document.querySelectorAll('.card').length === {number}")
        self.settled("done")
        return self.page.locator(".card").first

    def upload(self, content, name="noise.png", kind="image/png"):
        """Chooses a file, and waits for its maps."""
        self.page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})
        self.settled()

    def words(self, pane=0):
        """The words of the sentence that is shown."""
        item = self.page.locator(".item").nth(pane)
        return item.locator(".sentence:not([hidden]) .words:not(.phrases) .word")

    def text(self, pane=0):
        """These words."""
        return [word.split("\n")[0] for word in self.words(pane).all_inner_texts()]

    def pixels(self, pane=0):
        """What is drawn over the picture; None where nothing is."""
        return self.page.evaluate(PIXELS, pane)

    def drag(self, *points):
        """Draws with the mouse from one place to the next."""
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=6)
        self.page.mouse.up()

    def middle(self, locator):
        """Of an element."""
        locator.scroll_into_view_if_needed()
        box = locator.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def save(self, kind):
        """The content of a file that the page saves."""
        with self.page.expect_download() as found:
            self.page.click(f"#save-{kind}")
        return Path(found.value.path()).read_bytes()

    def check(self, refused=0):
        """Nothing went to another place; nobody complained, but of so many refused requests."""
        own = (self.origin, "blob:", "data:")
        assert [url for url in self.asked if not url.startswith(own)] == []
        complaints = [text for text in self.said if "Failed to load resource" not in text]
        assert complaints == []
        assert len(self.said) == refused, self.said


@contextlib.contextmanager
def browsing(**options):
    """A browser."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, **options)
        yield browser
        browser.close()
