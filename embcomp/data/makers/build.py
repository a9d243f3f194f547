"""From what a maker found to the rows of a manifest and what is to be said of them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embcomp.data.makers.base import Clip, Found, Maker, build_settings, one_label
from embcomp.data.makers.patterns import by_pattern
from embcomp.data.makers.summary import Summary, summarise
from embcomp.data.makers.windows import GRACE, Selection, WindowRule, cut, label_windows
from embcomp.data.sounds import Sound, look_at, same_content
from embcomp.errors import EmbcompError, ManifestError, counted
from embcomp.storage.files import write_text

COLUMNS = ("path", "label", "group", "split", "dataset", "start", "end")


@dataclass(frozen=True)
class Made:
    """A manifest that is ready to be written.

    Attributes
    ----------
    clips : tuple of Clip
        Its rows.
    summary : Summary
    out : Path
        Where `write` puts it; paths in it start from there.
    home : Path
        Folder of the audio.
    dataset : str
        Goes into the column of that name; empty leaves it out.
    notes : tuple of str
        What was assumed.
    left_out : tuple of (str, str)
        What is not in the manifest, each with the reason.
    selections : bool
        Whether the source has selections in recordings, which windows take their labels from.
    """

    clips: tuple[Clip, ...]
    summary: Summary
    out: Path
    home: Path
    dataset: str = ""
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    selections: bool = False

    @property
    def leads_out(self) -> bool:
        """Whether some audio lies outside the manifest's folder, so that reading it must be allowed."""
        home = os.path.realpath(self.out.parent)
        real = {os.path.realpath(clip.path.parent) for clip in self.clips}
        links = (clip.path for clip in self.clips if clip.path.is_symlink())
        real |= {os.path.dirname(os.path.realpath(path)) for path in links}
        return any(os.path.commonpath([home, folder]) != home for folder in real)

    def rows(self) -> list[dict[str, str]]:
        """The rows as text, with the columns that are used."""
        start = os.path.abspath(self.out.parent)
        found = []
        paths = {
            path: Path(os.path.relpath(os.path.abspath(path), start)).as_posix()
            for path in dict.fromkeys(clip.path for clip in self.clips)
        }
        for clip in self.clips:
            values = (
                paths[clip.path],
                clip.label,
                clip.group,
                clip.split,
                self.dataset,
                _seconds(clip.start),
                _seconds(clip.end),
            )
            found.append(dict(zip(COLUMNS, values)))
        used = [name for name in COLUMNS if name in ("path", "label") or any(row[name] for row in found)]
        return [{name: row[name] for name in used} for row in found]

    def text(self) -> str:
        """The manifest as CSV."""
        rows = self.rows()
        file = io.StringIO()
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()

    def write(self) -> Path:
        """Write the manifest.

        Raises
        ------
        EmbcompError
            Something has that name, or the disk refuses.
        """
        refuse_to_replace(self.out)
        write_text(self.out, self.text())
        return self.out

    def preview(self, count: int = 5) -> list[str]:
        """The header and some rows, spread over the manifest, as aligned lines."""
        rows = self.rows()
        some = [rows[number * len(rows) // min(count, len(rows))] for number in range(min(count, len(rows)))]
        table = [list(rows[0]), *([*row.values()] for row in some)]
        widths = [max(map(len, column)) for column in zip(*table)]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]


def refuse_to_replace(path: Path) -> None:
    """Refuse a name that is taken.

    Raises
    ------
    EmbcompError
        Something has it.
    """
    if path.exists() or path.is_symlink():
        raise EmbcompError(f"{path} exists already and is kept; choose another name with --out")


def build(
    maker: Maker,
    sources: Sequence[Path],
    out: Path,
    *,
    label: str = "",
    group: str = "",
    window: WindowRule | None = None,
    dataset: str = "",
    settings: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Make a manifest; see `embcomp.data.makers.make`."""
    found = maker.find(sources, build_settings(maker, settings or {}), out)
    if not found.clips and not found.left_out:
        raise ManifestError(f"{sources[0]} names no clip")
    notes = list(found.notes)
    clips = _patterns(found, label, group)
    left_out = list(found.left_out)
    if found.no_label and not any(clip.label for clip in clips):
        raise ManifestError(found.no_label)
    sounds = look_at([clip.path for clip in clips], progress)
    clips, unreadable = _readable(clips, sounds, found.home, out.parent)
    left_out += unreadable
    if window is not None:
        clips, said = (_label_windows if found.selections else _cut_windows)(clips, sounds, window)
        notes += said
    else:
        clips, points = _without_points(clips)
        if points:
            notes.append(
                f"{counted(points, 'selection')} without a length left out; --window makes windows around them"
            )
    clips, said, outside = _inside(clips, sounds, found.home)
    notes += said
    left_out += outside
    if found.unlabelled:
        clips, said = _labelled(clips, found.unlabelled)
        notes += said
    clips, said = _joined(clips)
    notes += said
    if not clips:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in left_out[:5]) or "\n".join(notes)
        raise ManifestError(f"no clip of {sources[0]} can be used" + (f":\n{reasons}" if reasons else ""))
    repeated = same_content([clip.path for clip in clips])
    summary = summarise(clips, sounds, repeated, found.home)
    return Made(
        tuple(clips),
        summary,
        out,
        found.home,
        dataset or found.dataset,
        tuple(notes),
        tuple(left_out),
        found.selections,
    )


def _patterns(found: Found, label: str, group: str) -> list[Clip]:
    names = [_name(clip.path, found.home) for clip in found.clips]
    clips = found.clips
    if label:
        labels = by_pattern(names, label, "--label")
        clips = [replace(clip, label=one_label(text, clip.path)) for clip, text in zip(clips, labels)]
    if group:
        clips = [replace(clip, group=text) for clip, text in zip(clips, by_pattern(names, group, "--group"))]
    return clips


def _name(path: Path, home: Path) -> str:
    """The path from the folder of the source on, where it lies below."""
    try:
        return path.relative_to(home).as_posix()
    except ValueError:
        return path.as_posix()


def _readable(
    clips: list[Clip], sounds: dict[Path, Sound], home: Path, start: Path
) -> tuple[list[Clip], list[tuple[str, str]]]:
    bad = {path: sound.problem for path, sound in sounds.items() if sound.problem}
    for path in sounds:
        text = os.path.relpath(path, start)
        if text != text.strip() and path not in bad:  # cells of a manifest are read without the blanks around them
            bad[path] = "its path begins or ends with a blank; rename it"
    left_out = [(_name(path, home), reason) for path, reason in bad.items()]
    return [clip for clip in clips if clip.path not in bad], left_out


def _without_points(clips: list[Clip]) -> tuple[list[Clip], int]:
    kept = [clip for clip in clips if clip.start is None or clip.end is None or clip.end > clip.start]
    return kept, len(clips) - len(kept)


def _cut_windows(clips: list[Clip], sounds: dict[Path, Sound], rule: WindowRule) -> tuple[list[Clip], list[str]]:
    """Each clip in windows, all with its label."""
    found = []
    for clip in clips:
        length = sounds[clip.path].seconds
        places = cut(clip.start or 0.0, length if clip.end is None else min(clip.end, length), rule)
        if len(places) == 1 and clip.start is None and clip.end is None:
            found.append(clip)  # no longer than a window: the file as it is
        else:
            found += [replace(clip, start=start, end=end) for start, end in places]
    return found, [
        f"{counted(len(clips), 'clip')} cut into {counted(len(found), 'window')} of {rule.seconds:g} s, each with the label of its clip"
    ]


def _label_windows(clips: list[Clip], sounds: dict[Path, Sound], rule: WindowRule) -> tuple[list[Clip], list[str]]:
    """Each recording in windows, with the labels of the selections that they overlap."""
    selections: dict[Path, list[Clip]] = {}
    for clip in clips:
        selections.setdefault(clip.path, []).append(clip)
    windows = []
    for path, some in selections.items():
        marks = [
            Selection(one.start or 0.0, one.end if one.end is not None else sounds[path].seconds, one.label)
            for one in some
            if one.label
        ]
        windows += [(some[0], window) for window in label_windows(sounds[path].seconds, marks, rule)]
    several = rule.background == "|" or any(len(window.labels) > 1 for _, window in windows)
    found, empty, unsure = [], 0, 0
    for first, window in windows:
        names = list(window.labels)
        if not names and window.partly and not several:
            unsure += 1
            continue
        if not names and not window.partly:
            if not rule.background:
                empty += 1
                continue
            names = [rule.background]
        # Whether a class applies that a window holds too little of is not known.
        names += [f"?{name}" for name in window.partly] if several else []
        found.append(
            replace(first, label="|" if names == ["|"] else "|".join(names), start=window.start, end=window.end)
        )
    notes = [
        f"{counted(len(windows), 'window')} of {rule.seconds:g} s; one has the label of a selection if it covers {rule.overlap:.0%} of it, or of itself"
    ]
    if empty:
        notes.append(
            f"{counted(empty, 'window')} without a selection left out; --background NAME keeps them under that label"
        )
    if unsure:
        notes.append(
            f"{counted(unsure, 'window')} with less than {rule.overlap:.0%} of a selection, and nothing else, left out"
        )
    return found, notes


def _inside(
    clips: list[Clip], sounds: dict[Path, Sound], home: Path
) -> tuple[list[Clip], list[str], list[tuple[str, str]]]:
    """Clips within their files: an end past the file's is cut there, a start past it cannot be."""
    kept, left_out, cut_short = [], [], 0
    for clip in clips:
        length = sounds[clip.path].seconds
        if clip.start is not None and clip.start >= length - GRACE:
            left_out.append((f"{_name(clip.path, home)} at {clip.start:g} s", f"the file ends at {length:.2f} s"))
            continue
        if clip.end is not None and clip.end > length + GRACE:
            cut_short += 1
            clip = replace(clip, end=round(length, 6))
        kept.append(clip)
    notes = [f"{counted(cut_short, 'selection')} past the end of the file, cut there"] if cut_short else []
    return kept, notes, left_out


def _labelled(clips: list[Clip], reason: str) -> tuple[list[Clip], list[str]]:
    kept = [clip for clip in clips if clip.label]
    if not kept or len(kept) == len(clips):
        return clips, []
    first = next(clip for clip in clips if not clip.label)
    return kept, [f"{counted(len(clips) - len(kept), 'file')} {reason}, left out, {first.path.name} first"]


def _joined(clips: Iterable[Clip]) -> tuple[list[Clip], list[str]]:
    """One row a clip: labels of the same stretch of a file in one cell."""
    found: dict[tuple, Clip] = {}
    repeats = 0
    for clip in clips:
        key = (clip.path, clip.start, clip.end)
        if key not in found:
            found[key] = clip
            continue
        repeats += 1
        names = [name for cell in (found[key].label, clip.label) for name in cell.split("|") if name]
        label = "|".join(dict.fromkeys(names)) or found[key].label or clip.label
        found[key] = replace(found[key], label=label)
    return list(found.values()), [
        f"{counted(repeats, 'row names', 'rows name')} a clip again: labels are joined"
    ] if repeats else []


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"
