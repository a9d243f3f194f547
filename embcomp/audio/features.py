"""Log-mels of a manifest, computed once and kept in a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from embcomp.audio.clips import Clips
from embcomp.audio.logmel import LogMel
from embcomp.audio.views import view_settings
from embcomp.config import AudioConfig
from embcomp.data.inputs import AUDIO, InputSpec
from embcomp.storage.store import EmbeddingStore, write_store

CARRY = 1024


def _counters(dtype: str) -> int:
    """How many values hold the number of frames."""
    return 2 if dtype == "float16" else 1


def front_end(audio: AudioConfig) -> LogMel:
    """The log-mel module that `audio` describes."""
    return LogMel(
        audio.sample_rate,
        audio.n_fft,
        audio.win_length,
        audio.hop_length,
        audio.n_mels,
        audio.fmin,
        audio.fmax or audio.sample_rate / 2,
    )


@dataclass(frozen=True)
class Features:
    """Log-mels of n clips.

    A row of the store is a clip's log-mel, band by band, padded to the longest
    clip possible, and its number of valid frames as the last value. In float16,
    which misses whole numbers above 2048, as the last two: how often 1024, and the rest.

    Attributes
    ----------
    store : EmbeddingStore
        Of width ``n_mels * max_frames + 1``, in float16 ``+ 2``.
    n_mels : int
    """

    store: EmbeddingStore
    n_mels: int

    @property
    def spec(self) -> InputSpec:
        """What an input of a student is: audio."""
        return AUDIO

    @property
    def width(self) -> int:
        """Numbers that the log-mel of the longest clip has."""
        return self.store.dim

    def load(self, ids: list[str]) -> tuple[Tensor, Tensor]:
        """Log-mels of `ids` (n, n_mels, frames) and valid frames (n,); frames past the longest are cut."""
        return self._parts(self.store.take(ids))

    def reader(self, ids: Sequence[str]) -> Callable[[np.ndarray], tuple[Tensor, Tensor]]:
        """A function from numbers among `ids`, int64 (k,), to what `load` gives of them, read from disk each time."""
        read = self.store.reader(ids)
        return lambda numbers: self._parts(read(numbers))

    def _parts(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        counts = rows[:, rows.shape[1] - _counters(str(self.store.data.dtype)) :].astype(np.int64)
        lengths = torch.from_numpy(counts @ np.array([CARRY, 1])[-counts.shape[1] :])
        features = torch.from_numpy(rows[:, : -counts.shape[1]].reshape(len(rows), self.n_mels, -1))
        return features[..., : int(lengths.max())].contiguous(), lengths


def feature_settings(audio: AudioConfig) -> dict:
    """What a feature store's rows depend on, beside the clips."""
    return {"kind": "logmel", "audio": audio_settings(audio)}


def audio_settings(audio: AudioConfig) -> dict:
    """What a waveform and its log-mel depend on; the mix of channels, which was all there was, counts for nothing."""
    settings = asdict(audio)
    del settings["ffmpeg"]
    if settings["channel"] == "mix":
        del settings["channel"]
    return settings


def compute_features(
    clips: Clips,
    hashes: list[str],
    audio: AudioConfig,
    path: str | os.PathLike,
    progress: Callable[[int], None] | None = None,
    reuse: str | os.PathLike | None = None,
    dtype: str = "float32",
) -> Features:
    """Write the log-mels of `clips` to a store, or open the one that is there.

    Parameters
    ----------
    hashes : list of str
        Of each clip, from `Clips.hashes`.
    reuse : path, optional
        A folder of stores to copy the rows of unchanged clips from.
    dtype : {"float32", "float16"}
        Of the stored numbers.

    Raises
    ------
    StoreError
        Features of other settings are at `path`.
    AudioError
        A clip changed since it was hashed.
    """
    module = front_end(audio)
    max_frames, counters = module.frames(clips.samples), _counters(dtype)
    batch = clips.unchanged(hashes)

    def produce(rows: np.ndarray) -> np.ndarray:
        waveforms, lengths = batch(rows)
        frames = module.frames(lengths)
        values = np.zeros((len(rows), audio.n_mels, max_frames), dtype=np.float32)
        with torch.inference_mode():
            logmel = module(torch.from_numpy(waveforms)).numpy()
        for row, count in enumerate(frames):
            values[row, :, :count] = logmel[row, :, :count]
        counts = np.stack([frames // CARRY, frames % CARRY] if counters == 2 else [frames], axis=1)
        return np.concatenate([values.reshape(len(rows), -1), counts], axis=1)

    store = write_store(
        path,
        clips.manifest.ids,
        hashes,
        audio.n_mels * max_frames + counters,
        feature_settings(audio) | view_settings(clips),
        produce,
        batch_size=32,
        dtype=dtype,
        progress=progress,
        reuse=reuse,
    )
    return Features(store, audio.n_mels)
