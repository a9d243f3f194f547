"""Audio files as they should not be, each with what decoding it must say."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
SECONDS = 1.0
NOISE = 0.2 * np.random.default_rng(0).uniform(-1, 1, RATE)
CUT = r"is cut off"
UNREADABLE = r"not readable as audio \("


@dataclass(frozen=True)
class BadFile:
    """How a file is made, and what comes of it.

    Attributes
    ----------
    make : callable
        From the path to nothing.
    outcome : str or float
        Pattern of the reason it is refused with, or the seconds of audio it holds.
    name : str
        File name.
    """

    make: Callable[[Path], object]
    outcome: str | float
    name: str


FILES: dict[str, BadFile] = {}


def file(name: str, outcome: str | float, make: Callable[[Path], object], suffix: str = ".wav") -> None:
    """Add one to the table."""
    assert name not in FILES
    FILES[name] = BadFile(make, outcome, name.replace(" ", "_") + suffix)


def sound(path: Path, wave: np.ndarray = NOISE, rate: int = RATE, **options) -> Path:
    """Write a file that is as it should be."""
    soundfile.write(path, wave, rate, **options)
    return path


def whole(suffix: str, wave: np.ndarray = NOISE, **options) -> Callable[[Path], bytes]:
    """The bytes of a good file of another ending."""

    def read(path: Path) -> bytes:
        other = path.with_name("whole" + suffix)
        content = sound(other, wave, **options).read_bytes()
        other.unlink()
        return content

    return read


def cut(suffix: str, share: float, **options) -> Callable[[Path], object]:
    """Keep only a share of a good file."""

    def make(path: Path) -> None:
        content = whole(suffix, np.tile(NOISE, 5), **options)(path)
        path.write_bytes(content[: int(len(content) * share)])

    return make


def riff(
    samples: int, *, data: int | None = None, rate=RATE, channels=1, bits=16, kind=1, align: int | None = None
) -> bytes:
    """A WAV by hand, whose header may say what is not so.

    Parameters
    ----------
    samples : int
        Frames that are there.
    data : int, optional
        Bytes the header promises.
    kind : int, default=1
        Format tag: 1 is PCM.
    align : int, optional
        Bytes per frame by the header.
    """
    width = channels * bits // 8
    body = NOISE[np.arange(samples) % RATE].repeat(channels)
    content = (body * 32767).astype("<i2").tobytes() if bits == 16 else bytes(samples * width)
    align = width if align is None else align
    data = len(content) if data is None else data
    head = struct.pack("<HHIIHH", kind, channels, rate, min(rate * width, 2**32 - 1), align, bits)
    return b"".join(
        [b"RIFF", struct.pack("<I", min(36 + data, 2**32 - 1)), b"WAVEfmt ", struct.pack("<I", 16), head]
        + [b"data", struct.pack("<I", data), content]
    )


def by_hand(*args, **options) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(riff(*args, **options))


def with_samples(places: list[int], value: float) -> Callable[[Path], object]:
    wave = NOISE.copy()
    wave[places] = value
    return lambda path: sound(path, wave, subtype="FLOAT")


def link(target: str | Path) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


# Cut short, at several points and in every format that tells.
for share in (0.1, 0.5, 0.9, 0.999):
    file(f"wav cut at {share}", CUT, cut(".wav", share))
    file(f"flac cut at {share}", f"{CUT}|{UNREADABLE}", cut(".flac", share), ".flac")
    file(f"ogg cut at {share}", f"{CUT}|{UNREADABLE}", cut(".ogg", share), ".ogg")
    file(f"opus cut at {share}", f"{CUT}|{UNREADABLE}", cut(".ogg", share, subtype="OPUS"), ".opus")
    file(f"mp3 cut at {share}", f"{CUT}|{UNREADABLE}", cut(".mp3", share if share < 0.999 else 0.95), ".mp3")
for share in (0.3, 0.7):
    for suffix in (".aiff", ".au", ".w64", ".rf64", ".caf"):
        file(f"{suffix[1:]} cut at {share}", f"{CUT}|{UNREADABLE}", cut(suffix, share), suffix)
for count in (1, 3, 4, 11, 12, 20, 36):
    file(f"first {count} bytes", UNREADABLE, lambda path, count=count: path.write_bytes(riff(100)[:count]))
for count in (43, 44):
    file(f"first {count} bytes", "has no samples", lambda path, count=count: path.write_bytes(riff(100)[:count]))

# Nothing in it.
file("zero bytes", r"the file is empty \(0 bytes\)", lambda path: path.touch())
file("no samples", "has no samples", lambda path: sound(path, NOISE[:0]))
file("no flac samples", f"has no samples|{UNREADABLE}|the file is empty", lambda path: sound(path, NOISE[:0]), ".flac")

# Headers that lie.
file("promises twice", CUT, by_hand(RATE, data=4 * RATE))
file("promises a gigabyte", CUT, by_hand(RATE, data=1 << 30))
file("promises half", 0.5, by_hand(RATE, data=RATE))
file("promises nothing", 1.0, by_hand(RATE, data=0))  # what a program leaves there that was killed
file("promises minus one", 1.0, by_hand(RATE, data=0xFFFFFFFF))  # what a pipe leaves there
file("no channels", UNREADABLE, by_hand(RATE, channels=0, align=2))
file("no rate", f"{UNREADABLE}|a sample rate of 0 Hz", by_hand(RATE, rate=0))
file("one hertz", "a sample rate of 1 Hz is outside", by_hand(RATE, rate=1))
file("four gigahertz", f"a sample rate of 4294967295 Hz is outside|{UNREADABLE}", by_hand(RATE, rate=2**32 - 1))
file("no bits", UNREADABLE, by_hand(RATE, bits=0, align=2))
file("9999 bits", UNREADABLE, by_hand(10, bits=9999, align=2))
file("unknown kind of samples", UNREADABLE, by_hand(RATE, kind=0x4242))
file("align of zero", 1.0, by_hand(RATE, align=0))

# Names that lie.
file("flac named wav", 1.0, lambda path: path.write_bytes(whole(".flac")(path)))
file("ogg named wav", 1.0, lambda path: path.write_bytes(whole(".ogg")(path)))
file("mp3 named wav", 1.0, lambda path: path.write_bytes(whole(".mp3")(path)))
file("wav named mp3", 1.0, lambda path: path.write_bytes(whole(".wav")(path)), ".mp3")
file("wav named raw", UNREADABLE, lambda path: path.write_bytes(whole(".wav")(path)), ".raw")
file("wav without ending", 1.0, lambda path: path.write_bytes(whole(".wav")(path)), "")
file("text", UNREADABLE, lambda path: path.write_text("no sound\n" * 99))
file("text named mp3", UNREADABLE, lambda path: path.write_text("no sound\n" * 99), ".mp3")
file("a picture", "is a picture", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(999)))
file("an archive", "is a ZIP archive", lambda path: path.write_bytes(b"PK\3\4" + bytes(999)))
file("html named flac", r"is a web page \(HTML\)", lambda path: path.write_text("<html>404</html>"), ".flac")
file("zeros", UNREADABLE, lambda path: path.write_bytes(bytes(9999)))
file("random bytes", UNREADABLE, lambda path: path.write_bytes(np.random.default_rng(1).bytes(9999)))

# Values that are no sound, and sounds that are odd but right.
file("one nan", "1 sample is NaN or infinite", with_samples([7], np.nan))
file("all nan", "16000 samples are NaN or infinite", lambda path: sound(path, np.full(RATE, np.nan), subtype="FLOAT"))
file("plus and minus inf", "3 samples are NaN", with_samples([1, 2, 3], -np.inf))
file("too large for single", "16000 samples are NaN", lambda path: sound(path, NOISE * 1e300, subtype="DOUBLE"))
file("one sample", 1 / RATE, lambda path: sound(path, NOISE[:1]))
file("silence", 1.0, lambda path: sound(path, 0 * NOISE))
file("clipped", 1.0, lambda path: sound(path, np.sign(NOISE)))
file("direct current", 1.0, lambda path: sound(path, 0 * NOISE + 0.9))
file("beyond full scale", 1.0, lambda path: sound(path, NOISE * 50, subtype="FLOAT"))
for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"):
    file(f"samples as {subtype}", 1.0, lambda path, subtype=subtype: sound(path, subtype=subtype))
file("192 kHz", 1.0, lambda path: sound(path, np.tile(NOISE, 12), 192_000))
file("500 kHz", "a sample rate of 500000 Hz is outside", lambda path: sound(path, rate=500_000))
file("3 channels", "3 channels; at most 2", lambda path: sound(path, np.stack([NOISE] * 3, 1)))
file("64 channels", "64 channels; at most 2", lambda path: sound(path, np.stack([NOISE] * 64, 1)))
file("flac of 8 channels", "8 channels; at most 2", lambda path: sound(path, np.stack([NOISE] * 8, 1)), ".flac")

# Not files.
file("missing", "no such file", lambda path: None)
file("folder", "is a folder, not a file", lambda path: path.mkdir())
file("pipe", "is not a regular file", lambda path: os.mkfifo(path))
file(
    "loop",
    r"cannot be read \(Too many levels of symbolic links\)|no such file|outside",
    lambda path: path.symlink_to(path),
)
file("dangling link", "no such file", link("nowhere.wav"))
file("link to a pipe", "is not a regular file", lambda path: (os.mkfifo(path.with_suffix(".fifo")), path.symlink_to(path.with_suffix(".fifo"))))  # fmt: skip
file("link to zeros", "outside the manifest's folder", link("/dev/zero"))
file("link to a terminal", "outside the manifest's folder", link("/dev/tty"))
file("link out", "outside the manifest's folder", link("../elsewhere/good.wav"))
file("link to the file of passwords", "outside the manifest's folder", link("/etc/passwd"))
