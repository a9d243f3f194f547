"""The only decoder: files to mono float32 waveforms at one sample rate.

A header is not believed: memory and time are bounded by what is decoded, and what a header promises and the file does not
hold is an error.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from embcomp.audio.ffmpeg import FFmpegSource
from embcomp.audio.headers import UNKNOWN, Overlay, joined_at, mp3_samples, ogg_ends, promised, unknown_length
from embcomp.audio.mono import LOSSES, MAX_CHANNELS, check_channels, loss, to_mono
from embcomp.errors import AudioError, EmbcompWarning, counted
from embcomp.storage.bringing import here
from embcomp.storage.imposters import head_of, undecodable
from embcomp.storage.places import path_of

MAX_SECONDS = 3600.0
MAX_VALUES = 1 << 29  # samples of all channels read at once: 2 GB, an hour of stereo at 48 kHz fits
MIN_RATE, MAX_RATE = 1000, 384_000
BLOCK = 1 << 20  # values read at once
DENSEST = 512  # samples of all channels in a byte: more than silence takes in any format
GRACE = 1e-3  # seconds; ends are often written rounded to a millisecond


def decode(
    path: str | os.PathLike,
    sample_rate: int,
    *,
    start: float | None = None,
    end: float | None = None,
    seconds: float | None = None,
    max_channels: int = MAX_CHANNELS,
    channel: str = "mix",
    ffmpeg: bool = False,
    lost: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Read a file (wav, flac, ogg, mp3, ...) as mono at `sample_rate`.

    Resampling is soxr's high quality. At most `seconds` are read, so that a long
    file costs no more than a short one.

    Parameters
    ----------
    path : path or URL
        Of a long remote WAV only the part that is read is brought.
    sample_rate : int
        Hz of the result.
    start, end : float, optional
        Part of the file, seconds.
    seconds : float, optional
        Keep at most this much.
    max_channels : int, default=2
        A file with more is refused where channels are averaged: a mean of 8 microphones is seldom meant.
    channel : {"mix", "left", "right", "loudest"}
        Of several channels; see `embcomp.audio.mono.to_mono`.
    ffmpeg : bool, default=False
        Read what libsndfile cannot (m4a, webm, ...) through the program ffmpeg.
    lost : callable, optional
        Called with a key of `embcomp.audio.mono.LOSSES` where the mix loses what the channels hold. By default that
        is a warning.

    Returns
    -------
    ndarray of shape (samples,), float32, nominally in [-1, 1]

    Raises
    ------
    AudioError
        Missing, unreadable, without a sample, cut off, joined of several files, too many channels, NaN or infinite
        samples, or an interval outside the file. The message does not repeat the path.

    Examples
    --------
    >>> decode("clip.flac", 16_000).shape   # doctest: +SKIP
    (16000,)
    """
    path = path_of(path)
    stop = end if seconds is None else min((start or 0.0) + seconds, np.inf if end is None else end)
    with open_audio(here(path, start, stop), ffmpeg) as source:
        check_channels(source.channels, channel, max_channels)
        channels = _part(source, start, end, seconds)
    if channel == "mix" and (kind := loss(channels)):
        if lost is not None:
            lost(kind)
        else:
            mend = 'audio.channel = "left", "right" or "loudest" takes one channel'
            warnings.warn(f"{path.name}: {LOSSES[kind]}; {mend}", EmbcompWarning, stacklevel=2)
    waveform = np.ascontiguousarray(to_mono(channels, channel))
    return waveform if source.rate == sample_rate else resample(waveform, source.rate, sample_rate)


@contextlib.contextmanager
def open_audio(path: str | os.PathLike, ffmpeg: bool = False) -> Iterator[Source | FFmpegSource]:
    """Open a file for decoding.

    Parameters
    ----------
    path : path or URL
    ffmpeg : bool, default=False
        Open what libsndfile cannot through the program ffmpeg.

    Raises
    ------
    AudioError
        In the block as well: whatever decoding raises becomes one.
    RemoteError
        A remote file cannot be brought.
    """
    import soundfile

    path = here(path_of(path))
    _check_regular(path)
    source: Source | FFmpegSource | None = None
    try:
        try:
            source = Source(path)
        except (soundfile.LibsndfileError, RuntimeError, TypeError):
            if not ffmpeg:
                raise
            source = FFmpegSource(path)
        if not MIN_RATE <= source.rate <= MAX_RATE:
            raise AudioError(f"a sample rate of {source.rate} Hz is outside {MIN_RATE}-{MAX_RATE} Hz")
        yield source
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        if isinstance(error, AudioError):
            raise
        if source is None and (other := undecodable(head_of(path), path.name)):
            raise AudioError(other) from None
        if source is None and (place := _joined(path)):
            raise AudioError(_about_joined(path, place)) from None
        reason = getattr(error, "error_string", None) or str(error)
        reason = reason.strip().rstrip(".") or "damaged"
        raise AudioError(f"not readable as audio ({reason})") from None
    except OSError as error:
        raise AudioError(f"cannot be read ({error.strerror or error})") from None
    finally:
        if source is not None:
            source.close()


