"""Write a manifest and settings for a first run, with questions or options."""

from __future__ import annotations

import dataclasses
import typing
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcomp.cli import common
from embcomp.cli import manifest as makers_cli
from embcomp.errors import counted

if TYPE_CHECKING:
    from embcomp.data.makers import Made, Maker, WindowRule

CONFIG = "embcomp.toml"
LONG = 30.0  # seconds; if the median file is longer, the files are recordings rather than clips
WINDOW = 5.0  # seconds, proposed for recordings
SHOWN = 6  # parts of names, and values of each


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    default="",
    metavar="KIND",
    help="Kind of SOURCE, from the list of `embcomp manifest --help`.  [default: detected]",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Setting of that kind, for example label_level=-1; repeatable.",
)
@click.option("--label", default="", metavar="REGEX", help="Takes the label from each path.")
@click.option("--group", default="", metavar="REGEX", help="Takes the group from each path: speaker, recording, place.")
@makers_cli.with_windows
@click.option(
    "--cross",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="SOURCE",
    help="Further data set with the same labels for testing; repeatable.",
)
@click.option(
    "--unlabelled",
    multiple=True,
    type=common.MANIFEST,
    metavar="MANIFEST",
    help="Clips of the same kind without labels, for the teacher to teach with; repeatable.",
)
@click.option("--teacher", default="kmeans", show_default=True, metavar="KIND[:ARG]", help="See `embcomp teachers`.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, 3600),
    help="Longer clips are cut to this length, seconds.  [default: the longest clip, at most 10]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1000),
    help="Sample rate of the students, Hz.  [default: 16000, or what the recordings have if less]",
)
@click.option(
    "--vectors",
    default="",
    metavar="FILE",
    help="No audio: SOURCE is a manifest of ids, and FILE their stored vectors; {dataset} in it is a data set's name.",
)
@click.option(
    "--inputs",
    default="",
    metavar="FILE",
    help="With --vectors: the table or the images that students get.  [default: no students]",
)
@common.group_column_option
@click.option("--out", type=common.FILE, help="Manifest to write.  [default: manifest.csv in SOURCE]")
@click.option("--config", type=common.FILE, help=f"Settings to write.  [default: {CONFIG} next to the manifest]")
@click.option("--yes", is_flag=True, help="Do not ask; use the given options and defaults.")
def init(
    source: Path, kind: str, options: tuple[str, ...], label: str, group: str, window, hop, overlap, background,
    cross: tuple[Path, ...], unlabelled: tuple[Path, ...], teacher: str, seconds, sample_rate, vectors: str,
    inputs: str, group_column: str, out: Path | None, config: Path | None, yes: bool,
) -> None:  # fmt: skip
    """Write a manifest and settings for a run from SOURCE, a folder of sounds or a table of them.

    Without audio, SOURCE is a manifest whose rows have ids, and only settings are written.

    \b
    Example:
      embcomp init sounds
      embcomp init labels.csv --vectors embeddings.npy
    """
    from embcomp.config import read_choice
    from embcomp.data.makers.build import refuse_to_replace
    from embcomp.data.manifest import Manifest
    from embcomp.pipeline.starter import propose
    from embcomp.storage.files import write_text

    for option, value in {"--inputs": inputs, "--group-column": group_column}.items():
        if value and not vectors:
            raise click.UsageError(f"{option} is for manifests of ids and stored vectors; add --vectors FILE")
    if vectors:
        given = {"--kind": kind, "--option": options, "--label": label, "--group": group, "--window": window}
        given |= {"--seconds": seconds, "--sample-rate": sample_rate, "--out": out, "--unlabelled": unlabelled}
        given |= {"--teacher": teacher != "kmeans"}
        for option in (name for name, value in given.items() if value):
            raise click.UsageError(f"{option} is for audio; with --vectors SOURCE is a manifest")
        _without_audio(source, cross, vectors, inputs, group_column, config)
        return
    read_choice("teacher", {"spec": teacher})
    ask = _Asker(yes)
    rule = makers_cli.rule(window, hop, overlap, background)
    given = bool(kind or options or label or group or rule or out)
    manifest, made = None if given else _there(source, ask), None
    if manifest is not None:
        refuse_to_replace(config or manifest.parent / CONFIG)
    else:
        maker = _maker(source, kind)
        settings = _settings(maker, options)
        target = out or maker().default_out(source)
        refuse_to_replace(target)
        refuse_to_replace(config or target.parent / CONFIG)
        made = _make(maker, source, target, label, group, rule, settings, ask)
        makers_cli.show(made)
        if not ask.confirm(f"Write {target}?", True):
            raise click.Abort
        manifest = made.write()
    further = [_cross(one, ask) for one in cross]
    settings_file = config or manifest.parent / CONFIG
    with warnings.catch_warnings():
        if made is not None:  # the summary said it
            warnings.simplefilter("ignore")
        clips = Manifest.read(manifest, True)
    start = propose(
        clips,
        manifest,
        settings_file.parent,
        cross=further,
        unlabelled=unlabelled,
        teacher=teacher,
        seconds=seconds,
        sample_rate=sample_rate,
    )
    start.config()
    write_text(settings_file, start.toml())
    for note in start.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"\nwritten: {manifest}\n         {settings_file}")
    run = Path("runs") / start.name
    click.echo("\nnext:")
    click.echo(f"  embcomp validate {_quoted(manifest)}")
    click.echo(f"  embcomp run {_quoted(settings_file)} --out {run}")
    click.echo(f"  embcomp report {run}")
    click.echo(f"  embcomp predict {run} AUDIO...")
    click.echo(f"  embcomp export {run} --to onnx --out student.onnx --check {_quoted(manifest)}")


