"""One measurement of cost.py, in its own process: python recipes/clip_embed_kd/cost_process.py JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from embcomp.audio.clips import Clips
from embcomp.audio.features import compute_features
from embcomp.config import AudioConfig, TrainingConfig, read_choice
from embcomp.data.labels import Labels, encode
from embcomp.data.manifest import Manifest
from embcomp.engines.local import set_threads
from embcomp.losses import multiclass_kd
from embcomp.storage.store import EmbeddingStore
from embcomp.students import DSCNN, StudentOutput, count_parameters
from embcomp.students.classifier import Classifier
from embcomp.teachers import KMeansTeacher, Teacher, embed, embedder, learned_teacher, open_teacher
from embcomp.teachers.catalogue import fetched_folder
from embcomp.training.examples import Examples
from embcomp.training.loop import train
from embcomp.transfer import Batch, LogitKD, Source, Transfer, build_transfer

WEIGHTS = (".safetensors", ".onnx", ".tflite", ".bin")
LOGIT_TEACHER = "logit_teacher"  # not a method of the package: it gives the same student as logit_kd and costs more


@dataclass(frozen=True)
class Job:
    """A measurement.

    Attributes
    ----------
    task : str
        ``learn``, ``decode``, ``features``, ``cache``, or a transfer method to train with.
    manifest, folder : str
        The clips, and the folder through which tasks pass results.
    seconds : float
        Longer clips are cut to this length.
    teacher : str
        ``kmeans``, which the task ``learn`` saves, or any other teacher as `embcomp embed` takes it.
    centroids, whitened, patch_frames : int
        Size of the k-means teacher.
    batch_size, epochs : int
        `epochs` are measured, after one warm-up epoch.
    clips : int
        Only so many of the clips, equally far apart in the manifest; 0 are all.
    """

    task: str
    manifest: str
    folder: str
    seconds: float = 5.0
    teacher: str = "kmeans"
    centroids: int = 512
    whitened: int = 768
    patch_frames: int = 24
    batch_size: int = 32
    epochs: int = 3
    clips: int = 0

    @property
    def audio(self) -> AudioConfig:
        """The student's front end."""
        return AudioConfig(seconds=self.seconds)


class LogitTeacher(Transfer):
    """Plain KD with a running teacher: a frozen linear head on its embeddings of each batch.

    Parameters
    ----------
    teacher : callable
        Rows to embeddings (n, d).
    head : tuple of ndarray
        Weight (d, classes) and bias (classes,).
    """

    def __init__(
        self,
        teacher: Callable[[np.ndarray], np.ndarray],
        head: tuple[np.ndarray, np.ndarray],
        settings: LogitKD.Settings,
    ):
        super().__init__()
        self.teacher, self.weight, self.temperature = teacher, settings.weight, settings.temperature
        self.matrix, self.bias = (torch.from_numpy(part.astype(np.float32)) for part in head)

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, torch.Tensor]:
        needed, place = torch.unique(batch.rows, return_inverse=True)
        scores = torch.from_numpy(self.teacher(needed.numpy()))[place] @ self.matrix + self.bias
        kd = multiclass_kd(output.logits.float(), scores, self.temperature)
        return {"prediction": (1 - self.weight) * self.prediction(output, batch), "kd": self.weight * kd}


def linear_head(vectors: np.ndarray, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Weight (d, classes) and bias (classes,) of a logistic regression, including the standardisation."""
    scaler = StandardScaler().fit(vectors)
    fitted = LogisticRegression(C=0.01, max_iter=200).fit(scaler.transform(vectors), labels.index)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:  # for two classes scikit-learn has one score, that of the second class
        weight, bias = np.vstack([0 * weight, weight]), np.append(0, bias)
    matrix = (weight / scaler.scale_).T
    return matrix, bias - scaler.mean_ @ matrix


def peak_mb() -> float:
    """Peak resident memory of this process, in MB of 2^20 bytes.

    ``ru_maxrss`` starts at the memory of the parent process; VmHWM does not.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM; memory is measured on Linux only")


def timed(run: Callable[[], object]) -> dict[str, float]:
    """CPU and wall seconds of a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def opened(job: Job) -> Teacher:
    """The teacher that the task ``learn`` saved, or the one that is named."""
    if job.teacher == "kmeans":
        return KMeansTeacher.load(Path(job.folder, "teacher"))
    return open_teacher(read_choice("teacher", {"spec": job.teacher}))


def teacher_bytes(job: Job) -> int:
    """Size of the files of the teacher's weights."""
    if job.teacher == "kmeans":
        place = Path(job.folder, "teacher")
    else:
        named = job.teacher.rpartition(":")[2]
        place = fetched_folder(named) or Path(named)
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.suffix in WEIGHTS]
    return sum(path.stat().st_size for path in files)


