"""The server of a review: it answers its own page alone, takes nothing as a path, and a label is on disk before it answers."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers.command import ROOT
from helpers.servers import answering
from helpers.sounds import write_sound

from embcomp.cli.review import review as command
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, ManifestError
from embcomp.review.label_file import LabelFile
from embcomp.review.server import ReviewServer
from embcomp.review.session import Session, entries

pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")
TIMEOUT = 60
NAMES = ("a.wav", "<img src=x onerror=alert(1)>.wav", "c.wav", "no sound.wav", "../outside.wav")


def write_list(folder):
    for name in NAMES:
        write_sound(folder / "sounds" / name, seconds=0.1)
    (folder / "sounds/no sound.wav").write_text("no sound")
    (folder / "sounds/next.csv").write_text("path,label\n" + "".join(f"{name},\n" for name in NAMES))
    return folder / "sounds/next.csv"


def serving(listed, out, classes=("dog", "cat <b>")):
    manifest = Manifest.read(listed)
    session = Session(entries(manifest, listed), LabelFile.open(out, False, False), classes)
    return answering(ReviewServer(manifest, session))


@pytest.fixture
def served(tmp_path):
    with serving(write_list(tmp_path), tmp_path / "out.csv") as server:
        yield server


def ask(server, asked="state", body=None, method=None, path=None, **headers):
    """Status, headers and content of an answer; the content of JSON as objects."""
    link = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=TIMEOUT)
    try:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers = {"Content-Type": "application/json", **headers}
        path = f"/{server.token}/{asked}" if path is None else path
        link.request(method or ("GET" if body is None else "POST"), path, body, headers)
        answer = link.getresponse()
        content = answer.read()
        kind = answer.headers["Content-Type"]
        found = json.loads(content) if kind.startswith("application/json") else content
        return SimpleNamespace(status=answer.status, headers=answer.headers, content=found)
    finally:
        link.close()


def test_the_page_and_what_it_loads_come_with_a_strict_policy(served):
    for asked, kind in (("", "text/html"), ("review.css", "text/css"), ("review.js", "text/javascript")):
        found = ask(served, asked)
        assert found.status == 200 and found.headers["Content-Type"].startswith(kind)
        policy = found.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert found.headers["Cache-Control"] == "no-store" and found.headers["Referrer-Policy"] == "no-referrer"
        assert b"://" not in found.content.replace(b"http://www.w3.org", b"")


def test_a_label_is_on_disk_when_the_answer_comes(served, tmp_path):
    for number, name in ((0, "a.wav"), (1, NAMES[1])):
        found = ask(served, "label", {"clip": number, "labels": ["cat <b>"]})
        assert found.status == 200 and found.content["labelled"] == number + 1
        read = Manifest.read(tmp_path / "out.csv")
        assert read.labels == ["cat <b>"] * (number + 1) and read.audio_path(number).name == name
    assert ask(served, "skip", {"clip": 2}).content["clip"]["number"] == 3
    assert ask(served, "undo", {}).content["clip"]["number"] == 2
    assert ask(served, "undo", {}).content["clip"]["number"] == 1
    assert Manifest.read(tmp_path / "out.csv").labels == ["cat <b>"]
    assert ask(served, "again", {}).content["labelled"] == 1


def test_the_sound_is_the_clip_and_the_picture_its_log_mel(served, tmp_path):
    samples, rate = soundfile.read(io.BytesIO(ask(served, "sound/0").content))
    expected, expected_rate = soundfile.read(tmp_path / "sounds/a.wav")
    assert rate == expected_rate
    np.testing.assert_allclose(samples, expected, atol=1e-4)
    found = ask(served, "picture/0").content
    assert found["bands"] == 64 and found["seconds"] == pytest.approx(0.1) and found["top"] == rate / 2


def test_two_labels_for_one_clip_are_refused_even_at_once(served, tmp_path):
    statuses = []
    threads = [
        threading.Thread(
            target=lambda name: statuses.append(ask(served, "label", {"clip": 0, "labels": [name]}).status), args=[name]
        )
        for name in ("dog", "cat <b>") * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(statuses) == [200, 409, 409, 409]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "options, status",
    [
        ({"path": "/"}, 403),
        ({"path": "/state"}, 403),
        ({"path": "//state"}, 403),
        ({"path": "/{wrong}/state"}, 403),
        ({"path": "/{token}"}, 403),
        ({"path": "/{wrong}/label", "body": {"clip": 0, "labels": ["dog"]}}, 403),
        ({"path": "/%C3%A9/state"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"asked": "label", "body": {"clip": 0, "labels": ["dog"]}, "Origin": "http://127.0.0.1:1"}, 403),
        ({"asked": "label", "body": {"clip": 0, "labels": ["dog"]}, "Content-Type": "text/plain"}, 415),
        ({"asked": "sound/99"}, 404),
        ({"asked": "sound/-1"}, 404),
        ({"asked": "sound/../next.csv"}, 404),
        ({"asked": "sound/%2e%2e/next.csv"}, 404),
        ({"asked": "sound//etc/passwd"}, 404),
        ({"asked": "../review.js"}, 404),
        ({"asked": "state?clip=1"}, 404),
        ({"asked": "sound/3"}, 422),
        ({"asked": "picture/3"}, 422),
        ({"asked": "sound/4"}, 422),
        ({"asked": "picture/4"}, 422),
        ({"asked": "label", "body": b"x" * 70_000}, 413),
        ({"asked": "label", "body": b"{"}, 400),
        ({"asked": "label", "body": b"[" * 60_000}, 400),
        ({"asked": "label", "body": []}, 400),
        ({"asked": "label", "body": {"clip": 0}}, 400),
        ({"asked": "label", "body": {"clip": 0, "labels": "dog"}}, 400),
        ({"asked": "label", "body": {"clip": 0, "labels": ["dog"], "path": "x"}}, 400),
        ({"asked": "label", "body": {"clip": 0, "labels": ["cow"]}}, 400),
        ({"asked": "label", "body": {"clip": 0, "labels": ["dog", "cat <b>"]}}, 400),
        ({"asked": "label", "body": {"clip": True, "labels": ["dog"]}}, 404),
        ({"asked": "label", "body": {"clip": "0/../1", "labels": ["dog"]}}, 404),
        ({"asked": "undo", "body": {}}, 409),
        ({"asked": "undo", "body": {"clip": 0}}, 400),
        ({"asked": "quit", "body": {}}, 404),
        ({"method": "DELETE"}, 405),
    ],
    ids=str,
)
def test_what_is_not_from_the_page_is_refused_and_nothing_is_written(served, tmp_path, options, status):
    if "path" in options:
        wrong = served.token[:-1] + ("A" if served.token[-1] != "A" else "B")
        options = {**options, "path": options["path"].format(token=served.token, wrong=wrong)}
    found = ask(served, **options)
    assert found.status == status, found.content
    assert "\n" not in found.content["error"] and served.token not in found.content["error"]
    assert not (tmp_path / "out.csv").exists()
    assert ask(served).status == 200  # and the next is served


def test_audio_outside_of_the_list_s_folder_needs_leave(served):
    assert "lies outside the manifest's folder" in ask(served, "sound/4").content["error"]


def test_a_body_without_a_length_is_refused(served):
    link = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=TIMEOUT)
    link.putrequest("POST", f"/{served.token}/undo")
    link.putheader("Content-Type", "application/json")
    link.endheaders()
    assert link.getresponse().status == 411
    link.close()


def test_what_another_program_changed_is_kept_and_said(served, tmp_path):
    ask(served, "label", {"clip": 0, "labels": ["dog"]})
    (tmp_path / "out.csv").write_text("path,label\nmine,x\n")
    found = ask(served, "label", {"clip": 1, "labels": ["dog"]})
    assert found.status == 409 and "changed by another program" in found.content["error"]
    assert (tmp_path / "out.csv").read_text() == "path,label\nmine,x\n"


def test_each_start_has_a_token_of_its_own_and_this_machine_alone_is_served(tmp_path):
    listed = write_list(tmp_path)
    with serving(listed, tmp_path / "1.csv") as one, serving(listed, tmp_path / "2.csv") as other:
        assert one.token != other.token and len(one.token) >= 32
        assert one.server_address[0] == "127.0.0.1" and one.page == f"http://127.0.0.1:{one.server_port}/{one.token}/"


@pytest.mark.skipif(os.name != "posix", reason="kills the command")
def test_the_command_loses_nothing_when_it_is_killed_and_goes_on(tmp_path):
    listed, out, said = write_list(tmp_path), tmp_path / "sounds/out.csv", tmp_path / "said"
    words = ["review", str(listed), "--manifest", str(out), "--labels", "dog,cat"]
    code = f"""
