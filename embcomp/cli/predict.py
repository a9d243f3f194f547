"""Label audio files."""

from __future__ import annotations

import sys
import time
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
@click.option(
    "--channel",
    type=click.Choice(["mix", "left", "right", "loudest"]),
    help="Of files with several channels.  [default: as the student was trained]",
)
@common.ffmpeg_option
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
    channel: str | None,
    ffmpeg: bool,
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
    from embcomp.storage.files import writing
    from embcomp.storage.ownership import check_file
    from embcomp.students.classifier import Classifier
    from embcomp.students.prediction import audio_files
    from embcomp.students.prediction import predict as label
    from embcomp.students.tables import BEGINNINGS, as_csv, as_json, as_table

    set_threads(threads)
    form = form or (out.suffix[1:] if out is not None and out.suffix[1:] in FORMATS else "table")
    if form in ANNOTATIONS:
        from embcomp.students.annotations import check_target

        check_target(form, out, len(audio_files(audio, recursive)))
    if out is not None and form not in ANNOTATIONS:
        check_file(out, f"{form} of predictions", BEGINNINGS[form])
    classifier = Classifier.load(_chosen(student, variant))
    options = {"window": window, "hop": hop, "threshold": threshold, "channel": channel, "ffmpeg": ffmpeg or None}
    started = time.perf_counter()
    if window is not None and form not in ANNOTATIONS:
        rows, found = _streamed(classifier, audio_files(audio, recursive), options, skip_bad, form, top, out)
    else:
        with common.bar(1, "predict") as shown:
            found = label(
                classifier, audio, **options, recursive=recursive, skip_bad=skip_bad, progress=common.progress_of(shown)
            )
        rows = len(found.table)
        if form in ANNOTATIONS:
            _annotate(found, form, classifier.audio.sample_rate, out)
        else:
            text = {"csv": as_csv, "json": as_json, "table": lambda found: as_table(found, top)}[form](found)
            if out is None:
                click.echo(common.json_for(sys.stdout, text) if form == "json" else text, nl=False)
            else:
                with writing(out) as file:
                    file.write(text)
    if out is not None and form not in ANNOTATIONS:
        click.echo(f"{rows} rows: {out}", err=True)
    if window is not None:
        took = time.perf_counter() - started
        click.echo(
            f"{found.seconds:.0f} s of audio in {took:.1f} s: {found.seconds / took:.0f} times real time", err=True
        )
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if found.cut:
        click.echo(
            f"{found.cut} files are longer than the {classifier.audio.seconds:g} s the student was trained on and were cut to that length; see --window",
            err=True,
        )
    for clip in found.bad:
        click.echo(f"  left out: {clip.path}: {clip.reason}", err=True)
    if found.bad:
        click.echo(f"{len(found.bad)} unusable files left out", err=True)


def _streamed(classifier, files: list[Path], options, skip_bad: bool, form: str, top: int, out: Path | None):
    """Label windows of recordings of any length: rows go through a file on disk, and out once all is well."""
    import contextlib
    import tempfile

    from embcomp.storage.files import writing
    from embcomp.students.tables import WindowTable

    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="") as scratch:
        table = WindowTable(classifier, scratch)
        with common.bar(len(files), "predict") as shown:
            for path in files:
                table.add(path, **options)
                shown.update(1)
        found = table.finish(skip_bad)
        place = writing(out) if out is not None else contextlib.nullcontext(None)
        with place as file:
            for text in table.texts(form, top):
                if file is None:
                    click.echo(common.json_for(sys.stdout, text) if form == "json" else text, nl=False)
                else:
                    file.write(text)
    return table.rows, found


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