def _without_audio(
    source: Path, cross: tuple[Path, ...], vectors: str, inputs: str, group_column: str, config: Path | None
) -> None:
    """Write settings for the rows of a manifest and their stored vectors."""
    from embcomp.data.makers.build import refuse_to_replace
    from embcomp.data.manifest import Manifest
    from embcomp.pipeline.row_starter import propose_rows
    from embcomp.storage.files import write_text

    places = [one / "manifest.csv" if one.is_dir() else one for one in (source, *cross)]
    target = config or places[0].parent / CONFIG
    refuse_to_replace(target)
    first, *others = [
        Manifest.read(path, group_column=group_column, group_column_needed=not number)
        for number, path in enumerate(places)
    ]
    start = propose_rows(first, places[0], target.parent, vectors, inputs, list(zip(others, places[1:])))
    start.config()
    write_text(target, start.toml())
    for note in start.notes:
        click.echo(f"note: {note}", err=True)
    run = Path("runs") / start.name
    click.echo(f"\nwritten: {target}\n\nnext:")
    click.echo(f"  embcomp validate {_quoted(places[0])} --config {_quoted(target)}")
    click.echo(f"  embcomp run {_quoted(target)} --out {run}")
    click.echo(f"  embcomp report {run}")


class _Asker:
    """Questions, or their defaults."""

    def __init__(self, yes: bool):
        self.yes = yes

    def confirm(self, question: str, default: bool) -> bool:
        return default if self.yes else self._asked(click.confirm, question, default=default)

    def prompt(self, question: str, default: str, **about: Any) -> str:
        return default if self.yes else self._asked(click.prompt, question, default=default, **about)

    @staticmethod
    def _asked(function: Any, question: str, **about: Any) -> Any:
        import sys

        try:
            return function(question, **about)
        except click.Abort:
            if sys.stdin.isatty():
                raise
            raise click.UsageError(
                "there is no answer on standard input; add --yes, and options for what should not be guessed"
            ) from None


def _there(source: Path, ask: _Asker) -> Path | None:
    """An existing manifest that the user wants to use, or None."""
    from embcomp.data.manifest import Manifest
    from embcomp.errors import ManifestError

    path = source / "manifest.csv" if source.is_dir() else source
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Manifest.read(path, True)
    except ManifestError:
        return None
    if not any(found.audio_path(row).is_file() for row in range(min(len(found), 50))):
        return None
    return path if ask.confirm(f"{path} names {counted(len(found), 'clip')}. Use it?", True) else None


