from __future__ import annotations

from pathlib import Path

import pytest
from helpers.browser import CHROMIUM, Browser
from helpers.report_cases import HOSTILE, HOSTILE_CLASSES, add_comparisons, make_run, make_sweep

from embcomp.report import build, write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")


@pytest.fixture(scope="module")
def browser():
    found = Browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Names that try to break out, in every part a report can have."""
    folder = tmp_path_factory.mktemp("page")
    run = make_run(folder / "run", HOSTILE, HOSTILE_CLASSES)
    add_comparisons(run, HOSTILE, claim=HOSTILE[0])
    write_report([run, make_sweep(folder / "sweep")], folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_without_a_complaint_or_a_request(browser, page, width, dark):
    seen = len(browser.messages)
    browser.open(page, width, dark=dark)
    told = [found for found in browser.messages[seen:] if "method" in found]
    asked = [found["params"]["request"]["url"] for found in told if found["method"] == "Network.requestWillBeSent"]
    assert asked == [page.resolve().as_uri()]
    wrong = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    assert not [found for found in told if found["method"] in wrong]


def test_every_panel_is_there_and_has_a_size(browser, page):
    browser.open(page)
    document = build([page.parent / "run", page.parent / "sweep"])
    figures = [block for section in document.sections for block in section.blocks if hasattr(block, "panels")]
    sizes = browser.value("[...document.querySelectorAll('.panel svg')].map(one => one.getBoundingClientRect().height)")
    assert len(sizes) == sum(len(figure.panels) for figure in figures) and min(sizes) > 20
    assert browser.value("document.querySelectorAll('figure').length") == len(figures)
    assert browser.value(
        "[...document.querySelectorAll('svg[role=img]')].every(one => one.querySelector('title').textContent)"
    )


def test_a_phone_shows_it_without_scrolling_sideways(browser, page):
    browser.open(page, 390)
    assert browser.value("document.documentElement.scrollWidth") == 390
    # The smallest letters of a picture, as the phone shows them.
    smallest = """Math.min(...[...document.querySelectorAll('.panel svg text')].map(one =>
        parseFloat(getComputedStyle(one).fontSize) * one.ownerSVGElement.getScreenCTM().a))"""
    assert browser.value(smallest) >= 9


def test_the_first_screen_shows_claim_and_scores(browser, tmp_path):
    write_report([make_run(tmp_path / "run")], tmp_path / "report.html")
    browser.open(tmp_path / "report.html", 1280, 900)
    assert browser.value("document.querySelector('.lead').getBoundingClientRect().bottom") < 400
    assert browser.value("document.querySelector('table').getBoundingClientRect().bottom") < 900


def test_the_switch_turns_the_theme(browser, page):
    background = "getComputedStyle(document.body).backgroundColor"
    browser.open(page, dark=False)
    light = browser.value(background)
    assert browser.value("document.getElementById('theme').textContent") == "Dark"
    browser.value("document.getElementById('theme').click()")
    dark = browser.value(background)
    assert dark != light and browser.value("document.getElementById('theme').textContent") == "Light"
    browser.open(page, dark=True)
    assert browser.value(background) == dark


CONTRAST = """
(() => {
  const lit = color => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => { part /= 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const page = lit(getComputedStyle(document.body).backgroundColor);
  const found = [...document.querySelectorAll('p, td, th, li, h1, h2, h3, h4, summary, figcaption, a')].map(one => {
    const ink = lit(getComputedStyle(one).color);
    return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
  });
  return Math.min(...found);
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out(browser, page, dark):
    """At least 4.5 to 1, as the Web Content Accessibility Guidelines ask of text (WCAG 2.2, 1.4.3)."""
    browser.open(page, dark=dark)
    assert browser.value(CONTRAST) >= 4.5
