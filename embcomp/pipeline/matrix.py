"""Every data set trained on, every one tested on, and each left out once: a whole comparison from several manifests."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from embcomp.config import DataConfig, RunConfig
from embcomp.data.labels import encode, find_label_map, map_labels, read_label_map, several_labels
from embcomp.data.manifest import COLUMNS, Manifest
from embcomp.errors import ConfigError, ManifestError, counted
from embcomp.evaluation.scores import headline, summarise
from embcomp.evaluation.table import Setting
from embcomp.pipeline import run
from embcomp.report.tables import escaped
from embcomp.storage.files import write_json, write_table, write_text
from embcomp.storage.outputs import into_results
from embcomp.storage.ownership import check_results, mark_results
from embcomp.storage.places import relative
from embcomp.training.devices import check_device

FILES = ("matrix.csv", "matrix.md", "matrix.json", "manifests")
PAIRS, LEFT_OUT = "pairs", "one left out"
SETTINGS = {
    Setting.CROSS_DATASET: ("As trained", "Normalisation as the student or probe learned it on its training set."),
    Setting.ADAPTED: (
        "Adapted to the test set",
        "Normalisation statistics re-estimated on the test set's clips, without their labels. In-domain there is nothing to adapt to.",
    ),
    Setting.TRANSDUCTIVE: (
        "Transductive",
        "Learned from clips of the test set too, without their labels; scored on its other groups.",
    ),
    Setting.TRANSDUCTIVE_SAME: (
        "Transductive, same clips",
        "Learned, without their labels, from the very clips that are scored.",
    ),
}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MatrixResult:
    """What a matrix found.

    Attributes
    ----------
    folder : Path
    scores : DataFrame
        Rows of matrix.csv: those of every run's scores.csv, and ``protocol``: ``pairs`` or ``one left out``.
    classes : tuple of str
        The labels that all data sets share.
    left_out : dict of str to dict of str to int
        For each data set, labels it does not share, and how many clips went with each.
    """

    folder: Path
    scores: pd.DataFrame
    classes: tuple[str, ...]
    left_out: dict[str, dict[str, int]]


@into_results
def matrix(
    config: RunConfig,
    manifests: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    progress: Progress | None = None,
) -> MatrixResult:
    """Train on each data set and test on every one; with three or more, also train on all but one and test on that.

    Every cell is about the same classes: the labels that all sets share, after ``data.label_map`` where the
    configuration names one; it is applied to every set. Clips of other labels are left out and counted. On the
    diagonal a set is tested on unseen groups of its own, as ``split`` says. Sets trained on together are split as
    one, each group under its set's name.

    Each row is a run in a folder of its own, so finished stages are not computed again.

    Parameters
    ----------
    config : RunConfig
        Its ``data.train`` and ``data.cross`` are not used.
    manifests : sequence of path
        Two or more, of data sets with different names.
    out : path
        Gets matrix.csv, matrix.md, matrix.json, ``manifests/`` and a folder per row.

    Returns
    -------
    MatrixResult

    Raises
    ------
    ManifestError
        Fewer than two sets, two of one name, or fewer than two labels in common.
    ConfigError
        A teacher of stored embeddings, a table or images: they belong to one manifest.
    """
    out = Path(out)
    progress = progress or (lambda stage, done, total: None)
    check_device(config.device)
    if config.data.inputs in ("table", "images"):
        raise ConfigError(
            f'data.inputs = "{config.data.inputs}": {config.data.input_file} belongs to one manifest, and a matrix joins '
            "manifests; run each pair of sets with data.train and data.cross"
        )
    for variant in config.variants:
        if not variant.teacher.choice.runs:
            raise ConfigError(
                f"{variant.teacher.spec}: stored embeddings belong to one manifest; a matrix needs a teacher that runs"
            )
    check_results(out, "matrix", FILES, lambda folder: (folder / "matrix.json").is_file())
    sets = _read(manifests, config.data)
    classes, left_out, tables = _in_common(sets, config, out / "manifests")
    mark_results(out, "matrix")
    names = list(tables)
    rows = [(PAIRS, [name], [other for other in names if other != name]) for name in names]
    if len(names) > 2:
        rows += [(LEFT_OUT, [other for other in names if other != name], [name]) for name in names]
    found = []
    for protocol, train, test in rows:
        title = "+".join(train)
        path = _write_manifest(out / "manifests" / f"{_file(title)}.csv", [tables[name] for name in train])
        cross = [_write_manifest(out / "manifests" / f"{_file(name)}.csv", [tables[name]]) for name in test]
        data = replace(
            config.data,
            root=str(out / "manifests"),
            train=path.name,
            cross=tuple(one.name for one in cross),
            label_map="",
            group_column="",  # what is found is written as the group
            allow_outside=True,  # what `_read` let pass
        )
        one = replace(config, name=f"{config.name}: {title}", data=data)
        result = run(
            one, out / _file(title), lambda stage, *counts, title=title: progress(f"{title}, {stage}", *counts)
        )
        found.append(result.scores.assign(protocol=protocol))
    scores = pd.concat(found, ignore_index=True)
    write_table(out / "matrix.csv", scores)
    write_json(out / "matrix.json", {"classes": list(classes), "left_out": left_out, "datasets": names})
    result = MatrixResult(out, scores, classes, left_out)
    write_text(out / "matrix.md", matrix_markdown(config.name, result))
    return result


def _read(paths: Sequence[str | os.PathLike], data: DataConfig) -> dict[str, Manifest]:
    if len(paths) < 2:
        raise ManifestError(f"a matrix needs two data sets or more, not {len(paths)}")
    sets: dict[str, Manifest] = {}
    files: dict[str, str] = {}
    for path in paths:
        manifest = Manifest.read(path, data.allow_outside, data.group_column, group_column_needed=False)
        outside = [clip for row, clip in enumerate(manifest.ids) if manifest.leads_out(row)]
        if outside:
            raise ManifestError(
                f"{path}: {outside[0]!r} lies outside the manifest's folder; if you trust the manifest, set data.allow_outside"
            )
        other = files.setdefault(_file(manifest.name), manifest.name)
        if manifest.name in sets or other != manifest.name:
            raise ManifestError(
                f"{path}: another data set is called {other!r} too; give each its own name in the column dataset"
            )
        sets[manifest.name] = manifest
    if data.group_column and not any(manifest.group_column for manifest in sets.values()):
        raise ManifestError(f"no data set has a column {data.group_column!r} to take as the group")
    return sets


def _in_common(
    sets: dict[str, Manifest], config: RunConfig, folder: Path
) -> tuple[tuple[str, ...], dict[str, dict[str, int]], dict[str, pd.DataFrame]]:
    """The labels all sets share, what each leaves out, and its clips with these labels."""
    name = config.data.label_map
    mapping = read_label_map(find_label_map(name, config.data.root)) if name else {}
    labels = {}
    for title, manifest in sets.items():
        labels[title] = {mapping.get(label, label) for label in encode(manifest.labels, check=False).classes} - {""}
    classes = tuple(sorted(set.intersection(*labels.values())))
    if len(classes) < 2:
        held = "; ".join(f"{title}: {', '.join(sorted(found)[:8])}" for title, found in labels.items())
        raise ManifestError(f"the data sets share {len(classes)} labels ({held}); give a label map (data.label_map)")
    several = any(several_labels(manifest.labels) for manifest in sets.values())
    left_out, tables = {}, {}
    for title, manifest in sets.items():
        mapped = map_labels(manifest.labels, classes, mapping, several)
        left_out[title] = mapped.left_out
        kept = manifest.select(mapped.kept)
        paths = [relative(kept.audio_path(row), folder) for row in range(len(kept))]
        # A group that nobody gave is found again, and known not to be given.
        groups = [f"{title}/{group}" if given else "" for group, given in zip(kept.groups, kept.table["given"])]
        table = kept.table.assign(path=paths, label=mapped.labels.cells, group=groups, dataset=title)
        tables[title] = table[list(COLUMNS)]
    return classes, left_out, tables


def _write_manifest(path: Path, tables: list[pd.DataFrame]) -> Path:
    text = pd.concat(tables).to_csv(index=False, lineterminator="\n")
    # An unchanged manifest keeps its time, as every finished stage does.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path


def _file(name: str) -> str:
    return re.sub(r"[^\w+.-]", "_", name).lstrip(".") or "_"


def matrix_markdown(name: str, result: MatrixResult) -> str:
    """The tables of a matrix, as trained and adapted apart, as Markdown."""
    metric = headline(result.scores)
    count = len(result.classes)
    lines = [
        f"# {escaped(name)}",
        "",
        f"{metric.replace('_', ' ').capitalize()}, mean over seeds ± their standard deviation. Every cell is about the same {count} "
        f"classes: {escaped(', '.join(result.classes))}. *Italic*: {escaped(_italic(result.scores))}. "
        "The ceiling of a test set is the best of all rows trained on the set itself; it was chosen on these very scores.",
    ]
    for setting, (title, text) in SETTINGS.items():
        if (result.scores["setting"] == setting).any():
            lines += ["", f"## {title}", "", text]
            for protocol in (PAIRS, LEFT_OUT):
                chosen = result.scores[result.scores["protocol"] == protocol]
                if len(chosen):
                    heading = "Trained on one set" if protocol == PAIRS else "Trained on all sets but the one tested"
                    lines += ["", f"### {heading}", "", *_table(result, chosen, setting, metric)]
    lost = [
        f"- {escaped(title)}: {counted(number, 'clip')} labelled {escaped(repr(label))} left out, not all sets have it"
        for title, labels in result.left_out.items()
        for label, number in labels.items()
    ]
    return "\n".join(lines + ([""] + lost if lost else [])) + "\n"


def _italic(scores: pd.DataFrame) -> str:
    """What is tested of the set trained on."""
    here = scores[(scores["setting"] == Setting.IN_DOMAIN) & (scores["unseen"] != "groups")]
    others = [
        f"{test}: unseen {words}" for test, words in here.groupby("test_dataset", sort=False)["unseen"].first().items()
    ]
    return "unseen groups of the set trained on" + (f" ({', '.join(others)})" if others else "")


def _table(result: MatrixResult, scores: pd.DataFrame, setting: Setting, metric: str) -> list[str]:
    tests = list(result.left_out)
    summary = summarise(scores, metric)
    in_domain = summarise(result.scores[result.scores["protocol"] == PAIRS], metric)
    in_domain = in_domain[in_domain["setting"] == Setting.IN_DOMAIN].groupby("test_dataset")["mean"].max()
    lines = ["| variant | trained on | " + " | ".join(map(escaped, tests)) + " |", "|---" * (len(tests) + 2) + "|"]
    if metric == "balanced_accuracy":
        lines.append("| guessing | | " + " | ".join(f"{1 / len(result.classes):.3f}" for _ in tests) + " |")
    lines.append(
        "| ceiling, in-domain | the test set | " + " | ".join(f"{in_domain.get(t, math.nan):.3f}" for t in tests) + " |"
    )
    for (variant, train), rows in summary.groupby(["variant", "train_dataset"], sort=False):
        cells = []
        for test in tests:
            own = rows[(rows["test_dataset"] == test) & (rows["setting"].isin([setting, Setting.IN_DOMAIN]))]
            if len(own) and own.iloc[0]["setting"] == Setting.IN_DOMAIN:
                cells.append(f"*{_cell(own.iloc[0])}*" if setting == Setting.CROSS_DATASET else "–")
            else:
                cells.append(_cell(own.iloc[0]) if len(own) else "")
        lines.append(f"| {escaped(variant)} | {escaped(train)} | " + " | ".join(cells) + " |")
    return lines


def _cell(row: pd.Series) -> str:
    return f"{row['mean']:.3f}" + ("" if math.isnan(row["std"]) else f" ± {row['std']:.3f}")
