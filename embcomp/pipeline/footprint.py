"""How much memory and disk a planned run takes, what it reads, and what other settings would save."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from embcomp.audio.features import front_end
from embcomp.config import RunConfig
from embcomp.pipeline.calibration import Sets
from embcomp.pipeline.trial import Counts, Trial, patches_of
from embcomp.storage.store import HELD
from embcomp.teachers.kmeans import N_MELS
from embcomp.training.assembly import IN_MEMORY

# What does not hold a clip's data still knows its name, hash, label and group, in tables and dictionaries.
BYTES_A_CLIP = 1500
NOISE = 24e6  # bytes: smaller differences of memory say nothing


@dataclass(frozen=True)
class Saving:
    """What another setting would save.

    Attributes
    ----------
    change : str
    memory, disk : float
        Bytes; what is smaller.
    how : str
        The setting or command.
    """

    change: str
    memory: float
    disk: float
    how: str


def fitted_line(rows: Iterable[tuple[float, ...]], seconds: Iterable[float]) -> np.ndarray:
    """Coefficients, none negative, of seconds over regressors: least squares on all points.

    Where nothing seems to grow, as noise among small sizes may have it, all is taken to: over ten thousand times the
    size, too much is a better guess than nothing.

    Parameters
    ----------
    rows : iterable of tuple of float
        The regressors of each point; a leading 1 is for what does not grow.
    seconds : iterable of float

    Examples
    --------
    >>> fitted_line([(1, 10), (1, 20), (1, 40)], [3.0, 5.0, 9.0]).round(6).tolist()
    [1.0, 0.2]
    """
    from scipy.optimize import nnls

    matrix = np.array(list(rows), dtype=float)
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
    known = np.array(list(seconds), dtype=float)
    found, _ = nnls(matrix / scale, known)
    grows = matrix.shape[1] > 1 and bool((matrix[:, 0] == 1).all())
    if grows and not found[1:].any():
        found = np.concatenate([[0.0], nnls((matrix / scale)[:, 1:], known)[0]])
    return found / scale


def steps_of(config: RunConfig, variant: str, counts: Counts) -> tuple[int, int]:
    """Steps of a student, none stopped early, and how often it is validated."""
    training = next(one.training for one in config.variants if one.name == variant)
    steps = training.steps
    if training.epochs:
        share = max(training.labelled, counts.fit / (counts.fit + counts.unlabelled)) if counts.unlabelled else 1.0
        steps = max(1, -int(-training.epochs * counts.fit // (training.batch_size * share)))
    return steps, max(1, -(-steps // training.evaluate_every))


def drawn_patches(config: RunConfig, sets: Sets, counts: Counts) -> tuple[int, int]:
    """Patches that the teacher of a variant which draws most learns from, and the width of one; 0 where none does."""
    learned = counts.fit + counts.validation + counts.unlabelled
    seconds = min(sets.seconds, config.audio.seconds)
    found = [(0, 0)]
    for variant in config.variants:
        for one in variant.teacher.members or [variant.teacher]:
            if one.learns:
                options = one.options()
                found.append((patches_of(options, learned, seconds), N_MELS * options.get("patch_frames", 0)))
    return max(found)


class Footprint:
    """Bytes in memory, on disk and read."""

    def __init__(self, config: RunConfig, sets: Sets, trial: Trial, counts: Counts):
        self.config, self.sets, self.trial, self.counts = config, sets, trial, counts
        self.seconds = min(sets.seconds, config.audio.seconds)
        self.patches, self.patch = drawn_patches(config, sets, counts)
        audio = config.audio
        frames = front_end(audio).frames(round(audio.seconds * audio.sample_rate))
        self.logmel = 4 * audio.n_mels * frames
        self.held = 4 * audio.n_mels * front_end(audio).frames(round(self.seconds * audio.sample_rate))
        self.embedding = max((width for (kind, _), width in trial.widths.items() if kind == "embedding"), default=0)
        self.targets = max(
            (one.compressor.dim for one in config.variants if one.transfer.compresses and not one.transfer.joint),
            default=0,
        )
        raw = any(
            one.transfer.cached and (not one.transfer.compresses or one.transfer.joint) for one in config.variants
        )
        self.target = max(self.targets, self.embedding if raw else 0)

    def grown(self, stage: str, counts: Counts, patches: int) -> float:
        """Least that a stage holds of the clips, bytes."""
        names = BYTES_A_CLIP * counts.total
        if stage == "teacher":  # as they are, and in double precision
            return names + 3 * 4 * self.patch * patches
        learned = counts.fit + counts.unlabelled
        if stage == "compressors":
            return names + 4 * self.embedding * counts.fit
        if stage == "students":
            # Log-mels are there twice while they are read; many of them, and many targets, are on disk.
            labelled = 0 if self._streams_labelled(counts) else 2 * counts.fit + counts.validation
            clips = labelled + (0 if self._streams(counts) else 2 * counts.unlabelled)
            return names + self.held * clips + min(8 * self.target * learned, 2 * HELD)
        if stage == "tests":
            return names + 2 * self.held * max(counts.test, *counts.sets[: len(counts.sets) - counts.pools])
        if stage == "probes":
            return names + 2 * (self.held + 4 * self.embedding) * (counts.fit + counts.tested)
        return names

    def _streams_labelled(self, counts: Counts) -> bool:
        """Whether the log-mels of labelled clips are read for every batch."""
        return self.config.device == "cpu" and self.logmel * (counts.fit + counts.validation) > IN_MEMORY

    def memory(self, stage: str) -> float:
        """Bytes at the peak of a stage: what a process takes by itself, and what it holds of the clips."""
        stage = "students" if stage in ("set-up", "steps", "validation") else stage
        known = self.trial.memory
        if stage == "start":
            return float(min((size for *_, size in known if size), default=0))
        points = [one[1:] for one in known if one[0] == stage and one[3]] or [one[1:] for one in known if one[3]]
        if not points:
            return 0.0
        names = np.array([BYTES_A_CLIP * counts.total for counts, *_ in points], dtype=float)
        least = np.array([self.grown(stage, counts, patches) for counts, patches, _ in points]) - names
        sizes = np.array([size for *_, size in points], dtype=float) - names
        factor = 1.0
        if least.max() - least.min() > NOISE:
            factor = float(np.clip(np.polyfit(least, sizes, 1)[0], 0.7, 3.0))
        known = BYTES_A_CLIP * self.counts.total
        held = self.grown(stage, self.counts, self.patches) - known
        return float(np.median(sizes - factor * least) + factor * held + known)

    def disk(self, stage: str, jobs: float) -> float:
        """Bytes that a stage leaves on disk."""
        kind = {"set-up": "students"}.get(stage, stage)
        points = [(counts, size) for known, counts, size in self.trial.disk if known == kind]
        if not points:
            return 0.0
        line = fitted_line([(1, counts.total) for counts, _ in points], [size for _, size in points])
        alone = sum(count for (known, _), count in self.trial.alone.items() if known == stage)
        return float(line @ (1, self.counts.total)) * jobs / max(alone, 1)

    def read(self, stage: str, jobs: dict[str, float]) -> float:
        """Bytes that a stage reads: a clip as 16 bits a sample."""
        audio = 2 * self.sets.seconds * self.config.audio.sample_rate
        counts, count = self.counts, sum(jobs.values())
        learned = counts.fit + counts.unlabelled
        sizes: dict[str, Callable[[], float]] = {
            "check": lambda: 2 * audio * counts.total,  # hashed, then decoded
            "log-mels": lambda: audio * sum(counts.sets[int(key.split()[0])] * many for key, many in jobs.items()),
            "teacher": lambda: audio * (counts.fit + counts.validation + counts.unlabelled) * count,
            "embeddings": lambda: audio * counts.total * count,
            "views": lambda: audio * learned * count,
            "compressors": lambda: 4 * self.embedding * learned * count,
            "apply": lambda: 4 * self.embedding * learned * count,
            "set-up": lambda: self.logmel * (counts.fit + counts.validation + counts.unlabelled) * count,
            "steps": lambda: self._drawn(jobs),
            "tests": lambda: self.logmel * counts.tested * count,
            "probes": lambda: 4 * self.embedding * (counts.fit + counts.tested) * count,
        }
        return float(sizes[stage]()) if stage in sizes else 0.0

    def _streams(self, counts: Counts) -> bool:
        """Whether the log-mels of unlabelled clips are read for every batch."""
        return self.logmel * counts.unlabelled > IN_MEMORY

    def _drawn(self, jobs: dict[str, float]) -> float:
        """Log-mels of unlabelled clips, which are read for every batch if they are many."""
        if not self._streams(self.counts):
            return 0.0
        total = 0.0
        for one in self.config.variants:
            steps, _ = steps_of(self.config, one.name, self.counts)
            total += jobs.get(one.name, 0) * steps * one.training.batch_size * (1 - one.training.labelled) * self.logmel
        return total

    def savings(self) -> list[Saving]:
        """What lower precision and fewer dimensions would save."""
        rows, learned = self.counts.total, self.counts.fit + self.counts.unlabelled
        found = []
        if self.embedding:
            found.append(Saving("embeddings in float16", 0, 2 * self.embedding * rows, "embcomp embed --dtype float16"))
        if self.targets:
            half, whole = self.targets // 2, self.targets
            found += [
                Saving(f"targets of {half} dimensions", 8 * (whole - half) * learned, 4 * (whole - half) * rows, f"compressor.dim = {half}"),
                Saving("stored targets in float16", 0, 2 * whole * rows, "embcomp apply --dtype float16"),
                Saving("stored targets in 8 bits", 0, 3 * whole * rows, "embcomp.compression.Quantiser"),
            ]  # fmt: skip
        if self.sets.unlabelled and self.config.data.unlabelled_dtype == "float32":
            found.append(
                Saving(
                    "log-mels of unlabelled clips in float16", 0, self.logmel / 2 * self.counts.unlabelled,
                    'data.unlabelled_dtype = "float16"',
                )
            )  # fmt: skip
        if self.sets.seconds < self.config.audio.seconds:
            found.append(
                Saving(
                    f"log-mels no longer than the clips ({self.sets.seconds:g} s)", 0, (self.logmel - self.held) * rows,
                    f"audio.seconds = {self.sets.seconds:g}",
                )
            )  # fmt: skip
        return found
