"""The page of a review in a real browser: by keyboard alone, with names as text, in both colour schemes, on a phone."""

from __future__ import annotations

import os
import threading
import time
from importlib.resources import files
from pathlib import Path

import pytest
from helpers.browser import CHROMIUM, Browser
from helpers.sounds import write_sound

from embcomp.data.manifest import Manifest
from embcomp.review.label_file import LabelFile
from embcomp.review.server import ReviewServer
from embcomp.review.session import Session, entries

pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")
SECONDS = 60  # at most, for the browser
HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = (f"{HOSTILE}.wav", "b.wav", "c.wav", "d.wav")
CLASSES = (
    "</script><script>alert(2)</script>",
    "dog",
    f"cat & {'very ' * 9}long name",
    *map("class {}".format, range(9)),
)


def test_nothing_of_the_data_becomes_markup_or_script():
    folder = files("embcomp.review") / "page_files"
    script = (folder / "review.js").read_text(encoding="utf-8")
    for unsafe in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "setTimeout",
    ):
        assert unsafe not in script, unsafe
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1 and 'src="review.js"' in page and " style=" not in page and " on" not in page


@pytest.fixture(scope="module")
def browser():
    found = Browser()
    yield found
    found.close()


class Reviewed:
    """A page that is open in the browser."""

    def __init__(self, browser: Browser, folder: Path, several: bool = False, classes=CLASSES):
        for number, name in enumerate(NAMES):
            write_sound(folder / name, seconds=0.2, seed=number)
        said = ["dog", CLASSES[0], "dog", ""]
        lines = [f"{name},,g,{label},{HOSTILE}" for name, label in zip(NAMES, said)]
        (folder / "next.csv").write_text("path,label,group,predicted,why\n" + "\n".join(lines) + "\n")
        self.browser, self.out = browser, folder / "out.csv"
        manifest = Manifest.read(folder / "next.csv")
        file = LabelFile.open(self.out, False, True)
        self.session = Session(entries(manifest, folder / "next.csv"), file, classes, several)
        self.server = ReviewServer(manifest, self.session)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def open(self, width=1000, dark=False) -> None:
        self.browser(
            "Emulation.setDeviceMetricsOverride", width=width, height=850, deviceScaleFactor=1, mobile=width < 600
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser("Emulation.setEmulatedMedia", features=[theme])
        self.browser("Page.navigate", url=self.server.page)
        self.until(f"location.href === {self.server.page!r} && document.body?.dataset.state === 'ready'")

    def until(self, expression: str) -> None:
        end = time.monotonic() + SECONDS
        while not self.browser.value(expression):
            assert time.monotonic() < end, (expression, self.browser.value("document.body.innerText"))
            time.sleep(0.02)

    def press(self, key: str, text: str = "") -> None:
        self.browser("Input.dispatchKeyEvent", type="keyDown", key=key, text=text or (key if len(key) == 1 else ""))
        self.browser("Input.dispatchKeyEvent", type="keyUp", key=key)

    def shows(self, name: str, labelled: int, named: bool = False) -> None:
        shown = name if named else f"Clip {NAMES.index(name) + 1}"
        self.until(
            f"document.getElementById('name').textContent === {shown!r} && document.body.dataset.state === 'ready'"
            f" && document.getElementById('count').textContent.startsWith('{labelled} of')"
        )

    def close(self) -> None:
        self.browser("Page.navigate", url="about:blank")
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(SECONDS)


@pytest.fixture
def reviewed(browser, tmp_path):
    seen = len(browser.messages)
    found = Reviewed(browser, tmp_path)
    yield found
    page = found.server.page
    found.close()
    told = [one for one in browser.messages[seen:] if "method" in one]
    wrong = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    assert not [one for one in told if one["method"] in wrong]
    asked = [one["params"]["request"]["url"] for one in told if one["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith((page, "data:", "blob:", "about:")) for url in asked)


@in_a_browser
def test_a_list_is_labelled_by_keys_alone(reviewed):
    reviewed.open()
    reviewed.shows(NAMES[0], 0)
    assert reviewed.browser.value("document.getElementById('why').textContent").endswith(HOSTILE)
    assert reviewed.browser.value("document.querySelectorAll('#clip img, main script').length") == 0
    reviewed.press(" ")  # a key lets the page play
    reviewed.until("document.getElementById('sound').currentTime > 0")
    reviewed.press("1")
    reviewed.shows("b.wav", 1)
    assert Manifest.read(reviewed.out).labels == [CLASSES[0]]
    reviewed.press("Enter", "\r")  # agrees with the student
    reviewed.shows("c.wav", 2)
    assert Manifest.read(reviewed.out).labels == [CLASSES[0]] * 2
    reviewed.press("u")
    reviewed.shows("b.wav", 1)
    reviewed.press("2")
    reviewed.shows("c.wav", 2)
    reviewed.press("s")
    reviewed.shows("d.wav", 2)
    reviewed.press("Enter", "\r")  # nothing is predicted, so nothing happens
    reviewed.press("A")  # the tenth class
    reviewed.until("document.body.dataset.state === 'end'")
    assert "1 clip was skipped" in reviewed.browser.value("document.body.innerText")
    for _ in range(2):  # to undo, then to the skipped clips
        reviewed.press("Tab", "\t")
    reviewed.until("document.activeElement.id === 'again'")
    reviewed.press("Enter", "\r")
    reviewed.shows("c.wav", 3)
    reviewed.press("2")
    reviewed.until("document.body.dataset.state === 'end'")
    assert "Every clip has a label" in reviewed.browser.value("document.body.innerText")
    read = Manifest.read(reviewed.out)
    assert dict(zip([path.name for path in map(read.audio_path, range(4))], read.labels)) == {
        NAMES[0]: CLASSES[0], "b.wav": "dog", "d.wav": CLASSES[9], "c.wav": "dog",
    }  # fmt: skip


@in_a_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1000])
def test_it_is_readable_in_both_schemes_and_on_a_phone(reviewed, width, dark):
    reviewed.open(width, dark)
    value = reviewed.browser.value
    assert value("document.documentElement.scrollWidth") == width
    assert value("Math.min(...[...document.querySelectorAll('#classes button')].map(one => one.clientHeight))") >= 40
    assert value("[...document.querySelectorAll('#classes button')].every(one => one.scrollWidth <= one.clientWidth)")
    light = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] > 127"
    assert value(light) is not dark
    if folder := os.environ.get("EMBCOMP_PICTURE"):
        reviewed.browser.picture(Path(folder) / f"review-{width}-{'dark' if dark else 'light'}.png")


