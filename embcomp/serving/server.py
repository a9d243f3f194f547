"""Labels over HTTP: audio is posted, JSON comes back. For programs on the same machine.

Nothing that a request says is taken as a path, as a command or as code; size, length, time and number of requests at once
are bounded, and a request that is wrong is answered with one line and ends alone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from embcomp.errors import AudioError, ConfigError
from embcomp.prediction.labeller import Labeller
from embcomp.prediction.predicted import start_of
from embcomp.prediction.windows import Window, check_windows, label_pieces, label_windows

PIECE = 1 << 16  # bytes read at once
PATIENCE = 0.1  # seconds
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Limits:
    """What one request, and all at once, may take.

    Attributes
    ----------
    megabytes : float
        Of a request's body.
    audio_seconds : float
        Of audio that is labelled in windows.
    seconds : float
        For a request, from its first byte to its answer.
    workers : int
        Requests at once; one more is refused with 503.
    """

    megabytes: float = 32.0
    audio_seconds: float = 3600.0
    seconds: float = 60.0
    workers: int = 4


class Refused(Exception):
    """A request that is answered with an error.

    Attributes
    ----------
    status : int
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class LabelServer(ThreadingHTTPServer):
    """Serves one model.

    Parameters
    ----------
    model : Labeller
    host : str
        Address to listen on.
    port : int
        0 takes a free one, see `address`.
    log : callable, optional
        Called with a line for each request; it holds nothing that the request said.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(
        self,
        model: Labeller,
        host: str = "127.0.0.1",
        port: int = 8000,
        limits: Limits | None = None,
        log: Callable[[str], None] | None = None,
    ):
        self.model, self.limits, self.log = model, limits or Limits(), log or (lambda line: None)
        self.one_at_a_time = threading.Lock()  # some runtimes keep state between calls
        self._free = threading.BoundedSemaphore(self.limits.workers)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Request)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot listen on {host}, port {port}: {reason}; choose others") from None
        self.local = is_loopback(host)

    @property
    def address(self) -> str:
        """Where it is reached."""
        host, port = self.server_address[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def server_bind(self) -> None:
        # The base class asks for the host's name, which may wait for a network.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        # A moment of patience: whoever was answered may not have given the place back yet.
        if self._free.acquire(timeout=PATIENCE):
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            drain(request, 0.05)
            request.settimeout(1)
            request.sendall(
                b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json\r\n\r\n"
            )
            request.sendall(b'{"error": "busy: ask again in a second"}\n')
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ended early is no event."""


