"""Labels of what a microphone records, as it comes."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embcomp.audio.decoding import resample
from embcomp.audio.mono import to_mono
from embcomp.errors import ConfigError
from embcomp.extras import imported
from embcomp.prediction.labeller import Labeller
from embcomp.prediction.windows import Window, check_windows, label_pieces

BLOCK = 0.05  # seconds that a device gives at once
WAITING = 200  # blocks that may wait: 10 s
PATIENCE = 5.0  # seconds without a block after which a device counts as gone


def listen(
    model: Labeller,
    blocks: Iterable[np.ndarray],
    rate: int,
    *,
    window: float | None = None,
    hop: float | None = None,
    threshold: float | None = None,
) -> Iterator[Window]:
    """Label windows of a stream, each as soon as it is full, in memory that does not grow.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (samples, channels), float32
        In order, of any lengths.
    rate : int
        Of the blocks, Hz.
    window, hop : float, optional
        Seconds; by default as long as the clips the model was trained on, and half of that.

    Yields
    ------
    Window
        Its times count from the first block.
    """
    window = model.audio.seconds if window is None else window
    check_windows(model.audio, window, hop, threshold)
    hop = window / 2 if hop is None else hop
    return label_pieces(model, _windows(model, blocks, rate, window, hop), threshold, batch=1)


def _windows(
    model: Labeller, blocks: Iterable[np.ndarray], rate: int, window: float, hop: float
) -> Iterator[tuple[float, np.ndarray]]:
    # As embcomp.audio.windows cuts a file: the same windows have the same samples.
    wanted, channel = model.audio.sample_rate, model.audio.channel
    held, begin, number = np.empty(0, dtype=np.float32), 0, 0
    for block in blocks:
        held = np.concatenate([held, to_mono(block, channel)])
        while True:
            start = round(number * hop, 6)
            first, last = round(start * rate), round((start + window) * rate)
            if last > begin + len(held):
                break
            piece = held[first - begin : last - begin]
            piece = piece if rate == wanted else resample(piece, rate, wanted)
            yield start, piece[: round(window * wanted)]
            number += 1
        held, begin = held[max(0, first - begin) :].copy(), max(begin, min(first, begin + len(held)))


@dataclass
class Microphone:
    """A recording device, in a ``with`` block.

    Attributes
    ----------
    rate : int
        Hz at which it records: the one asked for, or its own.
    lost : int
        Blocks that were lost because labelling was too slow, or by the device.
    """

    rate: int
    device: int | str | None = None
    channels: int = 1
    lost: int = 0
    _blocks: queue.Queue = field(default_factory=lambda: queue.Queue(WAITING))
    _stream: Any = None

    def __enter__(self) -> Microphone:
        sounddevice = import_sounddevice()
        try:
            self._stream = self._opened(sounddevice)
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise ConfigError(
                f"no microphone ({' '.join(str(error).split())}); `python -m sounddevice` lists devices, --device takes one"
            ) from None
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            with contextlib.suppress(Exception):  # a device that is gone cannot be closed
                self._stream.close()

    def _opened(self, sounddevice: Any) -> Any:
        options = {"device": self.device, "channels": self.channels, "dtype": "float32", "callback": self._take}
        try:
            return sounddevice.InputStream(samplerate=self.rate, blocksize=round(BLOCK * self.rate), **options)
        except sounddevice.PortAudioError:  # many devices have one rate only
            self.rate = round(sounddevice.query_devices(self.device, "input")["default_samplerate"])
            return sounddevice.InputStream(samplerate=self.rate, blocksize=round(BLOCK * self.rate), **options)

    def _take(self, block: np.ndarray, count: int, when: object, status: Any) -> None:
        """Called by the device's own thread, which must not wait."""
        self.lost += bool(status)
        try:
            self._blocks.put_nowait(block.copy())
        except queue.Full:
            self.lost += 1

    def blocks(self, seconds: float | None = None) -> Iterator[np.ndarray]:
        """Blocks (samples, channels) as they come, for `seconds` or until the caller stops.

        Raises
        ------
        ConfigError
            The device gives nothing any more.
        """
        left = None if seconds is None else round(seconds * self.rate)
        while left is None or left > 0:
            try:
                block = self._blocks.get(timeout=PATIENCE)
            except queue.Empty:
                raise ConfigError(f"the microphone gave nothing for {PATIENCE:g} s; is it still connected?") from None
            yield block if left is None else block[:left]
            left = None if left is None else left - len(block)


def import_sounddevice() -> Any:
    """The package, or an error that says how to install it."""
    return imported(
        "sounddevice", "listening needs", extra="listen", otherwise=", and PortAudio (Debian: libportaudio2)"
    )
