"""Label audio files, or rows of tables and images."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option
from embcomp.errors import counted
from embcomp.storage.places import named

if TYPE_CHECKING:
    from embcomp.prediction.labeller import Labeller
    from embcomp.prediction.predicted import Predicted

FORMATS = ("table", "csv", "json")
ANNOTATIONS = ("raven", "audacity")


@click.command()
@click.argument("student", type=common.INPUT, metavar="MODEL")
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
    type=float,
    help="Lowest probability of a predicted label, for students with several labels per clip.  [default: of an exported file what it states, else 0.5]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*FORMATS, *ANNOTATIONS]),
    help="csv and json contain every class; raven is a selection table and audacity a label track for each recording.  [default: the suffix of --out, or table]",
)
@click.option(
    "--out",
    type=common.OUT,
    help="Output file instead of standard output; with raven or audacity also a folder, for several recordings.",
)
@click.option(
    "--variant", default="", metavar="NAME", help="If MODEL is a run: choose among the students of this variant."
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
@json_option
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
    as_json: bool,
) -> None:
    """Label AUDIO with MODEL: files, folders, patterns in quotes, or - for standard input.

    MODEL is the folder of a student, or of a finished run, of which the student
    with the best validation score is taken, or a file that embcomp export wrote:
    .onnx, .tflite or .pte. Of a student that takes a table or images, AUDIO is a file of
    these, and each row is labelled by its id.

    Files longer than the clips the student was trained on are cut to that length,
    with a message; use --window to label a whole long recording.

    \b
    Example:
      embcomp predict student 'recordings/*.wav' --window 2
      embcomp predict runs/mine recordings --window 2 --format raven --out tables
      embcomp predict student.onnx recording.wav
    """
    from embcomp.prediction.files import audio_files, with_standard_input
    from embcomp.prediction.labeller import RowLabeller
    from embcomp.prediction.predicted import Labelling, label_files
    from embcomp.prediction.tables import BEGINNINGS, as_csv, as_table
    from embcomp.prediction.tables import as_json as json_text
    from embcomp.storage.files import writing
    from embcomp.storage.ownership import check_file

    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json is --format json; leave out --format {form}")
    form = "json" if as_json else form or (out.suffix[1:] if out is not None and out.suffix[1:] in FORMATS else "table")
    with with_standard_input(audio) as (paths, shown_as):
        if form in ANNOTATIONS:
            from embcomp.prediction.annotations import check_target

            check_target(form, out, len(audio_files(paths, recursive)))
        if out is not None and form not in ANNOTATIONS:
            check_file(out, f"{form} of predictions", BEGINNINGS[form])
        model = _opened(student, variant, threads)
        if form in ANNOTATIONS and isinstance(model, RowLabeller):
            model.refuse(f"--format {form}")
        options = {"window": window, "hop": hop, "threshold": threshold, "channel": channel, "ffmpeg": ffmpeg or None}
        started = time.perf_counter()
        if window is not None and form not in ANNOTATIONS:
            files = audio_files(paths, recursive)
            rows, found = _streamed(model, files, options, skip_bad, form, top, out, shown_as)
        else:
            with common.bar(1, "predict") as bar:
                how = Labelling(**options, recursive=recursive, skip_bad=skip_bad)
                found = label_files(model, paths, how, shown=shown_as, progress=common.progress_of(bar))
            rows = len(found)
            if form in ANNOTATIONS:
                _annotate(found, form, model.audio.sample_rate, out)
            else:
                text = {"csv": as_csv, "json": json_text, "table": lambda found: as_table(found, top)}[form](found)
                if out is None:
                    click.echo(common.json_for(sys.stdout, text) if form == "json" else text, nl=False)
                else:
                    with writing(out) as file:
                        file.write(text)
    if out is not None and form not in ANNOTATIONS:
        click.echo(f"{counted(rows, 'row')}: {named(out)}", err=True)
    if window is not None:
        took = time.perf_counter() - started
        click.echo(
            f"{found.seconds:.0f} s of audio in {took:.1f} s: {found.seconds / took:.0f} times real time", err=True
        )
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if found.cut:
        click.echo(
            f"{counted(found.cut, 'file')} longer than the {model.audio.seconds:g} s the student was trained on, cut to that length; see --window",
            err=True,
        )
    for clip in found.bad:
        click.echo(f"  left out: {clip.path}: {clip.reason}", err=True)
    if found.bad:
        click.echo(f"{counted(len(found.bad), 'unusable file')} left out", err=True)


def _streamed(
    model: Labeller, files: list[Path], options, skip_bad: bool, form: str, top: int, out: Path | None, shown_as
):
    """Label windows of recordings of any length: rows go through a file on disk, and out once all is well."""
    import contextlib
    import tempfile

    from embcomp.prediction.tables import WindowTable
    from embcomp.storage.files import writing

    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="") as scratch:
        table = WindowTable(model, scratch)
        with common.bar(len(files), "predict") as bar:
            for path in files:
                table.add(path, shown_as(path), **options)
                bar.update(1)
        found = table.finish(skip_bad)
        place = writing(out) if out is not None else contextlib.nullcontext(None)
        with place as file:
            for text in table.texts(form, top):
                if file is None:
                    click.echo(common.json_for(sys.stdout, text) if form == "json" else text, nl=False)
                else:
                    file.write(text)
    return table.rows, found


def _opened(model: Path, variant: str, threads: int) -> Labeller:
    """A file in its own runtime, with nothing else loaded; a student, or of a run the best one, in torch."""
    from embcomp.engines.local import limit_by_environment, set_threads
    from embcomp.errors import ConfigError
    from embcomp.export.labelling import needs_torch, open_labeller

    if not model.is_dir():
        if variant:
            raise ConfigError(f"--variant chooses a student of a run, and {model} is not the folder of a finished run")
        limit_by_environment(threads)
        return open_labeller(model, threads)
    needs_torch(model)
    set_threads(threads)
    return open_labeller(common.student_folder(model, variant))


def _annotate(found: Predicted, form: str, sample_rate: int, out: Path | None) -> None:
    from embcomp.prediction.annotations import annotation_texts, write_annotations

    if out is not None:
        written = write_annotations(found, form, sample_rate, out)
        click.echo(f"{counted(len(written), 'file')}: {named(out)}", err=True)
        return
    for text in annotation_texts(found, form, sample_rate).values():
        click.echo(text, nl=False)
