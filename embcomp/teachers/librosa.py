"""Classical descriptors of timbre, harmony and rhythm, by librosa: a teacher that learned nothing."""

from __future__ import annotations

import contextlib
import getpass
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from embcomp.config import setting
from embcomp.data.manifest import Manifest
from embcomp.extras import imported, missing
from embcomp.storage.files import fingerprint
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.windows import cut, padded, shares

SAMPLE_RATE = 22_050  # Hz: what librosa's defaults are meant for
N_FFT, HOP, N_MFCC = 2048, 512, 20
SHORTEST = N_FFT + 8 * HOP  # samples: frames enough for the slopes of MFCCs
STATISTICS = {
    "mean": lambda rows: rows.mean(1),
    "std": lambda rows: rows.std(1),
    "min": lambda rows: rows.min(1),
    "max": lambda rows: rows.max(1),
    "median": lambda rows: np.median(rows, 1),
}
VERSION = 1  # raised when a descriptor changes
COMPILED = ("librosa.util.utils", "librosa.core.audio", "librosa.core.pitch", "librosa.beat")


class LibrosaTeacher(Teacher):
    """Five hundred descriptors of a clip.

    Of every frame: 20 MFCCs with first and second slopes, 12 chroma, 7 spectral contrasts, 6 tonal centroids,
    centroid, bandwidth, two rolloffs, flatness, entropy, zero crossings, level, onset strength and a line
    through the spectrum; of each the mean, standard deviation, minimum, maximum and median over time.
    Of the whole: 20 numbers of rhythm and envelope.

    Parameters
    ----------
    settings : LibrosaTeacher.Settings
    librosa : module
    """

    name = "librosa"
    summary = "500 classical descriptors: MFCC, chroma, contrast, tonnetz, rhythm, and their statistics"
    sample_rate = SAMPLE_RATE

    @dataclass(frozen=True)
    class Settings(TeacherSettings):
        frames: int = setting(1, "vectors per clip, each of an equal share of its time", at_least=1)

        def conflict(self) -> str:
            return f"the teacher 'librosa' takes no argument, not {self.argument!r}" if self.argument else ""

    def __init__(self, settings: Settings, librosa: ModuleType):
        self.frames, self._librosa = settings.frames, librosa
        self.dim = self.frames * len(names())

    @classmethod
    def missing(cls) -> str:
        return missing("librosa")

    @classmethod
    def open(cls, settings: Settings, manifest: Manifest | None = None) -> LibrosaTeacher:
        return cls(settings, import_librosa())

    def fingerprint(self) -> str:
        """Key of the descriptors; there are no weights."""
        return fingerprint([self.name, VERSION, names(), self.frames])

    def embed(self, waveforms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed clips; see `Teacher.embed`."""
        found = np.empty((len(lengths), self.dim), np.float32)
        for row, wave in enumerate(cut(waveforms, lengths)):
            found[row] = np.concatenate([self._describe(wave[part]) for part in shares(len(wave), self.frames)])
        return found

    def _describe(self, wave: np.ndarray) -> np.ndarray:
        wave = padded(wave, SHORTEST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of short clips it warns at every step
            rows = over_time(self._librosa, wave)
            whole = of_the_whole(self._librosa, rows)
        statistics = [statistic(np.concatenate(list(rows.values()))) for statistic in STATISTICS.values()]
        # Silence has no tempo and no chroma: a ratio of nothing counts as 0.
        return np.nan_to_num(np.concatenate([*statistics, whole]), nan=0.0, posinf=0.0, neginf=0.0)


def import_librosa() -> ModuleType:
    """Import librosa and what it compiles while it is imported, one process after the other.

    numba keeps compiled ufuncs in two files each. Processes that fill an empty cache at the same time can pair
    files that do not belong together, and crash when the function is called. Whoever waits here finds them complete.

    Raises
    ------
    MissingDependencyError
        librosa is missing or does not import.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(
            ImportError, OSError, KeyError, ValueError
        ):  # no lock to be had: as any other program imports it
            import filelock

            name = f"embcomp-librosa-{getpass.getuser()}.lock"
            stack.enter_context(filelock.FileLock(Path(tempfile.gettempdir()) / name))
        for module in COMPILED:
            imported(module, "the teacher librosa needs")
        return imported("librosa", "the teacher librosa needs")


def over_time(librosa: ModuleType, wave: np.ndarray) -> dict[str, np.ndarray]:
    """Descriptors of each frame of a waveform (samples,), each (k, frames)."""
    feature, rate = librosa.feature, SAMPLE_RATE
    power = np.abs(librosa.stft(wave, n_fft=N_FFT, hop_length=HOP)) ** 2
    magnitude = np.sqrt(power)
    logmel = librosa.power_to_db(feature.melspectrogram(S=power, sr=rate))
    mfcc = feature.mfcc(S=logmel, n_mfcc=N_MFCC)
    chroma = feature.chroma_stft(S=power, sr=rate)
    share = power / np.maximum(power.sum(0), 1e-10)
    onset = librosa.onset.onset_strength(S=logmel, sr=rate)
    return {
        "mfcc": mfcc,
        "mfcc slope": librosa.feature.delta(mfcc, mode="nearest"),
        "mfcc second slope": librosa.feature.delta(mfcc, order=2, mode="nearest"),
        "chroma": chroma,
        "contrast": feature.spectral_contrast(S=magnitude, sr=rate),
        "tonnetz": feature.tonnetz(chroma=chroma, sr=rate),
        "centroid": feature.spectral_centroid(S=magnitude, sr=rate),
        "bandwidth": feature.spectral_bandwidth(S=magnitude, sr=rate),
        "rolloff 85": feature.spectral_rolloff(S=magnitude, sr=rate, roll_percent=0.85),
        "rolloff 25": feature.spectral_rolloff(S=magnitude, sr=rate, roll_percent=0.25),
        "flatness": feature.spectral_flatness(S=magnitude),
        "entropy": -(share * np.log2(np.maximum(share, 1e-10))).sum(0, keepdims=True),
        "zero crossings": feature.zero_crossing_rate(wave, frame_length=N_FFT, hop_length=HOP),
        "level": feature.rms(S=magnitude, frame_length=N_FFT),
        "onset": onset[None],
        "line": feature.poly_features(S=magnitude, sr=rate, order=1),
    }


def of_the_whole(librosa: ModuleType, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Rhythm and envelope, (20,): tempo, energy at 13 multiples of it, onsets a second and so on."""
    onset, level = rows["onset"][0], rows["level"][0]
    tempo = librosa.feature.tempo(onset_envelope=onset, sr=SAMPLE_RATE, hop_length=HOP)
    ratios = librosa.feature.tempogram_ratio(onset_envelope=onset, sr=SAMPLE_RATE, hop_length=HOP, bpm=tempo).mean(1)
    seconds = len(onset) * HOP / SAMPLE_RATE
    onsets = librosa.onset.onset_detect(onset_envelope=onset, sr=SAMPLE_RATE, hop_length=HOP)
    echo = librosa.autocorrelate(onset - onset.mean())
    at = np.arange(len(level)) / len(level)
    return np.array(
        [
            *(float(tempo[0]), *ratios, len(onsets) / seconds),
            echo[1:].max() / echo[0] if len(echo) > 1 and echo[0] > 0 else 0.0,  # how clear the pulse is
            (level < level.mean()).mean(),  # share of quiet frames
            level.argmax() / len(level),  # where the loudest is
            (at * level).sum() / level.sum() if level.sum() > 0 else 0.0,  # where the middle of the energy is
            seconds,
        ]
    )


def names() -> list[str]:
    """What each value is, in order."""
    sizes = {
        "mfcc": 20,
        "mfcc slope": 20,
        "mfcc second slope": 20,
        "chroma": 12,
        "contrast": 7,
        "tonnetz": 6,
        "line": 2,
    }
    single = (
        "centroid",
        "bandwidth",
        "rolloff 85",
        "rolloff 25",
        "flatness",
        "entropy",
        "zero crossings",
        "level",
        "onset",
    )
    order = ("mfcc", "mfcc slope", "mfcc second slope", "chroma", "contrast", "tonnetz", *single, "line")
    over = [f"{name} {number}" for name in order for number in range(sizes.get(name, 1))]
    whole = [
        "tempo",
        *(f"tempo ratio {number}" for number in range(13)),
        "onsets a second",
        "pulse",
        "quiet",
        "loudest",
    ]
    return [f"{statistic} {name}" for statistic in STATISTICS for name in over] + [*whole, "middle", "seconds"]
