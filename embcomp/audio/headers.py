"""What headers of audio files say, and what is not believed of it: unknown lengths, and files joined end to end."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

OGG_TAIL = 1 << 17  # bytes; an Ogg page has at most 65307
UNKNOWN = (1 << 36) - 1  # samples: FLAC's largest count, and what programs leave that do not know
HEAD = 64  # chunks looked at
# Kinds of chunks that may follow the samples of a WAV.
AFTER_DATA = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"cue ",
    b"smpl",
    b"inst",
    b"JUNK",
    b"junk",
    b"PAD ",
    b"fact",
    b"PEAK",
)
AFTER_DATA += (
    b"afsp",
    b"iXML",
    b"axml",
    b"_PMX",
    b"cart",
    b"plst",
    b"adtl",
    b"DISP",
    b"note",
    b"acid",
    b"strc",
    b"umid",
)

# Of MPEG layer III: kbit/s by the index in a frame's header, and Hz.
BITRATES = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class Overlay:
    """A file that reads as if some of its bytes were others; nothing is written.

    Parameters
    ----------
    path : Path
    changes : list of (int, bytes)
        Places and what is to be read there.
    """

    def __init__(self, path: Path, changes: list[tuple[int, bytes]]):
        self._file = open(path, "rb")  # noqa: SIM115, closed by `close`
        self._changes = changes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        place = self._file.tell()
        content = bytearray(self._file.read(size))
        for start, change in self._changes:
            low, high = max(place, start), min(place + len(content), start + len(change))
            if low < high:
                content[low - place : high - place] = change[low - start : high - start]
        return bytes(content)

    def close(self) -> None:
        self._file.close()


def unknown_length(path: Path) -> list[tuple[int, bytes]]:
    """Where a header leaves the length of the samples open, as programs do that write into a pipe or were killed.

    Returns
    -------
    list of (int, bytes)
        The place of the length, and what the file's size says of it; empty where the header tells it.
    """
    size = path.stat().st_size
    try:
        with open(path, "rb", buffering=0) as file:
            magic = file.read(12)
            if magic[:4] in (b"RIFF", b"RF64", b"BW64") and magic[8:] == b"WAVE":
                return _riff_length(file, size)
            if magic[:4] == b".snd" and magic[8:] == bytes(4):
                start = struct.unpack(">I", magic[4:8])[0]
                return [(8, b"\xff" * 4)] if 24 <= start < size else []
            if magic[:4] == b"caff":
                return _caf_length(file, size)
    except (OSError, struct.error):
        pass
    return []


def _riff_length(file: BinaryIO, size: int) -> list[tuple[int, bytes]]:
    wide = 0  # place of the 64-bit length
    for name, place, length in _chunks(file, 12, "<4sI"):
        if name == b"ds64":
            wide = place + 8
            file.seek(wide)
            length64 = int.from_bytes(file.read(8), "little")
        if name != b"data":
            continue
        there = size - place
        file.seek(place)
        follows = file.read(8)
        if there <= 0 or (follows[:4] in AFTER_DATA and int.from_bytes(follows[4:], "little") <= there - 8):
            return []
        if wide and length in (0xFFFFFFFF, 0):
            return [(wide, there.to_bytes(8, "little"))] if length64 in (0, 2**64 - 1, 0xFFFFFFFF) else []
        return [(place - 4, b"\xff" * 4)] if length == 0 else []
    return []


def _caf_length(file: BinaryIO, size: int) -> list[tuple[int, bytes]]:
    for name, place, length in _chunks(file, 8, ">4sq"):
        if name == b"data":
            there = size - place
            return [(place - 8, there.to_bytes(8, "big"))] if length in (0, -1) and there > 4 else []
    return []


def _chunks(file: BinaryIO, place: int, form: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content, and length of each chunk."""
    for _ in range(HEAD):
        file.seek(place)
        head = file.read(struct.calcsize(form))
        if len(head) < struct.calcsize(form):
            return
        name, length = struct.unpack(form, head)
        place += len(head)
        yield name, place, length
        if length < 0:
            return
        place += length + (length & 1 if form[0] == "<" else 0)


