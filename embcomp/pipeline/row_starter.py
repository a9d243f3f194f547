"""Settings for a first run without audio: probes on stored vectors, or students on a table or on images."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embcomp.config import RunConfig, SplitConfig, parse
from embcomp.config.schema import toml_value
from embcomp.data.inputs import input_path, kind_of_inputs, read_inputs
from embcomp.data.manifest import Manifest
from embcomp.errors import counted
from embcomp.pipeline.starter import classes_of, head_lines, relative_path, split_for, split_lines, target_dim
from embcomp.teachers import StoredTeacher


@dataclass(frozen=True)
class RowStart:
    """Settings of a first run, as `embcomp.pipeline.starter.Start` has them of audio.

    Attributes
    ----------
    name, train : str
    cross : tuple of str
    vectors : str
        From a manifest's folder on.
    inputs : str
        ``none``, ``table`` or ``images``.
    input_file : str
    dim : int
        Dimensions of the target.
    split : SplitConfig
    seeds : tuple of int
    reasons : dict of str to str
    notes : list of str
    about : str
    group_column : str
        As it was asked for; empty where the group is found by its name.
    """

    name: str
    train: str
    cross: tuple[str, ...]
    vectors: str
    inputs: str
    input_file: str
    dim: int
    split: SplitConfig
    seeds: tuple[int, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    about: str = ""
    group_column: str = ""

    def config(self) -> RunConfig:
        """The settings as `embcomp.run` takes them, paths from the folder of the config."""
        return parse(tomllib.loads(self.toml()), "the settings of init")

    def toml(self) -> str:
        """The settings as TOML, with comments."""
        students = self.inputs != "none"
        lines = [
            *head_lines(self.about, self.name, self.seeds, self.reasons, self.train),
            f"cross = {toml_value(list(self.cross))}  # tested on, never trained on",
            f"inputs = {toml_value(self.inputs)}"
            + ("  # what students get" if students else "  # no student: probes compare compressors"),
            *([f"input_file = {toml_value(self.input_file)}  # from each manifest's folder"] if students else []),
            *([f"group_column = {toml_value(self.group_column)}"] if self.group_column else []),
            "skip_bad = false  # true leaves out rows with numbers that are missing, and counts them, instead of stopping",
            "",
            "[split]",
            *split_lines(self.split, self.reasons),
            "",
            "[teacher]",
            f"spec = {toml_value(f'store:{self.vectors}')}  # from each manifest's folder; {{dataset}} is its name",
            "",
            "[compressor]",
            f"dim = {self.dim}",
            "",
            "# The comparison: one student for each." if students else "# The comparison: probes on each.",
            *(["[[variants]]", 'name = "no teacher"', 'transfer.method = "none"', ""] if students else []),
            "[[variants]]",
            'name = "raw embedding"',
            'transfer.method = "embedding"',
            "",
            "[[variants]]",
            f'name = "PCA {self.dim}"',
            'compressor.method = "pca"',
            'compressor.objective = "reconstruction"',
            "",
            "[[variants]]",
            f'name = "linear, task {self.dim}"',
        ]
        return "\n".join(lines) + "\n"


def propose_rows(
    manifest: Manifest,
    path: str | os.PathLike,
    folder: str | os.PathLike,
    vectors: str,
    inputs: str = "",
    cross: Sequence[tuple[Manifest, Path]] = (),
) -> RowStart:
    """Choose settings for a first run without audio.

    Parameters
    ----------
    manifest : Manifest
    path, folder : path
        Where it lies, and where the config will lie.
    vectors : str
        Store or file of vectors, from the working directory or each manifest's folder on; ``{dataset}`` is its name.
    inputs : str
        The same of a table or images; empty for a run without students.
    cross : sequence of (Manifest, Path)
        Further data sets, and where they lie.

    Raises
    ------
    ManifestError
        There are fewer than two classes.
    StoreError
        Vectors or inputs of a data set are not there, or are not usable.
    """
    names = classes_of(manifest, path)
    vectors, inputs = (_from_manifest(file, manifest) if file else "" for file in (vectors, inputs))
    kind, width = "none", 0
    for one in (manifest, *(other for other, _ in cross)):
        width = StoredTeacher(vectors, one).rows(one.ids).shape[1]
        if inputs:
            place = input_path(inputs, one)
            kind = kind if kind != "none" else kind_of_inputs(place)
            read_inputs(kind, place, one.ids).take(one.ids)
    reasons: dict[str, str] = {}
    notes: list[str] = []
    split, seeds = split_for(manifest, reasons, notes)
    start = Path(folder).resolve()
    groups = len(set(manifest.groups)) if manifest.unit == "group" else 0
    return RowStart(
        name=manifest.name.replace(" ", "-") or "run",
        train=relative_path(path, start),
        cross=tuple(relative_path(place, start) for _, place in cross),
        vectors=vectors,
        inputs=kind,
        input_file=inputs,
        dim=target_dim(width, len(manifest)),
        split=split,
        seeds=seeds,
        reasons=reasons,
        notes=notes,
        about=f"{counted(len(manifest), 'row')}, {counted(len(names), 'class', 'classes')}, {counted(groups, 'group') if groups else 'no groups given'}, no audio",
        group_column=manifest.group_column,
    )


def _from_manifest(file: str, manifest: Manifest) -> str:
    """A path as the config needs it: from the manifest's folder on, also where it was given from the working directory on."""
    here = Path(file.replace("{dataset}", manifest.name))
    if here.is_absolute() or not here.exists() or (manifest.folder / here).exists():
        return file
    return Path(os.path.relpath(os.path.abspath(file), manifest.folder.resolve())).as_posix()