@in_a_browser
def test_several_labels_are_chosen_and_saved(browser, tmp_path):
    reviewed = Reviewed(browser, tmp_path, several=True)
    try:
        reviewed.open()
        for key in "232":
            reviewed.press(key)
        reviewed.press("4")
        assert reviewed.browser.value("document.querySelectorAll('[aria-pressed=true]').length") == 2
        reviewed.press("Enter", "\r")
        reviewed.shows("b.wav", 1)
        reviewed.press("Enter", "\r")
        reviewed.shows("c.wav", 2)
        assert Manifest.read(reviewed.out).labels == [f"{CLASSES[2]}|{CLASSES[3]}", "|"]
    finally:
        reviewed.close()


@in_a_browser
def test_names_are_shown_on_request_alone(reviewed):
    reviewed.open()
    text = "document.body.innerText"
    reviewed.press("1")
    reviewed.shows("b.wav", 1)
    assert ".wav" not in reviewed.browser.value(text) and "group" not in reviewed.browser.value(text)
    reviewed.press("n")
    reviewed.shows("b.wav", 1, named=True)
    assert f": {NAMES[0]}" in reviewed.browser.value(text) and "group g" in reviewed.browser.value(text)
    reviewed.press("2")
    reviewed.shows("c.wav", 2, named=True)
    reviewed.press("n")
    reviewed.shows("c.wav", 2)
    assert ".wav" not in reviewed.browser.value(text)


MANY = tuple(f"{first} {second}" for first in ("Bell", "Ölpumpe", "dog") for second in map("no. {}".format, range(176)))


@in_a_browser
def test_one_of_many_labels_is_found_by_typing(browser, tmp_path):
    reviewed = Reviewed(browser, tmp_path, classes=MANY)
    try:
        reviewed.open()
        found = "document.querySelector('#classes .found')?.dataset.name"
        assert reviewed.browser.value("document.querySelectorAll('#classes button').length") == 528
        assert not reviewed.browser.value(found)
        reviewed.press("/")
        reviewed.browser("Input.insertText", text="OLPUMPE NO. 17")  # neither marks nor capitals matter
        reviewed.until(f"{found} === 'Ölpumpe no. 17'")
        assert reviewed.browser.value("document.getElementById('matches').textContent") == "7 of 528"
        reviewed.press("ArrowDown")
        reviewed.until(f"{found} === 'Ölpumpe no. 170'")
        if folder := os.environ.get("EMBCOMP_PICTURE"):
            reviewed.browser.picture(Path(folder) / "review-many.png")
        reviewed.press("Enter", "\r")
        reviewed.shows("b.wav", 1)
        assert Manifest.read(reviewed.out).labels == ["Ölpumpe no. 170"]
        reviewed.press("/")
        reviewed.browser("Input.insertText", text="no such")
        reviewed.until("document.getElementById('matches').textContent === 'no such label'")
        reviewed.press("Enter", "\r")
        reviewed.press("Escape")
        reviewed.press("3")  # a key of a label again, and not of the search
        reviewed.shows("c.wav", 2)
        reviewed.press("/")
        reviewed.browser("Input.insertText", text="s u n")  # keys of actions, which here are letters
        reviewed.press("Escape")
        reviewed.shows("c.wav", 2)
        assert sorted(Manifest.read(reviewed.out).labels) == [MANY[2], "Ölpumpe no. 170"]
    finally:
        reviewed.close()


@in_a_browser
def test_a_clip_that_cannot_be_read_is_said_and_may_be_skipped(browser, tmp_path):
    reviewed = Reviewed(browser, tmp_path)
    try:
        (tmp_path / NAMES[0]).write_text("no sound")
        reviewed.browser("Page.navigate", url=reviewed.server.page)
        reviewed.until("document.body?.dataset.state === 'failed'")
        assert "not readable as audio" in reviewed.browser.value("document.getElementById('status').textContent")
        reviewed.press("s")
        reviewed.shows("b.wav", 0)
    finally:
        reviewed.close()
