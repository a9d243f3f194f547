"""Choose clips to label next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json, rows
from embcomp.errors import counted
from embcomp.storage.places import named


class WithStrategies(click.Command):
    """Its help lists the strategies."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from embcomp.review.strategies import STRATEGIES

        with formatter.section("Strategies (--by), with their measures (--measure)"):
            measures = {
                one.name: f". Measures: {', '.join(one.measures)}" if one.measures else "" for one in STRATEGIES
            }
            formatter.write_dl([(one.name, one.summary + measures[one.name]) for one in STRATEGIES])


@click.command(cls=WithStrategies)
@click.argument("student", type=common.MODEL)
@click.argument("manifest", type=common.MANIFEST)
@click.option("--by", default="uncertainty", show_default=True, metavar="STRATEGY", help="How to choose, see below.")
@click.option("--measure", default="", metavar="NAME", help="Of the strategy, see below.  [default: its first]")
@click.option("--n", "count", default=50, show_default=True, help="How many clips.")
@click.option("--per-group", type=int, metavar="K", help="At most K clips of a group.  [default: as many as chosen]")
@click.option(
    "--like",
    multiple=True,
    metavar="CLIP",
    help="Example for similar: a file, or FILE#START-END in seconds; repeatable.",
)
@click.option("--students", multiple=True, type=common.MODEL, help="A further student for disagreement; repeatable.")
@click.option(
    "--labelled",
    multiple=True,
    type=common.MANIFEST,
    help="A manifest whose labelled clips need no further label; repeatable.",
)
@click.option("--out", required=True, type=common.FILE, help="CSV file for the list, best beside MANIFEST.")
@click.option(
    "--variant", default="", metavar="NAME", help="If STUDENT is a run: choose among the students of this variant."
)
@common.split_option
@common.group_column_option
@common.skip_bad_option
@common.allow_outside_option
@common.ffmpeg_option
@common.threads_option
@json_option
def suggest(
    student: Path,
    manifest: Path,
    by: str,
    measure: str,
    count: int,
    per_group: int | None,
    like: tuple[str, ...],
    students: tuple[Path, ...],
    labelled: tuple[Path, ...],
    out: Path,
    variant: str,
    splits: tuple[str, ...],
    group_column: str,
    skip_bad: bool,
    allow_outside: bool,
    ffmpeg: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Choose the clips of MANIFEST that are worth a label, and write them as a list for embcomp review.

    STUDENT is the folder of a student, or of a finished run, of which the student with the
    best validation score is taken. Clips with a label are left out. The list is a manifest
    with an empty label, the predicted one, the score, and why the clip was chosen.

    \b
    Example:
      embcomp suggest student pool.csv --n 50 --out next.csv
      embcomp suggest student pool.csv --by diversity --per-group 3 --out next.csv
      embcomp suggest student pool.csv --by similar --like siren.wav --out next.csv
      embcomp suggest student pool.csv --by disagreement --students other --out next.csv
    """
    from embcomp.data.manifest import Manifest
    from embcomp.engines.local import set_threads
    from embcomp.review.suggesting import check_list
    from embcomp.review.suggesting import suggest as choose_clips

    check_list(out)
    set_threads(threads)
    read = [Manifest.read(path, allow_outside, group_column, path == manifest) for path in (manifest, *labelled)]
    with common.bar(1, "suggest") as bar:
        found = choose_clips(
            common.student_folder(student, variant),
            read[0].with_splits(splits),
            by=by,
            count=count,
            measure=measure,
            like=like,
            students=[common.student_folder(one) for one in students],
            labelled=read[1:],
            per_group=per_group,
            skip_bad=skip_bad,
            ffmpeg=ffmpeg or None,
            progress=common.progress_of(bar),
        )
    found.write(out)
    for clip in found.bad:
        click.echo(f"  left out: {clip}", err=True)
    groups = len(Counter(found.manifest.groups))
    if as_json:
        about = {"list": out, "asked": count, "candidates": found.candidates, "groups": groups, "left_out": found.bad}
        print_json(about | {"clips": rows(found.table)})
        return
    click.echo(
        f"{len(found)} of {counted(found.candidates, 'clip')} without a label, from {counted(groups, found.manifest.unit)}: {named(out)}"
    )
    if len(found) < count:
        click.echo(f"note: {count} were asked for; there are no more within the budget", err=True)
    if found.leads_out(out):
        click.echo("note: audio lies outside the list's folder; embcomp review needs --allow-outside", err=True)
