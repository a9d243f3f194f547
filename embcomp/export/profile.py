"""What students and exported files cost in every runtime that is installed: size, latency, real-time factor."""

from __future__ import annotations

import csv
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch

from embcomp.errors import ArtifactError, ConfigError, MissingDependencyError, choose
from embcomp.export.base import Calibration
from embcomp.export.formats import FORMATS, format_named
from embcomp.export.info import ModelInfo
from embcomp.export.parity import generated_rows
from embcomp.export.runtime import ExportedModel, is_exported, notes_of, open_model
from embcomp.export.source import ExportOptions, Source, StudentSource, open_source
from embcomp.storage.files import write_json

RUNTIMES = ("eager", "compiled", "onnx", "onnx-int8", "tflite", "tflite-int8", "executorch")
BATCH = 64
REPEATS = 30
WARM_UP = 3
LONGEST = 5.0  # seconds for one runtime and batch size; fewer repeats are made then
CALIBRATION_SOUNDS = 16  # the speed of 8-bit numbers does not depend on their ranges


@dataclass(frozen=True)
class ProfileRow:
    """One model in one runtime.

    Attributes
    ----------
    model, runtime : str
    input : {"logmel", "waveform"}
        What the two latencies are for.
    parameters, macs : int
        Of the network, for one clip of full length.
    bytes : int
        Of the file with the front end; of a student folder, its weights.
    ms_1, p95_1 : float
        Median and 95th percentile of the latency of one clip of full length, milliseconds.
    ms_64, p95_64 : float
        The same for 64 clips.
    times_real_time : float
        Seconds of audio per second, one clip at a time with the front end.
    note : str
        Why there are no numbers.
    """

    model: str
    runtime: str
    input: str = ""
    parameters: int = 0
    macs: int = 0
    bytes: int = 0
    ms_1: float = float("nan")
    p95_1: float = float("nan")
    ms_64: float = float("nan")
    p95_64: float = float("nan")
    times_real_time: float = float("nan")
    note: str = ""


@dataclass
class _Candidate:
    """A model ready to run: on inputs of `input`, and on one waveform."""

    model: str
    runtime: str
    input: str
    info: ModelInfo
    bytes: int
    run: Callable[[np.ndarray], object]
    run_waveform: Callable[[np.ndarray], object]
    times: dict[str, list[float]] = field(default_factory=dict)


def profile(
    paths: Sequence[str | os.PathLike],
    *,
    runtimes: Sequence[str] = RUNTIMES,
    repeats: int = REPEATS,
    threads: int = 1,
    progress: Callable[[str], None] | None = None,
) -> list[ProfileRow]:
    """Measure students in all runtimes, and exported files in their own.

    Runtimes take turns, so that other load on the machine meets all alike. Inputs are noise of full length.

    Parameters
    ----------
    paths : sequence of path
        Folders of students, and exported files.
    runtimes : sequence of str
        For students, some of `RUNTIMES`. One that is not installed has a row with a note.
    repeats : int, default=30
        For each model, runtime and batch size; fewer where they would take over five seconds.
    threads : int, default=1
        Of every runtime.

    Returns
    -------
    list of ProfileRow
        In the order of `paths` and `runtimes`.
    """
    for name in runtimes:
        choose("runtime", name, dict.fromkeys(RUNTIMES))
    if repeats < 1 or threads < 1:
        raise ConfigError("--repeats and --threads must be 1 or more")
    report = progress or (lambda text: None)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory(prefix="embcomp-profile-") as folder:
            found: list[_Candidate | ProfileRow] = []
            for number, path in enumerate(map(Path, paths)):
                for name, make in _candidates(path, runtimes, Path(folder, str(number)), threads):
                    report(f"preparing {path} {name}")
                    found.append(_tried(path, name, make))
            ready = [one for one in found if isinstance(one, _Candidate)]
            report("measuring")
            for count in (1, BATCH):
                _measure(ready, f"batch {count}", repeats, lambda one, count=count: _input(one.info, one.input, count))
            _measure(ready, "waveform", repeats, lambda one: _input(one.info, "waveform", 1), waveform=True)
    finally:
        torch.set_num_threads(before)
    return [_row(one) if isinstance(one, _Candidate) else one for one in found]


def _candidates(
    path: Path, runtimes: Sequence[str], folder: Path, threads: int
) -> Iterator[tuple[str, Callable[[], _Candidate]]]:
    """Names of runtimes, and what makes the model ready in each."""
    if is_exported(path):
        yield path.suffix[1:], lambda: _of_file(path, threads)
        return
    source = open_source(path, ExportOptions())
    if not isinstance(source, StudentSource):
        kind = "student that takes no audio" if source.info.shape else source.info.kind
        raise ArtifactError(f"{path} holds a {kind}; profile takes students that take audio, and exported files")
    for name in runtimes:
        yield name, lambda name=name: _of_student(path, source, name, folder / name, threads)


def _tried(path: Path, name: str, make: Callable[[], _Candidate]) -> _Candidate | ProfileRow:
    try:
        return make()
    except MissingDependencyError as error:
        return ProfileRow(str(path), name, note=str(error))


def _of_file(path: Path, threads: int) -> _Candidate:
    model = open_model(path, threads)
    if model.info.input != "waveform":
        raise ArtifactError(f"{path} takes {model.info.input}s; profile files exported with --input waveform")
    name = next(form.name for form in FORMATS if form.suffix == path.suffix.lower()) + (
        "-int8" if model.info.precision == "int8" else ""
    )
    run = _runner(model)
    return _Candidate(str(path), name, "waveform", model.info, path.stat().st_size, run, run)


