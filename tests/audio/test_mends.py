"""Files that are something else: what they are, and the mend; and sound that ffmpeg reads where it is asked."""

from __future__ import annotations

import os
import stat
import sys

import numpy as np
import pytest
import soundfile

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import decode
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError, MissingDependencyError
from embcomp.storage.imposters import UNDECODED, imposter, undecodable

RATE = 16_000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\x1cftypM4A " + bytes(200), r"is an MP4 or M4A file, .* ffmpeg -i x.m4a x.wav"),
        (b"\x1a\x45\xdf\xa3" + bytes(200), r"is a WebM or Matroska file, .*convert it"),
        (b"\xff\xf1\x50\x80" + bytes(200), "is raw AAC"),
        (b"#!AMR\n" + bytes(99), "is an AMR file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "is a Git LFS pointer.*git lfs pull"),
        (b"/annex/objects/SHA256E-s1--0.wav\n", "is a git-annex pointer.*git annex get"),
        (b"<!DOCTYPE html><html><body>403</body></html>", r"is a web page \(HTML\).*download the file again"),
        (b"\r\n\r\n<HTML><HEAD>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "is an XML text"),
        (b'{"message": "Bad credentials"}', "is a JSON text"),
        (b"PK\x03\x04" + bytes(60), "is a ZIP archive"),
        (b"\x1f\x8b\x08" + bytes(60), "is a gzip archive"),
        (b"MThd" + bytes(60), "is MIDI, which holds notes and no sound"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "is a picture"),
        (b"%PDF-1.7", "is a PDF"),
        (b"some words", r"not readable as audio \("),
    ],
)
@pytest.mark.parametrize("ending", ["m4a", "wav", "flac", "mp3", "ogg"])
def test_what_a_file_is_instead_is_said_with_the_mend(tmp_path, content, message, ending):
    (tmp_path / f"x.{ending}").write_bytes(content)
    (tmp_path / "m.csv").write_text(f"path,label\nx.{ending},a\n")
    (bad,) = Clips(Manifest.read(tmp_path / "m.csv"), RATE, 1.0).bad_clips()
    with pytest.raises(AudioError, match=message.replace("x.m4a", rf"x\.{ending}")) as caught:
        decode(tmp_path / f"x.{ending}", RATE)
    assert bad.reason == str(caught.value)


def test_a_sound_is_no_imposter():
    from helpers.containers import CONTAINERS, content_of

    for name in CONTAINERS:
        assert imposter(content_of(name)[:512]) == undecodable(content_of(name)[:512], name) == "", name


def test_a_name_with_a_blank_can_be_pasted():
    assert "ffmpeg -i 'my voice.m4a' 'my voice.wav'" in undecodable(b"\0\0\0\x1cftypM4A ", "my voice.m4a")
    assert len({magic for _, magic, _ in UNDECODED}) == len(UNDECODED)


# Stands in for the program: takes the file after -i, as ffmpeg does, and writes a WAV into the pipe.
FAKE = """#!{python}
import struct, sys
import numpy as np
name = sys.argv[sys.argv.index("-i") + 1]
assert name.startswith("file:/") and "-nostdin" in sys.argv, sys.argv
assert "hls" not in sys.argv[sys.argv.index("-format_whitelist") + 1].split(",")
assert sys.argv[sys.argv.index("-protocol_whitelist") + 1] == "file,pipe"
content = open(name[5:], "rb").read()
if b"broken" in content:
    sys.stderr.write("moov atom not found\\n" + name + ": Invalid data found when processing input\\n")
    sys.exit(1)
wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange({rate}) / {rate})).astype("<f4").repeat(2)
head = b"RIFF\\xff\\xff\\xff\\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 2, {rate}, {rate} * 8, 8, 32)
sys.stdout.buffer.write(head + b"LIST" + struct.pack("<I", 4) + b"INFO" + b"data\\xff\\xff\\xff\\xff")
for _ in range(3600 if b"endless" in content else 1):
    sys.stdout.buffer.write(wave.tobytes())
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable, rate=RATE))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(200))
    return tmp_path / "a.m4a"


def test_ffmpeg_reads_what_it_is_asked_for(ffmpeg):
    with pytest.raises(AudioError, match="audio.ffmpeg = true reads it"):
        decode(ffmpeg, RATE)
    np.testing.assert_allclose(decode(ffmpeg, RATE, ffmpeg=True), TONE, atol=1e-6)
    np.testing.assert_allclose(decode(ffmpeg, RATE, start=0.25, end=0.5, ffmpeg=True), TONE[4000:8000], atol=1e-6)
    assert len(decode(ffmpeg, 8000, seconds=0.5, ffmpeg=True)) == 4000
    with pytest.raises(AudioError, match="start is at 2.0 s"):
        decode(ffmpeg, RATE, start=2.0, ffmpeg=True)
    with pytest.raises(AudioError, match="end is at 2.0 s, the file ends at 1.00 s"):
        decode(ffmpeg, RATE, end=2.0, ffmpeg=True)


def test_ffmpeg_stops_when_enough_is_read(ffmpeg):
    ffmpeg.write_bytes(ffmpeg.read_bytes() + b"endless")
    assert len(decode(ffmpeg, RATE, seconds=0.5, ffmpeg=True)) == RATE // 2
    (ffmpeg.parent / "m.csv").write_text("path,label\na.m4a,x\n")
    found = Clips(Manifest.read(ffmpeg.parent / "m.csv"), RATE, 0.5, ffmpeg=True).look()
    assert (found.bad, found.longer) == ([], 1)


def test_what_ffmpeg_cannot_read_is_refused_in_its_words(ffmpeg):
    ffmpeg.write_bytes(ffmpeg.read_bytes() + b"broken")
    with pytest.raises(AudioError, match=r"ffmpeg cannot read it \(Invalid data found when processing input\)"):
        decode(ffmpeg, RATE, ffmpeg=True)


def test_without_the_program_that_is_said(ffmpeg, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="needs the program ffmpeg"):
        decode(ffmpeg, RATE, ffmpeg=True)


def test_what_libsndfile_reads_needs_no_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    np.testing.assert_allclose(decode(tmp_path / "a.wav", RATE, ffmpeg=True), TONE, atol=1e-4)
