"""Label audio files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embcomp.cli import common

if TYPE_CHECKING:
    from embcomp.students.prediction import Predicted

FORMATS = ("table", "csv", "json")
ANNOTATIONS = ("raven", "audacity")


@click.command()
@click.argument("student", type=common.FOLDER)
@click.argument("audio", nargs=-1, required=True, metavar="AUDIO...")
@click.option("--window", type=float, metavar="SECONDS", help="Label windows of this length instead of whole files.")
@click.option(
    "--hop", type=float, metavar="SECONDS", help="Distance between the starts of windows.  [default: --window]"
)
@click.option(
    "--top", default=1, show_default=True, type=click.IntRange(1), help="Number of classes shown in the table."
)
@click.option(
    "--threshold",
    default=0.5,
    show_default=True,
    help="Lowest probability of a predicted label, for students with several labels per clip.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*FORMATS, *ANNOTATIONS]),
    help="csv and json contain every class; raven is a selection table and audacity a label track for each recording.  [default: the suffix of --out, or table]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Output file instead of standard output; with raven or audacity also a folder, for several recordings.",
)
@click.option(
    "--variant", default="", metavar="NAME", help="If STUDENT is a run: choose among the students of this variant."
)
@click.option("--recursive", is_flag=True, help="Search subfolders too.")
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
    variant: str,
    recursive,
    skip_bad,
    threads,
) -> None:
    """Label AUDIO with STUDENT: files, folders, or patterns in quotes.

    STUDENT is the folder of a student, or of a finished run; of a run, the student
    with the best validation score is taken.

    Files longer than the clips the student was trained on are cut to that length,
    with a message; use --window to label a whole long recording.

    \b
    Example:
      embcomp predict student 'recordings/*.wav' --window 2
      embcomp predict runs/mine recordings --window 2 --format raven --out tables
    """
    from embcomp.engines.local import set_threads
    from embcomp.storage.files import write_text
    from embcomp.students.classifier import Classifier
    from embcomp.students.prediction import audio_files
    from embcomp.students.prediction import predict as label

    set_threads(threads)
    form = form or (out.suffix[1:] if out is not None and out.suffix[1:] in FORMATS else "table")
    if form in ANNOTATIONS:
        from embcomp.students.annotations import check_target

        check_target(form, out, len(audio_files(audio, recursive)))
    classifier = Classifier.load(_chosen(student, variant))
    with common.bar(1, "predict") as shown:
        found = label(
            classifier,
            audio,
            window=window,
            hop=hop,
            threshold=threshold,
            recursive=recursive,
            skip_bad=skip_bad,
            progress=common.progress_of(shown),
        )
    if form in ANNOTATIONS:
        _annotate(found, form, classifier.audio.sample_rate, out)
    else:
        text = {"csv": as_csv, "json": as_json, "table": lambda found: as_table(found, top)}[form](found)
        if out is None:
            click.echo(text, nl=False)
        else:
            write_text(out, text)
            click.echo(f"{len(found.table)} rows: {out}", err=True)
    if found.cut:
        seconds = found.table["end"].max()
        click.echo(
            f"{found.cut} files are longer than the {seconds:g} s the student was trained on and were cut to that length; see --window",
            err=True,
        )
    for clip in found.bad:
        click.echo(f"  left out: {clip.path}: {clip.reason}", err=True)
    if found.bad:
        click.echo(f"{len(found.bad)} unusable files left out", err=True)


def _chosen(student: Path, variant: str) -> Path:
    """The folder of the student; of a run the best, by its validation score."""
    from embcomp.errors import ConfigError
    from embcomp.pipeline.chosen import best_student, is_run

    if is_run(student):
        found = best_student(student, variant)
        click.echo(str(found), err=True)
        return found.path
    if variant:
        raise ConfigError(f"--variant chooses a student of a run, and {student} is not the folder of a finished run")
    return student


def _annotate(found: Predicted, form: str, sample_rate: int, out: Path | None) -> None:
    from embcomp.students.annotations import annotation_texts, write_annotations

    if out is not None:
        written = write_annotations(found, form, sample_rate, out)
        click.echo(f"{len(written)} files: {out}", err=True)
        return
    for text in annotation_texts(found, form, sample_rate).values():
        click.echo(text, nl=False)


def as_csv(found: Predicted) -> str:
    """The table as CSV, numbers to six digits."""
    # Hours into a recording, six digits cannot separate neighbouring windows.
    places = {name: found.table[name].map("{:.12g}".format) for name in ("start", "end")}
    return found.table.assign(**places).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def as_json(found: Predicted) -> str:
    """A list of objects: path, start, end, label, probability and the probabilities of all classes."""
    rows = []
    for place, row in zip(found.table.itertuples(index=False), found.probabilities):
        rows.append(
            {
                "path": place.path,
                "start": place.start,
                "end": place.end,
                "label": place.label,
                "probability": float(f"{place.probability:.6g}"),
                "probabilities": {name: float(f"{value:.6g}") for name, value in zip(found.classes, row)},
            }
        )
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def as_table(found: Predicted, top: int = 1) -> str:
    """Aligned columns for reading: place, label, and the `top` most probable classes with their probabilities."""
    rows = []
    for place, row in zip(found.table.itertuples(index=False), found.probabilities):
        order = (-row).argsort(kind="stable")[:top]
        where = [place.path, f"{place.start:.2f}-{place.end:.2f}"] if found.windowed else [place.path]
        best = [f"{found.classes[number]} {row[number]:.3f}" for number in order]
        named = [place.label or "-"] if found.multi_label else []
        rows.append([*where, *named, *best])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n" for row in rows)
