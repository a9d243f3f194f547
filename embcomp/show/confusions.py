"""A student: what it takes each class for, with the clips behind each cell."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.data.guards import seen_among
from embcomp.data.manifest import Manifest
from embcomp.errors import BadClip, ConfigError, ManifestError, refuse_bad
from embcomp.metrics import confusion
from embcomp.prediction.labeller import Labeller, audio_with
from embcomp.show.maps import where
from embcomp.show.page import PAGE, check_folder, mark_folder, write_page
from embcomp.show.pictures import check_picture, new_figure, plain, save_picture
from embcomp.show.sounds import FOLDER, copied, linked

PICTURE = "confusion.png"


def show_student(
    model: Labeller,
    manifest: Manifest,
    out: str | os.PathLike,
    name: str = "student",
    link: bool = False,
    skip_bad: bool = False,
    ffmpeg: bool = False,
) -> tuple[list[Path], list[str]]:
    """Draw what a student takes the classes of labelled clips for.

    Parameters
    ----------
    model : Labeller
        Of one label a clip.
    manifest : Manifest
        Clips without a label, and those with a label that is no class of the student, are left out.
    out : path
        PNG file, or a folder, which gets the picture and a page that lists and plays the clips of a cell.
    name : str
        Of the student, for titles.
    link : bool
        Let the page play the audio where it lies, instead of copies.
    skip_bad : bool
        Leave out clips that cannot be used. Otherwise they raise.

    Returns
    -------
    written : list of Path
    notes : list of str
        What is left out.

    Raises
    ------
    ConfigError
        The student gives several labels a clip.
    ManifestError
        No clip has a label that is a class of the student.
    AudioError
        Clips cannot be used and `skip_bad` is false, or none can.
    """
    out = Path(out)
    folder = None if out.suffix else out
    if model.multi_label:
        raise ConfigError("a confusion matrix needs one label a clip; this student gives several")
    if folder is not None:
        check_folder(folder, (PICTURE, PAGE, FOLDER))
    picture = out if folder is None else folder / PICTURE
    check_picture(picture)
    number_of = {name: number for number, name in enumerate(model.classes)}
    rows = [row for row, label in enumerate(manifest.labels) if label in number_of]
    if not rows:
        raise ManifestError(f"no clip has one of the student's labels ({', '.join(model.classes[:5])} ...)")
    others = sum(bool(label) for label in manifest.labels) - len(rows)
    plural = "" if others == 1 else "s"
    notes = [f"{others} clip{plural} left out, whose label is no class of the student"] if others else []
    chosen, each, bad = _predicted(model, manifest.select(rows), ffmpeg)
    refuse_bad(bad, len(rows), skip_bad, "clips")
    notes += [f"left out: {clip}" for clip in bad]
    if used := _used(model, chosen):
        notes.append(f"{used} of {len(chosen)} clips were used to train or validate the student; other clips say more")
    truth = np.array([number_of[label] for label in chosen.labels])
    predicted = each.argmax(axis=1)
    counts = confusion(truth, predicted, len(model.classes))
    title = f"{name}: {len(truth)} clips, {np.mean(truth == predicted):.0%} right"
    written = [save_picture(_figure(counts, model.classes, title), picture)]
    if folder is not None:
        mark_folder(folder)
        every = range(len(chosen))
        sounds = linked(chosen, every, folder) if link else copied(chosen, every, folder, ffmpeg)
        behind: dict[tuple[int, int], list[int]] = defaultdict(list)
        # The surest mistakes come first.
        for clip in np.argsort(-each.max(axis=1), kind="stable").tolist():
            behind[int(truth[clip]), int(predicted[clip])].append(clip)
        content = {
            "kind": "confusion",
            "classes": list(model.classes),
            "cells": [[*cell, clips] for cell, clips in behind.items()],
            "clips": [
                {"name": chosen.ids[clip], "said": f"{each[clip].max():.2f}", "src": sounds[clip]} for clip in every
            ],
        }
        about = "Click a cell to list its clips, the surest first, and a clip to play it. " + where(link)
        written.append(write_page(folder, title, about, content))
    return written, notes


def _predicted(model: Labeller, manifest: Manifest, ffmpeg: bool) -> tuple[Manifest, np.ndarray, list[BadClip]]:
    clips = Clips.of(manifest, audio_with(model.audio, None, ffmpeg or None))
    kept: list[int] = []
    found, bad = [], []
    for rows, waveforms in clips.usable_batches(model.batch, bad):
        kept += rows
        found.append(model.probabilities(waveforms))
    each = np.concatenate(found) if found else np.empty((0, len(model.classes)))
    return manifest.select(kept), each, bad


def _used(model: Labeller, manifest: Manifest) -> int:
    """How many clips a student was trained or validated on; an exported file does not say."""
    seen = getattr(getattr(model, "classifier", None), "seen", frozenset())
    if not seen:
        return 0
    hashes = Clips.of(manifest, model.audio).hashes()
    among = seen_among(seen)(hashes)
    return sum(key in among for key in hashes)


def _figure(counts: np.ndarray, classes: tuple[str, ...], title: str):
    size = min(14.0, 3.5 + 0.35 * len(classes))
    figure = new_figure(size, size)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [plain(name, 20) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=90, fontsize="small")
    axes.set_yticks(range(len(classes)), names, fontsize="small")
    if len(classes) <= 30:
        for row, column in zip(*np.nonzero(counts)):
            colour = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize="small", color=colour)
    axes.set(xlabel="predicted", ylabel="truth", title=plain(title, 80))
    return figure
