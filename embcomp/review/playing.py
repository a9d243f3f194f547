"""What a browser is given of a clip: its sound as a WAV file, and its log-mel spectrogram as bytes."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import open_audio
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError

LONGEST = 60.0  # seconds of a clip
HIGHEST = 48_000  # Hz that are played
DRAWN = 32_000  # Hz of which a spectrogram is drawn
BANDS = 64
FRAMES = 900  # of the longest picture
WINDOW, HOP = 0.025, 0.010  # seconds
RANGE = 80.0  # dB below the loudest that are shown
DECIBEL = np.log(10) / 10  # of a power, in units of its natural logarithm


def sound(manifest: Manifest, row: int, ffmpeg: bool = False) -> bytes:
    """The clip as a WAV file: mono, 16 bits, at its own sample rate up to 48 kHz, at most 60 s.

    Raises
    ------
    AudioError
        It cannot be used; it is named.
    """
    rate, waveform = _decoded(manifest, row, HIGHEST, ffmpeg)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def picture(manifest: Manifest, row: int, ffmpeg: bool = False) -> dict[str, Any]:
    """The log-mel of the clip for a page to draw.

    Returns
    -------
    dict
        ``bands`` and ``frames``; ``values``, base64 of a byte for each, band by band from the lowest, 255 the loudest
        and 0 what is 80 dB below it; ``seconds`` of the clip; ``top``, the upper end in Hz.

    Raises
    ------
    AudioError
        It cannot be used; it is named.
    """
    import torch  # which the page and its sounds do without

    from embcomp.audio.logmel import LogMel

    rate, waveform = _decoded(manifest, row, DRAWN, ffmpeg)
    hop = max(1, round(HOP * rate), -(-len(waveform) // FRAMES))
    module = LogMel(rate, 1024, min(1024, round(WINDOW * rate)), hop, BANDS, floor=1e-10)
    with torch.inference_mode():
        values = module(torch.from_numpy(waveform[None]))[0].numpy()
    shades = 255 * (1 + (values - values.max()) / (RANGE * DECIBEL))
    shades = np.clip(np.round(shades), 0, 255).astype(np.uint8)
    if not np.abs(waveform).max() > 0:
        shades[:] = 0
    return {
        "bands": BANDS,
        "frames": shades.shape[1],
        "values": base64.b64encode(shades.tobytes()).decode(),
        "seconds": len(waveform) / rate,
        "top": rate / 2,
    }


def _decoded(manifest: Manifest, row: int, highest: int, ffmpeg: bool) -> tuple[int, np.ndarray]:
    clips = Clips(manifest, highest, LONGEST, ffmpeg=ffmpeg)
    try:
        with open_audio(clips.path(row), ffmpeg) as source:
            rate = min(source.rate, highest)
    except AudioError as error:
        raise AudioError(f"{manifest.table['path'].iat[row]}: {error}") from None
    return rate, clips.at(rate).decode(row)
