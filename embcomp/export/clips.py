"""Which clips an export is calibrated on and which it is checked on: never the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.data.guards import seen_among
from embcomp.data.inputs import InputSpec, rows_for, usable_rows
from embcomp.data.labels import Labels, map_labels
from embcomp.data.manifest import Manifest
from embcomp.data.splits import validation_split
from embcomp.errors import BadClip, ConfigError, DataError, ManifestError
from embcomp.export.info import ModelInfo

CALIBRATION_CLIPS = 200
CHECK_CLIPS = 2000
TRAINING_CLIPS = 500  # to fine-tune on; that many stay in memory
VALIDATION_SHARE = 0.25  # by group, of the clips that remain where a student is fine-tuned
CHECK_SHARE = 0.5  # of the manifest calibrated on, by group, where no other is given to check on


@dataclass(frozen=True)
class ClipChoice:
    """What was chosen.

    Attributes
    ----------
    check : Clips, or None
        To compare the exported file on.
    labels : Labels, or None
        Of `check`; NaN where the model does not know a label.
    audio : str
        What `check` is, in words.
    calibration : Clips, or None
        Class-balanced.
    validation : Clips, or None
        Further clips of the same manifest, in neither of the others.
    training : Clips, or None
        To fine-tune on: those to calibrate on and more, of other groups than `validation`.
    bad : tuple of BadClip
        Left out.
    """

    check: Clips | None = None
    labels: Labels | None = None
    audio: str = "generated tones, noise and sweeps"
    calibration: Clips | None = None
    validation: Clips | None = None
    training: Clips | None = None
    bad: tuple[BadClip, ...] = field(default=())


def choose_clips(
    info: ModelInfo,
    check: Manifest | None = None,
    calibrate: Manifest | None = None,
    *,
    seen: frozenset[str] = frozenset(),
    calibration_clips: int = CALIBRATION_CLIPS,
    check_clips: int = CHECK_CLIPS,
    finetune: bool = False,
    skip_bad: bool = False,
    seed: int = 0,
) -> ClipChoice:
    """Choose clips to calibrate and to check on.

    Where only `calibrate` is given, half of its groups are kept to check on. The same audio is never in both, under
    whatever name.

    Parameters
    ----------
    seen : frozenset of str
        Content hashes of the clips the model was trained on; how many of those checked are among them is said.
    calibration_clips, check_clips : int
        At most so many; more are drawn from, equally often from each class.
    finetune : bool, default=False
        Choose clips to fine-tune on, too, and the validation clips from other groups.

    Raises
    ------
    DataError
        Nothing is left to check on.
    AudioError
        Clips cannot be used and `skip_bad` is false.
    """
    if calibration_clips < 1 or check_clips < 1:
        raise ConfigError("the number of clips to calibrate or check on must be 1 or more")
    if check is None and calibrate is None:
        return ClipChoice()
    rng = np.random.default_rng(seed)
    calibration = validation = training = None
    used: set[str] = set()
    bad: list[BadClip] = []
    if calibrate is not None:
        clips, left_out = _clips(calibrate, info).usable(skip_bad)
        bad += left_out
        labels = _labels(clips.manifest, info)
        pool = np.arange(len(clips))
        if check is None:
            pool, held = _by_group(clips.manifest, labels, pool, CHECK_SHARE, seed)
            check = clips.manifest.select(held)
        apart = None
        if finetune:
            pool, apart = _by_group(clips.manifest, labels, pool, VALIDATION_SHARE, seed)
        drawn = _balanced(labels.for_splits, pool, calibration_clips, rng)
        others = np.setdiff1d(pool, drawn)
        rest = _balanced(labels.for_splits, others if apart is None else apart, calibration_clips, rng)
        more = (
            _balanced(labels.for_splits, others, max(0, TRAINING_CLIPS - len(drawn)), rng) if finetune else others[:0]
        )
        hashes = clips.hashes()
        used = {hashes[row] for row in (*drawn, *rest, *more)}
        calibration = _part(clips, drawn)
        validation = _part(clips, rest) if len(rest) else None
        training = _part(clips, np.concatenate([drawn, more])) if finetune else None
    clips, left_out = _clips(check, info).usable(skip_bad)
    bad += [clip for clip in left_out if clip not in bad]
    hashes = clips.hashes()
    taken = seen_among(used)(hashes)
    free = np.flatnonzero([key not in taken for key in hashes])
    if not len(free):
        raise DataError(
            f"every clip to check on is one that was calibrated on; give --check another manifest than {check.name!r}"
        )
    labels = _labels(clips.manifest, info)
    drawn = np.sort(_balanced(labels.for_splits, free, check_clips, rng))
    audio = clips.manifest.name + (f", {len(drawn)} of its {len(free)} clips" if len(drawn) < len(free) else "")
    if known := len(seen_among(seen)([hashes[row] for row in drawn])):
        audio += f", {known} of them trained on"
    return ClipChoice(_part(clips, drawn), labels.select(drawn), audio, calibration, validation, training, tuple(bad))


def choose_rows(
    info: ModelInfo,
    check: Manifest,
    inputs: str | os.PathLike | None,
    *,
    check_clips: int = CHECK_CLIPS,
    skip_bad: bool = False,
    seed: int = 0,
) -> tuple[np.ndarray, Labels, str]:
    """Inputs (n, *shape) of the rows of a manifest to check on, their labels, and what they are, in words.

    Parameters
    ----------
    inputs : path
        The file with the table or the images.

    Raises
    ------
    ConfigError, StoreError
        It is not given, missing, or holds other inputs than the model takes.
    """
    spec = InputSpec(info.input, (*info.shape, *[1] * (info.input == "table")), info.columns)
    rows = rows_for(spec, inputs, check)
    usable, _ = usable_rows(check, rows, skip_bad)
    labels = _labels(usable, info)
    drawn = np.sort(_balanced(labels.for_splits, np.arange(len(usable)), check_clips, np.random.default_rng(seed)))
    values = rows.take([usable.ids[row] for row in drawn])
    audio = check.name + (f", {len(drawn)} of its {len(usable)} rows" if len(drawn) < len(usable) else "")
    return values.reshape(len(values), *info.shape), labels.select(drawn), audio


def waveforms(clips: Clips) -> Iterator[np.ndarray]:
    """Clips decoded one by one, float32 (samples,)."""
    return (clips.decode(row) for row in range(len(clips)))


def _labels(manifest: Manifest, info: ModelInfo) -> Labels:
    """Over the model's classes, a row for every clip; NaN where a clip has no label the model knows."""
    classes = info.labels or ("",)
    matrix = np.full((len(manifest), len(classes)), np.nan, dtype=np.float32)
    known = {name.strip().removeprefix("?") for cell in manifest.labels for name in cell.split("|")} & set(info.labels)
    if known:  # else the clips can be compared, not scored
        mapped = map_labels(manifest.labels, classes, multi_label=info.multi_label)
        matrix[mapped.kept] = mapped.labels.matrix
    return Labels(tuple(classes), matrix, info.multi_label)


def _part(clips: Clips, rows: np.ndarray) -> Clips:
    return replace(clips, manifest=clips.manifest.select(rows))


def _clips(manifest: Manifest, info: ModelInfo) -> Clips:
    """The clips of a manifest as the model was made for them."""
    return Clips(manifest, info.sample_rate, info.window, info.audio.get("channel", "mix"))


def _by_group(
    manifest: Manifest, labels: Labels, rows: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`rows` in two parts that share no group, the second about `share` of them."""
    try:
        parts = validation_split(labels.for_splits[rows], manifest.groups[rows], share, seed)
    except ManifestError as error:
        mend = "give --check a manifest of its own" if share == CHECK_SHARE else "--finetune needs clips of more groups"
        raise DataError(f"the clips to calibrate on cannot be parted by group ({error}); {mend}") from None
    return rows[parts[0]], rows[parts[1]]


def _balanced(strata: np.ndarray, rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` of `rows`, from each class in turn."""
    queues = [rng.permutation(rows[strata[rows] == label]) for label in np.unique(strata[rows])]
    turns = [(place, number, row) for number, queue in enumerate(queues) for place, row in enumerate(queue)]
    return np.array([row for _, _, row in sorted(turns)[:count]], dtype=np.int64)
