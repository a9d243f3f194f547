"""From files to log-mels, and log-mels alone, beside librosa: clips a second of one core, interleaved, medians.

The limit is what no code of ours could avoid: libsndfile and soxr for the files, one transform in double precision a frame for
the log-mels.
"""

import tempfile
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import torch
from measure import arguments, header, interleaved, row, scaled

from embcomp.audio.clips import Clips
from embcomp.audio.features import front_end
from embcomp.config import AudioConfig
from embcomp.data.manifest import Manifest

RATE = 16_000
AUDIO = AudioConfig()
FILES = (
    (1.0, 256, 16_000, "wav"),
    (1.0, 256, 16_000, "flac"),
    (1.0, 256, 8_000, "flac"),
    (5.0, 64, 16_000, "flac"),
    (5.0, 64, 44_100, "wav"),
    (5.0, 64, 44_100, "flac"),
)
MEL = {"n_fft": AUDIO.n_fft, "hop_length": AUDIO.hop_length, "win_length": AUDIO.win_length, "n_mels": AUDIO.n_mels}


def clips_on_disk(folder: Path, seconds: float, count: int, rate: int, kind: str) -> Manifest:
    """Noise in files of 16 bits, as many as asked for, and their manifest."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["path,label,group"]
    for number in range(count):
        soundfile.write(folder / f"{number}.{kind}", 0.1 * rng.standard_normal(round(seconds * rate)), rate)
        lines.append(f"{number}.{kind},{number % 2},{number}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return Manifest.read(folder / "manifest.csv")


def librosa_logmel(waveform: np.ndarray) -> np.ndarray:
    return np.log(librosa.feature.melspectrogram(y=waveform, sr=RATE, pad_mode="constant", **MEL) + 1e-5)


def alone(seconds: float, count: int, repeats: int) -> None:
    """Log-mels of waveforms in memory."""
    module = front_end(AUDIO)
    waveforms = 0.1 * np.random.default_rng(0).standard_normal((count, round(seconds * RATE))).astype(np.float32)
    frames = torch.zeros(1 + waveforms.shape[1] // MEL["hop_length"], MEL["n_fft"], dtype=torch.float64)

    def ours() -> None:
        for start in range(0, count, 32):
            module(torch.from_numpy(waveforms[start : start + 32]))

    sides = {
        "librosa": lambda: [librosa_logmel(one) for one in waveforms],
        "ours": ours,
        "limit": lambda: [torch.fft.rfft(frames) for _ in range(count)],
    }
    with torch.inference_mode():
        report(f"log-mel alone, {seconds:g} s", count, interleaved(sides, repeats))
    off = max(np.abs(module(torch.from_numpy(one)).numpy() - librosa_logmel(one)).max() for one in waveforms[:8])
    row(f"largest difference from librosa, {seconds:g} s", "", f"{off:.1e}", "", "", "")


def from_files(folder: Path, seconds: float, count: int, rate: int, kind: str, repeats: int) -> None:
    """Log-mels of files that are checked as a run checks them: inside the manifest's folder, whole, unchanged."""
    manifest = clips_on_disk(folder, seconds, count, rate, kind)
    clips = Clips.of(manifest, AUDIO, seconds)
    batch, module = clips.unchanged(clips.hashes()), front_end(AUDIO)
    paths = [str(manifest.audio_path(number)) for number in range(count)]

    def ours() -> None:
        with torch.inference_mode():
            for start in range(0, count, 32):
                module(torch.from_numpy(batch(np.arange(start, min(start + 32, count)))[0]))

    def limit() -> None:
        for path in paths:
            waveform, _ = soundfile.read(path, dtype="float32")
            if rate != RATE:
                soxr.resample(waveform, rate, RATE, "HQ")

    sides = {
        "librosa": lambda: [librosa_logmel(librosa.load(path, sr=RATE, duration=seconds)[0]) for path in paths],
        "ours": ours,
        "limit": limit,
    }
    report(f"{kind} to log-mel, {seconds:g} s at {rate} Hz", count, interleaved(sides, repeats))


def report(what: str, count: int, seconds: dict[str, float]) -> None:
    speed = {name: count / value for name, value in seconds.items()}
    row(what, *(round(speed[name]) for name in ("librosa", "ours", "limit")), speed["ours"] / speed["librosa"], speed["ours"] / speed["limit"])  # fmt: skip


def main() -> None:
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    header("what", "librosa, clips/s", "ours, clips/s", "limit, clips/s", "times librosa", "share of the limit")
    for seconds, count in ((1.0, 256), (5.0, 64), (10.0, 32)):
        alone(seconds, scaled(count, options), options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        for number, (seconds, count, rate, kind) in enumerate(FILES):
            from_files(Path(folder, str(number)), seconds, scaled(count, options), rate, kind, options.repeats)


if __name__ == "__main__":
    main()
