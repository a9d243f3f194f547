"""The page: all of its files are there and local, and in a real browser it says what Python says."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import tarfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.browser import CHROMIUM, Browser

import embcomp
from embcomp.errors import ArtifactError, ConfigError
from embcomp.serving.page import RUNTIME, find_runtime, write_page

CLASSES = ["dog <b>", "cré&me", *map("class {}".format, range(6))]  # of the fixture model
SECONDS = 60  # at most, for the browser


def packed(path: Path, names=RUNTIME) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            about = tarfile.TarInfo(f"package/dist/{name}")
            about.size = len(name)
            archive.addfile(about, io.BytesIO(name.encode()))
    return path


def test_the_folder_holds_all_that_it_loads(model, tmp_path):
    index = write_page(model, tmp_path / "page", packed(tmp_path / "onnxruntime-web-1.0.0.tgz"), "Birds & <b>")
    assert "<title>Birds &amp; &lt;b&gt;</title>" in index.read_text()
    assert (index.parent / "ort" / RUNTIME[0]).read_text() == RUNTIME[0]
    assert (index.parent / "model.onnx").read_bytes() == model.read_bytes()
    stated = json.loads((index.parent / "model.json").read_text(encoding="utf-8"))
    assert stated["labels"] == CLASSES and stated["window"] == 1.0 and stated["sample_rate"] == 16_000
    for path in index.parent.glob("*.*"):
        if path.suffix in (".html", ".js", ".css"):
            assert "http://" not in path.read_text() and "https://" not in path.read_text(), path
    write_page(model, tmp_path / "page", tmp_path / "onnxruntime-web-1.0.0.tgz")  # its own is renewed


def test_what_is_missing_is_said_with_how_to_get_it(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="npm pack onnxruntime-web"):
        write_page(model, tmp_path / "page")
    for name, parts in (("a.tgz", RUNTIME[:1]), ("b.tgz", ())):
        with pytest.raises(ConfigError, match="is not the npm package onnxruntime-web"):
            write_page(model, tmp_path / "page", packed(tmp_path / name, parts))
    (tmp_path / "c.tgz").write_bytes(b"x")
    with pytest.raises(ConfigError, match="is not the npm package"):
        write_page(model, tmp_path / "page", tmp_path / "c.tgz")
    with pytest.raises(ConfigError, match="the page runs ONNX"):
        write_page(model.with_suffix(".tflite"), tmp_path / "page")
    assert not (tmp_path / "page").exists()
    packed(tmp_path / "onnxruntime-web-1.0.0.tgz")
    assert find_runtime().name == "onnxruntime-web-1.0.0.tgz"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/index.html").write_text("mine")
    with pytest.raises(ArtifactError, match=r"holds index.html, which would be written over"):
        write_page(model, tmp_path / "mine")
    assert (tmp_path / "mine/index.html").read_text() == "mine"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *values):
        """Nothing is printed."""


@contextlib.contextmanager
def served(folder: Path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=os.fspath(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def runtime() -> Path:
    """The real package: ``$EMBCOMP_ORT_WEB``, or packed in the current folder."""
    given = os.environ.get("EMBCOMP_ORT_WEB")
    try:
        return Path(given) if given else find_runtime()
    except ConfigError:
        pytest.skip("needs the npm package onnxruntime-web: npm pack it, and set EMBCOMP_ORT_WEB")


def until(browser: Browser, state: str) -> None:
    end = time.monotonic() + SECONDS
    while (found := browser.value("document.body?.dataset.state")) != state:
        assert found != "failed" and time.monotonic() < end, browser.value("document.body.innerText")
        time.sleep(0.05)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")
def test_in_a_browser_it_says_what_python_says(model, shared, tmp_path):
    write_page(model, tmp_path / "page", runtime())
    clip = sorted((shared / "data/esc10/audio").glob("*.flac"))[0]
    samples, rate = soundfile.read(clip, dtype="float32")
    soundfile.write(tmp_path / "clip.wav", samples, rate, subtype="FLOAT")
    browser = Browser()
    try:
        with served(tmp_path / "page") as address:
            browser("Page.navigate", url=address)
            until(browser, "ready")
            root = browser("DOM.getDocument")["root"]["nodeId"]
            place = browser("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
            browser("DOM.setFileInputFiles", nodeId=place, files=[os.fspath(tmp_path / "clip.wav")])
            until(browser, "done")
            found = json.loads(browser.value("JSON.stringify(rows)"))
            label = browser.value("document.getElementById('label').textContent")
            first = browser.value("document.querySelector('#classes .name').textContent")
            asked = [one["request"]["url"] for one in browser.events("Network.requestWillBeSent")]
            wrong = browser.events("Log.entryAdded", "Runtime.exceptionThrown")
            if picture := os.environ.get("EMBCOMP_PICTURE"):
                browser.picture(Path(picture))
    finally:
        browser.close()
    expected = embcomp.predict(model, tmp_path / "clip.wav", window=1.0, hop=0.5)
    assert len(found) == len(expected)
    np.testing.assert_allclose(
        [row["probabilities"] for row in found], expected.probabilities, atol=1e-3 if rate == 16_000 else 0.05
    )
    assert label == first == CLASSES[int(expected.probabilities.mean(axis=0).argmax())]
    assert not wrong and all(url.startswith((address, "data:", "blob:")) for url in asked)


def test_labels_are_set_as_text_and_never_as_markup():
    script = (files("embcomp.serving") / "page_files" / "page.js").read_text(encoding="utf-8")
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert unsafe not in script, unsafe
    assert "textContent = label" in script
