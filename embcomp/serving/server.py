"""Labels over HTTP: audio is posted, JSON comes back. For programs on the same machine."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from embcomp.prediction.labeller import Labeller
from embcomp.prediction.predicted import start_of
from embcomp.prediction.windows import Window, check_windows, label_pieces, label_windows
from embcomp.serving.bounded import PIECE, BoundedRequest, BoundedServer, Refused


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


class LabelServer(BoundedServer):
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

    def __init__(
        self,
        model: Labeller,
        host: str = "127.0.0.1",
        port: int = 8000,
        limits: Limits | None = None,
        log: Callable[[str], None] | None = None,
    ):
        self.model, self.limits = model, limits or Limits()
        self.one_at_a_time = threading.Lock()  # some runtimes keep state between calls
        super().__init__(_Request, host, port, self.limits.workers, self.limits.seconds, log)


class _Request(BoundedRequest):
    server: LabelServer

    def do_GET(self) -> None:
        self.answer(self._about)

    def do_POST(self) -> None:
        self.answer(self._label)

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
        limit = self.server.limits.megabytes
        size = self.length(limit * 1e6, f"{limit:g} MB")
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


class _Locked(Labeller):
    """A model that one thread uses at a time."""

    def __init__(self, model: Labeller, lock: threading.Lock):
        self.model, self.lock = model, lock
        self.classes, self.multi_label = model.classes, model.multi_label
        self.threshold, self.audio = model.threshold, model.audio

    def probabilities(self, waveforms):
        with self.lock:
            return self.model.probabilities(waveforms)


def _object(one: Window, classes: tuple[str, ...]) -> dict[str, Any]:
    numbers = [round(float(value), 6) for value in one.probabilities]
    about = {"start": one.start, "end": one.end, "label": one.label, "probability": max(numbers)}
    return {**about, "probabilities": dict(zip(classes, numbers))}
