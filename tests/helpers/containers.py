"""A good file in every container, and where its header keeps lengths."""

from __future__ import annotations

import io

import numpy as np
import soundfile

RATE = 16_000
WAVE = (0.3 * np.random.default_rng(7).uniform(-1, 1, RATE)).astype(np.float32)
CONTAINERS = {
    "wav": ("WAV", "PCM_16"),
    "float wav": ("WAV", "FLOAT"),
    "wavex": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "nist": ("NIST", "PCM_16"),
    "voc": ("VOC", "PCM_16"),
    "ircam": ("IRCAM", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "avr": ("AVR", "PCM_16"),
    "htk": ("HTK", "PCM_16"),
    "pvf": ("PVF", "PCM_16"),
    "mat4": ("MAT4", "PCM_16"),
    "mat5": ("MAT5", "PCM_16"),
    "mpc2k": ("MPC2K", "PCM_16"),
}


def content_of(name: str, wave: np.ndarray = WAVE, rate: int = RATE) -> bytes:
    """The bytes of a file."""
    form, subtype = CONTAINERS[name]
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=form, subtype=subtype)
    return file.getvalue()


def with_field(content: bytes, place: int, value: int, size: int, order: str) -> bytes:
    """The same with a number written over."""
    return content[:place] + value.to_bytes(size, order) + content[place + size :]


def wav_lengths(content: bytes) -> int:
    """Place of the length of the samples in a WAV."""
    return content.index(b"data") + 4


def flac_with_total(content: bytes, total: int) -> bytes:
    """A FLAC whose header says that there are `total` samples, 36 bits."""
    packed = int.from_bytes(content[18:26], "big")
    return content[:18] + ((packed >> 36 << 36) | total).to_bytes(8, "big") + content[26:]
