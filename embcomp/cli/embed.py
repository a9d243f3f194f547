"""Compute embeddings of clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.choices import listing
from embcomp.errors import counted
from embcomp.storage.places import named


@click.command(cls=listing("teacher"))
@click.argument("manifest", type=common.MANIFEST)
@click.option(
    "--teacher",
    "spec",
    required=True,
    metavar="KIND[:ARG]",
    help='For example kmeans, onnx:FOLDER, store:PATH, or several: "onnx:FOLDER + kmeans(centroids=64)".',
)
@common.out_option
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.01, 3600),
    help="Longer clips are cut to this length.",
)
@common.dtype_option
@click.option(
    "--views",
    "count",
    default=0,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Also embed so many changed versions of each clip, for training, as OUT.view1 and so on.",
)
@common.split_option
@common.group_column_option
@common.set_option
@common.seed_option
@common.skip_bad_option
@common.allow_outside_option
@common.threads_option
@common.workers_option
@common.engine_option
def embed(
    manifest: Path,
    spec: str,
    out: Path,
    seconds: float,
    dtype: str,
    count: int,
    splits,
    group_column,
    overrides,
    seed,
    skip_bad,
    allow_outside,
    threads,
    workers: int | None,
    engine: str | None,
) -> None:
    """Compute embeddings of the clips in MANIFEST and store them in --out.

    With --teacher kmeans, a teacher is first fitted to these clips without their
    labels and saved as OUT.teacher; use --teacher kmeans:OUT.teacher for other
    clips. Several teachers, A + B, are put side by side with equal shares of the
    variance, and the result is saved as OUT.teacher, too; use joined:OUT.teacher for
    other clips. --set changes settings of the section teacher, and with --views those
    of training that say how clips are changed: gain, equaliser, roll, noise, view_seed. With --teacher store:PATH,
    vectors are taken from a file, and no audio need be there. --workers shares the
    work among processes, 1 by default; with --engine ray, all of the cluster.

    \b
    Example:
      embcomp embed train.csv --teacher kmeans --out embeddings
    """
    import embcomp
    from embcomp.audio.views import views_of
    from embcomp.config import parse_overrides
    from embcomp.config.schema import toml_value
    from embcomp.engines.local import set_threads

    set_threads(threads)
    config = parse_overrides([f"teacher.spec={toml_value(spec)}", f"training.views={count}", *overrides])
    settings = config.variants[0].teacher
    if "seed" in settings.options():
        settings = replace(settings, seed=seed)
    found = embcomp.embed(
        embcomp.Manifest.read(manifest, allow_outside, group_column),
        out,
        teacher=settings,
        splits=splits,
        seconds=seconds,
        audio=config.audio,
        dtype=dtype,
        skip_bad=skip_bad,
        views=views_of(config.variants[0].training),
        progress=common.stage_progress(),
        workers=workers if workers is not None else 0 if engine not in (None, "local") else 1,
        engine=engine or "local",
        threads=threads,
    )
    store = found.store
    click.echo(
        f"{counted(len(store), 'clip' if found.has_audio else 'row')}, {counted(store.dim, 'dimension')}"
        + (f" {store.frames} times" if store.frames > 1 else "")
        + f": {named(out)}"
        + (f" ({counted(len(found.bad), 'unusable clip')} left out)" if found.bad else "")
    )
    if not found.has_audio:
        click.echo("  no row names an audio file; rows are identified by their vectors", err=True)
    for one in found.views:
        click.echo(f"view {one.settings['view']['number']}: {one.path}")
    for clip in found.bad:
        click.echo(f"  left out: {clip}", err=True)
    if found.cut:
        click.echo(
            f"  {counted(found.cut, 'clip')} longer than {seconds:g} s, cut to that length; see --seconds", err=True
        )
