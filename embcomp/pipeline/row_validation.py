"""What would stop or mislead a run without audio: on stored vectors, a table or images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embcomp.audio.clips import names_audio
from embcomp.config import RunConfig, parse
from embcomp.data.findings import ERROR, NOTE, WARNING, Finding, content_findings, listing
from embcomp.data.inputs import InputRows
from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompError, counted
from embcomp.pipeline.inputs import inputs_of, without_finite_vectors
from embcomp.teachers import TeacherSettings, open_teacher
from embcomp.transfer import Source

CONTENT = {"table": "row of inputs", "images": "image", "none": "vector"}


def without_audio(manifest: Manifest, config: RunConfig | None, vectors: str) -> RunConfig | None:
    """The settings of a run on `manifest` that reads no audio; None of one that does.

    Parameters
    ----------
    vectors : str
        Where stored vectors lie, if that is known beside `config`; empty if not.
    """
    if vectors:
        content = {"data": {"inputs": "none"}, "teacher": {"spec": f"store:{vectors}"}}
        return parse(content, "--vectors") if config is None else config
    if config is None or config.data.inputs == "audio":
        return None
    stored = all(not one.teacher.choice.runs for one in config.variants if one.transfer.source != Source.NONE)
    if config.data.inputs == "auto" and (not stored or names_audio(manifest)):
        return None
    return config


def row_findings(manifest: Manifest, config: RunConfig) -> list[Finding]:
    """What is wrong with the rows themselves: files, ids, numbers, repeats."""
    kind = config.data.inputs if config.data.inputs in ("table", "images") else "none"
    found: list[Finding] = []
    bad: list[str] = []
    keys: list[str] = []
    used = dict.fromkeys(one.teacher for one in config.variants if kind == "none" or one.transfer.source != Source.NONE)
    for teacher in used:
        try:
            opened = open_teacher(teacher, manifest)
            bad += map(str, without_finite_vectors(manifest, [teacher]))
            keys = keys or opened.keys(manifest.ids)
            found += _vectors(opened.rows(manifest.ids), teacher)
        except EmbcompError as error:
            found.append(Finding(ERROR, "vectors", str(error)))
    if kind != "none":
        try:
            rows = inputs_of(manifest, config.data)
            bad += map(str, rows.bad(manifest))
            keys = rows.keys(manifest.ids)
            found += _inputs(rows, manifest)
        except EmbcompError as error:
            found.append(Finding(ERROR, "inputs", str(error)))
            keys = []
    if bad:
        text = f"{len(bad)} of {counted(len(manifest), 'row')} cannot be used: {listing(bad)}. Mend them, or leave them out with data.skip_bad"
        found.append(Finding(ERROR, "unreadable", text, tuple(bad)))
    if keys:
        found += content_findings(manifest, range(len(manifest)), keys, CONTENT[kind])
    return found


def _vectors(rows: np.ndarray, teacher: TeacherSettings) -> list[Finding]:
    finite = rows[np.isfinite(rows).all(axis=1)]
    constant = int((finite.min(0) == finite.max(0)).sum()) if len(finite) else 0
    found = [Finding(NOTE, "vectors", f"{teacher.spec}: {rows.shape[1]} dimensions")]
    if constant:
        found.append(
            Finding(WARNING, "constant", f"{teacher.spec}: {constant} of {rows.shape[1]} dimensions never vary")
        )
    return found


def _inputs(rows: InputRows, manifest: Manifest) -> list[Finding]:
    spec = rows.spec
    if spec.kind == "images":
        return [Finding(NOTE, "inputs", f"{rows.path.name}: images of {' x '.join(map(str, spec.shape))}")]
    values = rows.take(manifest.ids)[:, :, 0]
    constant = [name for name, column in zip(spec.columns, values.T) if np.nanmin(column) == np.nanmax(column)]
    found = [
        Finding(NOTE, "inputs", f"{rows.path.name}: {counted(len(spec.columns), 'column')}: {listing(spec.columns)}")
    ]
    if constant:
        found.append(Finding(WARNING, "constant", f"{rows.path.name}: columns that never vary: {listing(constant)}"))
    return found + _telling(spec.columns, values, manifest)


def _telling(columns: Sequence[str], values: np.ndarray, manifest: Manifest) -> list[Finding]:
    """Columns that hold the label: of few values, each in one class alone."""
    labels = np.array(manifest.labels, dtype=object)
    classes = len(set(labels) - {""})
    telling = []
    for name, column in zip(columns, values.T):
        distinct = np.unique(column[np.isfinite(column)])
        if 1 < len(distinct) <= classes and all(len(set(labels[column == one]) - {""}) == 1 for one in distinct):
            telling.append(name)
    if not telling:
        return []
    text = f"each value of {listing(telling)} occurs in one class alone: the column may hold the answer; data.columns names those to use"
    return [Finding(WARNING, "answer", text)]
