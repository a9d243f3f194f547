"""Manifests from folders, tables, annotations and published data sets."""

from __future__ import annotations

import dataclasses
import tempfile
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json
from embcomp.errors import counted

if TYPE_CHECKING:
    from embcomp.data.makers import Made, Maker

LISTED = 10  # names printed of the files left out


def shared_options(command: click.Command) -> click.Command:
    """Add the options of every kind of source."""
    options = [
        click.option("--out", type=common.FILE, help="Manifest to write.  [default: manifest.csv in the folder]"),
        click.option("--label", default="", metavar="REGEX", help="Takes the label from each path: the part in parentheses, or the whole match."),
        click.option("--group", default="", metavar="REGEX", help="Takes the group from each path: speaker, recording, place."),
        *window_options(),
        click.option("--dataset", default="", metavar="NAME", help="Name of the data set, in its own column."),
        click.option("--dry-run", is_flag=True, help="Only print the summary of the manifest."),
        json_option,
    ]  # fmt: skip
    for option in options:
        command = option(command)
    return command


def window_options() -> list[Any]:
    """Options for windows."""
    return [
        click.option("--window", type=float, metavar="SECONDS", help="Cut recordings into windows of this length."),
        click.option("--hop", type=float, default=0.0, metavar="SECONDS", help="Distance between the starts of windows.  [default: --window]"),
        click.option("--overlap", type=float, default=0.5, show_default=True, metavar="SHARE", help="Share of a selection, or of the window if that is shorter, that a window must cover to get its label."),
        click.option("--background", default="", metavar="LABEL", help="Keep windows without a selection and give them this label; | means that no label applies."),
    ]  # fmt: skip


def with_windows(command: Any) -> Any:
    """Add the options for windows to a command."""
    for option in reversed(window_options()):
        command = option(command)
    return command


def rule(window: float | None, hop: float, overlap: float, background: str):
    """The rule for windows; None without windows.

    Raises
    ------
    ConfigError
        A value is out of range, or an option needs --window.
    """
    from embcomp.data.makers import WindowRule
    from embcomp.errors import ConfigError

    if window is not None:
        return WindowRule(window, hop, overlap, background)
    for name, given in (("--hop", hop != 0), ("--background", bool(background)), ("--overlap", overlap != 0.5)):
        if given:
            raise ConfigError(f"{name} applies to windows; add --window SECONDS")
    return None


def own_options(maker: type[Maker]) -> list[click.Option]:
    """Options from the settings of a maker."""
    kinds = typing.get_type_hints(maker.Settings)
    found = []
    for item in dataclasses.fields(maker.Settings):
        flags = [f"--{item.name.replace('_', '-')}"]
        about: dict[str, Any] = {"help": item.metadata["help"], "metavar": item.metadata.get("metavar")}
        if kinds[item.name] is bool:
            flags = [f"{flags[0]}/--no-{item.name.replace('_', '-')}"] if item.default else flags
            about |= {"is_flag": True, "default": item.default, "metavar": None}
        elif kinds[item.name] in (int, float):
            about |= {"type": kinds[item.name], "default": item.default, "show_default": True}
        elif kinds[item.name] is str:
            about |= {"default": item.default, "show_default": bool(item.default)}
        else:
            about |= {"multiple": True}
        found.append(click.Option([*flags, item.name], **about))
    return found


class Kinds(click.Group):
    """One command a maker."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from embcomp.data.makers import MAKERS

        return [maker.name for maker in MAKERS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        from embcomp.data.makers import MAKERS

        found = {maker.name: maker for maker in MAKERS}.get(name.replace("_", "-"))
        return _command(found) if found is not None else None

    def resolve_command(self, ctx: click.Context, args: list[str]):
        from embcomp.errors import nearest

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            raise click.UsageError(
                f"no such kind of source {args[0]!r}; {nearest(args[0], self.list_commands(ctx))}"
            ) from None


def _command(maker: type[Maker]) -> click.Command:
    several = maker.source == "FILES"

    def call(sources: Any, **options: Any) -> None:
        _make(maker, sources if several else (sources,), options)

    path = click.Path(path_type=Path)
    argument = click.Argument(
        ["sources"],
        nargs=-1 if several else 1,
        required=True,
        type=path,
        metavar=f"{maker.source}{'...' if several else ''}",
    )
    command = click.Command(
        maker.name, callback=call, params=[argument, *own_options(maker)], help=_help(maker), short_help=maker.summary
    )
    return shared_options(command)


def _help(maker: type[Maker]) -> str:
    import inspect

    return f"{maker.summary}\n\n{inspect.getdoc(maker) or ''}".replace("``", "")


@click.group(cls=Kinds)
def manifest() -> None:
    """Make a manifest: a CSV that names clips, their labels, and the groups that must not be split.

    `embcomp init` asks for the same and also writes settings for a run.

    \b
    Example:
      embcomp manifest folder sounds --out sounds/manifest.csv
    """


def _make(maker: type[Maker], sources: tuple[Path, ...], options: dict[str, Any]) -> None:
    from embcomp.data.makers import make
    from embcomp.data.makers.build import refuse_to_replace

    names = ("window", "hop", "overlap", "background")
    windows = rule(*(options.pop(name) for name in names))
    dry_run, as_json, out = options.pop("dry_run"), options.pop("as_json"), options.pop("out")
    target = out or maker().default_out(sources[0])
    if not dry_run:
        refuse_to_replace(target)
    with tempfile.TemporaryDirectory() as scratch, common.bar(1, "look") as shown:
        # In a dry run, what a maker writes next to the manifest must be removed.
        beside = Path(scratch) / target.name if dry_run and maker.writes else target
        made = make(maker.name, sources, out=beside, window=windows, progress=common.progress_of(shown), **options)
    if not dry_run:
        made.write()
    if as_json:
        print_json(about(made, None if dry_run else target))
        return
    show(made)
    if dry_run:
        click.echo(f"{counted(made.summary.clips, 'row')}; nothing was written", err=True)
    else:
        click.echo(f"{counted(made.summary.clips, 'row')}: {target}", err=True)
        if made.leads_out:
            click.echo(f"audio is outside {target.parent}: use --allow-outside with this manifest", err=True)


def show(made: Made) -> None:
    """Print some rows, the summary, assumptions and what is left out."""
    for line in (*made.preview(), "", *made.summary.lines()):
        click.echo(line)
    for note in made.notes:
        click.echo(f"  {note}", err=True)
    if made.left_out:
        click.echo(f"{len(made.left_out)} left out:", err=True)
        for name, reason in made.left_out[:LISTED]:
            click.echo(f"  {name}: {reason}", err=True)
        if len(made.left_out) > LISTED:
            click.echo(f"  and {len(made.left_out) - LISTED} more (--json lists all)", err=True)


def about(made: Made, written: Path | None) -> dict[str, Any]:
    """The summary, notes and what is left out, for programs."""
    return {
        "manifest": written,
        "dataset": made.dataset,
        "summary": made.summary.as_dict(),
        "notes": list(made.notes),
        "left_out": [{"what": what, "reason": reason} for what, reason in made.left_out],
    }
