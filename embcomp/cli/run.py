"""Compare variants as a TOML file describes."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from embcomp.cli import common
from embcomp.cli.choices import listing
from embcomp.cli.machine import json_option, plain, print_json, rows
from embcomp.cli.notes import NOTES
from embcomp.cli.watching import Watch
from embcomp.errors import BadClip, EmbcompWarning, counted
from embcomp.storage.places import named


@click.command(cls=listing("teacher", "transfer", "student"))
@click.argument("config", type=common.INPUT, required=False)
@click.option("--from", "source", type=common.MODEL, help="Repeat this finished run instead and compare the scores.")
@common.set_option
@common.out_option
@common.group_column_option
@common.allow_outside_option
@common.workers_option
@common.engine_option
@common.processes_option
@json_option
@click.option("--watch", is_flag=True, help="Keep a table of all stages up to date in the terminal (extra watch).")
def run(
    config: Path | None,
    overrides: tuple[str, ...],
    out: Path,
    source: Path | None = None,
    group_column: str = "",
    allow_outside: bool = False,
    workers: int | None = None,
    engine: str | None = None,
    processes: int | None = None,
    as_json: bool = False,
    watch: bool = False,
) -> None:
    """Compare the variants listed in CONFIG (TOML) over seeds and folds.

    Results already in --out are reused: after an interruption, run the same command
    again to continue. A run that is finished, and none of whose files changed, is printed
    at once. With --from RUN, that run is repeated from its saved settings;
    the exit code is 3 if a score differs. With --processes, each student is trained by
    several processes, and fewer students at a time.

    \b
    Example:
      embcomp run config.toml --set data.root=DATA --out runs/mine
    """
    from embcomp.engines.together import started_together
    from embcomp.errors import ConfigError

    if started_together() > 1:
        raise ConfigError("a run starts its processes itself; leave torchrun out and give --processes N")

    if (config is None) == (source is None):
        raise click.UsageError("give either CONFIG or --from RUN")
    given = ["data.allow_outside=true"] if allow_outside else []
    if processes is not None:
        given.append(f"training.processes={processes}")
    if group_column:
        given.append(f"data.group_column={json.dumps(group_column)}")
    given += [f"workers={workers}"] * (workers is not None)
    given += [f"engine={json.dumps(engine)}"] * (engine is not None)
    if source is not None:
        if as_json or watch:
            raise click.UsageError("--json and --watch are for CONFIG, not for --from")
        _repeat(source, out, [*overrides, *given])
    else:
        run_and_print(config, [*overrides, *given], out, as_json, watch)


def run_and_print(
    settings: Path,
    overrides: list[str],
    out: Path,
    as_json: bool = False,
    watch: bool = False,
    root: Path | None = None,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Run a comparison and print its summary; one that is finished, and nothing changed since, is printed at once.

    Parameters
    ----------
    settings : path
        A run's TOML file.
    overrides : list of str
        See `embcomp.config.load`.
    root : path, optional
        Where the data lie, whatever the settings say.
    prepare : callable, optional
        Called before the settings are read, unless the run is finished.
    """
    from embcomp.pipeline import finished

    more = [] if root is None else [f"root {root}"]
    asked = finished.request(settings, [*overrides, *more])
    if said := finished.answer(out, asked):
        for note in said["notes"]:
            warnings.warn(note, EmbcompWarning, stacklevel=2)
        _print(out, said | {"made": 0}, as_json)
        return
    if prepare is not None:
        prepare()
    import embcomp
    from embcomp.config import load

    config = load(settings, overrides)
    if root is not None:
        config = replace(config, data=replace(config.data, root=str(root)))
    if asked != finished.request(settings, [*overrides, *more]):  # the file was changed while it was read
        asked = ""
    with Watch() if watch else contextlib.nullcontext(common.stage_progress()) as progress:
        result = embcomp.run(config, out, progress)
    notes = click.get_current_context().meta.get(NOTES, {})
    said = {"stages": result.made + result.reused, "left_out": plain(list(result.bad)), "notes": list(notes)}
    said["summary"] = plain(rows(result.summary))
    finished.add_answer(result.folder, asked, finished.key_of(config), said)
    _print(result.folder, said | {"made": result.made}, as_json)


def _print(folder: Path, said: dict[str, Any], as_json: bool) -> None:
    made, reused = said["made"], said["stages"] - said["made"]
    if as_json:
        about = {"folder": folder, "computed": made, "reused": reused, "left_out": said["left_out"]}
        print_json(about | {"summary": said["summary"]})
        return
    click.echo((folder / "report.md").read_text(encoding="utf-8"), nl=False)
    for clip in said["left_out"]:
        click.echo(f"  left out: {BadClip(**clip)}", err=True)
    if made:
        click.echo(f"{counted(made, 'stage')} computed, {reused} reused", err=True)
    else:
        click.echo(f"finished before; nothing to do: all {reused} stages are already there", err=True)
    click.echo(f"scores.csv, report.html and more: {named(folder)}", err=True)


def _repeat(source: Path, out: Path, overrides: tuple[str, ...]) -> None:
    from embcomp.pipeline.repeat import repeat

    found = repeat(source, out, overrides, common.stage_progress())
    for change in found.changes:
        click.echo(f"  {change}", err=True)
    if found.clips:
        click.echo(f"  changed, or in one of the runs only: {counted(found.clips, 'clip')}", err=True)
    if found.added:
        click.echo(f"  new in the scores: {counted(found.added, 'row')}", err=True)
    if found.same:
        click.echo(f"the same scores: {found.compared} numbers agree to the digit")
        return
    if len(found.differing):
        worst = found.differing.loc[found.differing["difference"].idxmax()]
        place = ", ".join(f"{name} {worst[name]}" for name in ("variant", "setting", "test_dataset", "metric", "seed"))
        click.echo(
            f"{len(found.differing)} of {found.compared} numbers differ, by {found.largest:.6g} at most: "
            f"{worst['column']} of {place}: {worst['before']} before, {worst['now']} now"
        )
    if found.missing:
        click.echo(f"missing from the scores of the new run: {counted(found.missing, 'row')}")
    sys.exit(3)
