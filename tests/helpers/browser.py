"""Headless Chromium over its debugging pipe: what a page asks for, complains about, and looks like."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


class Browser:
    """One tab; `messages` holds every event it told."""

    def __init__(self):
        self.messages: list[dict] = []
        self._count = 0
        self._left = b""
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        there, self._write = os.pipe()
        self._read, back = os.pipe()

        def wire() -> None:
            # The browser reads commands from descriptor 3 and answers on 4; first out of the way of both.
            source, sink = os.dup(there), os.dup(back)
            os.dup2(source, 3)
            os.dup2(sink, 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        self._process = subprocess.Popen(
            [CHROMIUM, *flags, "--remote-debugging-pipe", f"--user-data-dir={self._profile.name}", "about:blank"],
            preexec_fn=wire,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._session = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters) -> dict:
        """Send a command and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._wait(lambda found: found.get("id") == self._count).get("result", {})

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a local file in a window of that size."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[theme])
        seen = len(self.messages)
        self("Page.navigate", url=path.resolve().as_uri())
        if not any(found.get("method") == "Page.loadEventFired" for found in self.messages[seen:]):
            self._wait(lambda found: found.get("method") == "Page.loadEventFired")

    def value(self, expression: str):
        """What an expression in the page is worth."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, path: Path, whole: bool = True) -> None:
        """Save a picture of the page, or of what the window shows of it."""
        data = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def events(self, *methods: str) -> list[dict]:
        """Parameters of the events told so far."""
        return [found["params"] for found in self.messages if found.get("method") in methods]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()

    def _wait(self, wanted, seconds: float = 60) -> dict:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            while b"\0" in self._left:
                text, _, self._left = self._left.partition(b"\0")
                found = json.loads(text)
                self.messages.append(found)
                if wanted(found):
                    return found
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise AssertionError("the browser ended")
            self._left += piece
        raise AssertionError("the browser did not answer")