def promised(log: str, frames: int, rate: int) -> int:
    """Frames by the header. Of a file cut short libsndfile counts what is there, and only its log tells.

    Parameters
    ----------
    log : str
        What libsndfile says of the header.
    frames, rate : int
        By libsndfile; `rate` in Hz.
    """
    cut = re.search(r"^ *(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    said, there = map(int, cut.groups()) if cut else (0, 0)
    long = re.search(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)", log)
    there, said = map(int, long.groups()) if long else (there, said)
    # Of an AIFF two parts of the header count, and libsndfile believes the shorter.
    comm = re.search(r"Frame count read from 'COMM' chunk \((\d+)\) not equal", log)
    if comm and not said and frames + rate // 1000 < int(comm[1]) < 0x7FFF0000:
        return int(comm[1])
    # A program that writes to a pipe leaves the largest length there is in the header.
    if 0 < there < said < 0x7FFF0000 and frames:
        found = frames * said // there
        if found - frames > rate // 1000:
            return found
    return frames


def ogg_ends(path: Path) -> bool:
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


class Bytes:
    """A file to look into here and there, a part in memory at a time.

    Parameters
    ----------
    file : binary file
    size : int
        Bytes it holds.
    """

    PART = 1 << 18

    def __init__(self, file: BinaryIO, size: int):
        self._file, self.size = file, size
        self._start, self._part = 0, b""

    def at(self, place: int, count: int) -> bytes:
        """`count` bytes from `place` on; fewer at the end."""
        if not self._start <= place <= place + count <= self._start + len(self._part):
            self._file.seek(place)
            self._start, self._part = place, self._file.read(max(count, self.PART))
        return self._part[place - self._start : place - self._start + count]

    def find(self, pattern: bytes, place: int) -> int:
        """Where `pattern` is met first from `place` on; -1 without."""
        while 0 <= place <= self.size - len(pattern):
            if not self._start <= place <= self._start + len(self._part) - len(pattern):
                self.at(place, self.PART)
            found = self._part.find(pattern, place - self._start)
            if found >= 0:
                return self._start + found
            place = max(place + 1, self._start + len(self._part) - len(pattern) + 1)
        return -1


def joined_at(path: Path) -> int:
    """Where a second file begins that was put behind the first, which decoders pass over; 0 where there is none."""
    size = path.stat().st_size
    if size < 64:
        return 0
    with open(path, "rb") as file:
        content = Bytes(file, size)
        magic, length = content.at(0, 4), content.at(4, 4)
        if magic == b"fLaC":
            return max(0, content.find(b"fLaC\0\0\0\x22", 4))
        if magic == b"OggS":
            return _second_ogg(content)
        if magic in (b"RIFF", b"FORM"):
            end = 8 + int.from_bytes(length, "little" if magic == b"RIFF" else "big")
            end += end & 1
            return end if 12 < end < size - 12 and content.at(end, 4) in (b"RIFF", b"FORM", b"RF64") else 0
    return 0


def _second_ogg(content: Bytes) -> int:
    """Where a stream begins after another has ended. Streams side by side begin together."""
    place, ended = 0, False
    while len(header := content.at(place, 27)) == 27 and header[:4] == b"OggS":
        if header[5] & 2 and ended:
            return place
        ended |= bool(header[5] & 4)
        segments = content.at(place + 27, header[26])
        place += 27 + len(segments) + sum(segments)
    return 0


def mp3_samples(path: Path) -> int:
    """Samples in the frames of an MP3, counted; 0 where the file is none, or has no frame of a known size."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        content = Bytes(file, size)
        place, count, lost = 0, 0, 0
        while place < size - 4:
            if content.at(place, 3) == b"ID3":
                length = content.at(place + 6, 4)
                place += 10 + sum((byte & 127) << shift for byte, shift in zip(length, (21, 14, 7, 0)))
                continue
            length, samples = _mpeg_frame(content.at(place, 4))
            if length and (place + length >= size - 4 or _plausible(content.at(place + length, 4))):
                count, place = count + samples, place + length
                continue
            found = content.find(b"\xff", place + 1)
            lost += found - place
            if found < 0 or lost > size // 2 + 4096:
                break
            place = found
        return count


def _plausible(header: bytes) -> bool:
    """Whether a frame is followed by another, or by a tag."""
    return bool(_mpeg_frame(header)[0]) or header[:3] in (b"ID3", b"TAG", b"APE")


def _mpeg_frame(header: bytes) -> tuple[int, int]:
    """Bytes and samples of a frame of MPEG layer III; 0 where its header is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0, 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return 0, 0
    samples = 1152 if version == 3 else 576
    kilobits = BITRATES[3 if version == 3 else 2][bitrate]
    return samples // 8 * kilobits * 1000 // RATES[version][rate] + (header[2] >> 1 & 1), samples
