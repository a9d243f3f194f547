"""Check a manifest before a run."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json
from embcomp.errors import counted


@click.command()
@click.argument("manifest", type=common.MANIFEST)
@click.option("--config", type=common.INPUT, help="Settings (TOML) of the run.  [default: those of `embcomp init`]")
@common.group_column_option
@click.option(
    "--time",
    "seconds",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Time limit for decoding clips; all headers are read.",
)
@click.option(
    "--vectors",
    default="",
    metavar="FILE",
    help="Where rows are ids and there is no audio: the store or file of their vectors, here or in the manifest's folder.",
)
@click.option("--all", "everything", is_flag=True, help="Decode every clip, however long it takes.")
@json_option
@common.allow_outside_option
def validate(
    manifest: Path, config: Path | None, group_column: str, seconds: float, vectors: str, everything: bool, as_json: bool,
    allow_outside: bool,
) -> None:  # fmt: skip
    """Check MANIFEST and its audio, or stored vectors, for problems that would stop a run or distort its scores.

    The exit code is 1 if something would stop a run.

    \b
    Example:
      embcomp validate sounds/manifest.csv
    """
    from embcomp.config import load
    from embcomp.pipeline.validation import LEVELS
    from embcomp.pipeline.validation import validate as check

    settings = load(config) if config is not None else None
    trusted = allow_outside or (settings is not None and settings.data.allow_outside)
    with common.bar(1, "decode") as shown:
        found = check(
            manifest,
            config=settings,
            allow_outside=trusted,
            group_column=group_column or (settings.data.group_column if settings is not None else ""),
            seconds=math.inf if everything else seconds,
            vectors=vectors,
            progress=common.progress_of(shown),
        )
    if as_json:
        about = {"usable": found.usable, "clips": found.clips, "decoded": found.decoded}
        print_json(about | {"findings": found.findings})
    else:
        for one in found.findings:
            click.echo(str(one))
        counts = [counted(sum(one.level == level for one in found.findings), level) for level in LEVELS]
        part = (
            f"{counted(found.clips, 'row')} read"
            if not found.audio
            else f"{found.decoded} of {counted(found.clips, 'clip')} decoded"
            + ("" if found.decoded >= found.clips or not found.usable else "; --all decodes the others")
        )
        click.echo(f"{', '.join(counts)}; {part}")
    if not found.usable:
        sys.exit(1)
