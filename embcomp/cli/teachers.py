"""List, fetch and check teachers."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json
from embcomp.errors import counted


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def teachers(context: click.Context, as_json: bool) -> None:
    """List the teachers that can run here and those that can be downloaded.

    \b
    Example:
      embcomp teachers
      embcomp teachers fetch google-speech-embedding
      embcomp teachers check google-speech-embedding
    """
    if context.invoked_subcommand is not None:
        return
    from embcomp.config.choices import SECTIONS, added_choices
    from embcomp.teachers.catalogue import catalogue

    about = SECTIONS["teacher"]
    kinds = [(name, one.summary, one.missing()) for name, one in about.classes.items()]
    kinds += [(name, "", why) for name, why in added_choices(about.group).items() if isinstance(why, str)]
    entries = list(catalogue().values())
    if as_json:
        names = ("name", "spec", "origin", "domain", "signal", "licence", "megabytes", "sample_rate", "dim", "fetched")
        found = {
            "teachers": [{"name": name, "summary": text, "here": not why, "why": why} for name, text, why in kinds],
            "catalogue": [{key: getattr(entry, key) for key in names} for entry in entries],
        }
        print_json(found)
        return
    click.echo("Teachers (--teacher, teacher.spec):")
    for name, text, why in kinds:
        click.echo(f"  {name:12} {text}".rstrip())
        if why:
            click.echo(f"  {'':12} not available here: {why}")
    click.echo("\nCatalogue (--teacher NAME, after `embcomp teachers fetch NAME`, which prints the licence):")
    rows = [("name", "MB", "Hz", "dim", "trained with", "from")]
    for entry in entries:
        numbers = (f"{entry.megabytes:g}", str(entry.sample_rate), str(entry.dim))
        rows.append(
            (entry.name, *numbers, f"{entry.domain}; {entry.signal}", "here" if entry.fetched else entry.origin)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if 0 < at < 4 else text.ljust(width) for at, (text, width) in enumerate(zip(row, widths))
        ]
        click.echo("  " + "  ".join(cells).rstrip())


@teachers.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download the teacher NAME of the catalogue and verify its checksum; repeat to continue after an interruption.

    Files are stored in the cache folder: $EMBCOMP_CACHE, or the user's cache.
    """
    from embcomp.errors import choose
    from embcomp.teachers.catalogue import catalogue
    from embcomp.teachers.fetching import fetch, whole

    entry = choose("teacher of the catalogue", name, catalogue())
    click.echo(f"{entry.name}: {entry.domain}; {entry.signal}\nlicence: {entry.licence}")
    if entry.files and whole(entry):
        click.echo(f"already downloaded: {entry.folder}")
    else:
        with common.bar(round(entry.megabytes * 1e6), "fetch") as shown:
            place = fetch(entry, common.progress_of(shown))
        click.echo(f"in {place}")
    click.echo(f"use it as --teacher {entry.name}")


@teachers.command()
@click.argument("spec")
@common.set_option
@common.threads_option
def check(spec: str, overrides, threads) -> None:
    """Embed four test clips with the teacher SPEC; print the shape, the rate and the speed."""
    import os

    from embcomp.config import parse_overrides
    from embcomp.config.schema import toml_value
    from embcomp.engines.local import set_threads
    from embcomp.errors import ConfigError
    from embcomp.teachers import open_teacher
    from embcomp.teachers.checking import check

    set_threads(threads)
    settings = parse_overrides([f"teacher.spec={toml_value(spec)}", *overrides]).variants[0].teacher
    if not settings.choice.runs:
        raise ConfigError(f"{spec}: stored vectors cannot be checked; use a teacher that computes embeddings")
    teacher = open_teacher(settings)
    found = check(teacher)
    each = found.shape[1] // found.frames
    click.echo(f"{settings.spec}: {found.shape[0]} clips, shape {found.shape}", nl=False)
    click.echo(f" ({found.frames} vectors of {each} per clip)" if found.frames > 1 else "")
    click.echo(f"decoded at {found.sample_rate} Hz")
    click.echo(f"{found.speed:.0f} s of audio per second with {counted(threads, 'thread')} of {os.cpu_count()} cores")
    click.echo(f"fingerprint {teacher.fingerprint()}")
    for remark in found.remarks:
        click.echo(f"note: {remark}", err=True)


@teachers.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def describe(file: Path) -> None:
    """Print a description of the model FILE (.onnx or .tflite) to start from.

    \b
    Example:
      embcomp teachers describe model.onnx > model.toml
    """
    from embcomp.teachers.drafting import draft

    click.echo(draft(file), nl=False)
