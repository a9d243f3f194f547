"""Export an artifact: write the file, compare it with its source, and name it for what it is."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, BadClip, ConfigError, EmbcompError, why
from embcomp.export.base import Calibration
from embcomp.export.clips import CALIBRATION_CLIPS, CHECK_CLIPS, choose_clips, choose_rows, waveforms
from embcomp.export.formats import format_named
from embcomp.export.info import ROWS, ModelInfo
from embcomp.export.parity import Limits, Parity, generated_rows, measure
from embcomp.export.runtime import NOTES, notes, notes_of
from embcomp.export.source import ExportOptions, open_source
from embcomp.storage.files import recover, sync, write_json
from embcomp.storage.outputs import begun
from embcomp.storage.places import named
from embcomp.storage.publishing import publishing

LOSSY = ".lossy"  # before the suffix of a file that lost more than the limits


@dataclass(frozen=True)
class Written:
    """An exported file.

    Attributes
    ----------
    path : Path
        Under the name asked for, or with ``.lossy`` in it where `parity` has failures.
    info : ModelInfo
    parity : Parity
    bad : tuple of BadClip
        Clips left out.
    """

    path: Path
    info: ModelInfo
    parity: Parity
    bad: tuple[BadClip, ...] = ()


def export_artifact(
    artifact: str | os.PathLike,
    out: str | os.PathLike,
    to: str,
    *,
    options: ExportOptions | None = None,
    int8: bool = False,
    finetune: bool = False,
    inputs: str | os.PathLike | None = None,
    check: Manifest | None = None,
    calibrate: Manifest | None = None,
    limits: Limits | None = None,
    calibration_clips: int = CALIBRATION_CLIPS,
    check_clips: int = CHECK_CLIPS,
    skip_bad: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Written:
    """Write a student, teacher or compressor as a file of another format, with a parity report beside it.

    Parameters
    ----------
    artifact : path
        A folder that embcomp saved.
    out : path
        The file; one that embcomp exported is replaced, any other refused.
    to : str
        One of `embcomp.export.formats.FORMATS`.
    int8 : bool, default=False
        In 8-bit numbers; needs `calibrate`.
    finetune : bool, default=False
        Fine-tune the student for them on clips of `calibrate`, and keep the outcome where it is closer to the student
        on validation clips; see `embcomp.export.finetune`.
    inputs : path, optional
        Of a student that takes a table or images: the file with those of `check`.
    check : Manifest, optional
        Clips to compare on. By default half of the groups of `calibrate`, or generated sounds.
    calibrate : Manifest, optional
        Clips that ranges are taken from.
    limits : Limits, optional
        Past which the file is kept as ``NAME.lossy.SUFFIX``.
    progress : callable, optional
        Called with what is done next.

    Raises
    ------
    MissingDependencyError
        The format's packages are not installed.
    ConfigError, ArtifactError, DataError, AudioError, ManifestError
        The message says how to fix it; nothing is written.
    """
    report = progress or (lambda text: None)
    out = begun(out)
    for beside in (notes_of(out), out.with_name(f"{out.stem}{LOSSY}{out.suffix}")):
        begun(named(beside))
    form = format_named(to)
    if finetune and not int8:
        raise ConfigError("--finetune is for --int8: a file in float loses nothing that could be learned back")
    if finetune and not form.finetunes:
        raise ConfigError(f"--to {to} has no --finetune; use --to onnx or c")
    if finetune and calibrate is None:
        raise ConfigError("--finetune learns from clips, without their labels; give --calibrate a manifest")
    if int8 and calibrate is None and form.calibrated:
        raise ConfigError("--int8 takes its ranges from clips; give --calibrate a manifest of real ones")
    if calibrate is not None and not form.calibrated and not finetune:
        raise ConfigError(f"--to {to} rounds weights alone, without clips; leave --calibrate out, or add --finetune")
    if calibrate is not None and not int8:
        raise ConfigError("--calibrate is for --int8; give --check to compare on real clips")
    source = open_source(artifact, options)
    form.check(source, out, int8)
    if source.info.input == "embedding" and check is not None:
        raise ConfigError("a compressor takes no audio; leave --check out")
    if inputs is not None and (check is None or source.info.input not in ROWS):
        raise ConfigError("--inputs holds the rows of --check, for a student that takes a table or images")
    _refuse_other(out)
    rows: Iterable[np.ndarray] | None = None
    if check is not None and source.info.input in ROWS:
        rows, labels, audio = choose_rows(
            source.info, check, inputs, check_clips=check_clips, skip_bad=skip_bad, seed=seed
        )
        check = None
    chosen = choose_clips(
        source.info,
        check,
        calibrate,
        seen=getattr(getattr(source, "classifier", None), "seen", frozenset()),
        calibration_clips=calibration_clips,
        check_clips=check_clips,
        finetune=finetune,
        skip_bad=skip_bad,
        seed=seed,
    )
    calibration = Calibration([]) if int8 else None
    if chosen.calibration is not None:
        further = [] if chosen.validation is None else list(waveforms(chosen.validation))
        training = [] if chosen.training is None else list(waveforms(chosen.training))
        calibration = Calibration(list(waveforms(chosen.calibration)), further, training, seed)
    with _temporary(out) as temporary:
        report(f"fine-tuning and writing {form.name}" if finetune else f"writing {form.name}")
        info = form.write(source, temporary, calibration)
        write_json(notes_of(temporary), {"model": info.to_dict()})
        report("comparing")
        if rows is None:
            rows = generated_rows(source) if chosen.check is None else waveforms(chosen.check)
            labels, audio = chosen.labels, chosen.audio if source.info.sample_rate else "generated rows"
        parity = measure(source, form.open(temporary, info), rows, audio, labels, limits)
        path = out.with_name(f"{out.stem}{LOSSY}{out.suffix}") if parity.failures else out
        _refuse_other(path)
        write_json(notes_of(path), {"model": info.to_dict(), "parity": parity.to_dict()})
        sync(temporary)
        with publishing(path):
            os.replace(temporary, path)
    return Written(path, info, parity, chosen.bad)


@contextlib.contextmanager
def _temporary(out: Path) -> Iterator[Path]:
    """A place for `out` to be written at, gone after; one that a killed process left is cleared away."""
    recover(out)
    folder = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder / out.name
    except OSError as error:
        raise EmbcompError(f"cannot write {out}: {why(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_other(path: Path) -> None:
    """Only what embcomp exported is replaced."""
    if not path.exists() and not notes_of(path).exists():
        return
    try:
        ModelInfo.from_dict(notes(path).get("model"), str(notes_of(path)))
    except EmbcompError:
        raise ArtifactError(
            f"{path} or {path.name}{NOTES} is there and was not exported by embcomp; choose another --out"
        ) from None