def _maker(source: Path, kind: str) -> type[Maker]:
    from embcomp.data.makers import detect, named
    from embcomp.data.sounds import SUFFIXES
    from embcomp.errors import ManifestError

    if kind:
        return named(kind)
    if not source.exists():
        raise ManifestError(f"{source} does not exist; a data set on the Hugging Face hub needs --kind hf")
    found = detect(source)
    if found is None:
        what = "is not a folder of sounds, a table or annotations; see --kind"
        if source.suffix.lower() in SUFFIXES:
            what = "is one sound; give the folder whose folders are the classes"
        raise ManifestError(f"{source} {what}")
    click.echo(f"{source}: {found.summary}")
    return found


def _settings(maker: type[Maker], options: tuple[str, ...]) -> dict[str, Any]:
    from embcomp.errors import ConfigError, nearest

    kinds = {item.name: typing.get_type_hints(maker.Settings)[item.name] for item in dataclasses.fields(maker.Settings)}
    found: dict[str, Any] = {}
    for text in options:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in kinds:
            choices = nearest(name, kinds) if kinds else f"{maker.name} has none"
            raise ConfigError(f"--option takes NAME=VALUE, not {text!r}; {choices}")
        try:
            if kinds[name] is bool:
                found[name] = {"true": True, "false": False}[value.strip().lower()]
            elif kinds[name] in (int, float, str):
                found[name] = kinds[name](value)
            else:
                found[name] = (*found.get(name, ()), value)
        except (KeyError, ValueError):
            raise ConfigError(f"--option {text!r}: {value!r} is not of type {kinds[name].__name__}") from None
    return found


def _make(
    maker: type[Maker], source: Path, target: Path, label: str, group: str, rule: WindowRule | None,
    settings: dict[str, Any], ask: _Asker,
) -> Made:  # fmt: skip
    from embcomp.data.makers import WindowRule, make

    def built() -> Made:
        with common.bar(1, "look") as shown:
            return make(
                maker.name,
                source,
                out=target,
                label=label,
                group=group,
                window=rule,
                progress=common.progress_of(shown),
                **settings,
            )

    made = built()
    if not group and not made.summary.groups:
        group = _ask_group(made, ask)
    if rule is None and (made.selections or made.summary.seconds[1] > LONG):
        question = "Length of windows in seconds (0: do not cut)?"
        if made.selections:
            click.echo(
                "Each selection becomes a clip, or recordings are cut into windows, which get the labels they overlap."
            )
        else:
            click.echo(f"Half of the clips are longer than {made.summary.seconds[1]:.0f} s.")
        length = float(ask.prompt(question, "0" if made.selections else f"{WINDOW:g}", type=float))
        rule = WindowRule(length) if length else None
    return built() if group or rule is not None else made


def _ask_group(made: Made, ask: _Asker) -> str:
    """A pattern for the group, from the parts of the file names; empty for none."""
    from embcomp.data.makers.patterns import group_parts

    names = [clip.path.name for clip in made.clips]
    found = group_parts(names, [clip.label for clip in made.clips])
    click.echo(
        "Clips of one recording, speaker or place must not be in both training and test data: scores would be too high."
    )
    if not found:
        click.echo("File names do not seem to contain such groups; --group REGEX takes them from paths.")
        return ""
    click.echo(f"File names look like {Path(names[0]).name}. Parts of them:")
    for number, part in enumerate(found[:SHOWN], 1):
        click.echo(
            f"  {number}  {', '.join(part.values[:SHOWN])}{', ...' if len(part.values) > SHOWN else ''}  ({len(part.values)} different)"
        )
    if ask.yes:
        click.echo("With --yes no group is used; --group REGEX sets one.")
        return ""
    choice = click.IntRange(0, len(found[:SHOWN]))
    number = int(ask.prompt("Which part is the group that must not be split (0: none)?", "0", type=choice))
    return found[number - 1].pattern if number else ""


def _cross(source: Path, ask: _Asker) -> Path:
    """The manifest of a further data set, written if it does not exist."""
    from embcomp.data.makers.build import refuse_to_replace

    known = _there(source, _Asker(True))
    if known is not None:
        return known
    maker = _maker(source, "")
    target = maker().default_out(source)
    refuse_to_replace(target)
    made = _make(maker, source, target, "", "", None, {}, ask)
    makers_cli.show(made)
    return made.write()


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