class _Request(BaseHTTPRequestHandler):
    server: LabelServer
    server_version, sys_version = "embcomp", ""

    def setup(self) -> None:
        self.timeout = self.server.limits.seconds
        self.started = time.monotonic()
        super().setup()
        # A client that sends a byte now and then would never run into the timeout of a single read.
        self._end = threading.Timer(self.timeout, self._cut)
        self._end.daemon = True
        self._end.start()

    def finish(self) -> None:
        self._end.cancel()
        with contextlib.suppress(OSError):
            super().finish()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        self._answer(self._about)

    def do_POST(self) -> None:
        self._answer(self._label)

    def _answer(self, make: Callable[[], dict[str, Any]]) -> None:
        try:
            self._check_host()
            status, content = 200, make()
        except Refused as error:
            status, content = error.status, {"error": str(error)}
        except (AudioError, ConfigError) as error:
            status = 422 if isinstance(error, AudioError) else 400
            content = {"error": " ".join(str(error).split())}
        except OSError:
            return  # the client is gone, or was too slow
        except Exception as error:  # one request must not end the others
            status, content = 500, {"error": f"{type(error).__name__} in the server"}
        self._send(status, content)
        if status != 200:
            drain(self.connection, 0.5)

    def _about(self) -> dict[str, Any]:
        if urlsplit(self.path).path not in ("/", "/health"):
            raise Refused(404, "there is / and, to post audio to, /predict")
        model, limits = self.server.model, self.server.limits
        return {
            "classes": list(model.classes),
            "multi_label": model.multi_label,
            "sample_rate": model.audio.sample_rate,
            "window": model.audio.seconds,
            "limits": {"megabytes": limits.megabytes, "audio_seconds": limits.audio_seconds, "seconds": limits.seconds},
        }

    def _label(self) -> dict[str, Any]:
        parts = urlsplit(self.path)
        if parts.path != "/predict":
            raise Refused(404, "post audio to /predict")
        options = self._options(parts.query)
        check_windows(self.server.model.audio, options.get("window"), options.get("hop"), options.get("threshold"))
        with self._body() as path:
            return self._labelled(path, **options)

    def _options(self, query: str) -> dict[str, float]:
        found = {}
        try:
            given = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
            for name, values in given.items():
                if name not in ("window", "hop", "threshold") or len(values) > 1:
                    raise Refused(400, "options are window, hop (seconds) and threshold, each once")
                found[name] = float(values[0])
        except ValueError:
            raise Refused(400, "options are numbers: /predict?window=2&hop=1") from None
        return found

    @contextlib.contextmanager
    def _body(self) -> Iterator[Path]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            raise Refused(411, "give the length of the audio: Content-Length")
        size, most = int(length), self.server.limits.megabytes * 1e6
        if size > most:
            raise Refused(413, f"more than {self.server.limits.megabytes:g} MB")
        with tempfile.NamedTemporaryFile(prefix="embcomp-") as kept:
            left = size
            while left:
                piece = self.rfile.read(min(PIECE, left))
                if not piece:
                    raise Refused(400, f"only {size - left} of {size} bytes came")
                kept.write(piece)
                left -= len(piece)
            kept.flush()
            yield Path(kept.name)

    def _labelled(
        self, path: Path, window: float | None = None, hop: float | None = None, threshold: float | None = None
    ) -> dict[str, Any]:
        model = _Locked(self.server.model, self.server.one_at_a_time)
        limits, cut = self.server.limits, False
        if window is None:
            waveform, cut = start_of(path, model.audio, lambda kind: None)
            pieces = label_pieces(model, iter([(0.0, waveform)]), threshold)
        else:
            # Of a stranger's bytes nothing goes to another program.
            options = {"hop": hop, "threshold": threshold, "ffmpeg": False, "lost": lambda kind: None}
            pieces = label_windows(model, path, window=window, **options)
        found = []
        for one in pieces:
            if one.end > limits.audio_seconds:
                raise Refused(413, f"more than {limits.audio_seconds:g} s of audio")
            if time.monotonic() - self.started > limits.seconds:
                raise Refused(503, f"not done within {limits.seconds:g} s; send less audio at a time")
            found.append(_object(one, model.classes))
        return {"seconds": found[-1]["end"], "cut": cut, "windows": found}

    def _check_host(self) -> None:
        """Of a page that was led here by a name of its own, nothing is taken."""
        host = self.headers.get("Host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.server.local and name.lower() not in LOCAL_NAMES and not is_loopback(name.strip("[]")):
            raise Refused(403, "this server answers to localhost")

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = (json.dumps(content, ensure_ascii=False) + "\n").encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)
        self.server.log(f"{status} {(time.monotonic() - self.started) * 1000:.0f} ms")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses, in the form of our own errors."""
        self.close_connection = True
        words = {501: "methods are GET and POST"}.get(code, "no HTTP request")
        self._send(405 if code == 501 else code, {"error": words})

    def log_message(self, format: str, *values: object) -> None:
        """`_send` has said it."""


class _Locked(Labeller):
    """A model that one thread uses at a time."""

    def __init__(self, model: Labeller, lock: threading.Lock):
        self.model, self.lock = model, lock
        self.classes, self.multi_label = model.classes, model.multi_label
        self.threshold, self.audio = model.threshold, model.audio

    def probabilities(self, waveforms):
        with self.lock:
            return self.model.probabilities(waveforms)


def drain(link: socket.socket, seconds: float) -> None:
    """Read for a moment what a client still sends: closed at once, it would see a broken connection and no answer."""
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while (left := end - time.monotonic()) > 0:
            link.settimeout(left)
            if not link.recv(PIECE):
                return


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _object(one: Window, classes: tuple[str, ...]) -> dict[str, Any]:
    numbers = [round(float(value), 6) for value in one.probabilities]
    about = {"start": one.start, "end": one.end, "label": one.label, "probability": max(numbers)}
    return {**about, "probabilities": dict(zip(classes, numbers))}
