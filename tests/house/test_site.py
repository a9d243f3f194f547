"""The documentation: built without a warning, complete, loaded from nowhere else, and searched without a server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.browser import CHROMIUM, Browser

import embcomp

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` does but for the outputs of notebooks."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers"):
        pytest.importorskip(package, reason="needs mkdocs and its plugins: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site") / "built"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("EMBCOMP_DOCS_EXECUTE", None)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, env=environment,
    )  # fmt: skip
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


class Page(HTMLParser):
    """What a page loads, and the anchors it has."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self.anchors.add(about.get("id"))
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.loaded.append(about.get("src") or "")
        elif tag == "link":
            self.loaded.append(about.get("href") or "")


def page(site: Path, name: str) -> Page:
    return Page((site / name).read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_another_host(site):
    for path in site.rglob("*.html"):
        away = [target for target in page(site, path).loaded if re.match(r"(https?:)?//", target)]
        assert not away, (path.name, away)
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_every_command_and_every_setting_is_in_the_reference(site):
    from embcomp.cli import COMMANDS
    from embcomp.config import RunConfig, to_dict
    from embcomp.config.choices import SECTIONS, keys_of

    commands = page(site, "reference/commands.html").anchors
    assert set(COMMANDS) | {"manifest-folder", "teachers-fetch"} <= commands
    text = (site / "reference/configuration.html").read_text(encoding="utf-8")
    resolved = to_dict(RunConfig())
    keys = {key for name in ("data", "audio", "split", "evaluation") for key in resolved[name]}
    keys |= {key for key in to_dict(RunConfig().variants[0])["training"]}
    keys |= {key for about in SECTIONS.values() for one in about.classes.values() for key in keys_of(one)}
    assert len(keys) > 60 and not [key for key in keys if f"<code>{key}</code>" not in text]
    assert "at least 0.01; at most 0.5" in text  # split.validation, with its limits


def test_every_setting_says_what_it_is_for(site):
    text = (site / "reference/configuration.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr>\s*<td>(.*?)</td>\s*<td>.*?</td>\s*<td>.*?</td>\s*<td>(.*?)</td>", text, re.S)
    silent = {re.sub("<.*?>", "", key) for key, meaning in rows if not meaning.strip()}
    assert len(rows) > 100 and not silent


def test_public_names_are_described(site):
    import inspect

    anchors = page(site, "reference/api/embcomp.html").anchors
    for name in embcomp.__all__:
        value = getattr(embcomp, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert f"{value.__module__}.{value.__qualname__}" in anchors, name


def test_pages_outside_of_docs_are_in_it_and_linked(site):
    assert {path.parent.name for path in (ROOT / "recipes").glob("*/README.md")} <= {
        path.stem for path in (site / "recipes").glob("*.html")
    }
    assert len(list((site / "notebooks").glob("0*.html"))) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert 'href="recipes/comparison.html"' in (site / "choices.html").read_text(encoding="utf-8")


def test_the_search_has_the_pages(site):
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    found = {
        one["location"].partition("#")[0] for one in index["docs"] if "distance correlation" in one["text"].lower()
    }
    assert "reference/api/losses.html" in found


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_search_works_from_the_file_system_and_asks_nobody(site):
    browser = Browser()
    try:
        browser.open(site / "index.html", 1280, 800)
        browser.value(
            "(() => { const field = document.querySelector('.md-search__input'); field.focus();"
            " field.value = 'calibration'; field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        found, end = "", time.monotonic() + 240
        while not found and time.monotonic() < end:
            time.sleep(0.1)
            found = browser.value("document.querySelector('.md-search-result__link')?.getAttribute('href') || ''")
        assert ".html" in found
        asked = [one["request"]["url"] for one in browser.events("Network.requestWillBeSent")]
        assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
        assert not browser.events("Runtime.exceptionThrown")
    finally:
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(
    "name", ["index.html", "manifests.html", "reference/configuration.html", "recipes/speech.html"]
)
def test_pages_fit_a_phone(site, name):
    browser = Browser()
    try:
        browser.open(site / name, 390, 800)
        assert browser.value("document.documentElement.scrollWidth") <= 390
    finally:
        browser.close()


def test_messages_that_are_explained_are_in_the_code():
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    first = [row.split("|")[1] for row in text.splitlines() if row.startswith("| ") and "`" in row.split("|")[1]]
    quoted = [part for cell in first for part in re.findall(r"`([^`]+)`", cell) if " " in part]
    code = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "embcomp").rglob("*.py"))
    # What f-strings and lines broken by the formatter put between the words.
    code = re.sub(r"\"\s+f?\"", "", code)
    assert len(quoted) > 12 and not [part for part in quoted if part not in code]


def test_settings_and_options_that_the_pages_name_exist():
    from embcomp.config.choices import SECTIONS, keys_of
    from embcomp.config.sections import (
        AudioConfig,
        CompressorConfig,
        DataConfig,
        EvaluationConfig,
        SplitConfig,
        TrainingConfig,
    )

    plain = {"data": DataConfig, "audio": AudioConfig, "split": SplitConfig, "evaluation": EvaluationConfig}
    plain |= {"compressor": CompressorConfig, "training": TrainingConfig}
    known = {name: set(kind.__dataclass_fields__) for name, kind in plain.items()}
    for name, about in SECTIONS.items():
        known[name] = {about.key, *(key for one in about.classes.values() for key in keys_of(one))}
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        text = page.read_text(encoding="utf-8")
        for section, key in re.findall(rf"`({'|'.join(known)})\.([a-z_]+)\b(?![(./])", text):
            assert key in known[section] or key in ("toml", "csv", "json", "npy"), f"{page.name}: {section}.{key}"


def hook(name: str):
    """A module of docs/hooks."""
    import importlib.util

    pytest.importorskip("mkdocs", reason="needs mkdocs: pip install -e '.[docs]'")
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / f"docs/hooks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_that_nothing_names_is_added_once():
    nav = [{"Guide": ["manifests.md", {"Deep": [{"Title": "deep.md"}]}]}, {"Project": []}]
    hook("outside")._add(nav, "Guide", ["manifests.md", "deep.md", "new.md"])
    assert nav[0]["Guide"][2:] == ["new.md"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("README.md", "index.md"),
        ("docs/teachers.md", "teachers.md"),
        ("recipes/speech/README.md", "recipes/speech.md"),
        ("recipes/speech", "recipes/speech.md"),
        ("notebooks/01_choose_a_dimension.ipynb", "notebooks/01_choose_a_dimension.md"),
        ("notebooks", "notebooks/index.md"),
        ("embcomp/errors.py", None),
    ],
)
def test_paths_of_the_repository_have_a_place_in_the_site(path, place):
    module = hook("outside")
    assert (ROOT / path).exists() and module.place_of(path, module.outside()) == place