def picked(job: Job) -> Clips:
    """The clips that are measured with."""
    clips = Clips(Manifest.read(job.manifest), 16_000, job.seconds)
    if not job.clips or job.clips >= len(clips):
        return clips
    rows = np.linspace(0, len(clips) - 1, job.clips).round().astype(int)
    return replace(clips, manifest=clips.manifest.select(rows))


def train_epochs(job: Job, clips: Clips) -> dict[str, float]:
    """Train a student and measure the median epoch and the peak memory over all steps."""
    imports = peak_mb()
    ids = clips.manifest.ids
    features = compute_features(clips, clips.hashes(), job.audio, Path(job.folder, "logmels"))
    fit = Examples(*features.load(ids), _labels(clips))
    torch.manual_seed(0)
    classifier = Classifier.new(fit.labels.classes, job.audio, DSCNN.Settings(), False, 0)
    started = time.process_time()
    transfer = _transfer(job, clips, fit.labels)
    transfer.prepare(_targets(job, ids), fit.labels, classifier.network.embedding_width)
    prepared = time.process_time() - started
    steps = math.ceil(len(clips) / job.batch_size)
    total = steps * (job.epochs + 1)
    marks, peak = [], 0.0

    def mark(_: int) -> None:
        nonlocal peak
        # Without the evaluation at the end, which uses larger batches.
        peak = max(peak, peak_mb())
        marks.append((time.process_time(), time.perf_counter()))

    config = TrainingConfig(steps=total, batch_size=job.batch_size, evaluate_every=total, patience=0)
    few = Examples(fit.features[:2], fit.lengths[:2], fit.labels.select(np.arange(2)))
    train(classifier.network, transfer, fit, few, config, seed=0, progress=mark)
    epochs = np.diff(np.array(marks)[::steps], axis=0)[1:]
    cpu, wall = np.median(epochs, axis=0)
    return {
        "prepare, CPU": prepared,
        "epoch, CPU": float(cpu),
        "epoch, wall": float(wall),
        "peak memory": peak - imports,
        "student": count_parameters(classifier.network),
    }


def _labels(clips: Clips) -> Labels:
    return encode(clips.manifest.labels, check=False)


def _transfer(job: Job, clips: Clips, labels: Labels) -> Transfer:
    if job.task == LOGIT_TEACHER:
        head = np.load(Path(job.folder, "head.npy"), allow_pickle=False)
        return LogitTeacher(embedder(clips, opened(job)), (head[:-1], head[-1]), LogitKD.Settings())
    settings = read_choice("transfer", {"method": job.task})
    teacher = embedder(clips, opened(job)) if settings.source == Source.TEACHER else None
    return build_transfer(settings, False, teacher=teacher)


def _targets(job: Job, ids: list[str]) -> np.ndarray | None:
    if job.task == LOGIT_TEACHER or read_choice("transfer", {"method": job.task}).source != Source.EMBEDDING:
        return None
    return EmbeddingStore.open(Path(job.folder, "embeddings")).take(ids)


def measure(job: Job) -> dict[str, float]:
    """Run the task of a job and return its costs."""
    clips = picked(job)
    folder = Path(job.folder)
    hashes = clips.hashes()  # reads every file, so that all tasks start with a warm cache
    if job.task == "learn":
        settings = KMeansTeacher.Settings(centroids=job.centroids, whitened=job.whitened, patch_frames=job.patch_frames)
        took = timed(lambda: learned_teacher(clips, settings, folder / "teacher", json.dumps(asdict(settings))))
        return took | {"teacher": teacher_bytes(job)}
    if job.task == "decode":
        return timed(lambda: [clips.decode(row) for row in range(len(clips))])
    if job.task == "features":
        return timed(lambda: compute_features(clips, hashes, job.audio, folder / "logmels")) | {
            "bytes": (folder / "logmels/data.npy").stat().st_size
        }
    if job.task == "cache":
        teacher = opened(job)
        took = timed(lambda: embed(clips, hashes, teacher, folder / "embeddings"))
        labels = _labels(clips)
        head = linear_head(EmbeddingStore.open(folder / "embeddings").take(clips.manifest.ids), labels)
        np.save(folder / "head.npy", np.vstack(head))
        store = (folder / "embeddings/data.npy").stat().st_size
        classes = len(labels.classes)
        return took | {
            "embeddings": store, "class means": 4 * classes * teacher.dim, "scores": 4 * classes * len(clips),
            "teacher": teacher_bytes(job), "dim": teacher.dim, "clips": len(clips),
        }  # fmt: skip
    return train_epochs(job, clips)


if __name__ == "__main__":
    set_threads(1)
    sys.stdout.write(json.dumps(measure(Job(**json.loads(sys.argv[1])))) + "\n")
