"""What an exported file lost: compared with what it was made from, clip by clip, and said in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice

import numpy as np

from embcomp.data.labels import Labels
from embcomp.errors import ConfigError
from embcomp.export.runtime import BATCH, ExportedModel
from embcomp.export.source import Source
from embcomp.metrics import score

LEAST_AGREEMENT = 0.99
MOST_LOSS = 0.005  # of the score: half a point
LEAST_COSINE = 0.999  # of embeddings and targets, which have no class to agree on
GENERATED = 32


@dataclass(frozen=True)
class Limits:
    """Past which an exported file does not count as the same model.

    Attributes
    ----------
    agreement : float
        Least share of clips whose likeliest class is the same, in [0, 1].
    loss : float
        Most that the score may fall, in [0, 1].
    cosine : float
        Least mean cosine with the embedding or target exported, in [-1, 1].
    """

    agreement: float = LEAST_AGREEMENT
    loss: float = MOST_LOSS
    cosine: float = LEAST_COSINE

    def __post_init__(self) -> None:
        for name, option in (("agreement", "--min-agreement"), ("loss", "--max-loss"), ("cosine", "--min-cosine")):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{option} must lie in [0, 1], not {getattr(self, name):g}")


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from its source.

    Attributes
    ----------
    clips : int
        Compared.
    audio : str
        Where they come from.
    largest, mean : float
        Absolute error of the first output: of probabilities, or of an embedding's components.
    cosine : float
        Mean, between the last outputs: the embedding's where there is one.
    agreement : float, or None
        Share of clips with the same likeliest class, or, of several labels, of the same classes
        above the threshold; None where the model gives no classes.
    metric : str, or None
        Of the scores; None without labels.
    before, after : float, or None
    labelled : int
        Clips that the scores rest on.
    bytes : int
        Of the file.
    parameters, macs : int
        Of the network; the front end is not counted.
    failures : tuple of str
        Limits that are passed, in words.
    """

    clips: int
    audio: str
    largest: float
    mean: float
    cosine: float
    agreement: float | None
    metric: str | None
    before: float | None
    after: float | None
    labelled: int
    bytes: int
    parameters: int
    macs: int
    failures: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict:
        """JSON-able."""
        return {**asdict(self), "failures": list(self.failures)}

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.clips} clips ({self.audio})", f"error: largest {self.largest:.2g}, mean {self.mean:.2g}"]
        if self.agreement is None:
            lines.append(f"cosine: {self.cosine:.6f}")
        else:
            lines.append(f"same class: {self.agreement:.2%}")
        if self.metric is not None:
            lines.append(
                f"{self.metric}: {self.before:.4f} before, {self.after:.4f} after, {self.labelled} labelled clips"
            )
        size = f"{self.bytes / 1000:.0f} kB, {self.parameters:,} parameters"
        return [*lines, size + (f", {self.macs / 1e6:.1f} M multiply-accumulates" if self.macs else "")]


def measure(
    source: Source,
    model: ExportedModel,
    rows: Iterable[np.ndarray],
    audio: str,
    labels: Labels | None = None,
    limits: Limits | None = None,
) -> Parity:
    """Run both on `rows` and compare.

    Parameters
    ----------
    rows : iterable of ndarray
        Waveforms (samples,) in [-1, 1], or what else the source takes. Only some are held at a time.
    audio : str
        Where they come from, for the report.
    labels : Labels, optional
        Of the rows, over the model's classes; rows without a label count for everything but the score.
    """
    limits = limits or Limits()
    expected, found = _both(source, model, rows)
    error = np.abs(expected[0].astype(np.float64) - found[0])
    cosine = _cosine(expected[-1], found[-1])
    agreement, metric, before, after, labelled = None, None, None, None, 0
    finite = all(np.isfinite(part).all() for part in found)
    failures = [] if finite else ["the file gives numbers that are not finite"]
    if source.info.kind == "classifier":
        agreement = _agreement(expected[0], found[0], source)
        if agreement < limits.agreement:
            failures.append(f"the same class for {agreement:.2%} of the clips, under {limits.agreement:.2%}")
        kept = np.flatnonzero(labels.labelled) if labels is not None and finite else []
        if len(kept):
            name = "mAP" if source.info.multi_label else "balanced_accuracy"
            scores = [_score(name, part[kept], labels.select(kept), source) for part in (expected[0], found[0])]
            if not np.isnan(scores).any():  # of several labels, none may have clips with and without it
                labelled, metric, (before, after) = len(kept), name, scores
                # A difference of the last bit is no loss.
                if before - after > limits.loss + 1e-9:
                    failures.append(f"{metric} falls by {before - after:.4f}, more than {limits.loss:.4f}")
    elif cosine < limits.cosine:
        failures.append(f"a mean cosine of {cosine:.6f}, under {limits.cosine:g}")
    return Parity(
        len(error),
        audio,
        float(error.max()),
        float(error.mean()),
        cosine,
        agreement,
        metric,
        before,
        after,
        labelled,
        model.path.stat().st_size,
        source.info.parameters,
        source.info.macs,
        tuple(failures),
    )


