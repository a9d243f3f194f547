"""Compute embeddings of clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.choices import listing


@click.command(cls=listing("teacher"))
@click.argument("manifest", type=common.MANIFEST)
@click.option(
    "--teacher", "spec", required=True, metavar="KIND[:ARG]", help="For example kmeans, onnx:FOLDER or store:PATH."
)
@common.out_option
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.01, 3600),
    help="Longer clips are cut to this length.",
)
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "float16"]),
    help="Of the stored numbers.",
)
@common.split_option
@common.group_column_option
@common.set_option
@common.seed_option
@common.skip_bad_option
@common.allow_outside_option
@common.threads_option
def embed(
    manifest: Path,
    spec: str,
    out: Path,
    seconds: float,
    dtype: str,
    splits,
    group_column,
    overrides,
    seed,
    skip_bad,
    allow_outside,
    threads,
) -> None:
    """Compute embeddings of the clips in MANIFEST and store them in --out.

    With --teacher kmeans, a teacher is first fitted to these clips without their
    labels and saved as OUT.teacher; use --teacher kmeans:OUT.teacher for other
    clips. --set changes settings of the section teacher. With --teacher store:PATH,
    vectors are taken from a file, and no audio need be there.

    \b
    Example:
      embcomp embed train.csv --teacher kmeans --out embeddings
    """
    from embcomp import teachers
    from embcomp.audio.clips import Clips, names_audio
    from embcomp.config import parse_overrides
    from embcomp.config.schema import toml_value
    from embcomp.data.manifest import Manifest
    from embcomp.engines.local import set_threads
    from embcomp.storage.files import fingerprint

    set_threads(threads)
    config = parse_overrides([f"teacher.spec={toml_value(spec)}", *overrides])
    settings = config.variants[0].teacher
    if "seed" in settings.options():
        settings = replace(settings, seed=seed)
    whole = Manifest.read(manifest, allow_outside, group_column)
    chosen = whole.with_splits(splits)
    if not settings.choice.runs and not names_audio(whole):
        teacher = teachers.open_teacher(settings, whole)
        clips = Clips(chosen, config.audio.sample_rate, seconds)
        store = teachers.embed(clips, teacher.keys(chosen.ids), teacher, out, dtype=dtype)
        click.echo(f"{len(store)} rows, {store.dim} dimensions: {out}")
        click.echo("  no row names a file of audio, so each is known by its vector", err=True)
        return
    with common.bar(len(chosen), "check") as shown:
        checked = Clips.of(chosen, config.audio, seconds).check(skip_bad, shown.update)
    clips, bad = checked.clips, checked.bad
    hashes = clips.hashes()
    if settings.learns:
        key = fingerprint([settings.options(), hashes, seconds])
        teacher = teachers.learned_teacher(clips, settings, out.with_name(f"{out.name}.teacher"), key)
    else:
        teacher = teachers.open_teacher(settings, whole)
    with common.bar(len(clips), "embed") as shown:
        store = teachers.embed(clips, hashes, teacher, out, progress=shown.update, dtype=dtype)
    click.echo(
        f"{len(store)} clips, {store.dim} dimensions{f' {store.frames} times' if store.frames > 1 else ''}: {out}"
        + (f" ({len(bad)} unusable clips left out)" if bad else "")
    )
    for clip in bad:
        click.echo(f"  left out: {clip}", err=True)
    if teacher.runs and checked.longer:
        click.echo(
            f"  {checked.longer} clips are longer than {seconds:g} s and were cut there; see --seconds", err=True
        )