class Source:
    """A file that libsndfile reads, block by block.

    Attributes
    ----------
    path : Path
    rate : int
        Hz.
    channels : int
    frames : int or None
        Samples of a channel by the header; None where it does not tell.
    """

    def __init__(self, path: Path):
        import soundfile

        self.path = path
        changes = unknown_length(path)
        self._overlay = Overlay(path, changes) if changes else None
        try:
            # As bytes: a name need not be text in the encoding of this machine's file system.
            self._file = soundfile.SoundFile(self._overlay or (os.fsencode(path) if os.name == "posix" else path))
        except BaseException:
            self.close()
            raise
        self.rate, self.channels, self._format = self._file.samplerate, self._file.channels, self._file.format
        frames = promised(self._file.extra_info, self._file.frames, self.rate)
        self.frames = frames if frames < UNKNOWN else None
        size = path.stat().st_size
        if self.frames is not None and self.frames * self.channels > DENSEST * size:
            raise AudioError(
                f"is cut off: its header promises {self.frames} samples, more than its {size} bytes can hold"
            )

    def close(self) -> None:
        for one in (getattr(self, "_file", None), self._overlay):
            if one is not None:
                one.close()

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[np.ndarray]:
        """Samples from `first` on, float32 (k, channels); `count` of them, or all.

        Raises
        ------
        AudioError
            The file holds less than its header promises, another file is behind the first, or samples are NaN or
            infinite.
        """
        if first:
            self._skip(first)
        wanted = None if self.frames is None else max(0, self.frames - first)
        wanted = wanted if count is None else count if wanted is None else min(count, wanted)
        to_end = wanted is None or (self.frames is not None and first + wanted >= self.frames)
        if to_end and self._format == "OGG" and not ogg_ends(self.path):
            raise AudioError("is cut off: the last page of its Ogg stream is missing")
        read, size, ended = 0, max(1, BLOCK // self.channels), False
        while not ended and (wanted is None or read < wanted):
            block, ended = self._block(size if wanted is None else min(size, wanted - read))
            bad = np.count_nonzero(~np.isfinite(block))
            if bad:
                raise AudioError(f"{counted(bad, 'sample is', 'samples are')} NaN or infinite; export the file again")
            read += len(block)
            if len(block):
                yield block
        if wanted and not read and not first:
            raise AudioError("has no samples, whatever its header says")
        if self.frames is not None and read < wanted:
            raise AudioError(f"is cut off: its header promises {first + wanted} samples, {first + read} are there")
        if to_end:
            self._check_end(first + read)

    def _block(self, size: int) -> tuple[np.ndarray, bool]:
        """At most `size` samples, and whether they are the last."""
        import soundfile

        if self._format != "FLAC":
            block = self._file.read(size, dtype="float32", always_2d=True)
            return block, len(block) < size
        # Of a FLAC without a length libsndfile gives the last samples along with an error, but not their number.
        block = np.full((size, self.channels), np.nan, dtype=np.float32)
        try:
            found = self._file.read(size, dtype="float32", always_2d=True, out=block)
            return found, len(found) < size
        except soundfile.LibsndfileError as error:
            count = int((~np.isnan(block[:, 0])).sum())
            if self.frames is None and "lost sync" in str(error):
                raise AudioError("is cut off: its samples end within a frame") from None
            return block[:count], True

    def _skip(self, first: int) -> None:
        try:
            self._file.seek(first)
        except (RuntimeError, ValueError):  # some formats, GSM say, can only be read from their start
            left, size, ended = first, max(1, BLOCK // self.channels), False
            while left and not ended:
                block, ended = self._block(min(left, size))
                left -= len(block)

    def _check_end(self, frames: int) -> None:
        """Refuse a file of which the decoder passes over a part."""
        if self._format == "MP3":
            counted = mp3_samples(self.path)
            # Encoders say how much of the first and last frames is to be dropped.
            if counted - frames > max(5 * 1152, counted // 50):
                raise AudioError(
                    f"its header says {frames} samples, its frames hold {counted}: write it anew, "
                    f"ffmpeg -i {self.path.name} -c copy new.mp3 (or convert it to WAV)"
                )
        if place := _joined(self.path):
            raise AudioError(_about_joined(self.path, place))


def _part(source: Source | FFmpegSource, start: float | None, end: float | None, seconds: float | None) -> np.ndarray:
    """Samples of a part of a file, float32 (k, channels)."""
    rate, frames = source.rate, source.frames
    first = round((start or 0.0) * rate)
    last = None if end is None else round(end * rate)
    grace = round(GRACE * rate)
    if frames is not None:
        if frames <= 0:
            raise AudioError("has no samples")
        if first >= frames:
            raise AudioError(f"start is at {start} s, the file ends at {frames / rate:.2f} s")
        if last is not None and last > frames + grace:
            raise AudioError(f"end is at {end} s, the file ends at {frames / rate:.2f} s")
    count = None if last is None else last - first
    if frames is not None:
        count = frames - first if count is None else min(count, frames - first)
    if seconds is not None:
        longest = round(seconds * rate)
        count = longest if count is None else min(count, longest)
    elif count is not None and count > MAX_SECONDS * rate:
        raise AudioError(_too_long(count / rate))
    if count is not None and count <= 0:
        raise AudioError("has no samples")
    if count is not None and frames is not None and count * source.channels > MAX_VALUES:
        raise AudioError(
            f"{count} samples of {source.channels} channels at {rate} Hz are more than the {MAX_VALUES} values read "
            "at once; give a start and end, or a shorter maximum length"
        )
    blocks, read = [], 0
    for block in source.blocks(first, count):
        blocks.append(block)
        read += len(block)
        if seconds is None and read > MAX_SECONDS * rate:
            raise AudioError(_too_long(read / rate, "more than "))
        if read * source.channels > MAX_VALUES:
            raise AudioError(
                f"more than the {MAX_VALUES} values read at once; give a start and end, or a shorter maximum length"
            )
    if not blocks and first:
        raise AudioError(f"start is at {start} s, the file ends before")
    if not blocks:
        raise AudioError("has no samples")
    if (
        frames is None
        and last is not None
        and read < count - grace
        and (seconds is None or read < seconds * rate - grace)
    ):
        raise AudioError(f"end is at {end} s, the file ends at {(first + read) / rate:.2f} s")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _too_long(seconds: float, more: str = "") -> str:
    return (
        f"{more}{seconds:.0f} s long; give a start and end, or a maximum length (over {MAX_SECONDS:.0f} s is refused)"
    )


def _joined(path: Path) -> int:
    try:
        return joined_at(path)
    except (OSError, ValueError):
        return 0


def _about_joined(path: Path, place: int) -> str:
    return (
        f"holds a second file from byte {place} on, which would be lost: files were put end to end; "
        f"cut them apart, or join them as sound (ffmpeg -i {path.name} new.wav)"
    )


def _check_regular(path: Path) -> None:
    try:
        mode = path.stat()
    except FileNotFoundError:
        raise AudioError("no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISDIR(mode.st_mode):
        raise AudioError("is a folder, not a file")
    if not stat.S_ISREG(mode.st_mode):
        raise AudioError("is not a regular file")
    if mode.st_size == 0:
        raise AudioError("the file is empty (0 bytes)")


def resample(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """Resample a waveform (samples,) from `rate` to `sample_rate` Hz; at least 1 sample remains."""
    import soxr

    resampled = soxr.resample(waveform, rate, sample_rate, quality="HQ")
    return resampled if len(resampled) else waveform[:1].copy()


def fit_length(waveforms: list[np.ndarray], samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Stack waveforms of different length: longer ones are cut at their end, shorter ones get zeros.

    Parameters
    ----------
    waveforms : list of ndarray of shape (length,)
    samples : int, optional
        The common length; by default that of the longest.

    Returns
    -------
    batch : ndarray of shape (n, samples), float32
    lengths : ndarray of shape (n,), int64
        Samples of each row that are audio.
    """
    samples = samples or max(map(len, waveforms))
    lengths = np.array([min(len(waveform), samples) for waveform in waveforms], dtype=np.int64)
    batch = np.zeros((len(waveforms), samples), dtype=np.float32)
    for row, (waveform, length) in enumerate(zip(waveforms, lengths)):
        batch[row, :length] = waveform[:length]
    return batch, lengths
