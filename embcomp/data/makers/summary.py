"""What a manifest holds, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from embcomp.data.makers.base import Clip
from embcomp.data.sounds import Sound
from embcomp.errors import counted

SHOWN = 12  # classes listed by name


@dataclass(frozen=True)
class Summary:
    """Clips, classes, groups, time.

    Attributes
    ----------
    clips, files : int
    hours : float
        Of all clips together.
    classes : dict of str to int
        Clips of each class, most first; ``?`` marks do not count.
    unlabelled : int
        Clips without a label.
    multi_label : bool
        Whether a clip has several labels, or says that none applies.
    groups : int
        Different groups; 0 where none are given.
    groups_of : dict of str to int
        Groups that each class occurs in; empty where no group is given.
    splits : dict of str to int
        Clips of each split.
    seconds : tuple of (float, float, float)
        Length of the shortest clip, the middle one and the longest.
    sample_rates, channels : dict of int to int
        Files of each sample rate (Hz) and number of channels.
    imbalance : float
        Clips of the largest class for one of the smallest.
    duplicates : tuple of tuple of str
        Files with the same bytes.
    """

    clips: int
    files: int
    hours: float
    classes: dict[str, int]
    unlabelled: int
    multi_label: bool
    groups: int
    groups_of: dict[str, int]
    splits: dict[str, int]
    seconds: tuple[float, float, float]
    sample_rates: dict[int, int]
    channels: dict[int, int]
    imbalance: float
    duplicates: tuple[tuple[str, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        shortest, middle, longest = self.seconds
        length = (
            f"{shortest:.2f} s"
            if longest - shortest < 0.005
            else f"{shortest:.2f} to {longest:.2f} s, half under {middle:.2f} s"
        )
        clips = counted(self.clips, "clip") + (f" of {counted(self.files, 'file')}" if self.files != self.clips else "")
        found = [f"{clips}, {_time(self.hours)}; each {length}"]
        shown = [f"{name} {count}" for name, count in self.classes.items()][:SHOWN]
        more = f" and {len(self.classes) - SHOWN} more" if len(self.classes) > SHOWN else ""
        kind = ", several to a clip" if self.multi_label else ""
        found.append(f"{counted(len(self.classes), 'class', 'classes')}{kind}: {', '.join(shown)}{more}")
        if self.unlabelled:
            found.append(f"{counted(self.unlabelled, 'clip')} without a label")
        if self.imbalance >= 2:
            found.append(f"imbalance: the largest class has {self.imbalance:.3g} times the clips of the smallest")
        if self.groups:
            found.append(f"{counted(self.groups, 'group')}, each kept whole between training and test")
            alone = [name for name, count in self.groups_of.items() if count == 1]
            if alone:
                found.append(f"  in one group only, so never tested: {', '.join(alone[:SHOWN])}")
        else:
            found.append("no groups: clips of one recording, speaker or place may lie in both training and test")
        if self.splits:
            found.append("splits: " + ", ".join(f"{name or '(none)'} {count}" for name, count in self.splits.items()))
        rates = ", ".join(
            f"{rate} Hz" + (f" ({count})" if len(self.sample_rates) > 1 else "")
            for rate, count in self.sample_rates.items()
        )
        found.append(f"sample rates: {rates}; channels: {', '.join(map(str, self.channels))}")
        if self.duplicates:
            extra = sum(len(some) - 1 for some in self.duplicates)
            found.append(
                f"{counted(extra, 'file repeats', 'files repeat')} another byte for byte: {' = '.join(self.duplicates[0][:3])}"
            )
        return found


def names_in(cell: str) -> list[str]:
    """Labels that a cell says apply."""
    return [name for part in cell.split("|") if (name := part.strip()) and not name.startswith("?")]


def summarise(
    clips: Sequence[Clip], sounds: Mapping[Path, Sound], repeated: Sequence[Sequence[Path]], home: Path
) -> Summary:
    """Count what the clips of a manifest are.

    Parameters
    ----------
    sounds : mapping of Path to Sound
        Headers of the files.
    repeated : sequence of sequence of Path
        Files with the same bytes.
    home : Path
        Folder that names are relative to.
    """
    lengths = [(sounds[clip.path].seconds if clip.end is None else clip.end) - (clip.start or 0.0) for clip in clips]
    classes: Counter[str] = Counter()
    groups_of: dict[str, set[str]] = {}
    for clip in clips:
        for name in names_in(clip.label):
            classes[name] += 1
            groups_of.setdefault(name, set()).add(clip.group)
    groups = {clip.group for clip in clips} - {""}
    splits = Counter(clip.split for clip in clips)
    files = list(dict.fromkeys(clip.path for clip in clips))
    return Summary(
        clips=len(clips),
        files=len(files),
        hours=sum(lengths) / 3600,
        classes=dict(classes.most_common()),
        unlabelled=sum(not clip.label for clip in clips),
        multi_label=any("|" in clip.label or clip.label.startswith("?") for clip in clips),
        groups=len(groups),
        groups_of={name: len(groups_of[name]) for name in classes} if groups else {},
        splits=dict(sorted(splits.items())) if set(splits) != {""} else {},
        seconds=(min(lengths), median(lengths), max(lengths)),
        sample_rates=dict(Counter(sounds[path].sample_rate for path in files).most_common()),
        channels=dict(Counter(sounds[path].channels for path in files).most_common()),
        imbalance=max(classes.values()) / min(classes.values()) if classes else 0.0,
        duplicates=tuple(tuple(_name(path, home) for path in some) for some in repeated),
    )


def _name(path: Path, home: Path) -> str:
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.as_posix()


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"
