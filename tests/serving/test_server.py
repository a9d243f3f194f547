"""The server on loopback: right answers, refusals of one line, and bounds that hold."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import soundfile
from helpers.command import ROOT
from helpers.servers import answering
from helpers.settings import student_settings

from embcomp.cli.listen import listen
from embcomp.cli.serve import serve
from embcomp.config import AudioConfig
from embcomp.data.inputs import InputSpec
from embcomp.errors import ConfigError
from embcomp.prediction.labeller import Labeller
from embcomp.serving.bounded import is_loopback
from embcomp.serving.server import LabelServer, Limits
from embcomp.students.classifier import Classifier

TIMEOUT = 60


class Loudness(Labeller):
    """Says "loud" by the power of a clip; waits where `slow` is set."""

    classes, multi_label = ("loud", "quiet"), False
    audio = AudioConfig(seconds=1.0)

    def __init__(self):
        self.go, self.inside, self.most = threading.Event(), 0, 0
        self.go.set()

    def probabilities(self, waveforms):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.go.wait(TIMEOUT)
        loud = np.array([min(1.0, 10 * float(np.square(row).mean())) for row in waveforms])
        self.inside -= 1
        return np.stack([loud, 1 - loud], 1).astype(np.float32)


def serving(model=None, **limits):
    return answering(LabelServer(model or Loudness(), port=0, limits=Limits(**limits)))


@pytest.fixture(scope="module")
def server():
    with serving(megabytes=1, audio_seconds=20) as found:
        yield found


def ask(server, method="POST", path="/predict", body=b"", **headers):
    link = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=TIMEOUT)
    try:
        link.request(method, path, body, headers)
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        link.close()


def raw(server, *pieces: bytes, wait=0.0) -> bytes:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=TIMEOUT) as link:
        with contextlib.suppress(OSError):
            for piece in pieces:
                link.sendall(piece)
                time.sleep(wait)
        found = b""
        with contextlib.suppress(OSError):
            while piece := link.recv(1 << 16):
                found += piece
        return found


def sound(seconds=1.0, level=0.5, rate=16_000) -> bytes:
    file = io.BytesIO()
    rows = np.random.default_rng(0).uniform(-level, level, round(seconds * rate))
    soundfile.write(file, rows, rate, format="WAV")
    return file.getvalue()


def test_labels_of_a_clip_and_of_windows(server):
    status, found = ask(server, body=sound(level=0.9))
    assert status == 200 and found["seconds"] == 1.0 and not found["cut"]
    (one,) = found["windows"]
    assert one["label"] == "loud" and one["probability"] == max(one["probabilities"].values())
    status, found = ask(server, path="/predict?window=0.5&hop=0.25", body=sound(2.0, level=0.01, rate=8000))
    assert status == 200 and [row["start"] for row in found["windows"]] == list(np.arange(7) / 4)
    assert {row["label"] for row in found["windows"]} == {"quiet"}
    assert ask(server, body=sound(3.0))[1]["cut"]


def test_it_says_what_it_serves(server):
    status, found = ask(server, "GET", "/")
    assert status == 200 and found["classes"] == ["loud", "quiet"] and found["window"] == 1.0


@pytest.mark.parametrize(
    "options, status, words",
    [
        ({"body": b"no sound"}, 422, "not readable as audio"),
        ({"body": b""}, 422, "the file is empty"),
        ({"body": sound()[:2000], "path": "/predict?window=0.5"}, 422, "cut off"),
        ({"body": bytes(1_000_001)}, 413, "more than 1 MB"),
        ({"body": sound(21, rate=8000), "path": "/predict?window=1"}, 413, "more than 20 s of audio"),
        ({"path": "/predict?window=9"}, 400, "--window must lie above 0"),
        ({"path": "/predict?window=nan"}, 400, "--window must lie above 0"),
        ({"path": "/predict?window=x"}, 400, "options are numbers"),
        ({"path": "/predict?path=/etc/passwd"}, 400, "options are window, hop"),
        ({"path": "/predict?window=1&window=1"}, 400, "each once"),
        ({"path": "/../../etc/passwd"}, 404, "post audio to /predict"),
        ({"method": "GET", "path": "/etc/passwd"}, 404, "there is /"),
        ({"method": "DELETE"}, 405, "methods are GET and POST"),
        ({"body": sound(), "Host": "evil.example"}, 403, "answers to localhost"),
        ({"body": sound(), "Transfer-Encoding": "chunked"}, 411, "Content-Length"),
    ],
)
def test_what_is_wrong_is_answered_in_one_line(server, options, status, words):
    found = ask(server, **options)
    assert found[0] == status and words in found[1]["error"] and "\n" not in found[1]["error"]
    assert "/tmp" not in found[1]["error"]
    assert ask(server, body=sound())[0] == 200  # and the next is served


def test_what_is_no_http_ends_alone(server):
    for piece in (b"\0\1\2\r\n\r\n", b"POST /predict HTTP/1.0\r\nContent-Length: -5\r\n\r\n", b"GET " + b"a" * 70_000):
        assert raw(server, piece + b"\r\n\r\n").split(b" ")[1][:1] in (b"4", b"5") or piece.startswith(b"\0")
    half = b"POST /predict HTTP/1.0\r\nContent-Length: 5000\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=TIMEOUT) as link:
        link.sendall(half)
    assert ask(server, body=sound())[0] == 200


def test_a_client_that_trickles_is_cut_off():
    with (
        serving(seconds=0.3, workers=1) as server,
        socket.create_connection(("127.0.0.1", server.server_port), timeout=TIMEOUT) as link,
    ):
        link.sendall(b"POST /predict HTTP/1.0\r\n")
        end = time.monotonic() + TIMEOUT
        # The only place is free again though the client has not gone.
        while ask(server, body=sound())[0] != 200:
            assert time.monotonic() < end
            with contextlib.suppress(OSError):
                link.sendall(b"X")
            time.sleep(0.05)


def test_requests_at_once_are_bounded():
    model = Loudness()
    with serving(model, workers=2) as server:
        model.go.clear()
        threads_before, found = threading.active_count(), []
        clients = [threading.Thread(target=lambda: found.append(ask(server, body=sound())[0])) for _ in range(8)]
        for client in clients:
            client.start()
        deadline = time.monotonic() + TIMEOUT
        while len(found) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (
            threading.active_count() - threads_before <= 2 + 2 * 2 + 2
        )  # clients; threads and timers; on their way out
        model.go.set()
        for client in clients:
            client.join(TIMEOUT)
    assert sorted(found) == [200] * 2 + [503] * 6 and model.most == 1


def test_an_error_of_the_model_is_no_traceback_and_ends_nothing(capfd):
    model = Loudness()
    model.probabilities = None
    with serving(model) as server:
        for _ in range(2):
            assert ask(server, body=sound()) == (500, {"error": "TypeError in the server"})
    assert "Traceback" not in "".join(capfd.readouterr())


def test_addresses():
    assert is_loopback("127.0.0.5") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org") and not is_loopback("")
    with serving() as server, pytest.raises(ConfigError, match="cannot listen on 127.0.0.1, port"):
        LabelServer(Loudness(), port=server.server_port)


@pytest.mark.skipif(os.name != "posix", reason="ends the command with an interrupt")
def test_the_command_serves_a_file_without_torch_until_it_is_interrupted(model, tmp_path):
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background may have been told to ignore it
for name in ("torch", "pandas", "sklearn", "scipy"): sys.modules[name] = None
sys.argv[1:] = ["serve", {str(model)!r}, "--port", "0", "--log"]
from embcomp.cli import main
main()
"""
    said = tmp_path / "said"
    with open(said, "w") as file:
        process = subprocess.Popen([sys.executable, "-c", code], stderr=file, stdout=file, cwd=ROOT)
    try:
        end = time.monotonic() + 2 * TIMEOUT
        while not (found := re.search(r"listening on http://127.0.0.1:(\d+)/predict\n", said.read_text())):
            assert process.poll() is None and time.monotonic() < end, said.read_text()
            time.sleep(0.05)
        link = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=TIMEOUT)
        link.request("POST", "/predict?window=0.5", sound(2.0, rate=22_050))
        rows = json.loads(link.getresponse().read())["windows"]
        link.close()
        assert len(rows) == 4 and set(rows[0]["probabilities"]) >= {"dog <b>", "cré&me"}
        while not re.search("^200 [0-9]+ ms$", said.read_text(), re.M):  # written after the answer
            assert time.monotonic() < end, said.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait(TIMEOUT)


@pytest.mark.parametrize("command", [serve, listen])
def test_a_student_that_takes_no_audio_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", types.ModuleType("sounddevice"))
    settings, table = student_settings(kind="mlp"), InputSpec("table", (5, 1), tuple("abcde"))
    Classifier.new(["a", "b"], AudioConfig(), settings, False, 0, table).save(tmp_path / "student")
    with pytest.raises(ConfigError, match="takes .*, not audio; label those with embcomp predict"):
        command.main([str(tmp_path / "student")], standalone_mode=False)
