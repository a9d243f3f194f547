"""Files that are not what their name says: pointers, web pages, archives, and how to fix each."""

from __future__ import annotations

import os
import re

HEAD = 512  # bytes looked at


def head_of(path: str | os.PathLike) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except (OSError, ValueError):
        return b""


def imposter(head: bytes) -> str:
    """What a file with this beginning is instead of data, and how to fix it; empty if unknown.

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
        (b"PK\x03\x04", "a ZIP archive (an Excel workbook is one, too)"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
        (b"BZh", "a bzip2 archive"),
        (b"\xfd7zXZ\x00", "an xz archive"),
    ):
        if head.startswith(magic):
            return f"is {what}: unpack it"
    return ""
