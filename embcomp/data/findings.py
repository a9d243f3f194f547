"""What would stop or mislead a run, as far as a manifest alone tells: labels, groups, splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embcomp.data.guards import duplicates, refuse_duplicates
from embcomp.data.labels import several_labels
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError, counted

ERROR, WARNING, NOTE = "error", "warning", "note"
FEW = 10  # clips of a class, below which its score says little
IMBALANCE = 10.0  # clips of the largest class for one of the smallest, from which it is worth a word
LARGE_SHARE = 0.5  # of all clips in one group
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes
    ----------
    level : str
        ``error`` stops a run, ``warning`` misleads its reader, ``note`` is good to know.
    name : str
        What it is about, in one or two words.
    text : str
        What is wrong, and how to fix it.
    clips : tuple of str
        The clips it is about, all of them.
    """

    level: str
    name: str
    text: str
    clips: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


def listing(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def classes_of(cell: str) -> list[str]:
    """Labels that a cell says apply."""
    return [name for part in cell.split("|") if (name := part.strip()) and not name.startswith("?")]


def label_findings(manifest: Manifest) -> list[Finding]:
    """Classes that are missing, rare, or in one group only; clips without a label."""
    counts: Counter[str] = Counter()
    groups: dict[str, set[str]] = {}
    for cell, group in zip(manifest.labels, manifest.groups):
        for name in classes_of(cell):
            counts[name] += 1
            groups.setdefault(name, set()).add(group)
    found = []
    if len(counts) < 2:
        return [
            Finding(
                ERROR,
                "classes",
                f"a classifier needs two classes or more; the labels are {listing(counts) or 'all empty'}",
            )
        ]
    without = [clip for clip, cell in zip(manifest.ids, manifest.labels) if not cell]
    if without:
        found.append(
            Finding(
                NOTE,
                "no label",
                f"{counted(len(without), 'clip has', 'clips have')} no label: learned from without one, and never tested",
                tuple(without),
            )
        )
    alone = [name for name in counts if len(groups[name]) == 1]
    if alone:
        found.append(
            Finding(
                WARNING,
                "class in one group",
                f"{counted(len(alone), 'class occurs', 'classes occur')} in one {manifest.unit} only, trained on and never tested: {listing(alone)}",
            )
        )
    rare = [name for name in counts if counts[name] < FEW]
    if rare:
        shown = listing(f"{name} ({counts[name]})" for name in rare)
        found.append(
            Finding(
                WARNING,
                "few clips",
                f"{counted(len(rare), 'class has', 'classes have')} fewer than {FEW} clips, which makes scores uncertain: {shown}",
            )
        )
    largest, smallest = counts.most_common()[0], counts.most_common()[-1]
    if largest[1] >= IMBALANCE * smallest[1]:
        several = several_labels(manifest.labels)
        look = "mAP and macro F1, not at micro F1" if several else "balanced accuracy and macro F1, not at accuracy"
        text = (
            f"{largest[0]} has {largest[1]} clips and {smallest[0]} {smallest[1]}: look at {look}; "
            "training.balanced draws classes equally often"
        )
        found.append(Finding(WARNING, "imbalance", text))
    return found


def group_findings(manifest: Manifest) -> list[Finding]:
    """One group that is most of the set; groups that say the label; groups or splits that part badly."""
    found = []
    sizes = Counter(manifest.groups)
    largest, count = sizes.most_common(1)[0]
    if len(sizes) > 1 and count > LARGE_SHARE * len(manifest):
        found.append(
            Finding(
                WARNING,
                "large group",
                f"the group {largest!r} is {count} of {len(manifest)} clips: folds cannot be of about the same size",
            )
        )
    labels_of: dict[str, set[str]] = {}
    for group, cell in zip(manifest.groups, manifest.labels):
        labels_of.setdefault(group, set()).add(cell)
    if (
        manifest.unit == "group"
        and 1 < len(sizes) == len({cell for cell in manifest.labels if cell})
        and all(len(cells) == 1 for cells in labels_of.values())
    ):
        text = "each group is one class: the group column seems to repeat the label, and no class can be tested on a group that was not trained on"
        found.append(Finding(ERROR, "groups are classes", text))
    values = [value for value in dict.fromkeys(manifest.splits) if value]
    if len(values) < 2:
        return found
    in_split: dict[str, set[str]] = {}
    for value, group in zip(manifest.splits, manifest.groups):
        if value:
            in_split.setdefault(group, set()).add(value)
    shared = [group for group, some in in_split.items() if len(some) > 1]
    if shared:
        text = f'{counted(len(shared), "group is", "groups are")} in more than one split, {listing(shared)}: a score by the split column would be too good; use split.by = "group"'
        found.append(Finding(WARNING, "groups across splits", text))
    classes = {name for cell in manifest.labels for name in classes_of(cell)}
    for value in values:
        missing = classes - {
            name for cell, split in zip(manifest.labels, manifest.splits) if split == value for name in classes_of(cell)
        }
        if missing:
            found.append(
                Finding(
                    WARNING,
                    "class missing from a split",
                    f"the split {value!r} has no clip of {listing(sorted(missing))}",
                )
            )
    return found


def property_findings(manifest: Manifest, rows: Sequence[int], values: Sequence[str], what: str) -> list[Finding]:
    """Classes that a property of their files gives away.

    Parameters
    ----------
    rows : sequence of int
        Clips of which it is known.
    values : sequence of str
        It, of each.
    what : str
        Its name: ``"sample rate"``.
    """
    by_class: dict[str, Counter[str]] = {}
    for row, value in zip(rows, values):
        for name in classes_of(manifest.labels[row]):
            by_class.setdefault(name, Counter())[value] += 1
    found = []
    for name, counts in by_class.items():
        value, count = counts.most_common(1)[0]
        own, others = sum(counts.values()), [other for other in by_class if other != name]
        elsewhere = sum(by_class[other][value] for other in others)
        total = sum(sum(by_class[other].values()) for other in others)
        if own >= FEW and total and count >= 0.95 * own and elsewhere <= 0.05 * total:
            found.append((name, value))
    if not found:
        return []
    shown = listing(f"{name} ({value})" for name, value in found)
    text = (
        f"the {what} gives classes away: nearly all clips of one have a value that nearly no other has: {shown}. A student "
        "may learn that instead of the sound"
    )
    return [Finding(WARNING, f"{what} tells the class", text)]


def content_findings(
    manifest: Manifest, rows: Sequence[int], keys: Sequence[str], content: str = "audio"
) -> list[Finding]:
    """The same content twice: in two groups, or under two labels.

    Parameters
    ----------
    rows : sequence of int
        Of the manifest, those whose content is known.
    keys : sequence of str
        Content key of each of these.
    content : str, default="audio"
        What the keys are of, for messages.
    """
    ids, groups, labels = ([values[row] for row in rows] for values in (manifest.ids, manifest.groups, manifest.labels))
    found = []
    advice = 'Keep one of each, give them one group, or set data.duplicates = "join"'
    try:
        repeats = refuse_duplicates(ids, keys, groups, manifest.name, "group", advice, content)
        if repeats:
            found.append(
                Finding(
                    NOTE,
                    "duplicates",
                    f"{counted(repeats, 'clip repeats or overlaps', 'clips repeat or overlap')} another of the same group",
                )
            )
    except ManifestError as error:
        found.append(Finding(ERROR, "duplicates", str(error)))
    same = [some for some in duplicates(keys) if len({keys[row] for row in some}) == 1]
    torn = [some for some in same if len({labels[row] for row in some} - {""}) > 1]
    if torn:
        one, other = torn[0][0], next(row for row in torn[0] if labels[row] != labels[torn[0][0]])
        text = (
            f"{counted(len(torn), 'time')} the same {content} has different labels: {ids[one]!r} is {labels[one]!r}, {ids[other]!r} is "
            f"{labels[other]!r}"
        )
        found.append(Finding(WARNING, "labels disagree", text, tuple(ids[row] for some in torn for row in some)))
    return found
