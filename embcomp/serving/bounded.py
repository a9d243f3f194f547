"""A server for programs and pages on the same machine, whose requests are bounded in number, size and time.

Nothing that a request says is taken as a path, as a command or as code, and one that is wrong is answered with one line and
ends alone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from embcomp.errors import AudioError, ConfigError

PIECE = 1 << 16  # bytes read at once
PATIENCE = 0.1  # seconds
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Refused(Exception):
    """A request that is answered with an error.

    Attributes
    ----------
    status : int
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class BoundedServer(ThreadingHTTPServer):
    """Serves so many requests at once and no more.

    Parameters
    ----------
    handler : type
        A `BoundedRequest`.
    host : str
        Address to listen on.
    port : int
        0 takes a free one, see `address`.
    workers : int
        Requests at once; one more is refused with 503.
    seconds : float
        For a request, from its first byte to its answer.
    log : callable, optional
        Called with a line for each request; it holds nothing that the request said.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(
        self,
        handler: type[BoundedRequest],
        host: str,
        port: int,
        workers: int,
        seconds: float,
        log: Callable[[str], None] | None = None,
    ):
        self.seconds, self.log = seconds, log or (lambda line: None)
        self._free = threading.BoundedSemaphore(workers)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), handler)
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


class BoundedRequest(BaseHTTPRequestHandler):
    """A request that ends in time; what kinds there are, and what they answer, is for a class that inherits it.

    Attributes
    ----------
    headers_sent : dict of str to str
        With every answer.
    """

    server: BoundedServer
    server_version, sys_version = "embcomp", ""
    headers_sent: Mapping[str, str] = {"X-Content-Type-Options": "nosniff"}

    def setup(self) -> None:
        self.timeout = self.server.seconds
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

    def answer(self, make: Callable[[], Any]) -> None:
        """Send what `make` gives, as JSON or as (type, bytes), or the error in which it ends."""
        try:
            self.check_host()
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
        self.send(status, content)
        if status != 200:
            drain(self.connection, 0.5)

    def length(self, most: float, what: str) -> int:
        """Bytes of the body, which must be said.

        Parameters
        ----------
        most : float
            Bytes.
        what : str
            How much that is, in words.

        Raises
        ------
        Refused
            It is not said, or is more.
        """
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            raise Refused(411, "give the length of the body: Content-Length")
        if int(length) > most:
            raise Refused(413, f"more than {what}")
        return int(length)

    def check_host(self) -> None:
        """Of a page that was led here by a name of its own, nothing is taken."""
        host = self.headers.get("Host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.server.local and name.lower() not in LOCAL_NAMES and not is_loopback(name.strip("[]")):
            raise Refused(403, "this server answers to localhost")

    def send(self, status: int, content: Any) -> None:
        """Answer with JSON, or with bytes of a given type."""
        kind, body = content if isinstance(content, tuple) else ("application/json; charset=utf-8", None)
        if body is None:
            body = (json.dumps(content, ensure_ascii=False) + "\n").encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in self.headers_sent.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        self.server.log(f"{status} {(time.monotonic() - self.started) * 1000:.0f} ms")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses, in the form of our own errors."""
        self.close_connection = True
        words = {501: "methods are GET and POST"}.get(code, "no HTTP request")
        self.send(405 if code == 501 else code, {"error": words})

    def log_message(self, format: str, *values: object) -> None:
        """`send` has said it."""


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
