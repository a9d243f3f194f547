"""All that would stop or mislead a run on a manifest, found before anything is trained."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embcomp.audio.clips import Clips, names_audio
from embcomp.audio.mono import LOSSES
from embcomp.config import RunConfig
from embcomp.data.findings import (
    ERROR,
    NOTE,
    WARNING,
    Finding,
    content_findings,
    group_findings,
    label_findings,
    listing,
    property_findings,
)
from embcomp.data.manifest import Manifest
from embcomp.data.sounds import Sound, look_at, same_content
from embcomp.errors import AudioError, EmbcompError, ManifestError, counted
from embcomp.pipeline.row_validation import row_findings, without_audio
from embcomp.pipeline.starter import propose, split_for
from embcomp.pipeline.workspace import Dataset, make_splits
from embcomp.storage.content import part_key

SHORT = 0.05  # seconds
SILENT = 1e-4  # largest sample of a clip that counts as silent
LEVELS = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Validation:
    """What was found.

    Attributes
    ----------
    findings : tuple of Finding
        Errors first.
    clips : int
        In the manifest; 0 where it cannot be read.
    decoded : int
        How many of them were decoded; of the others only the headers were read.
    audio : bool
        False where rows of files were looked at instead.
    """

    findings: tuple[Finding, ...]
    clips: int
    decoded: int
    audio: bool = True

    @property
    def usable(self) -> bool:
        """Whether nothing was found that would stop a run."""
        return all(finding.level != ERROR for finding in self.findings)


def validate(
    path: str | os.PathLike,
    *,
    config: RunConfig | None = None,
    allow_outside: bool = False,
    group_column: str = "",
    seconds: float = 20.0,
    vectors: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Look for what would stop or mislead a run.

    Parameters
    ----------
    path : path
        A manifest.
    config : RunConfig, optional
        Of the run; by default what `embcomp init` would choose.
    allow_outside : bool, default=False
        Read audio outside the manifest's folder.
    group_column : str
        The column to take as the group.
    seconds : float, default=20
        How long to decode; clips spread over the manifest are decoded first. ``inf`` decodes all.
    vectors : str
        Store or file of vectors where there is no audio and no `config` to say so; from the working directory or the
        manifest's folder on.
    progress : callable, optional
        Called with clips decoded and clips in all.

    Returns
    -------
    Validation

    Examples
    --------
    >>> import embcomp
    >>> for finding in embcomp.validate("sounds/manifest.csv").findings:   # doctest: +SKIP
    ...     print(finding)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the manifest's notes are among the findings
        try:
            manifest = Manifest.read(path, allow_outside, group_column)
        except ManifestError as error:
            return Validation((Finding(ERROR, "manifest", str(error)),), 0, 0)
        found = [Finding(NOTE if " is taken as the " in note else WARNING, "manifest", note) for note in manifest.notes]
        found += label_findings(manifest) + group_findings(manifest)
        rows = without_audio(manifest, config, vectors)
        if rows is not None:
            found += _splits(manifest, _with_split(manifest, config, rows, found)) + row_findings(manifest, rows)
            return Validation(_sorted(found), len(manifest), len(manifest), audio=False)
        if not names_audio(manifest):
            text = (
                "no row names a file that is there; if the rows are ids of stored vectors, a table or images: "
                "--vectors FILE, or --config CONFIG"
            )
            found.append(Finding(ERROR, "audio", text))
        outside = [manifest.ids[row] for row in range(len(manifest)) if manifest.leads_out(row)]
        if outside:
            text = f"{counted(len(outside), 'clip lies', 'clips lie')} outside the manifest's folder, {listing(outside)}; if you trust it: --allow-outside (data.allow_outside)"
            found.append(Finding(ERROR, "outside", text, tuple(outside)))
        paths = [manifest.audio_path(row) for row in range(len(manifest))]
        sounds = look_at([one for one, clip in zip(paths, manifest.ids) if clip not in set(outside)])
        usable, bad = _headers(manifest, paths, sounds)
        settings = _settings(manifest, path, config, sounds, found)
        if settings is not None:
            found += _splits(manifest, settings)
        first = {path: some[0] for some in same_content([paths[row] for row in usable]) for path in some}
        keys = [part_key(str(first.get(paths[row], paths[row])), *manifest.interval(row)) for row in usable]
        found += content_findings(manifest, usable, keys) + _properties(manifest, paths, usable, sounds)
        decoded, damaged, audible = _decode(manifest, usable, settings, seconds, progress)
    found += audible
    bad += damaged
    if bad:
        text = f"{len(bad)} of {counted(len(manifest), 'clip')} cannot be used: {listing(bad)}. Mend them, or leave them out with --skip-bad (data.skip_bad)"
        found.append(Finding(ERROR, "unreadable", text, tuple(bad)))
    found += _lengths(manifest, usable, paths, sounds, settings)
    return Validation(_sorted(found), len(manifest), decoded)


def _sorted(found: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda one: LEVELS.index(one.level)))


def _with_split(manifest: Manifest, given: RunConfig | None, rows: RunConfig, found: list[Finding]) -> RunConfig:
    """The settings with the split that `embcomp init` would choose, where none are given."""
    if given is not None:
        return rows
    notes: list[str] = []
    try:
        split, seeds = split_for(manifest, {}, notes)
    except EmbcompError:
        return rows
    found += [Finding(NOTE, "settings", note) for note in notes]
    return replace(rows, split=split, seeds=seeds)


def _headers(manifest: Manifest, paths: list[Path], sounds: dict[Path, Sound]) -> tuple[list[int], list[str]]:
    """Rows whose headers can be read, and what is wrong with the others."""
    usable, bad = [], []
    for row, path in enumerate(paths):
        if path not in sounds:  # outside
            continue
        if sounds[path].problem:
            bad.append(f"row {manifest.table['row'].iat[row]}: {manifest.ids[row]}: {sounds[path].problem}")
        else:
            usable.append(row)
    return usable, bad


def _settings(
    manifest: Manifest,
    path: str | os.PathLike,
    config: RunConfig | None,
    sounds: dict[Path, Sound],
    found: list[Finding],
) -> RunConfig | None:
    if config is not None:
        return config
    try:
        start = propose(manifest, path, Path(path).parent, sounds=sounds)
        found += [Finding(NOTE, "settings", note) for note in start.notes]
        return start.config()
    except EmbcompError as error:
        if not any(one.level == ERROR for one in found):
            found.append(Finding(ERROR, "settings", str(error)))
        return None


def _splits(manifest: Manifest, config: RunConfig) -> list[Finding]:
    try:
        splits = make_splits(Dataset(manifest, tuple(manifest.ids)), config)
    except ManifestError as error:
        return [Finding(ERROR, "split", str(error))]
    tested = [clip for split in splits for clip in split.test]
    if not tested:
        return [Finding(NOTE, "split", "nothing is held out for a test; give data.cross a further data set")]
    labels = dict(zip(manifest.ids, manifest.labels))
    names = {clip: set(filter(None, cell.split("|"))) for clip, cell in labels.items()}
    found = []
    for split in {split.fold: split for split in splits}.values():
        learned = set().union(*(names[clip] for clip in split.fit))
        missing = sorted(set().union(*(names[clip] for clip in split.test)) - learned)
        if missing:
            text = f"fold {split.fold} tests {listing(missing)} and trains on no clip of it"
            found.append(Finding(WARNING, "split", text))
    return found


def _properties(
    manifest: Manifest, paths: list[Path], usable: Sequence[int], sounds: dict[Path, Sound]
) -> list[Finding]:
    of = [sounds[paths[row]] for row in usable]
    whole = [manifest.interval(row) == (None, None) for row in usable]
    kinds = {
        "sample rate": [f"{one.sample_rate} Hz" for one in of],
        "number of channels": [str(one.channels) for one in of],
        "file type": [paths[row].suffix.lower() for row in usable],
        "length": [f"{one.seconds:.2f} s" for one in of] if all(whole) else [],
    }
    found: list[Finding] = []
    for what, values in kinds.items():
        found += property_findings(manifest, usable, values, what) if len(set(values)) > 1 else []
    return found


def _decode(
    manifest: Manifest,
    usable: Sequence[int],
    config: RunConfig | None,
    seconds: float,
    progress: Callable[[int, int], None] | None,
) -> tuple[int, list[str], list[Finding]]:
    """Decode clips until the time is up: how many, what is wrong, and which are silent."""
    audio = (config or RunConfig()).audio
    clips = Clips.of(manifest, audio)
    deadline = time.monotonic() + seconds
    bad, silent, count = [], [], 0
    lost: dict[str, list[str]] = {}
    for row in _spread(usable):
        try:
            waveform = clips.decode(row, lambda kind, row=row: lost.setdefault(kind, []).append(manifest.ids[row]))
            if np.abs(waveform).max() < SILENT:
                silent.append(manifest.ids[row])
        except AudioError as error:
            bad.append(str(error))
        count += 1
        if progress is not None:
            progress(count, len(usable))
        if time.monotonic() > deadline:
            break
    found = [
        Finding(
            WARNING,
            "channels",
            f'{counted(len(clips), "clip")}: {LOSSES[kind]}: {listing(clips)}; audio.channel = "loudest" takes one',
            tuple(clips),
        )
        for kind, clips in lost.items()
    ]
    if silent:
        found.append(
            Finding(
                WARNING,
                "silence",
                f"{counted(len(silent), 'clip is', 'clips are')} silent: {listing(silent)}",
                tuple(silent),
            )
        )
    return count, bad, found


def _spread(rows: Sequence[int]) -> Iterator[int]:
    """All rows, those far apart first."""
    step = 1 << max(0, len(rows) - 1).bit_length()
    yield from rows[:1]
    while step > 1:
        half = step // 2
        yield from rows[half::step]
        step = half


def _lengths(
    manifest: Manifest, usable: Sequence[int], paths: list[Path], sounds: dict[Path, Sound], config: RunConfig | None
) -> list[Finding]:
    short, long = [], 0
    for row in usable:
        start, end = manifest.interval(row)
        length = (sounds[paths[row]].seconds if end is None else end) - (start or 0.0)
        if 0 < length < SHORT:
            short.append(manifest.ids[row])
        long += config is not None and length > config.audio.seconds + 1e-3
    found = []
    if short:
        found.append(
            Finding(
                WARNING,
                "short",
                f"{counted(len(short), 'clip is', 'clips are')} shorter than {SHORT:g} s: {listing(short)}",
                tuple(short),
            )
        )
    if long and config is not None:
        found.append(
            Finding(
                NOTE,
                "long",
                f"{counted(long, 'clip is', 'clips are')} longer than audio.seconds = {config.audio.seconds:g}, and cut there",
            )
        )
    return found
