"""Sound in containers that libsndfile does not know, read through the program ffmpeg where that is asked for."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from embcomp.errors import AudioError, MissingDependencyError

BLOCK = 1 << 20  # values read at once
# Containers of sound alone or beside pictures; none that names further files or addresses.
CONTAINERS = (
    *(
        "mov",
        "mp4",
        "m4a",
        "3gp",
        "3g2",
        "mj2",
        "matroska",
        "webm",
        "aac",
        "amr",
        "asf",
        "ac3",
        "eac3",
        "ape",
        "wv",
        "tta",
    ),
    *("flv", "avi", "mpegts", "mp3", "wav", "flac", "ogg", "aiff", "caf", "au", "w64", "dsf", "rm"),
)


class FFmpegSource:
    """The first sound of a file, as ffmpeg writes it into a pipe.

    Attributes
    ----------
    path : Path
    rate : int
        Hz.
    channels : int
    frames : None
        Nobody knows before the end.

    Raises
    ------
    MissingDependencyError
        ffmpeg is not installed.
    AudioError
        ffmpeg cannot read the file.
    """

    frames = None

    def __init__(self, path: Path):
        program = shutil.which("ffmpeg")
        if program is None:
            raise MissingDependencyError("audio.ffmpeg = true needs the program ffmpeg: apt install ffmpeg, say")
        self.path = path
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe"]
        command += ["-format_whitelist", ",".join(CONTAINERS), "-i", f"file:{path.absolute()}"]
        command += [
            "-map",
            "0:a:0",
            "-map_metadata",
            "-1",
            "-fflags",
            "+bitexact",
            "-f",
            "wav",
            "-c:a",
            "pcm_f32le",
            "-",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors)
        try:
            self.rate, self.channels = self._header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(OSError):
            self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[np.ndarray]:
        """Samples from `first` on, float32 (k, channels); `count` of them, or all.

        Raises
        ------
        AudioError
            ffmpeg stops with an error, or samples are NaN or infinite.
        """
        width = 4 * self.channels
        while first > 0 and (skipped := self._read(min(first, BLOCK // self.channels) * width)):
            first -= max(1, len(skipped) // width)
        left = count
        while left is None or left > 0:
            size = BLOCK // self.channels
            content = self._read((size if left is None else min(size, left)) * width)
            block = np.frombuffer(content[: len(content) // width * width], dtype="<f4").reshape(-1, self.channels)
            if not np.isfinite(block).all():
                raise AudioError("samples are NaN or infinite; export the file again")
            if not len(block):
                self._check()
                return
            yield block.astype(np.float32)
            left = None if left is None else left - len(block)

    def _header(self) -> tuple[int, int]:
        """Rate and channels, from the beginning of the WAV that ffmpeg writes."""
        found = (0, 0)
        if self._read(12)[8:] != b"WAVE":
            self._check()
            raise AudioError("ffmpeg finds no sound in it")
        while len(head := self._read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"data":
                break
            content = self._read(min(size + size % 2, 1 << 16))
            if name == b"fmt ":
                channels, rate = struct.unpack("<HI", content[2:8])
                found = rate, channels
        if not all(found):
            raise AudioError("ffmpeg finds no sound in it")
        return found

    def _read(self, size: int) -> bytes:
        parts = []
        while size > 0 and (part := self._process.stdout.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _check(self) -> None:
        if self._process.wait() != 0:
            self._errors.seek(0)
            lines = self._errors.read(1 << 16).decode(errors="replace").strip().splitlines()
            reason = lines[-1].replace(f"file:{self.path.absolute()}: ", "") if lines else "no reason given"
            raise AudioError(f"ffmpeg cannot read it ({reason})")
