"""Label clips by ear on a local page."""

from __future__ import annotations

import contextlib
import csv
import os
import warnings
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embcomp.cli import common
from embcomp.errors import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcomp.data.manifest import Manifest
    from embcomp.review.session import Session


@click.command()
@click.argument("listed", type=common.MANIFEST, metavar="LIST")
@click.option("--manifest", "out", required=True, type=common.FILE, help="CSV file that labels are added to.")
@click.option("--labels", default="", metavar="A,B,C", help="The labels to choose from, in the order of their keys.")
@click.option(
    "--student",
    type=click.Path(path_type=Path),
    help="A student or exported file: its classes are the labels, and it predicts where LIST has no prediction.",
)
@click.option("--several", is_flag=True, help="A clip may have several labels, or none.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port of the page.  [default: a free one]")
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser, too.")
@common.allow_outside_option
@common.ffmpeg_option
def review(
    listed: Path,
    out: Path,
    labels: str,
    student: Path | None,
    several: bool,
    port: int,
    opened: bool,
    allow_outside: bool,
    ffmpeg: bool,
) -> None:
    """Label the clips of LIST on a page in the browser, by keys.

    LIST is what embcomp suggest wrote, or any manifest. Each label is in the manifest's file
    before the next clip is shown; clips with a label in it are not asked for again, so that
    the same command continues later. Without --labels and --student the labels are those
    that LIST and the manifest hold; those beyond the keys are found by typing, after /. Names
    of files, which may give the label away, are shown on N alone. The page answers on this machine only, under an
    address that is drawn anew each time. End it with Ctrl-C.

    \b
    Example:
      embcomp review next.csv --manifest labelled.csv --student student
      embcomp review next.csv --manifest labelled.csv --labels dog,cat,other
    """
    from embcomp.data.manifest import Manifest
    from embcomp.errors import ConfigError, EmbcompWarning
    from embcomp.review.server import ReviewServer
    from embcomp.review.session import check_classes
    from embcomp.storage.arrays import WriterLock

    given = next(csv.reader([labels])) if labels.strip() else []
    if given:
        check_classes(given)
        if student is not None:
            raise ConfigError("--labels and --student both name the labels; give one of them")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmbcompWarning)  # of columns and groups, which matter to scores
        manifest = Manifest.read(listed, allow_outside)
    with WriterLock(Path(out).resolve(), "labels"):
        session = _session(manifest, listed, out, given, student, several, allow_outside, ffmpeg)
        if _leads_out(session, out):
            click.echo(f"note: audio lies outside the folder of {out}; what reads it needs --allow-outside", err=True)
        with ReviewServer(manifest, session, port, ffmpeg) as server:
            click.echo(f"{counted(len(manifest), 'clip')}; open {server.page}  (end with Ctrl-C)")
            if opened:
                webbrowser.open(server.page)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever(poll_interval=0.2)
        click.echo(f"{counted(session.given, 'label')} added: {out}")


def _leads_out(session: Session, out: Path) -> bool:
    folder = os.path.realpath(out.parent)
    places = (os.path.realpath(clip.line.path) for clip in session.clips)
    return any(os.path.commonpath([folder, place]) != folder for place in places)


def _session(
    manifest: Manifest,
    listed: Path,
    out: Path,
    labels: Sequence[str],
    student: Path | None,
    several: bool,
    allow_outside: bool,
    ffmpeg: bool,
) -> Session:
    from embcomp.review.label_file import LabelFile
    from embcomp.review.session import Session, entries

    parts = bool((manifest.table["start"].notna() | manifest.table["end"].notna()).any())
    file = LabelFile.open(out, parts, bool(manifest.table["given"].any()), allow_outside)
    clips = entries(manifest, listed)
    predict = None
    if student is not None:
        labels, of_several, predict = _student(student, manifest, ffmpeg)
        several = several or of_several
    if not labels:
        cells = [name for clip in clips for name in clip.predicted] + list(file.labels.values())
        labels = sorted({name.strip() for cell in cells for name in cell.split("|") if name.strip("? ")})
    return Session(clips, file, labels, several, predict)


def _student(
    student: Path, manifest: Manifest, ffmpeg: bool
) -> tuple[Sequence[str], bool, Callable[[int], Sequence[str]]]:
    """Classes of a student, whether it gives several, and what it says of a clip; nothing of one that cannot be read."""
    from embcomp.audio.clips import Clips
    from embcomp.errors import AudioError
    from embcomp.export.labelling import open_audio_labeller
    from embcomp.prediction.labeller import audio_with

    model = open_audio_labeller(common.student_folder(student) if student.is_dir() else student)
    clips = Clips.of(manifest, audio_with(model.audio, None, ffmpeg or None))

    def predict(row: int) -> list[str]:
        try:
            said = model.labels(model.probabilities([clips.decode(row)]))[0]
        except AudioError:
            return []
        return [name for name in said.split("|") if name] if model.multi_label else [said]

    return model.classes, model.multi_label, predict
