"""The only decoder: files to mono float32 waveforms at one sample rate."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import numpy as np

from embcomp.errors import AudioError

MAX_CHANNELS = 2
MAX_SECONDS = 3600.0
MAX_VALUES = 1 << 29  # samples of all channels read at once: 2 GB, an hour of stereo at 48 kHz fits
OGG_TAIL = 1 << 17  # bytes; an Ogg page has at most 65307
MIN_RATE, MAX_RATE = 1000, 384_000


def decode(
    path: str | os.PathLike,
    sample_rate: int,
    *,
    start: float | None = None,
    end: float | None = None,
    seconds: float | None = None,
    max_channels: int = MAX_CHANNELS,
) -> np.ndarray:
    """Read a file (wav, flac, ogg, mp3, ...) as mono at `sample_rate`.

    Channels are averaged; resampling is soxr's high quality. At most `seconds`
    are read, so that a long file costs no more than a short one.

    Parameters
    ----------
    sample_rate : int
        Hz of the result.
    start, end : float, optional
        Part of the file, seconds.
    seconds : float, optional
        Keep at most this much.
    max_channels : int, default=2
        A file with more is refused: an average of 8 microphones is seldom meant.

    Returns
    -------
    ndarray of shape (samples,), float32, nominally in [-1, 1]

    Raises
    ------
    AudioError
        Missing, unreadable, without a sample, too many channels, NaN or infinite
        samples, or an interval outside the file. The message does not repeat the path.

    Examples
    --------
    >>> decode("clip.flac", 16_000).shape   # doctest: +SKIP
    (16000,)
    """
    import soundfile

    path = Path(path)
    _check_regular(path)
    try:
        with soundfile.SoundFile(path) as file:
            waveform, rate = _read(file, path, start, end, seconds, max_channels)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        if isinstance(error, AudioError):
            raise
        reason = getattr(error, "error_string", None) or str(error)
        reason = reason.strip().rstrip(".") or "damaged"
        raise AudioError(f"not readable as audio ({reason})") from None
    except OSError as error:
        raise AudioError(f"cannot be read ({error.strerror or error})") from None
    if not np.isfinite(waveform).all():
        raise AudioError(
            f"{np.count_nonzero(~np.isfinite(waveform))} samples are NaN or infinite; export the file again"
        )
    waveform = waveform.mean(axis=1, dtype=np.float32) if waveform.shape[1] > 1 else waveform[:, 0]
    if rate != sample_rate:
        waveform = resample(waveform, rate, sample_rate)
    return waveform


def duration(path: str | os.PathLike) -> float:
    """Length of a file by its header, seconds; 0 where it is unknown."""
    import soundfile

    try:
        found = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, OSError):
        return 0.0
    return found.frames / found.samplerate if found.samplerate else 0.0


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


def _read(
    file, path: Path, start: float | None, end: float | None, seconds: float | None, max_channels: int
) -> tuple[np.ndarray, int]:
    rate = file.samplerate
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"a sample rate of {rate} Hz is outside {MIN_RATE}-{MAX_RATE} Hz")
    if file.channels > max_channels:
        raise AudioError(
            f"{file.channels} channels; at most {max_channels} are mixed to mono: export a mono or stereo file"
        )
    frames = _promised(file)
    first = round((start or 0.0) * rate)
    last = frames if end is None else round(end * rate)
    if first >= frames > 0:
        raise AudioError(f"start is at {start} s, the file ends at {frames / rate:.2f} s")
    # A millisecond of grace: ends are often written rounded to a millisecond.
    if end is not None and last > frames + rate // 1000:
        raise AudioError(f"end is at {end} s, the file ends at {frames / rate:.2f} s")
    count = min(last, frames) - first
    if seconds is not None:
        count = min(count, round(seconds * rate))
    elif count > MAX_SECONDS * rate:
        raise AudioError(
            f"{count / rate:.0f} s long; give a start and end, or a maximum length (over {MAX_SECONDS:.0f} s is refused)"
        )
    if count <= 0:
        raise AudioError("has no samples")
    if count * file.channels > MAX_VALUES:
        raise AudioError(
            f"{count} samples of {file.channels} channels at {rate} Hz are more than the {MAX_VALUES} values read "
            "at once; give a start and end, or a shorter maximum length"
        )
    if first + count >= file.frames and file.format == "OGG" and not _ogg_ends(path):
        raise AudioError("is cut off: the last page of its Ogg stream is missing")
    if first:  # some formats, GSM say, can only be read from their start
        file.seek(first)
    waveform = file.read(count, dtype="float32", always_2d=True)
    if len(waveform) == 0:
        raise AudioError("has no samples, whatever its header says")
    if len(waveform) < count:
        raise AudioError(f"is cut off: its header promises {count} samples, {len(waveform)} are there")
    return waveform, rate


def _promised(file) -> int:
    """Frames by the header. Of a file cut short libsndfile counts what is there, and only its log tells."""
    cut = re.search(r"^ *(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    promised, there = map(int, cut.groups()) if cut else (0, 0)
    long = re.search(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)", file.extra_info)
    there, promised = map(int, long.groups()) if long else (there, promised)
    # A program that writes to a pipe leaves the largest length there is in the header.
    if 0 < there < promised < 0x7FFF0000 and file.frames:
        frames = file.frames * promised // there
        if frames - file.frames > file.samplerate // 1000:
            return frames
    return file.frames


def _ogg_ends(path: Path) -> bool:
    """Whether the last page of an Ogg file is whole and says that it is the last (RFC 3533, section 6).

    libsndfile reads what is there of a stream cut short as if it had been all.
    """
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - OGG_TAIL))
        tail = file.read()
    page = tail.rfind(b"OggS\0")
    while page >= 0:
        header = tail[page : page + 27]
        segments = tail[page + 27 : page + 27 + header[26]] if len(header) == 27 else b""
        whole = len(header) == 27 and len(segments) == header[26]
        if whole and page + 27 + len(segments) + sum(segments) <= len(tail):
            return bool(header[5] & 4)
        page = tail.rfind(b"OggS\0", 0, page)
    return False


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
