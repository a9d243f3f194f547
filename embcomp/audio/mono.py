"""Several channels as one, and what is lost thereby."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from embcomp.errors import AudioError

MAX_CHANNELS = 2  # averaged
MOST_CHANNELS = 64  # of which one is chosen
CHANNELS = ("mix", "left", "right", "loudest")
SILENT = 1e-4  # power of a channel beside the other's that counts as silence, -40 dB
CANCELLED = 0.1  # power of the mix beside the mean of the channels' that counts as lost, -10 dB
FLOOR = 1e-12  # power under which there is nothing to lose

LOSSES = {
    "cancel": "the channels cancel each other in the mono mix",
    "silent": "one channel is silent, so that the mono mix is half as loud as the other",
}


def to_mono(channels: np.ndarray, choice: str = "mix") -> np.ndarray:
    """One waveform of several channels.

    Parameters
    ----------
    channels : ndarray of shape (samples, k), float32
    choice : {"mix", "left", "right", "loudest"}
        The mean of all; the first; the second; the one of the greatest power, of equals the first. Of a single
        channel always that.

    Returns
    -------
    ndarray of shape (samples,), float32
    """
    count = channels.shape[1]
    if count == 1:
        return channels[:, 0]
    if choice == "mix":
        return channels.mean(axis=1, dtype=np.float32)
    if choice == "loudest":
        return channels[:, int(power(channels).argmax())]
    return channels[:, 0 if choice == "left" else 1]


def loss(channels: np.ndarray) -> str:
    """What the mean of the channels loses: a key of `LOSSES`, or nothing.

    Parameters
    ----------
    channels : ndarray of shape (samples, k)

    Examples
    --------
    >>> tone = np.sin(np.arange(100.0))
    >>> loss(np.stack([tone, -tone], 1)), loss(np.stack([tone, 0 * tone], 1)), loss(np.stack([tone, tone], 1))
    ('cancel', 'silent', '')
    """
    if channels.shape[1] == 1 or not len(channels):
        return ""
    each = power(channels)
    if each.mean() < FLOOR:
        return ""
    if each.min() < SILENT * each.max():
        return "silent"
    mixed = np.square(channels.mean(axis=1, dtype=np.float64)).mean()
    return "cancel" if mixed < CANCELLED * each.mean() else ""


def about_losses(counts: Mapping[str, int], mend: str, what: str = "files") -> tuple[str, ...]:
    """A line for each way in which a mix lost something.

    Parameters
    ----------
    counts : mapping of str to int
        How many files, by a key of `LOSSES`.
    mend : str
        What takes one channel.
    """
    return tuple(
        f"{counts[kind]} {what}: {text}; {mend} takes one" for kind, text in LOSSES.items() if counts.get(kind)
    )


def check_channels(count: int, choice: str, most: int = MAX_CHANNELS) -> None:
    """Refuse more channels than are averaged, or than one is chosen of.

    Raises
    ------
    AudioError
        A mean of 8 microphones is seldom meant.
    """
    if choice == "mix" and count > most:
        raise AudioError(
            f"{count} channels; at most {most} are mixed to mono: export a mono or stereo file, or choose one "
            'channel, audio.channel = "loudest"'
        )
    if count > MOST_CHANNELS:
        raise AudioError(f"{count} channels; at most {MOST_CHANNELS} are read")


def power(channels: np.ndarray) -> np.ndarray:
    """Mean square of each channel (samples, k), float64 (k,)."""
    return np.square(channels, dtype=np.float64).mean(axis=0)
