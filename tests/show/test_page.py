"""The page in a real browser, from the file system: sounds load, names are text, keys work."""

from __future__ import annotations

import time
from importlib.resources import files

import pytest
from helpers.browser import CHROMIUM, Browser
from helpers.report_cases import HOSTILE
from helpers.sounds import write_sound

from embcomp.data.manifest import Manifest
from embcomp.show.page import write_page
from embcomp.show.sounds import copied

SECONDS = 60


def test_names_become_text_only():
    script = (files("embcomp.show") / "page_files" / "show.js").read_text(encoding="utf-8")
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert unsafe not in script, unsafe
    assert "</" not in script  # it is inside of a page


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium, which is not installed")
    found = Browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A map and a confusion matrix whose names try to break out."""
    folder = tmp_path_factory.mktemp("pages")
    names = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", *map(str, HOSTILE)][:4]
    for number in range(4):
        write_sound(folder / f"{number}.wav", seconds=0.2)
    (folder / "manifest.csv").write_text("path,label\n" + "".join(f"{number}.wav,x\n" for number in range(4)))
    sounds = copied(Manifest.read(folder / "manifest.csv"), range(4), folder / "map")
    clips = [{"name": name, "said": name, "src": src} for name, src in zip(names, sounds)]
    points = [[0.0, 0.0, 0], [1.0, 0.0, 1], [0.0, 1.0, 1], [1.0, 1.0, -1]]
    content = {"kind": "map", "classes": names[:2], "points": points, "clips": clips}
    found = [write_page(folder / "map", names[0], names[1], content)]
    cells = [[0, 0, [0]], [0, 1, [1, 2]], [1, 1, [3]]]
    content = {"kind": "confusion", "classes": names[:2], "cells": cells, "clips": clips}
    found.append(write_page(folder / "map2", names[0], names[1], content))
    return names, found


def until(browser, expression: str) -> None:
    end = time.monotonic() + SECONDS
    while not browser.value(expression):
        assert time.monotonic() < end, (expression, browser.value("document.body.innerText"))
        time.sleep(0.02)


def complaints(browser, seen: int) -> list:
    wrong = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    return [one for one in browser.messages[seen:] if one.get("method") in wrong]


@pytest.mark.parametrize("width, dark", [(390, True), (1000, False)])
def test_a_map_plays_the_clip_that_is_chosen(browser, pages, width, dark):
    names, (page, _) = pages
    seen = len(browser.messages)
    browser.open(page, width, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value("document.querySelectorAll('circle').length") == 4
    assert browser.value("document.querySelectorAll('img, main script').length") == 0
    browser.value("document.querySelector('svg').focus()")
    for name in (names[0], names[1]):
        browser("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight")
        browser("Input.dispatchKeyEvent", type="keyUp", key="ArrowRight")
        until(browser, f"document.getElementById('status').textContent.startsWith({name!r})")
        until(browser, "Math.abs(document.getElementById('sound').duration - 0.2) < 0.01")
    browser.value("document.querySelectorAll('#legend button')[1].click()")
    assert browser.value("document.querySelectorAll('circle.off').length") == 2
    assert not complaints(browser, seen)


def test_a_cell_lists_its_clips(browser, pages):
    names, (_, page) = pages
    seen = len(browser.messages)
    browser.open(page, 390)
    assert browser.value("document.documentElement.scrollWidth") == 390
    assert browser.value("[...document.querySelectorAll('td button')].map(one => one.textContent).join()") == "1,2,,1"
    browser.value("document.querySelectorAll('td button')[1].click()")
    assert browser.value("document.querySelectorAll('#clips button').length") == 2
    assert browser.value("document.querySelector('#clips button').textContent").startswith(names[1])
    assert not complaints(browser, seen)
