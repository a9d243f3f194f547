"""Students as one C file, for microcontrollers."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from embcomp.errors import ArtifactError, ConfigError, DataError, MissingDependencyError
from embcomp.export.base import Calibration, Format
from embcomp.export.c_network import Network, check_network, flatten
from embcomp.export.c_source import c_source
from embcomp.export.finetune import finetune
from embcomp.export.info import ModelInfo
from embcomp.export.int8 import finetune_notes, quantised
from embcomp.export.runtime import ExportedModel
from embcomp.export.source import Source

COMPILERS = ("cc", "gcc", "clang")
SECONDS = 120  # at most, for the compiler


class CFormat(Format):
    """C99 without allocation: tables, weights, inference and test vectors in one file, for ``ds_cnn``.

    In 8 bits weights alone are rounded, by output channel; activations stay float, so that no clips are needed to
    calibrate on, unless the student is fine-tuned.
    """

    name = "c"
    suffix = ".c"
    summary = "one C99 file without allocation, for microcontrollers; ds_cnn only"
    sources = ("classifier",)
    calibrated = False

    def check(self, source: Source, path: Path, int8: bool) -> None:
        super().check(source, path, int8)
        check_network(source.classifier.network)
        if source.logmel is None or len(source.info.outputs) > 1:
            raise ConfigError("--to c takes waveforms and gives probabilities; leave --input and --embedding out")
        n_fft = source.front.n_fft
        if n_fft & (n_fft - 1):
            raise ConfigError(f"--to c transforms 2, 4, 8, ... samples; audio.n_fft of this student is {n_fft}")
        compiler()

    def write(self, source: Source, path: Path, calibration: Calibration | None = None) -> ModelInfo:
        int8 = calibration is not None
        network, notes = flatten(source.classifier.network, int8), {}
        if int8 and calibration.training:
            network, notes = _tuned(network, source, calibration)
        found = c_source(source.info, network, source.front, int8)
        path.write_text(found.text, encoding="ascii")
        return replace(
            source.info,
            fixed_samples=round(source.info.window * source.info.sample_rate),
            precision="int8" if int8 else "float32",
            about=source.info.about | {"flash": found.flash, "ram": found.ram} | notes,
        )

    def open(self, path: Path, info: ModelInfo) -> CModel:
        return CModel(path, info)


def _tuned(network: Network, source: Source, calibration: Calibration) -> tuple[Network, dict]:
    """The layers with fine-tuned weights, if these are closer to the student on the validation clips, and notes on that."""
    original = source.classifier.network
    further = [source.features(row) for row in calibration.validation]
    tuned = finetune(
        original,
        [source.features(row)[0] for row in calibration.training],
        [row[0] for row in further],
        activations=False,
        seed=calibration.seed,
    ).network
    expected = _probabilities(original, further, source)
    found = [
        quantised(one, (), expected, _probabilities(one.reference, further, source), source.decide)
        for one in (network, flatten(tuned, True))
    ]
    return max(found, key=lambda one: one.rank).model, finetune_notes(*found)


def _probabilities(network: nn.Module, rows: Sequence[np.ndarray], source: Source) -> np.ndarray:
    with torch.inference_mode():
        logits = torch.cat([network(torch.from_numpy(row), None).logits for row in rows])
        return source.classifier.probabilities(logits).numpy()


class CModel(ExportedModel):
    """A C file that this process wrote, compiled for this machine. Files of others are not to be opened: they are code."""

    def __init__(self, path: Path, info: ModelInfo):
        self.path, self.info = path, info
        self._folder = tempfile.TemporaryDirectory(prefix="embcomp-c-", ignore_cleanup_errors=True)
        library = Path(self._folder.name, "model.so")
        compile_c(path, library, "-shared", "-fPIC")
        self._predict = ctypes.CDLL(os.fspath(library)).embcomp_predict
        self._predict.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
        self._predict.restype = ctypes.c_int

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        found = np.empty((len(batch), self.info.width), dtype=np.float32)
        for row, given in zip(found, np.ascontiguousarray(batch)):
            if self._predict(given.ctypes.data, len(given), row.ctypes.data) < 0:
                raise DataError(f"{self.path.name} takes 1 to {self.info.fixed_samples} samples, not {len(given)}")
        return [found]


def compiler() -> str:
    """The C compiler of this machine: ``$CC``, or the first of `COMPILERS`.

    Raises
    ------
    MissingDependencyError
        There is none.
    """
    for name in (os.environ.get("CC", ""), *COMPILERS):
        if name and (found := shutil.which(name)):
            return found
    raise MissingDependencyError(
        f"--to c is compared with the student, which needs a C compiler ({', '.join(COMPILERS)}): install one, or set CC"
    )


def compile_c(source: Path, out: Path, *options: str) -> None:
    """Compile as strict C99, with warnings as errors.

    Raises
    ------
    ArtifactError
        The compiler refuses.
    """
    command = [compiler(), "-std=c99", "-O3", "-Wall", "-Wextra", "-Werror", "-Wno-unused-const-variable", *options]
    try:
        done = subprocess.run(
            [*command, os.fspath(source), "-o", os.fspath(out), "-lm"], capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{source} was not compiled within {SECONDS} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        raise ArtifactError(f"{source} does not compile: {lines[0][:300]}")
