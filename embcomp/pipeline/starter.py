"""Settings for a first run, chosen from what a manifest holds."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from embcomp.config import RunConfig, SplitConfig, parse
from embcomp.config.schema import toml_value
from embcomp.data.manifest import Manifest
from embcomp.data.sounds import Sound, look_at
from embcomp.errors import ManifestError, counted
from embcomp.pipeline.workspace import Dataset, make_splits

LONGEST = 10.0  # seconds of a clip that a student gets at most, unless set
RATE = 16_000  # Hz that a student gets at most, unless set
TEST_NAMES = ("test", "testing", "eval", "evaluation")
VALIDATION_NAMES = ("validation", "valid", "val", "dev", "development")
FOLDS = 3
MOST_DIMENSIONS = 64  # of the target
# What stands beside these settings in the file.
UNLABELLED = "clips of the same kind without labels, which the teacher teaches with: the more, the better"
TEACHERS = (
    "kmeans is learned from these clips and knows little that they do not; google-speech-embedding knows speech, "
    "yamnet other sounds: `embcomp teachers` lists more"
)


@dataclass(frozen=True)
class Start:
    """Settings of a first run, each with the reason.

    Attributes
    ----------
    name : str
    train : str
        Path of the manifest from the config's folder.
    cross : tuple of str
        Paths of the manifests of further data sets.
    allow_outside : bool
    sample_rate : int
        Hz.
    seconds : float
        The longest clip, 10 at most.
    split : SplitConfig
    seeds : tuple of int
    teacher : str
        As ``teacher.spec`` takes it.
    unlabelled : tuple of str
        Paths of the manifests of clips without labels.
    dim : int
        Of the target; a quarter of the clips at most, as each fold fits it on a part of them.
    reasons : dict of str to str
        What to write beside a setting.
    notes : list of str
        What a user must know of the choice.
    about : str
        One line on the data.
    """

    name: str
    train: str
    cross: tuple[str, ...]
    allow_outside: bool
    sample_rate: int
    seconds: float
    split: SplitConfig
    seeds: tuple[int, ...]
    teacher: str = "kmeans"
    unlabelled: tuple[str, ...] = ()
    dim: int = MOST_DIMENSIONS
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    about: str = ""

    def config(self) -> RunConfig:
        """The settings as `embcomp.run` takes them, paths from the folder of the config."""
        import tomllib

        return parse(tomllib.loads(self.toml()), "the settings of init")

    def toml(self) -> str:
        """The settings as TOML, with comments."""
        window = 2 ** round(math.log2(0.032 * self.sample_rate))
        outside = "  # some audio lies outside the manifest's folder" if self.allow_outside else ""
        cross = [
            f"cross = {toml_value(list(self.cross))}  # tested on, never trained on"
            if self.cross
            else '# cross = ["../other/manifest.csv"]  # further data sets with the same labels: tested on, never trained on'
        ]
        lines = [
            *head_lines(self.about, self.name, self.seeds, self.reasons, self.train),
            *cross,
            f"unlabelled = {toml_value(list(self.unlabelled))}  # {UNLABELLED}"
            if self.unlabelled
            else f'# unlabelled = ["../more/manifest.csv"]  # {UNLABELLED}',
            *([f"allow_outside = true{outside}"] if self.allow_outside else []),
            "skip_bad = false  # true leaves out clips that turn out to be unreadable, and counts them, instead of stopping",
            "",
            "[audio]  # what students get",
            f"sample_rate = {self.sample_rate}  # Hz; {self.reasons['sample_rate']}",
            f"seconds = {self.seconds:g}  # {self.reasons['seconds']}",
            *self._frames(window),
            "",
            "[split]",
            *split_lines(self.split, self.reasons),
            "",
            "[teacher]",
            f"spec = {toml_value(self.teacher)}  # {TEACHERS}",
            "",
            "[training]",
            "steps = 400  # more where the validation score of a student still rises at the end",
            "",
            "# The comparison: one student for each, trained alike but for what is set here.",
            "[[variants]]",
            'name = "no teacher"',
            'transfer.method = "none"',
            "",
            "[[variants]]",
            'name = "raw embedding"',
            'transfer.method = "embedding"',
            "",
            "[[variants]]",
            'name = "compressed"',
            'compressor.method = "linear"',
            f"compressor.dim = {self.dim}",
        ]
        return "\n".join(lines) + "\n"

    def _frames(self, window: int) -> list[str]:
        if self.sample_rate == RATE:
            return []
        bands = 64 if self.sample_rate >= RATE else 40
        return [
            f"n_fft = {window}  # samples, about 32 ms",
            f"win_length = {window}",
            f"hop_length = {round(0.02 * self.sample_rate)}  # samples, 20 ms",
            f"n_mels = {bands}",
        ]


def propose(
    manifest: Manifest,
    path: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    cross: Sequence[str | os.PathLike] = (),
    unlabelled: Sequence[str | os.PathLike] = (),
    teacher: str = "kmeans",
    seconds: float | None = None,
    sample_rate: int | None = None,
    sounds: Mapping[Path, Sound] | None = None,
) -> Start:
    """Choose settings for a first run.

    Parameters
    ----------
    manifest : Manifest
        Of the clips to learn from.
    path : path
        Where it lies.
    folder : path
        Where the config will lie.
    cross : sequence of paths
        Manifests of further data sets.
    unlabelled : sequence of paths
        Manifests of clips without labels.
    teacher : str, default="kmeans"
    seconds : float, optional
        What a student gets of a clip; by default the longest clip, at most 10 s.
    sample_rate : int, optional
        Hz; by default 16000, or what the recordings have where that is less.
    sounds : mapping of Path to Sound, optional
        Headers of the files, where they are known.

    Raises
    ------
    ManifestError
        There are fewer than two classes, or no clip can be read.
    """
    names = classes_of(manifest, path)
    paths = [manifest.audio_path(row) for row in range(len(manifest))]
    known = sounds if sounds is not None and all(one in sounds for one in paths) else look_at(paths)
    lengths, rates = _lengths(manifest, paths, known)
    if not len(lengths):
        raise ManifestError(f"no clip of {path} can be read: {known[paths[0]].problem}")
    reasons: dict[str, str] = {}
    notes: list[str] = []
    chosen_rate = sample_rate or _rate(rates, reasons, notes)
    chosen_seconds = seconds or _seconds(lengths, reasons, notes)
    reasons.setdefault("sample_rate", "as asked")
    reasons.setdefault("seconds", "as asked")
    split, seeds = split_for(manifest, reasons, notes)
    start = Path(folder).resolve()
    groups = len(set(manifest.groups)) if manifest.unit == "group" else 0
    return Start(
        name=re.sub(r"\W+", "-", manifest.name).strip("-") or "run",
        train=relative_path(path, start),
        cross=tuple(relative_path(one, start) for one in cross),
        unlabelled=tuple(relative_path(one, start) for one in unlabelled),
        teacher=teacher,
        dim=target_dim(len(manifest)),
        allow_outside=_outside(manifest),
        sample_rate=int(chosen_rate),
        seconds=float(chosen_seconds),
        split=split,
        seeds=seeds,
        reasons=reasons,
        notes=notes,
        about=f"{counted(len(manifest), 'clip')}, {counted(len(names), 'class', 'classes')}, {counted(groups, 'group') if groups else 'no groups given'}",
    )


def classes_of(manifest: Manifest, path: str | os.PathLike) -> list[str]:
    """The classes of a manifest, of which a run needs two or more."""
    names = sorted({name for cell in manifest.labels for name in _plain(cell)})
    if len(names) < 2:
        raise ManifestError(
            f"a run needs two classes or more; {path} has {names or 'no label'}. A class of clips that are none of yours "
            "can be the second"
        )
    return names


def head_lines(about: str, name: str, seeds: Sequence[int], reasons: Mapping[str, str], train: str) -> list[str]:
    """The file as TOML up to the first setting of the section ``data``."""
    return [
        f"# Settings for `embcomp run`: {about}",
        "# What is not set here has its default; a run saves all of it in its own config.toml.",
        f"name = {toml_value(name)}",
        f"seeds = {toml_value(list(seeds))}  # {reasons['seeds']}",
        "",
        "[data]",
        f"train = {toml_value(train)}  # from this file's folder, as are the others",
    ]


def target_dim(*sizes: int) -> int:
    """Dimensions of the target: `MOST_DIMENSIONS`, or a quarter of the least of the clips, or of the vectors' width."""
    return max(1, min(MOST_DIMENSIONS, *(size // 4 for size in sizes)))


def split_lines(split: SplitConfig, reasons: Mapping[str, str]) -> list[str]:
    """The section ``split`` as TOML."""
    lines = [f"by = {toml_value(split.by)}  # {reasons['split']}"]
    if split.by == "group":
        lines.append(f"folds = {split.folds}  # parts of about the same size, each tested once")
    if split.by == "column" and split.test:
        lines.append(f"test = {toml_value(list(split.test))}  # the rest is trained on")
    if split.validate:
        lines.append(f"validate = {toml_value(list(split.validate))}  # chooses the best weights")
    if split.by != "none":
        lines.append("rotate = true  # a fold a seed; false tests every fold with every seed, which takes longer")
    return lines


def _plain(cell: str) -> list[str]:
    return [name for part in cell.split("|") if (name := part.strip().removeprefix("?"))]


def relative_path(path: str | os.PathLike, start: Path) -> str:
    return Path(os.path.relpath(Path(path).resolve(), start)).as_posix()


def _outside(manifest: Manifest) -> bool:
    guarded = replace(manifest, allow_outside=False)
    return any(guarded.leads_out(row) for row in range(len(guarded)))


def _lengths(manifest: Manifest, paths: list[Path], sounds: Mapping[Path, Sound]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and sample rate of each readable clip."""
    lengths, rates = [], []
    for row, path in enumerate(paths):
        sound = sounds[path]
        if not sound.problem:
            start, end = manifest.interval(row)
            lengths.append((sound.seconds if end is None else end) - (start or 0.0))
            rates.append(sound.sample_rate)
    return np.array(lengths), np.array(rates)


def _rate(rates: np.ndarray, reasons: dict[str, str], notes: list[str]) -> int:
    typical = int(np.median(rates))
    chosen = min(RATE, typical)
    reasons["sample_rate"] = f"the recordings have {typical}" + (
        ", of which the highest part is left out" if typical > chosen else ""
    )
    lower = int((rates < chosen).sum())
    if lower:
        notes.append(
            f"{counted(lower, 'clip has', 'clips have')} a lower sample rate than {chosen} Hz, by which alone a student may recognise a class"
        )
    return chosen


def _seconds(lengths: np.ndarray, reasons: dict[str, str], notes: list[str]) -> float:
    longest = float(lengths.max())
    chosen = min(LONGEST, max(0.1, math.ceil(round(longest, 3) * 10) / 10))
    reasons["seconds"] = f"the longest clip has {longest:.2f}; longer ones are cut, shorter ones masked"
    cut = int((lengths > chosen + 1e-3).sum())
    if cut:
        notes.append(
            f"{cut} of {counted(len(lengths), 'clip')} longer than {chosen:g} s, the longest {longest:.0f} s, cut there; windows "
            "(--window) use all of them"
        )
    return chosen


def split_for(manifest: Manifest, reasons: dict[str, str], notes: list[str]) -> tuple[SplitConfig, tuple[int, ...]]:
    """The first of the published split, groups, and none that leaves something to train, stop and test on."""
    what = "groups"
    if manifest.unit != "group":
        what = f"{manifest.unit}s; no groups are known, so recordings, speakers or places may be on both sides"
    tries = _published(manifest)
    tries += [(SplitConfig(by="group", folds=folds), f"folds of whole {what}") for folds in (FOLDS, 2)]
    tries.append((SplitConfig(by="none"), "too few groups to test on: train on all, and test on data.cross"))
    for split, reason in tries:
        folds = split.folds if split.by == "group" else len(_values(manifest)) if not split.test else 1
        seeds = tuple(range(max(3, folds) if split.by == "column" and not split.test else 3))
        try:
            make_splits(
                Dataset(manifest, tuple(manifest.ids)),
                RunConfig(seeds=seeds, split=replace(split, rotate=split.by != "none")),
            )
        except ManifestError as error:
            notes.append(f"not split.by = {split.by!r}{f' with {folds} folds' if split.by == 'group' else ''}: {error}")
            continue
        reasons["split"] = reason
        reasons["seeds"] = "each trains its students anew"
        return split, seeds
    raise ManifestError(f"the clips cannot be split into clips to train and to stop on: {notes[-1]}")


def _values(manifest: Manifest) -> list[str]:
    return sorted({value for value in manifest.splits if value})


def _published(manifest: Manifest) -> list[tuple[SplitConfig, str]]:
    values = _values(manifest)
    tests = [value for value in values if value.lower() in TEST_NAMES]
    if len(values) < 2:
        return []
    if tests:
        held = tuple(value for value in values if value.lower() in VALIDATION_NAMES)
        held = held if len(values) > len(tests) + len(held) else ()
        split = SplitConfig(by="column", test=tuple(tests), validate=held)
        return [(split, "the split column of the manifest")]
    if len(values) <= 12 and all(re.fullmatch(r"(fold)?[-_ ]?\d+", value.lower()) for value in values):
        return [(SplitConfig(by="column"), "the folds of the manifest, each tested once")]
    return []
