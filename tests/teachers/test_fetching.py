"""Fetching over a connection that breaks, from a package index, and what is not what it should be."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from embcomp.errors import TeacherError
from embcomp.teachers import fetching
from embcomp.teachers.catalogue import Entry, File
from embcomp.teachers.fetching import fetch, whole

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server():
    """A server of one file that can cut a connection, and can lack ranges."""

    class Handler(BaseHTTPRequestHandler):
        cut, ranges, asked = 0, True, []

        def do_GET(self):
            wanted = self.headers.get("Range") if self.ranges else None
            Handler.asked.append(self.headers.get("Range"))
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start >= len(CONTENT):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : self.cut or None])

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Handler.address = f"http://127.0.0.1:{server.server_port}/model.onnx"
    yield Handler
    server.shutdown()
    server.server_close()
    thread.join()


def entry_of(*files, **more) -> Entry:
    return Entry(
        "small", "onnx", "small", more.pop("origin", "files"), "tests", "none", "MIT", 0.3, 8000, 4, files=files, **more
    )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_whole_and_is_not_fetched_twice(server):
    entry, seen = entry_of(File(server.address, digest(CONTENT))), []
    assert not whole(entry)
    folder = fetch(entry, lambda done, total: seen.append((done, total)))
    assert (entry.folder / "model.onnx").read_bytes() == CONTENT and folder == str(entry.folder)
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and whole(entry)
    fetch(entry)
    assert server.asked == [None]
    assert not (entry.folder.parent / ".downloads/small").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_fetch_goes_on(server, ranges):
    entry = entry_of(File(server.address, digest(CONTENT)))
    server.cut = 200_000
    with pytest.raises(TeacherError, match=r"cannot get http.* what has come is kept: run the same command again"):
        fetch(entry)
    assert not entry.fetched
    server.cut, server.ranges = 0, ranges
    fetch(entry)
    assert (entry.folder / "model.onnx").read_bytes() == CONTENT
    kept = server.asked[1]
    assert server.asked[0] is None and kept is not None and int(kept[6:-1]) <= 200_000


def test_a_killed_fetch_that_had_everything_goes_on(server, monkeypatch):
    entry = entry_of(File(server.address, digest(CONTENT)))

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(entry)
    fetch(entry)
    assert server.asked == [None, f"bytes={len(CONTENT)}-"] and whole(entry)


def test_another_content_is_deleted_and_said(server):
    entry = entry_of(File(server.address, digest(b"other")))
    with pytest.raises(TeacherError, match="came with another SHA-256 than the catalogue's: deleted"):
        fetch(entry)
    assert not entry.fetched and not list(entry.folder.parent.rglob("*.part"))


def test_no_server_no_folder(tmp_path, monkeypatch):
    entry = entry_of(File("http://127.0.0.1:9/model.onnx", digest(CONTENT)))
    with pytest.raises(TeacherError, match="cannot get http://127.0.0.1:9/model.onnx .*put the file itself into"):
        fetch(entry)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "file"))
    with pytest.raises(TeacherError, match="cannot write .*set EMBCOMP_CACHE|cannot create a folder"):
        fetch(entry)


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package with a model in it, in a folder that is all the index there is."""
    index = tmp_path / "index"
    index.mkdir()
    path = index / "tiny_teacher-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_teacher/model.onnx", CONTENT)
        archive.writestr(
            "tiny_teacher-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-teacher\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny_teacher-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_teacher-1.0.dist-info/RECORD", "")  # fmt: skip
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    return path


def test_a_teacher_comes_out_of_a_wheel(wheel):
    entry = entry_of(
        File("tiny_teacher/model.onnx", digest(CONTENT)),
        origin="wheel",
        package="tiny-teacher==1.0",
        sha256=digest(wheel.read_bytes()),
    )
    fetch(entry)
    assert (entry.folder / "model.onnx").read_bytes() == CONTENT
    (entry.folder / "model.onnx").write_bytes(b"damaged")
    assert entry.fetched and not whole(entry)
    fetch(entry)
    assert whole(entry)
    (entry.folder / "model.onnx").unlink()
    with pytest.raises(TeacherError, match="came with another SHA-256 than the catalogue's"):
        fetch(replace(entry, sha256=digest(b"")))
    with pytest.raises(TeacherError, match=r"pip cannot download tiny-teacher==2.0 \(.*\); check the network, or put"):
        fetch(replace(entry, package="tiny-teacher==2.0"))


def test_a_wheel_laid_by_hand_is_taken(wheel, monkeypatch):
    entry = entry_of(
        File("tiny_teacher/model.onnx", digest(CONTENT)),
        origin="wheel",
        package="nowhere==1.0",
        sha256=digest(wheel.read_bytes()),
    )
    folder = entry.folder.parent / ".downloads/small"
    folder.mkdir(parents=True)
    wheel.rename(folder / wheel.name)
    fetch(entry)
    assert whole(entry)


def test_a_package_is_named_and_nothing_is_installed():
    with pytest.raises(TeacherError, match="pip install other, then use it as onnx:small"):
        fetch(entry_of(origin="package", package="other"))
    assert "nothing to fetch" in fetch(entry_of(origin="here"))


@pytest.mark.parametrize("safetensors", [True, False])
def test_checkpoints_come_by_the_hub_with_the_weights_that_are_there(tmp_path, monkeypatch, safetensors):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(name, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        (tmp_path / ("model.safetensors" if safetensors else "config.json")).write_text("")
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert fetch(replace(entry_of(origin="hub"), kind="hf", argument="someone/small@main")) == str(tmp_path)
    assert {one[:2] for one in asked} == {("someone/small", "main")}
    assert "*.safetensors" in asked[0][2] and "*.bin" not in asked[0][2]
    assert ("*.bin" in asked[-1][2]) == (not safetensors) and len(asked) == 2 - safetensors

    def fails(*arguments, **options):
        raise OSError("no route\nmore")

    monkeypatch.setattr(hub, "snapshot_download", fails)
    with pytest.raises(
        TeacherError, match=r"cannot get someone/small from the hub \(no route\); what has come is kept"
    ):
        fetch(replace(entry_of(origin="hub"), kind="hf", argument="someone/small"))