def generated_rows(source: Source, count: int = GENERATED) -> list[np.ndarray]:
    """Sounds to compare on where there are no clips: tones, noise and sweeps of many levels and lengths.

    Of a compressor, random embeddings about its mean; of a student that takes no audio, random inputs with the mean
    and deviation of its training rows, as far as it keeps them.
    """
    rng = np.random.default_rng(0)
    if source.info.shape:
        norm = source.classifier.network.norm
        axes = (-1, *[1] * (len(source.info.shape) - 1))
        mean, deviation = (part.numpy().reshape(axes) for part in (norm.mean, norm.deviation))
        rows = mean + deviation * rng.normal(size=(count, *source.info.shape))
        return list(rows.astype(np.float32))
    if not source.info.sample_rate:
        return list(rng.normal(size=(count, source.body.in_features)).astype(np.float32))
    longest = round(source.info.window * source.info.sample_rate)
    rows = []
    for number in range(count):
        times = np.arange(max(1, round(longest * (1.0 if number % 4 == 0 else rng.uniform(0.1, 1.0))))) / longest
        pitch, sweep = rng.uniform(20, 2000, 2) * source.info.window
        tone = np.sin(2 * np.pi * (pitch + (number % 3 == 0) * sweep * times) * times)
        wave = rng.uniform(0.01, 0.8) * tone + rng.uniform(1e-4, 0.2) * rng.normal(size=len(times))
        rows.append(np.clip(wave, -1, 1).astype(np.float32))
    return rows


def _both(source: Source, model: ExportedModel, rows: Iterable[np.ndarray]) -> tuple[list, list]:
    """Outputs of the source and of the file, for the same rows."""
    rows, expected, found = iter(rows), [], []
    while some := [np.ascontiguousarray(row, dtype=np.float32) for row in islice(rows, BATCH)]:
        expected.append(source.reference(some))
        found.append(model.outputs(_inputs(source, model, some)))
    return tuple([np.concatenate(part) for part in zip(*outputs)] for outputs in (expected, found))


def _inputs(source: Source, model: ExportedModel, rows: list[np.ndarray]) -> list[np.ndarray]:
    if model.info.input != "logmel":
        return rows
    return [source.features(row)[0] for row in rows]


def _agreement(expected: np.ndarray, found: np.ndarray, source: Source) -> float:
    same = source.decide(expected) == source.decide(found)
    return float(same.reshape(len(same), -1).all(axis=1).mean())


def _score(metric: str, probabilities: np.ndarray, labels: Labels, source: Source) -> float:
    return score(
        metric,
        labels.matrix,
        probabilities,
        len(labels.classes),
        multi_label=source.info.multi_label,
        threshold=source.info.threshold,
    )


def _cosine(expected: np.ndarray, found: np.ndarray) -> float:
    first, second = expected.astype(np.float64), found.astype(np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    # Two vectors of zeros are the same.
    same = (first * second).sum(axis=1) / np.maximum(norms, 1e-30)
    return float(np.where(norms < 1e-30, np.linalg.norm(first - second, axis=1) < 1e-12, same).mean())
