"""A server of the package, answering in a thread while a test talks to it."""

from __future__ import annotations

import contextlib
import threading

LIMIT = 60  # s that its thread may take to end


@contextlib.contextmanager
def answering(server):
    """The server, which is closed at the end."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(LIMIT)
