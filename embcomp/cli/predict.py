"""Label audio files with a student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embcomp.cli import common

if TYPE_CHECKING:
    from embcomp.students.prediction import Predicted

FORMATS = ("table", "csv", "json")


@click.command()
@click.argument("student", type=common.FOLDER)
@click.argument("audio", nargs=-1, required=True, metavar="AUDIO...")
@click.option("--window", type=float, metavar="SECONDS", help="Label windows of this length instead of whole files.")
@click.option("--hop", type=float, metavar="SECONDS", help="From one window to the next.  [default: --window]")
@click.option("--top", default=1, show_default=True, type=click.IntRange(1), help="Classes the table shows.")
@click.option("--threshold", default=0.5, show_default=True, help="Of a student with several labels per clip.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="csv and json hold every class.  [default: by --out, or table]"
)
@click.option("--out", type=common.MANIFEST, help="File to write instead of standard output.")
@click.option("--recursive", is_flag=True, help="Look into the sub-folders of folders, too.")
@common.skip_bad_option
@common.threads_option
def predict(
    student: Path,
    audio: tuple[str, ...],
    window,
    hop,
    top,
    threshold,
    form,
    out: Path | None,
    recursive,
    skip_bad,
    threads,
) -> None:
    """Label AUDIO with STUDENT: files, folders, or patterns in quotes.

    Files longer than what the student was trained on are cut there, and said to
    be; --window labels all of a long recording.
    """
    from embcomp.engines.local import set_threads
    from embcomp.storage.files import write_text
    from embcomp.students.prediction import predict as label

    set_threads(threads)
    with common.bar(1, "predict") as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        found = label(
            student,
            audio,
            window=window,
            hop=hop,
            threshold=threshold,
            recursive=recursive,
            skip_bad=skip_bad,
            progress=progress,
        )
    form = form or (out.suffix[1:] if out is not None and out.suffix[1:] in FORMATS else "table")
    text = {"csv": as_csv, "json": as_json, "table": lambda found: as_table(found, top)}[form](found)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(f"{len(found.table)} rows: {out}", err=True)
    if found.cut:
        seconds = found.table["end"].max()
        click.echo(
            f"{found.cut} files are longer than the {seconds:g} s the student was trained on and were cut there; see --window",
            err=True,
        )
    for clip in found.bad:
        click.echo(f"  left out: {clip.path}: {clip.reason}", err=True)
    if found.bad:
        click.echo(f"{len(found.bad)} unusable files left out", err=True)


def as_csv(found: Predicted) -> str:
    """The table as CSV, numbers to six digits."""
    # Hours into a recording six digits would not tell one window from the next.
    places = {name: found.table[name].map("{:.12g}".format) for name in ("start", "end")}
    return found.table.assign(**places).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def as_json(found: Predicted) -> str:
    """A list of objects: path, start, end, label, probability and the probabilities of all classes."""
    rows = []
    for place, chances in zip(found.table.itertuples(index=False), found.probabilities):
        rows.append(
            {
                "path": place.path,
                "start": place.start,
                "end": place.end,
                "label": place.label,
                "probability": float(f"{place.probability:.6g}"),
                "probabilities": {name: float(f"{chance:.6g}") for name, chance in zip(found.classes, chances)},
            }
        )
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def as_table(found: Predicted, top: int = 1) -> str:
    """Aligned columns for people: where, the label, and the `top` likeliest classes with their probabilities."""
    rows = []
    for place, chances in zip(found.table.itertuples(index=False), found.probabilities):
        order = (-chances).argsort(kind="stable")[:top]
        where = [place.path, f"{place.start:.2f}-{place.end:.2f}"] if found.windowed else [place.path]
        best = [f"{found.classes[number]} {chances[number]:.3f}" for number in order]
        named = [place.label or "-"] if found.multi_label else []
        rows.append([*where, *named, *best])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n" for row in rows)
