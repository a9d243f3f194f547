"""Shared by the recipes: write the manifest of a published data set, and run a config on it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from embcomp.cli.notes import notes_shown
from embcomp.data.makers.base import Clip
from embcomp.data.makers.summary import names_in
from embcomp.errors import ConfigError, EmbcompError, ManifestError, nearest
from embcomp.storage.files import write_text

COLUMNS = ("path", "label", "group", "split", "dataset")
# In order of preference if a data set has the same clip in several encodings.
DECODABLE = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf")
UNDECODABLE = (".m4a", ".mp4", ".aac", ".3gp", ".amr", ".wma")
SHOWN = 3  # names printed of the files left out for one reason


@dataclass
class Found:
    """Contents of a folder.

    Attributes
    ----------
    clips : list of Clip
    left_out : dict of str to list of Path
        Reasons, and the audio files not used for each.
    """

    clips: list[Clip] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Layout:
    """The layout in which a data set is published.

    Attributes
    ----------
    dataset : str
        Its name in manifests.
    expects : str
        The layout in words, for messages.
    collect : callable
        From a folder to a Found.
    manifest : str
        Path of the manifest in the recipe's configs, relative to data.root.
    folders : tuple of str
        Names the folder may have in data.root; empty: it is data.root itself.
    as_it_lies : bool
        Whether a ``manifest.csv`` in the folder is taken as it is.
    """

    dataset: str
    expects: str
    collect: Callable[[Path], Found]
    manifest: str = "manifest.csv"
    folders: tuple[str, ...] = ()
    as_it_lies: bool = True

    def place(self, data: Path) -> Path:
        """The folder of the data set in data.root.

        Raises
        ------
        ManifestError
            There is none.
        """
        if not self.folders:
            return data
        source = next((data / name for name in self.folders if (data / name).is_dir()), None)
        if source is None:
            raise ManifestError(f"no {self.dataset} in {data}: looked for the folders {', '.join(self.folders)}")
        return source


def collect_files(folder: Path, rule: Callable[[Path], Clip | str]) -> Found:
    """Apply a rule to every audio file below a folder.

    Parameters
    ----------
    folder : Path
    rule : callable
        From the path of a file to its Clip, or to the reason why it is not used.

    Returns
    -------
    Found
        In the order of the paths. Files that are not audio are ignored.
    """
    found = Found()
    encodings: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in DECODABLE + UNDECODABLE and path.is_file():
            encodings[path.with_suffix("")].append(path)
    for same in encodings.values():
        chosen, *others = sorted(same, key=lambda path: (DECODABLE + UNDECODABLE).index(path.suffix.lower()))
        if others:
            found.left_out["the same clip in another encoding"] += others
        verdict = rule(chosen)
        if isinstance(verdict, Clip) and chosen.suffix.lower() in UNDECODABLE:
            verdict = f"{chosen.suffix} cannot be decoded"
        if isinstance(verdict, Clip):
            found.clips.append(verdict)
        else:
            found.left_out[verdict].append(chosen)
    return found


def plain(name: str) -> str:
    """A name in lower case, everything but letters and digits as ``_``.

    Examples
    --------
    >>> plain("Roland-CR-8000")
    'roland_cr_8000'
    """
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def write_manifest(rows: Sequence[dict[str, str]], sources: Sequence[Path], out: Path) -> None:
    """Write a manifest with the paths of `sources` relative to its folder."""
    folder = out.parent.resolve()
    text = io.StringIO()
    extra = [name for name in ("start", "end") if any(row.get(name, "") != "" for row in rows)]
    writer = csv.DictWriter(text, [*COLUMNS, *extra], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row, source in zip(rows, sources):
        writer.writerow(row | {"path": Path(os.path.relpath(source, folder)).as_posix()})
    try:
        write_text(out, text.getvalue())
    except OSError as error:
        raise ManifestError(f"cannot write {out}: {error.strerror or error}; choose another place with --out") from None


def new_data_folder(out: Path) -> None:
    """Make `out` and its folder ``audio``; what is not empty is refused."""
    if out.exists() and any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty; give a new folder")
    (out / "audio").mkdir(parents=True, exist_ok=True)


def write_made(out: Path, rows: Sequence[tuple[str, str, str]], dataset: str) -> None:
    """Write the manifest of clips that a recipe made in `out`: path, label and group of each."""
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "group", "dataset"))
        writer.writerows((*row, dataset) for row in rows)


def read_ready(path: Path):
    """Read a manifest and check that every file it names exists.

    Raises
    ------
    ManifestError
        It is invalid, or names files that do not exist.
    """
    from embcomp.data.manifest import Manifest

    manifest = Manifest.read(path)
    exists = [manifest.audio_path(row).is_file() for row in range(len(manifest))]
    missing = [name for name, found in zip(manifest.table["path"], exists) if not found]
    if missing:
        raise ManifestError(f"{path} names files that do not exist, {len(missing)} in all: {_some(missing)}")
    return manifest


def prepare(folder: Path, layouts: Sequence[Layout], out: Path | None = None, dataset: str = "") -> Path:
    """Write the manifest of a data set if it has none.

    Parameters
    ----------
    folder : Path
        As published, or with a ``manifest.csv``, which is checked and not changed.
    layouts : sequence of Layout
        Possible layouts of the folder; the one that matches most files is used.
    out : Path, optional
        The manifest to write; by default ``manifest.csv`` in the folder.
    dataset : str, default=""
        Use the layout of this data set.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    ManifestError
        No file matches a layout, or the manifest is invalid.
    """
    folder = folder.resolve()
    ready = folder / "manifest.csv"
    out = out or ready
    wanted = [layout for layout in layouts if dataset in ("", layout.dataset)]
    if ready.is_file() and any(layout.as_it_lies for layout in wanted):
        manifest = read_ready(ready)
        if out.resolve() == ready:
            click.echo(f"the manifest already exists and was not changed: {_summary(manifest)}: {ready}")
            return ready
        table = manifest.table.astype(object)
        rows = table.where(table.notna(), "").to_dict("records")
        write_manifest(rows, [manifest.audio_path(row) for row in range(len(manifest))], out)
        click.echo(f"copied from {ready}, with paths relative to the copy: {_summary(manifest)}: {out}")
        return out
    candidates = [(layout, layout.collect(folder)) for layout in wanted]
    layout, found = max(candidates, key=lambda pair: len(pair[1].clips))
    for reason, paths in found.left_out.items():
        if not paths:
            continue
        names = [path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path) for path in paths]
        click.echo(f"left out, {reason}: {len(paths)} ({_some(names)})", err=True)
    if not found.clips:
        expected = "; ".join(f"{layout.dataset}: {layout.expects}" for layout in wanted)
        raise ManifestError(f"no clip found in {folder}; expected manifest.csv, or as published: {expected}")
    known = {"dataset": layout.dataset}
    rows = [
        known | {name: _cell(getattr(clip, name)) for name in ("label", "group", "split", "start", "end")}
        for clip in found.clips
    ]
    write_manifest(rows, [clip.path for clip in found.clips], out)
    click.echo(f"{layout.dataset}: {_summary(read_ready(out))}: {out}")
    return out


def locate(data: Path, layout: Layout, out: Path) -> Path:
    """The manifest of one of a recipe's data sets; if there is none, it is written under `out`.

    The data folder is never modified: it may be shared or read-only.

    Raises
    ------
    ManifestError
        `data` has no folder of that data set, or the folder has no usable files.
    """
    source = layout.place(data)
    if layout.as_it_lies and (source / "manifest.csv").is_file():
        return source / "manifest.csv"
    return prepare(source, [layout], out / layout.manifest)


def prepare_command(layouts: Sequence[Layout], about: str) -> click.Command:
    """Make the click command of a ``prepare.py``.

    Parameters
    ----------
    layouts : sequence of Layout
    about : str
        Its help text.
    """
    names = [layout.dataset for layout in layouts]

    def command(folder: Path, out: Path | None, dataset: str = "") -> None:
        with input_errors():
            prepare(folder, layouts, out, dataset or "")

    if len(names) > 1:
        about_dataset = "Data set in FOLDER.  [default: detected from its files]"
        command = click.option("--dataset", type=click.Choice(names), help=about_dataset)(command)
    target = click.Path(dir_okay=False, path_type=Path)
    command = click.option("--out", type=target, help="Manifest to write.  [default: FOLDER/manifest.csv]")(command)
    command = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))(command)
    return click.command("prepare", help=about)(command)


def run_command(recipe: Path, layouts: Sequence[Layout]) -> click.Command:
    """Make the click command of a ``run.py``: write missing manifests, then run a config of the recipe.

    Parameters
    ----------
    recipe : Path
        The recipe's folder.
    layouts : sequence of Layout
    """

    folder = click.Path(file_okay=False, path_type=Path)

    @click.command("run")
    @click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
    @click.option("--config", "name", default="quick", show_default=True, help="Name in configs/.")
    @click.option("--out", type=folder, help="Run folder.  [default: runs/RECIPE-CONFIG]")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY; repeatable.")
    def command(data: Path, name: str, out: Path | None, overrides: tuple[str, ...]) -> None:
        """Compare the variants of a config on the data in DATA.

        The same as ``embcomp run`` with data.root=DATA. The manifest of a data set
        without one is written to OUT/manifests; DATA is not modified.
        """
        with input_errors():
            run_config(recipe, layouts, data, name, out or Path("runs", f"{recipe.name}-{name}"), overrides)

    return command


def run_config(
    recipe: Path, layouts: Sequence[Layout], data: Path, name: str, out: Path, overrides: Sequence[str]
) -> None:
    """Run a config of a recipe on the data sets in the folder `data` and print the report; see `run_command`.

    Raises
    ------
    ConfigError
        The recipe has no such config.
    ManifestError
        A data set is missing in `data`.
    """
    import embcomp

    path = recipe / "configs" / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(f"{recipe.name} has no config {name!r}: {nearest(name, configs(recipe))}")
    overrides = [*overrides, f"data.root={_toml(str(data))}"]
    settings = embcomp.load_config(path, overrides).data
    by_manifest = {layout.manifest: layout for layout in layouts}

    def place(manifest: str) -> str:
        # An existing manifest keeps the path of the config, so that the run is the same as `embcomp run`.
        if (data / manifest).is_file() or manifest not in by_manifest:
            return manifest
        return str(locate(data, by_manifest[manifest], out / "manifests").resolve())

    train, cross = place(settings.train), [place(manifest) for manifest in settings.cross]
    if train != settings.train:
        overrides.append(f"data.train={_toml(train)}")
    if cross != list(settings.cross):
        overrides.append(f"data.cross=[{', '.join(map(_toml, cross))}]")
    if train != settings.train or cross != list(settings.cross):
        # A manifest written here names audio outside its own folder.
        overrides.append("data.allow_outside=true")
    result = embcomp.run(embcomp.load_config(path, overrides), out, report_progress)
    click.echo((result.folder / "report.md").read_text(encoding="utf-8"), nl=False)
    click.echo(f"scores.csv, report.html and more: {result.folder}", err=True)


def report_progress(stage: str, done: int, total: int) -> None:
    """Print a line on standard error for every finished stage of a run."""
    if done == total > 0:
        click.echo(f"  {stage}: {total} done", err=True)


def configs(recipe: Path) -> list[str]:
    """Names of a recipe's configs."""
    return sorted(path.stem for path in (recipe / "configs").glob("*.toml"))


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Print warnings as notes, and an error in the input as a message, with exit code 2."""
    try:
        with notes_shown():
            yield
    except EmbcompError as error:
        refusal = click.ClickException(str(error))
        refusal.exit_code = 2
        raise refusal from error


def _cell(value: str | float | None) -> str:
    return "" if value is None else str(value)


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _summary(manifest) -> str:
    labels = Counter(name for cell in manifest.labels for name in names_in(cell) or ["(none)"])
    counts = ", ".join(f"{label} {count}" for label, count in sorted(labels.items()))
    groups = f"{len(set(manifest.groups))} groups" if manifest.unit == "group" else "no groups"
    return f"{len(manifest)} clips, {groups}, labels {counts}"