import sys
for name in ("torch", "sklearn", "librosa"): sys.modules[name] = None  # it starts at once
sys.argv[1:] = {words!r}
from embcomp.cli import main
main()
"""
    for done, ending in ((0, signal.SIGKILL), (1, signal.SIGTERM)):
        with open(said, "w") as file:
            process = subprocess.Popen([sys.executable, "-c", code], stdout=file, stderr=file, cwd=ROOT)
        try:
            end = time.monotonic() + 2 * TIMEOUT
            while not (found := re.search(r"open http://127.0.0.1:(\d+)/([\w-]+)/ ", said.read_text())):
                assert process.poll() is None and time.monotonic() < end, said.read_text()
                time.sleep(0.05)
            server = SimpleNamespace(server_port=int(found[1]), token=found[2])
            assert ask(server).content["labelled"] == done
            assert ask(server, "label", {"clip": done, "labels": ["cat"]}).status == 200
            process.send_signal(ending)
            process.wait(TIMEOUT)
        finally:
            process.kill()
            process.wait(TIMEOUT)
        assert Manifest.read(out).labels == ["cat"] * (done + 1)
    assert "needs --allow-outside" in said.read_text()  # of the last clip
    assert f"1 label added: {out}" in said.read_text()


@pytest.mark.parametrize(
    "words, error, said",
    [
        (["--labels", "dog,cat", "--student", "none"], ConfigError, "both name the labels"),
        (["--labels", "dog,do|g"], ConfigError, "cannot be a label"),
        ([], ConfigError, "no labels to choose from: add --labels a,b,c or --student STUDENT"),
    ],
)
def test_wrong_options_are_refused(tmp_path, words, error, said):
    listed = write_list(tmp_path)
    with pytest.raises(error, match=re.escape(said)):
        command.main([str(listed), "--manifest", str(tmp_path / "out.csv"), *words], standalone_mode=False)
    assert not (tmp_path / "out.csv").exists()


def test_a_list_that_is_none_and_a_file_in_use_are_refused(tmp_path):
    from embcomp.errors import StoreError
    from embcomp.storage.arrays import WriterLock

    listed, out = write_list(tmp_path), tmp_path / "out.csv"
    with pytest.raises(ManifestError, match="no manifest at"):
        command.main([str(tmp_path / "none.csv"), "--manifest", str(out), "--labels", "a"], standalone_mode=False)
    with WriterLock(out, "labels"), pytest.raises(StoreError, match=r"another process is writing .*out.csv"):
        command.main([str(listed), "--manifest", str(out), "--labels", "a"], standalone_mode=False)
