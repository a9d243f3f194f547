"""What a run's students get, and the data sets of runs without audio: of tables, of images, of stored vectors alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embcomp.audio.clips import names_audio
from embcomp.config import DataConfig, RunConfig
from embcomp.data.inputs import InputRows, input_path, read_inputs, usable_rows, without_bad
from embcomp.data.manifest import Manifest
from embcomp.errors import BadClip, ConfigError, EmbcompWarning, StoreError
from embcomp.pipeline.workspace import Dataset, Split
from embcomp.storage.places import join
from embcomp.students import build_student
from embcomp.teachers import TeacherSettings, open_teacher
from embcomp.transfer import Source


def resolved(config: RunConfig, manifests: Sequence[Manifest]) -> RunConfig:
    """The settings with ``data.inputs = "auto"`` resolved: audio, unless no row names any and vectors are stored.

    Of a table, ``data.columns`` becomes the columns that students see, by the data set trained on.

    Raises
    ------
    ConfigError
        There is to be no student, and a setting has no meaning without one.
    StoreError
        The table or the images of the data set trained on cannot be read.

    Warns
    -----
    EmbcompWarning
        There is no audio, so that no student is trained.
    """
    inputs = config.data.inputs
    if inputs == "auto":
        stored = all(not one.teacher.choice.runs for one in config.variants if one.transfer.source != Source.NONE)
        compared = any(one.transfer.source != Source.NONE for one in config.variants)
        inputs = "none" if stored and compared and not any(map(names_audio, manifests)) else "audio"
        if inputs == "none":
            warnings.warn(
                "no row of the manifests names a file of audio, so no student is trained: probes on the stored vectors "
                'compare the compressors (data.inputs = "none")',
                EmbcompWarning,
                stacklevel=3,
            )
    if inputs == "none":
        _refuse_student_settings(config)
    config = replace(config, data=replace(config.data, inputs=inputs))
    if inputs == "table":
        columns = inputs_of(manifests[0], config.data).spec.columns
        config = replace(config, data=replace(config.data, columns=columns))
    return config


def _refuse_student_settings(config: RunConfig) -> None:
    none = 'data.inputs = "none" trains no student'
    for one in config.variants:
        name = f"{none}: variant {one.name!r}"
        if one.transfer.source in (Source.NONE, Source.TEACHER):
            raise ConfigError(
                f'{name} with transfer.method = "{one.transfer.method}" has no stored vectors to probe; take "embedding" for the '
                'embeddings as they are, "compressed" for what a compressor leaves of them'
            )
        if one.transfer.joint:
            raise ConfigError(f'{name} trains its compressor with a student; set transfer.schedule = "two-stage"')
        if one.teacher.choice.runs:
            raise ConfigError(f"{name} has the teacher {one.teacher.spec!r}, which needs audio; take store:PATH")
    for wrong, text in (
        (config.data.unlabelled, "data.unlabelled is for the loss of students"),
        (
            any(one.training.transductive != "none" for one in config.variants),
            "training.transductive is for the loss of students",
        ),
        (config.evaluation.shifts, "evaluation.shifts changes clips that students get"),
        (not config.evaluation.probe, "evaluation.probe must be true, or nothing is scored"),
    ):
        if wrong:
            raise ConfigError(f"{none}, and {text}")


def inputs_of(manifest: Manifest, data: DataConfig, ids: Sequence[str] | None = None) -> InputRows:
    """The table or the images of a data set; `ids` are those of its whole manifest where `manifest` is a part."""
    path = input_path(data.input_file, manifest)
    return read_inputs(data.inputs, path, manifest.ids if ids is None else ids, data.columns)


def input_datasets(manifests: Sequence[Manifest], config: RunConfig) -> Iterator[tuple[Dataset, list[BadClip]]]:
    """The rows of each manifest whose inputs, and vectors where a teacher is asked for any, are finite; and the others.

    Raises
    ------
    StoreError
        A file is missing or damaged, lacks a row, holds inputs of another shape than the first set's, or some are not
        finite and ``data.skip_bad`` is false.
    """
    teachers = dict.fromkeys(one.teacher for one in config.variants if one.transfer.source != Source.NONE)
    first = None
    for manifest in manifests:
        rows = inputs_of(manifest, config.data)
        first = first or rows.spec
        if rows.spec != first:
            raise StoreError(
                f"{rows.path}: {config.data.inputs} of shape {rows.spec.shape}, where {manifests[0].name}, which is trained "
                f"on, has {first.shape}"
            )
        usable, bad = usable_rows(manifest, rows, config.data.skip_bad, without_finite_vectors(manifest, teachers))
        yield Dataset(usable, tuple(rows.keys(usable.ids)), manifest), bad


def vector_dataset(manifest: Manifest, config: RunConfig) -> tuple[Dataset, list[BadClip]]:
    """The rows of a manifest whose stored vectors are finite, each known by its vector, and the other rows.

    Of several teachers, the first variant's vectors say what a row is.

    Raises
    ------
    StoreError
        A teacher's vectors are missing or damaged, or some are not finite and ``data.skip_bad`` is false.
    """
    bad = without_finite_vectors(manifest, dict.fromkeys(one.teacher for one in config.variants))
    usable = without_bad(manifest, bad, config.data.skip_bad)
    keys = open_teacher(config.variants[0].teacher, manifest).keys(usable.ids)
    return Dataset(usable, tuple(keys), manifest), bad


def without_finite_vectors(manifest: Manifest, teachers: Iterable[TeacherSettings]) -> list[BadClip]:
    """Rows of which a stored vector is NaN or infinite."""
    ids, lines = manifest.ids, manifest.table["row"]
    bad: dict[int, str] = {}
    for settings in teachers:
        finite = np.isfinite(open_teacher(settings, manifest).rows(ids)).all(axis=1)
        bad |= {int(row): f"its vector in {settings.argument} is NaN or infinite" for row in np.flatnonzero(~finite)}
    return [BadClip(int(lines.iat[row]), ids[row], reason) for row, reason in sorted(bad.items())]


def possible_sizes(config: RunConfig, manifest: Manifest, splits: Sequence[Split]) -> RunConfig:
    """The settings with targets no larger than a fold's fit clips and the stored vectors allow.

    Warns
    -----
    EmbcompWarning
        A target is made smaller; with the number.
    """
    rows = min(len(split.fit) for split in splits)
    variants = []
    for one in config.variants:
        width = open_teacher(one.teacher, manifest).dim
        most = min(rows, width)
        if one.transfer.compresses and one.compressor.dim > most:
            warnings.warn(
                f"variant {one.name!r}: {rows} clips to fit on, of {width} dimensions, allow {most} components, not "
                f"compressor.dim = {one.compressor.dim}; {most} are used",
                EmbcompWarning,
                stacklevel=3,
            )
            one = replace(one, compressor=replace(one.compressor, dim=most))
        variants.append(one)
    return replace(config, variants=tuple(variants))


def dataset_paths(config: RunConfig) -> list[Path]:
    """Where the manifests lie: of the set trained on, of further sets, of unlabelled ones."""
    data = config.data
    return [join(data.root, name) for name in (data.train, *data.cross, *data.unlabelled)]


def refuse_untested(config: RunConfig) -> None:
    """Refuse a run whose students are tested on nothing.

    Raises
    ------
    ConfigError
        Says what would be tested.
    """
    if config.split.by == "none" and not config.data.cross:
        raise ConfigError(
            'split.by = "none" tests no clip of the set trained on, and data.cross is empty: nothing would be scored; name '
            "another set in data.cross, split by group or column, or train one student with embcomp distill"
        )


def refuse_unequal_widths(config: RunConfig) -> None:
    """Refuse targets of another width than the student's embedding where these are compared directly.

    Raises
    ------
    ConfigError
        Names the variant and both widths.
    """
    for one in config.variants:
        if not (one.transfer.compresses and one.transfer.equal_widths) or one.compressor.method == "identity":
            continue
        width = build_student(one.student, 2, config.audio.n_mels).embedding_width
        if width != one.compressor.dim:
            raise ConfigError(
                f"variant {one.name!r} compares the student's embedding of {width} dimensions directly with a target of "
                f"{one.compressor.dim}; set compressor.dim = {width}, transfer.student_projector = true, or "
                'transfer.distance = "distance_correlation"'
            )
