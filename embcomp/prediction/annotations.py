"""What a model found, as annotations that Raven or Audacity open beside the recording."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from embcomp.data.annotations import Annotation, audacity_text, raven_text
from embcomp.errors import ConfigError, EmbcompError
from embcomp.prediction.files import STANDARD_INPUT
from embcomp.prediction.predicted import Predicted
from embcomp.storage.files import write_text

ENDINGS = {"raven": ".embcomp.selections.txt", "audacity": ".embcomp.labels.txt"}


def annotations(found: Predicted) -> dict[str, list[tuple[Annotation, float]]]:
    """Selections of each recording, each with its probability, in order of time.

    A student with several labels a clip gives a selection a label; without a label there is none.
    """
    column = {name: number for number, name in enumerate(found.classes)}
    chosen: dict[str, list[tuple[Annotation, float]]] = {}
    for (path, start, end), labels, row in zip(found.places, found.labels, found.probabilities):
        some = chosen.setdefault(path, [])
        recording = os.path.abspath(path) if path != STANDARD_INPUT else ""
        for label in labels.split("|") if found.multi_label else [labels]:
            if label:
                one = Annotation(float(start), float(end), label, recording)
                some.append((one, float(np.float64(row[column[label]]))))
    return chosen


def annotation_texts(found: Predicted, form: str, sample_rate: int) -> dict[str, str]:
    """The file of each recording, by the recording's path.

    Parameters
    ----------
    form : {"raven", "audacity"}
    sample_rate : int
        Sample rate of the student, Hz: selections go up to half of it.
    """
    chosen = annotations(found)
    if form == "raven":
        return {path: raven_text(some, sample_rate / 2) for path, some in chosen.items()}
    return {path: audacity_text(some) for path, some in chosen.items()}


def write_annotations(found: Predicted, form: str, sample_rate: int, out: str | os.PathLike) -> list[Path]:
    """Write annotations: one file, or a folder with a file for each recording.

    Parameters
    ----------
    form : {"raven", "audacity"}
    sample_rate : int
        Sample rate of the student, Hz.
    out : path
        A file (``.txt``) where there is one recording; else a folder, in which files are called
        ``RECORDING.embcomp.selections.txt`` or ``RECORDING.embcomp.labels.txt``.

    Raises
    ------
    ConfigError
        Several recordings are to go into one file.
    EmbcompError
        The file is there, and may be somebody's own annotations.
    """
    texts, out = annotation_texts(found, form, sample_rate), Path(out)
    check_target(form, out, len(texts))
    targets = [out] if _one_file(out) else _names(list(texts), out, ENDINGS[form])
    for target, text in zip(targets, texts.values()):
        write_text(target, text)
    return targets


def check_target(form: str, out: str | os.PathLike | None, recordings: int) -> None:
    """Refuse a place for annotations before they are computed.

    Parameters
    ----------
    out : path or None
        None is standard output.
    recordings : int
        How many there are.

    Raises
    ------
    ConfigError
        Several recordings are to go into one file.
    EmbcompError
        The file is there, and may be somebody's own annotations.
    """
    if recordings > 1 and (out is None or _one_file(Path(out))):
        raise ConfigError(f"{recordings} recordings need a file each: give a folder with --out")
    if out is not None and _one_file(Path(out)) and Path(out).exists() and not Path(out).name.endswith(ENDINGS[form]):
        raise EmbcompError(
            f"{out} exists already and is kept, as it may hold your own annotations; choose another --out"
        )


def _one_file(out: Path) -> bool:
    return out.suffix.lower() == ".txt" and not out.is_dir()


def _names(recordings: list[str], folder: Path, ending: str) -> list[Path]:
    """A file a recording, of different names even where recordings in different folders share theirs."""
    taken: set[str] = set()
    found = []
    for recording in recordings:
        stem = name = "standard-input" if recording == STANDARD_INPUT else Path(recording).stem
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        found.append(folder / f"{name}{ending}")
    return found
