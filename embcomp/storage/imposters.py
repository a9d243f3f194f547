"""Files that are not what their name says: pointers, web pages, archives, and how to fix each."""

from __future__ import annotations

import os
import re
import shlex

HEAD = 512  # bytes looked at


def head_of(path: str | os.PathLike) -> bytes:
    """The first bytes of a file; none where it cannot be read, or is a pipe, which could keep us waiting for ever."""
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except (OSError, ValueError):
        return b""


def imposter(head: bytes, archives: bool = True) -> str:
    """What a file with this beginning is instead of data, and the mend; empty where that is not known.

    Parameters
    ----------
    archives : bool, default=True
        Name archives, too; of what may be one by right, or planted as one, they are no news.

    Examples
    --------
    >>> imposter(b"version https://git-lfs.github.com/spec/v1\\noid sha256:0")
    'is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from'
    """
    if head.startswith((b"version https://git-lfs", b"version https://hawser")):
        return "is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from"
    if head.startswith(b"/annex/objects/") or b".git/annex/objects" in head[:200]:
        return "is a git-annex pointer, not the file itself: run `git annex get` where it came from"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text[:300]:
        return "is a web page (HTML), an error page perhaps: download the file again"
    if text.startswith((b"<?xml", b"<error>", b"<error ")):
        return "is an XML text, an error message perhaps: download the file again"
    if re.match(rb'[\[{]\s*"(error|message|detail|status|code)"', text):
        return "is a JSON text, an error message perhaps: download the file again"
    for magic, what in (
        ()
        if not archives
        else (
            (b"PK\x03\x04", "a ZIP archive (an Excel workbook is one, too)"),
            (b"\x1f\x8b", "a gzip archive"),
            (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
            (b"Rar!", "a RAR archive"),
            (b"BZh", "a bzip2 archive"),
            (b"\xfd7zXZ\x00", "an xz archive"),
        )
    ):
        if head.startswith(magic):
            return f"is {what}: unpack it"
    return ""


# How containers that are not decoded here begin: offset, bytes, what they are.
UNDECODED = (
    (4, b"ftyp", "an MP4 or M4A file"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"\xff\xf1", "raw AAC"),
    (0, b"\xff\xf9", "raw AAC"),
    (0, b"ADIF", "raw AAC"),
    (0, b"FLV", "a Flash video"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "True Audio"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b".RMF", "RealMedia"),
    (8, b"AVI ", "an AVI video"),
    (0, b"MThd", "MIDI, which holds notes and no sound"),
    (0, b"%PDF", "a PDF"),
    (1, b"PNG\r\n", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"GIF8", "a picture"),
)
NO_SOUND = ("MIDI", "a PDF", "a picture")


def undecodable(head: bytes, name: str) -> str:
    """What a file that libsndfile cannot read is instead, and the mend; empty where that is not known.

    Parameters
    ----------
    head : bytes
        Its beginning, see `head_of`.
    name : str
        Its name, for the command that converts it.

    Examples
    --------
    >>> undecodable(b"\\0\\0\\0\\x1cftypM4A ", "a b.m4a")
    "is an MP4 or M4A file, which is not decoded here: convert it, ffmpeg -i 'a b.m4a' 'a b.wav' (or, where ffmpeg \
is installed, audio.ffmpeg = true reads it)"
    """
    if other := imposter(head):
        return other
    for offset, magic, what in UNDECODED:
        if head[offset : offset + len(magic)] == magic:
            if what.startswith(NO_SOUND):
                return f"is {what}"
            stem = name.rpartition(".")[0] or name
            command = f"ffmpeg -i {shlex.quote(name)} {shlex.quote(stem + '.wav')}"
            return (
                f"is {what}, which is not decoded here: convert it, {command} (or, where ffmpeg is installed, "
                "audio.ffmpeg = true reads it)"
            )
    return ""
