"""Files to a trained student, beside the loop people write: a DataLoader with workers, each clip read and changed by itself.

The peer does what published training scripts with cached targets do: a Dataset whose item reads a wav, changes it, makes its log-mel
with librosa and masks it; worker processes; cross-entropy plus the cosine distance to the teacher's vector of the clip. Ours
is `embcomp.distill`, from the files to the saved student: the checks, the hashes and the log-mels are in its time. Same clips, targets,
layers, batch and steps; seconds by the clock, so that it needs an idle machine, and of the processor, workers included.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from measure import arguments, header, row
from torch import nn
from training_step import endless, plain_student

from embcomp.audio.clips import Clips
from embcomp.config import AudioConfig, parse
from embcomp.data.manifest import Manifest
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.training.distill import distill

AUDIO = AudioConfig(seconds=1.0, n_fft=512, win_length=400, hop_length=160)
BATCH, CLASSES, DIM = 32, 10, 64
SETTINGS = {
    "audio": {"seconds": 1.0, "win_length": 400, "hop_length": 160, "n_fft": 512},
    "transfer": {"method": "embedding", "distance": "cosine", "weight": 1.0},
}


def wavs(folder: Path, count: int) -> Manifest:
    """Tones in noise, a second each, and their manifest."""
    folder.mkdir(parents=True)
    rng, axis = np.random.default_rng(0), np.arange(AUDIO.sample_rate) / AUDIO.sample_rate
    lines = ["path,label,group"]
    for number in range(count):
        tone = 0.3 * np.sin(2 * np.pi * 200 * (1 + number % CLASSES) * axis)
        soundfile.write(folder / f"{number}.wav", tone + 0.1 * rng.standard_normal(len(axis)), AUDIO.sample_rate)
        lines.append(f"{number}.wav,{number % CLASSES},{number // CLASSES}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Manifest.read(folder / "manifest.csv")


class Files(torch.utils.data.Dataset):
    """A clip at a time: read, shifted, made louder or softer, log-mel, a mask over bands and one over time."""

    def __init__(self, manifest: Manifest, targets: np.ndarray):
        self.paths = [str(manifest.audio_path(number)) for number in range(len(manifest))]
        self.labels, self.targets = [int(label) for label in manifest.labels], targets

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int, torch.Tensor]:
        waveform, rate = soundfile.read(self.paths[number], dtype="float32")
        waveform = np.roll(waveform, np.random.randint(-1600, 1600)) * np.random.uniform(0.5, 1.5)
        mel = librosa.feature.melspectrogram(
            y=waveform, sr=rate, n_fft=AUDIO.n_fft, win_length=AUDIO.win_length, hop_length=AUDIO.hop_length,
            n_mels=AUDIO.n_mels,
        )  # fmt: skip
        logmel = np.log(mel + 1e-5)
        logmel = (logmel - logmel.mean()) / logmel.std()
        band, frame = np.random.randint(AUDIO.n_mels - 8), np.random.randint(logmel.shape[1] - 20)
        logmel[band : band + np.random.randint(1, 8)] = 0
        logmel[:, frame : frame + np.random.randint(1, 20)] = 0
        return (
            torch.from_numpy(logmel[None].astype(np.float32)),
            self.labels[number],
            torch.from_numpy(self.targets[number]),
        )


class Student(nn.Module):
    """The layers of the default student, with its embedding and its logits."""

    def __init__(self) -> None:
        super().__init__()
        layers = plain_student()
        self.body, self.head = layers[:-2], layers[-2:]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.body(x)
        return embedding, self.head(embedding)


def plain(manifest: Manifest, targets: np.ndarray, steps: int, workers: int) -> None:
    """The peer."""
    torch.manual_seed(0)
    student = Student().train()
    optimiser = torch.optim.AdamW(student.parameters(), lr=2e-3, weight_decay=1e-2)
    loader = torch.utils.data.DataLoader(
        Files(manifest, targets), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    batches = endless(loader)
    for _ in range(steps):
        x, labels, vectors = next(batches)
        optimiser.zero_grad()
        embedding, logits = student(x)
        distance = 1 - nn.functional.cosine_similarity(embedding, vectors).mean()
        (nn.functional.cross_entropy(logits, labels) + distance).backward()
        optimiser.step()


def ours(manifest: Manifest, store: EmbeddingStore, steps: int, amp: bool) -> None:
    """A student from the files on."""
    training = {"steps": steps, "batch_size": BATCH, "evaluate_every": steps, "patience": 0, "amp": amp}
    config = parse({**SETTINGS, "training": training})
    with tempfile.TemporaryDirectory() as out:
        distill(manifest, Path(out) / "student", variant=config.variants[0], targets=store, audio=config.audio)


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock and of the processor, processes that ended meanwhile included."""

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in both)

    before, started = used(), time.perf_counter()
    run()
    return time.perf_counter() - started, used() - before


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--clips", type=int, default=1000, help="wav files of a second (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="of a training (default: %(default)s)")
    options = parser.parse_args()
    if options.small:
        options.clips, options.steps = 40, 2
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        manifest = wavs(Path(folder) / "clips", options.clips)
        targets = np.random.default_rng(1).standard_normal((options.clips, DIM)).astype(np.float32)
        hashes = Clips.of(manifest, AUDIO).hashes()
        store = write_store(Path(folder) / "targets", manifest.ids, hashes, DIM, {}, lambda rows: targets[rows])
        sides = {
            "DataLoader, no workers": lambda: plain(manifest, targets, options.steps, 0),
            "ours": lambda: ours(manifest, store, options.steps, False),
            "ours, training.amp": lambda: ours(manifest, store, options.steps, True),
        }
        if not options.small:  # processes of torch take seconds to start
            sides = {"DataLoader, 2 workers": lambda: plain(manifest, targets, options.steps, 2), **sides}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for turn in range(options.repeats + (not options.small)):
            for name, run in sides.items():
                found = timed(run)
                if turn or options.small:
                    times[name].append(found)
    header(
        "training",
        "clips/s by the clock",
        "least",
        "most",
        "clips/s of a core",
        "times the first, clock",
        "times the first, core",
    )
    trained = BATCH * options.steps
    middle = {name: [statistics.median(column) for column in zip(*found)] for name, found in times.items()}
    first = next(iter(middle.values()))
    for name, (clock, core) in middle.items():
        clocks = [one for one, _ in times[name]]
        speeds = (round(trained / one) for one in (clock, max(clocks), min(clocks), core))
        row(name, *speeds, f"{first[0] / clock:.2f}", f"{first[1] / core:.2f}")


if __name__ == "__main__":
    main()