def _of_student(path: Path, source: StudentSource, name: str, folder: Path, threads: int) -> _Candidate:
    if name in ("eager", "compiled"):
        size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
        network, front = source.body, source.front
        if name == "compiled":
            network = _compiled(source)

        def on_waveform(waveform: np.ndarray) -> object:
            with torch.inference_mode():
                return network(front(torch.from_numpy(waveform)))

        def on_logmel(features: np.ndarray) -> object:
            with torch.inference_mode():
                return network(torch.from_numpy(features))

        return _Candidate(str(path), name, "logmel", source.info, size, on_logmel, on_waveform)
    kind, _, precision = name.partition("-")
    folder.mkdir(parents=True)
    models = {}
    for given in ("logmel", "waveform"):
        part = StudentSource(source.classifier, ExportOptions(input=given))
        models[given] = _written(part, kind, folder / given, precision == "int8", threads)
    size = models["waveform"].path.stat().st_size
    return _Candidate(
        str(path), name, "logmel", source.info, size, _runner(models["logmel"]), _runner(models["waveform"])
    )


def _written(source: Source, kind: str, path: Path, int8: bool, threads: int) -> ExportedModel:
    form = format_named(kind)
    path = path.with_suffix(form.suffix)
    form.check(source, path, int8)
    calibration = Calibration(generated_rows(source, CALIBRATION_SOUNDS)) if int8 else None
    write_json(notes_of(path), {"model": form.write(source, path, calibration).to_dict()})
    return open_model(path, threads)


def _compiled(source: StudentSource) -> Callable:
    """The network compiled; a compiler that cannot do it here is reported as a missing package."""
    compiled = torch.compile(source.body, dynamic=False)
    try:
        for count in (1, BATCH):
            with torch.inference_mode():
                compiled(torch.from_numpy(_input(source.info, "logmel", count)))
    except Exception as error:  # no C++ compiler, an unsupported Python: whatever the compiler raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingDependencyError(f"torch.compile does not work here: {reason}") from None
    return compiled


def _runner(model: ExportedModel) -> Callable[[np.ndarray], object]:
    if model.info.samples == "int16":
        return lambda batch: model.run((batch * 32_767).astype(np.int16))
    return model.run


def _input(info: ModelInfo, kind: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    samples = round(info.window * info.sample_rate)
    if kind == "waveform":
        return rng.normal(0, 0.1, (count, samples)).clip(-1, 1).astype(np.float32)
    frames = 1 + samples // info.audio["hop_length"]
    return rng.normal(-5, 2, (count, info.audio["n_mels"], frames)).astype(np.float32)


def _measure(
    candidates: Sequence[_Candidate],
    name: str,
    repeats: int,
    make: Callable[[_Candidate], np.ndarray],
    waveform: bool = False,
) -> None:
    """Add wall-clock seconds to the candidates' `times`, in turns."""
    inputs = [make(one) for one in candidates]
    spent = [0.0] * len(candidates)
    for number in range(WARM_UP + repeats):
        for place, (one, given) in enumerate(zip(candidates, inputs)):
            if spent[place] > LONGEST and len(one.times.get(name, ())) >= WARM_UP:
                continue
            started = time.perf_counter()
            (one.run_waveform if waveform else one.run)(given)
            took = time.perf_counter() - started
            spent[place] += took
            if number >= WARM_UP:
                one.times.setdefault(name, []).append(took)


def _row(one: _Candidate) -> ProfileRow:
    numbers = []
    for name in ("batch 1", f"batch {BATCH}"):
        times = np.array(one.times[name]) * 1e3
        numbers += [float(np.median(times)), float(np.percentile(times, 95))]
    real_time = one.info.window / float(np.median(one.times["waveform"]))
    info = one.info
    return ProfileRow(
        one.model, one.runtime, one.input, info.parameters, info.macs, one.bytes, *numbers, times_real_time=real_time
    )


HEADER = ",".join(item.name for item in fields(ProfileRow))


def as_csv(rows: Sequence[ProfileRow]) -> str:
    """One line for each row, all digits that matter."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = HEADER.split(",")
    writer.writerow(names)
    for row in rows:
        values = [getattr(row, name) for name in names]
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    return text.getvalue()


def as_table(rows: Sequence[ProfileRow]) -> str:
    """Aligned columns for reading."""
    head = ["model", "runtime", "input", "parameters", "M MACs", "kB", "1: ms", "p95", "64: ms", "p95", "x real time"]
    lines = [head]
    for row in rows:
        if row.note:
            lines.append([row.model, row.runtime, f"- {row.note}"])
            continue
        numbers = (row.ms_1, row.p95_1, row.ms_64, row.p95_64)
        lines.append(
            [
                *(row.model, row.runtime, row.input),
                *(f"{row.parameters:,}", f"{row.macs / 1e6:.1f}", f"{row.bytes / 1000:.0f}"),
                *(f"{number:.3g}" for number in numbers),
                f"{row.times_real_time:,.0f}",
            ]
        )
    whole = [line for line in lines if len(line) == len(head)]
    widths = [max(map(len, column)) for column in zip(*whole)]
    # Words to the left, numbers to the right.
    padded = [
        [cell.ljust(width) if place < 3 else cell.rjust(width) for place, (cell, width) in enumerate(zip(line, widths))]
        for line in lines
    ]
    return "".join("  ".join(line).rstrip() + "\n" for line in padded)
