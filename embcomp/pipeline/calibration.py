"""Trials of a configuration at a few sizes within a given time, on generated sounds or on some of its own."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embcomp.config import RunConfig
from embcomp.data.manifest import Manifest
from embcomp.data.splits import column_folds
from embcomp.engines.local import set_threads
from embcomp.errors import ConfigError, EmbcompError, EmbcompWarning, ManifestError
from embcomp.pipeline.inputs import dataset_paths, refuse_untested
from embcomp.pipeline.trial import STEPS, WARM, Trial, run_trial
from embcomp.transfer import Source

SMALLEST, LARGEST = 48, 300  # clips of the set trained on
MOST_SMALL = 144  # of the smallest trial, where targets of many dimensions need more clips to be fitted on
CLASSES = 8
MOST_FOLDS = 12  # of a trial; more are reckoned from these
CALIBRATE = 30.0  # seconds


@dataclass(frozen=True)
class Sets:
    """How many clips a run has.

    Attributes
    ----------
    clips : int
        Of the set trained on.
    cross, unlabelled : tuple of int
        Of each further set, and of each unlabelled one.
    seconds : float
        Length of a clip.
    folds : int
        Into how many the set trained on is parted; 1 where nothing of it is tested.
    """

    clips: int
    cross: tuple[int, ...]
    unlabelled: tuple[int, ...]
    seconds: float
    folds: int


def check_plannable(config: RunConfig) -> None:
    """Refuse a run whose time generated sounds would say nothing of.

    Raises
    ------
    ConfigError
        Names the setting.
    """
    if config.data.inputs not in ("auto", "audio"):
        raise ConfigError(f'data.inputs = "{config.data.inputs}": embcomp plan reckons runs on audio only')
    for variant in config.variants:
        stored = [one.spec for one in variant.teacher.members or [variant.teacher] if not one.choice.runs]
        if stored and variant.transfer.source != Source.NONE:
            raise ConfigError(
                f"variant {variant.name!r} has the teacher {stored[0]!r}, which holds vectors of its own clips; plan with a "
                "teacher that runs, as the one that these vectors were made with"
            )
    refuse_untested(config)


def sets_of(
    config: RunConfig, clips: int, seconds: float, cross: int | None = None, unlabelled: int | None = None
) -> Sets:
    """The sizes of a run's sets: as given, else as the manifests have rows.

    Raises
    ------
    ConfigError
        A further set has no manifest yet and no number was given, or one was given and there is no such set.
    """
    data, paths = config.data, dataset_paths(config)[1:]
    found: dict[str, tuple[int, ...]] = {}
    for name, option, given, own in (
        ("cross", "--cross", cross, paths[: len(data.cross)]),
        ("unlabelled", "--unlabelled", unlabelled, paths[len(data.cross) :]),
    ):
        if given is not None and not own:
            raise ConfigError(f"{option} {given}, and the configuration has no data.{name}")
        if given is not None:
            found[name] = tuple(given // len(own) + (number < given % len(own)) for number in range(len(own)))
            continue
        missing = [path for path in own if not path.exists()]
        if missing:
            raise ConfigError(
                f"{missing[0]} of data.{name} is not there to be counted; give the number of clips by {option}"
            )
        found[name] = tuple(len(_quietly(path, config)) for path in own)
    return Sets(clips, found["cross"], found["unlabelled"], seconds, _folds(config, paths))


def _folds(config: RunConfig, paths: Sequence[Path]) -> int:
    split, own = config.split, dataset_paths(config)[0]
    if split.by == "none":
        return 1
    if split.by == "group" and split.folds:
        return split.folds
    if split.by == "column" and split.test:
        return len(split.test)
    if not own.exists():
        raise ConfigError(
            f"split.by = {split.by!r} has as many folds as {own} has values, and it is not there; set split.folds, or split.test"
        )
    manifest = _quietly(own, config)
    if split.by == "group":
        return len(np.unique(manifest.groups.astype(str)))
    return len(column_folds(manifest.splits, manifest.groups, (), True, config.split.validate))


def _quietly(path: Path, config: RunConfig) -> Manifest:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmbcompWarning)
        return Manifest.read(path, config.data.allow_outside, config.data.group_column, group_column_needed=False)


def calibrate(
    config: RunConfig,
    sets: Sets,
    limit: float = CALIBRATE,
    own_clips: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Trial:
    """Measure the stages of a run at three sizes.

    Parameters
    ----------
    config : RunConfig
    sets : Sets
        Of the run that is planned.
    limit : float, default=30
        Seconds after which no further size is begun; a trial that has begun is finished.
    own_clips : bool, default=False
        Use sounds of the configuration's manifest in place of generated ones.
    progress : callable, optional
        Called with the seconds used so far.

    Raises
    ------
    ConfigError
        See `check_plannable`; or the manifest has too few clips.
    """
    check_plannable(config)
    set_threads(config.threads)
    started, trial = time.perf_counter(), Trial()
    sounds = _own(config, sets) if own_clips else None

    def used() -> float:
        seconds = time.perf_counter() - started
        if progress is not None:
            progress(seconds)
        return seconds

    least = smallest(config, sets)
    with tempfile.TemporaryDirectory(prefix="embcomp-plan-") as place:
        # The first loads libraries and compiles kernels, which later ones find there.
        _one(config, sets, least, Path(place, "warm"), Trial(), sounds)
        begun, begun_cpu = used(), time.process_time()
        _one(config, sets, least, Path(place, "0"), trial, sounds)
        took = used() - begun
        trial.start = max(0.0, begun_cpu - (time.process_time() - begun_cpu))
        # Two more: of which the larger takes twice the time of the other, and both what is left.
        affordable = (limit - used()) / max(took, 1e-3) * least
        largest = int(np.clip(2 * affordable / 3, 2 * least, LARGEST))
        if sounds is not None:
            largest = min(largest, _most(sets, len(sounds)))
        for number, clips in enumerate(sorted({largest, (least + largest) // 2}, reverse=True), 1):
            _one(config, sets, clips, Path(place, str(number)), trial, sounds, odd=number == 1)
            used()
            if used() + took * clips / least / 2 > limit and number == 1:
                break
    return trial


def smallest(config: RunConfig, sets: Sets) -> int:
    """Clips of the smallest trial: so many that, where possible, targets have as many dimensions as in the run."""
    needed = max((one.compressor.dim for one in config.variants if one.transfer.compresses), default=1) + CLASSES
    return int(np.clip(np.ceil(1.1 * needed / _fit_share(config, sets)), SMALLEST, MOST_SMALL))


def _fit_share(config: RunConfig, sets: Sets) -> float:
    folds = min(sets.folds, MOST_FOLDS)
    return (1 - 1 / folds if folds > 1 else 1.0) * (1 - config.split.validation)


def _one(
    config: RunConfig,
    sets: Sets,
    clips: int,
    place: Path,
    trial: Trial,
    sounds: list[tuple[str, str, str]] | None,
    odd: bool = False,
) -> None:
    """A trial of so many clips in a folder that is gone afterwards; an odd one has few unlabelled clips and patches.

    With these in proportion to the clips, their share of the time could not be known.
    """
    further = max(16, clips // 4)
    pool = further if odd else clips
    counts = [clips, *[further] * len(sets.cross), *[pool] * len(sets.unlabelled)]
    manifests, first = [], 0
    for number, count in enumerate(counts):
        folder = place / f"set{number}"
        folder.mkdir(parents=True)
        chosen = None if sounds is None else sounds[first : first + count]
        manifests.append(_write_set(folder, number, count, config.audio.sample_rate, sets, chosen))
        first += count
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmbcompWarning)
        run_trial(_reduced(config, manifests, sets, odd), place / "run", manifests, trial, config, odd)
    shutil.rmtree(place, ignore_errors=True)


def _reduced(config: RunConfig, manifests: list[Path], sets: Sets, odd: bool) -> RunConfig:
    count = 1 + len(sets.cross)
    folds = min(sets.folds, MOST_FOLDS)
    most = max(2, int(smallest(config, sets) * _fit_share(config, sets) / 1.1) - CLASSES + 1)
    names = [str(path) for path in manifests]
    data = replace(
        config.data, root="", train=names[0], cross=tuple(names[1:count]), unlabelled=tuple(names[count:]),
        label_map="", inputs="audio", group_column="", allow_outside=True, duplicates="join", skip_bad=False,
    )  # fmt: skip
    by = "none" if config.split.by == "none" else "group"
    split = replace(
        config.split, by=by, folds=folds, test=(), validate=(),
        labels_per_class=min(config.split.labels_per_class, 2),
    )  # fmt: skip
    variants = []
    for one in config.variants:
        training = replace(
            one.training, steps=WARM + STEPS, epochs=0.0, minutes=0.0, patience=0, evaluate_every=10**6,
            checkpoint_every=10**6, processes=1, log="none",
        )  # fmt: skip
        teacher = one.teacher
        if odd and "patches" in teacher.options():
            teacher = replace(teacher, patches=max(_least_patches(teacher.options()), teacher.patches // 10))
        # A fold of a trial may have fewer clips than the target has dimensions.
        dim = min(one.compressor.dim, most)
        variants.append(replace(one, training=training, teacher=teacher, compressor=replace(one.compressor, dim=dim)))
    return replace(config, seeds=config.seeds[:1], workers=1, data=data, split=split, variants=tuple(variants))


def _least_patches(options: dict) -> int:
    return max(100, 2 * options.get("centroids", 0))


def _write_set(
    folder: Path, number: int, count: int, rate: int, sets: Sets, sounds: list[tuple[str, str, str]] | None
) -> Path:
    """Clips and their manifest; each group has clips of every class, and its audio to itself."""
    import soundfile

    rng, samples = np.random.default_rng(number), round(sets.seconds * rate)
    time_axis = np.arange(samples) / rate
    groups = max(2 * min(sets.folds, MOST_FOLDS), 8)
    path = folder / "manifest.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "group", "start", "end"])
        for clip in range(count):
            label, group = clip % CLASSES, clip // CLASSES % groups
            if sounds is not None:
                name, start, end = sounds[clip]
                group = name  # type: ignore[assignment]
            else:
                name, start, end = f"{clip}.wav", "", ""
                pitch = rng.uniform(0.9, 1.1) * rate / 64 * 2 ** (label / 3)
                sound = 0.3 * np.sin(2 * np.pi * pitch * time_axis) + 0.1 * rng.standard_normal(samples)
                soundfile.write(folder / name, sound, rate)
            table.writerow([name, f"class{label}", f"group {group}", start, end])
    return path


def _own(config: RunConfig, sets: Sets) -> list[tuple[str, str, str]]:
    """Path, start and end of clips of the configuration's manifest, spread over it, one of each file."""
    path = dataset_paths(config)[0]
    try:
        manifest = _quietly(path, config)
    except EmbcompError as error:
        raise ManifestError(f"--own-clips takes sounds of {path}: {error}") from None
    found: dict[str, tuple[str, str, str]] = {}
    for row in np.random.default_rng(0).permutation(len(manifest)):
        start, end = manifest.interval(int(row))
        place = os.path.abspath(manifest.audio_path(int(row)))
        found.setdefault(place, (place, *("" if one is None or np.isnan(one) else str(one) for one in (start, end))))
    small = smallest(config, sets)
    least = 2 * small * (1 + len(sets.unlabelled)) + small * len(sets.cross)
    if len(found) < least:
        raise ConfigError(f"{path} has {len(found)} sounds, --own-clips needs {least}; leave it out for generated ones")
    return list(found.values())


def _most(sets: Sets, available: int) -> int:
    return int(available / (1 + len(sets.unlabelled) + len(sets.cross) / 4)) - 16 * len(sets.cross)
