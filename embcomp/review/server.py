"""The page of a review, served to this machine alone, and what it may ask for."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompError
from embcomp.review.label_file import Changed
from embcomp.review.playing import picture, sound
from embcomp.review.session import Conflict, Session
from embcomp.serving.bounded import BoundedRequest, BoundedServer, Refused

HOST = "127.0.0.1"  # and no other: whoever has the address may label
MOST = 1 << 16  # bytes of a request's body
SECONDS = 60.0
WORKERS = 8
TYPES = {"": "text/html; charset=utf-8", "review.css": "text/css", "review.js": "text/javascript"}
FILES = {"": "index.html", "review.css": "review.css", "review.js": "review.js"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class ReviewServer(BoundedServer):
    """Serves one session on the loopback address.

    Parameters
    ----------
    manifest : Manifest
        The list, whose clips are those of the session, in order.
    session : Session
    port : int
        0 takes a free one.
    ffmpeg : bool
        Whether the program ffmpeg reads what libsndfile cannot.
    log : callable, optional
        Called with a line for each request; it holds nothing that the request said.

    Attributes
    ----------
    token : str
        Random; every path starts with it, so that no other page and no other user can ask.
    """

    def __init__(
        self,
        manifest: Manifest,
        session: Session,
        port: int = 0,
        ffmpeg: bool = False,
        log: Callable[[str], None] | None = None,
    ):
        self.manifest, self.session, self.ffmpeg = manifest, session, ffmpeg
        self.token = secrets.token_urlsafe(24)
        super().__init__(_Request, HOST, port, WORKERS, SECONDS, log)

    @property
    def page(self) -> str:
        """The address to open."""
        return f"{self.address}/{self.token}/"


class _Request(BoundedRequest):
    server: ReviewServer
    headers_sent = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }

    def do_GET(self) -> None:
        self.answer(lambda: self._given(self._asked()))

    def do_POST(self) -> None:
        self.answer(lambda: self._done(self._asked()))

    def _asked(self) -> str:
        """What a path asks for, after the token.

        Raises
        ------
        Refused
            The token is missing or wrong, or another site sends the request.
        """
        parts = urlsplit(self.path)
        token, slash, asked = parts.path.removeprefix("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode("latin-1"), self.server.token.encode()):
            raise Refused(403, "the address lacks the token of this review: open the one that embcomp review printed")
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{self.headers.get('Host', '')}".lower():
            raise Refused(403, "only the page of this review may ask")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refused(403, "only the page of this review may ask")
        if parts.query:
            raise Refused(404, "there is no such address")
        return asked

    def _given(self, asked: str) -> Any:
        if asked in FILES:
            return TYPES[asked], (files("embcomp.review") / "page_files" / FILES[asked]).read_bytes()
        if asked == "state":
            return self.server.session.state()
        kind, slash, number = asked.partition("/")
        if slash and kind == "sound":
            return "audio/wav", sound(self.server.manifest, self._clip(number), self.server.ffmpeg)
        if slash and kind == "picture":
            return picture(self.server.manifest, self._clip(number), self.server.ffmpeg)
        raise Refused(404, "there is no such address")

    def _clip(self, text: object) -> int:
        """A clip by its number in the list, which is the only way to name one."""
        if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10:
            text = int(text)
        if type(text) is not int or not 0 <= text < len(self.server.session.clips):
            raise Refused(404, "the list has no such clip")
        return text

    def _done(self, asked: str) -> Any:
        session = self.server.session
        needed = {"label": {"clip", "labels"}, "skip": {"clip"}, "undo": set(), "again": set()}.get(asked)
        if needed is None:
            raise Refused(404, "there is no such address")
        body = self._body()
        if set(body) != needed:
            raise Refused(400, f"{asked} takes {', '.join(sorted(needed)) or 'nothing'}")
        try:
            if asked == "label":
                labels = body["labels"]
                if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
                    raise Refused(400, "labels is a list of names")
                return session.label(self._clip(body["clip"]), labels)
            if asked == "skip":
                return session.skip(self._clip(body["clip"]))
            return session.undo() if asked == "undo" else session.again()
        except (Conflict, Changed) as error:
            raise Refused(409, str(error)) from None
        except EmbcompError as error:
            raise Refused(400 if isinstance(error, ValueError) else 507, " ".join(str(error).split())) from None

    def _body(self) -> dict[str, Any]:
        # Another site's page can send other types without asking, this one it cannot.
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "the body is JSON: Content-Type: application/json")
        size = self.length(MOST, f"{MOST >> 10} kB")
        try:
            content = json.loads(self.rfile.read(size))
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(content, dict):
            raise Refused(400, "the body is no JSON object")
        return content
