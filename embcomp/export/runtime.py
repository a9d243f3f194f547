"""Exported files opened and run. Needs numpy and the format's own runtime: but for ExecuTorch's, neither torch nor pandas."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embcomp.errors import ArtifactError, DataError, nearest
from embcomp.export.info import ModelInfo
from embcomp.extras import imported
from embcomp.storage.files import check_regular, file_hash, path_or_content, read_json

BATCH = 64  # rows at a time
NOTES = ".json"  # appended to an exported file's name: what it is, and its parity report
PCM_PEAK = 32_768.0


class ExportedModel(ABC):
    """A file that `embcomp export` wrote, ready to run.

    Attributes
    ----------
    path : Path
    info : ModelInfo
    """

    path: Path
    info: ModelInfo

    @abstractmethod
    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        """Outputs for rows of one length, in the file's own kind of numbers: (n, samples), (n, n_mels, frames) or (n, dim)."""

    def outputs(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs (n, width) for rows of any lengths, in their order.

        Parameters
        ----------
        rows : sequence of ndarray
            Waveforms (samples,) in [-1, 1], log-mels (n_mels, frames) or embeddings (dim,), as the file takes them.
        """
        lengths = np.array([row.shape[-1] for row in rows])
        found: list[list[np.ndarray]] = [[] for _ in rows]
        # Clips are never padded: those of one length share a batch.
        order = np.argsort(lengths, kind="stable")
        edges = np.flatnonzero(np.diff(lengths[order])) + 1
        for same in np.split(order, edges):
            for first in range(0, len(same), BATCH):
                some = same[first : first + BATCH]
                for position, values in zip(some, zip(*self.run(self._batch([rows[row] for row in some])))):
                    found[position] = list(values)
        return [np.stack(column) for column in zip(*found)]

    def probabilities(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Of each waveform and class, float32 (n, classes)."""
        return self.outputs(waveforms)[0]

    def _batch(self, rows: list[np.ndarray]) -> np.ndarray:
        batch = np.stack(rows)
        if self.info.samples == "int16":
            return np.clip(np.round(batch * PCM_PEAK), -PCM_PEAK, PCM_PEAK - 1).astype(np.int16)
        return batch.astype(np.float32, copy=False)


class OnnxModel(ExportedModel):
    """An ONNX file in onnxruntime, on the CPU."""

    def __init__(self, path: Path, threads: int = 1):
        onnxruntime = imported("onnxruntime", f"{path.name} needs")
        check_regular(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(
                path_or_content(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common base
            raise ArtifactError(f"{path} is not readable as ONNX ({_first_line(error)}); export it again") from None
        self.path = path
        self.info = ModelInfo.from_properties(self.session.get_modelmeta().custom_metadata_map, str(path))
        names = ([part.name for part in self.session.get_inputs()], [part.name for part in self.session.get_outputs()])
        if names != ([self.info.input], list(self.info.outputs)):
            raise ArtifactError(f"{path}: its inputs and outputs are not those of its metadata; export it again")

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        return self.session.run(list(self.info.outputs), {self.info.input: batch})


class RowModel(ExportedModel):
    """A file that takes one zero-padded row of fixed length at a time, and how much of it is the clip."""

    @abstractmethod
    def run_row(self, row: np.ndarray, length: int) -> list[np.ndarray]:
        """Outputs (width,) for one row (1, ..., fixed length)."""

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        length = batch.shape[-1]
        if length > self.info.fixed_samples:
            raise DataError(f"{self.path.name} takes at most {self.info.fixed_samples} values a row, not {length}")
        padded = np.zeros((*batch.shape[:-1], self.info.fixed_samples), dtype=batch.dtype)
        padded[..., :length] = batch
        return [np.stack(column) for column in zip(*(self.run_row(row[None], length) for row in padded))]


class TfliteModel(RowModel):
    """A LiteRT file in its interpreter, with XNNPACK, on the CPU; clips run one by one."""

    def __init__(self, path: Path, threads: int = 1):
        litert = imported("ai_edge_litert.interpreter", f"{path.name} needs", "ai-edge-litert")
        check_regular(path)
        self.path = path
        self.info = ModelInfo.from_dict(notes(path).get("model"), str(notes_of(path)))
        try:
            found = path_or_content(path)
            given = {"model_path" if isinstance(found, str) else "model_content": found}
            self.interpreter = litert.Interpreter(**given, num_threads=threads)
            self.runner = self.interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path} is not readable as LiteRT ({_first_line(error)}); export it again") from None
        details = self.runner.get_input_details()
        shape = details[self.info.input]["shape"] if self.info.input in details else ()
        if set(details) != {self.info.input, "length"} or len(shape) < 2 or shape[-1] != self.info.fixed_samples:
            raise ArtifactError(f"{path}: its inputs are not those that {notes_of(path).name} names; export it again")

    def run_row(self, row: np.ndarray, length: int) -> list[np.ndarray]:
        outputs = self.runner(**{self.info.input: row, "length": np.array([length], dtype=np.int32)})
        return [outputs[name][0] for name in self.info.outputs]


class ExecutorchModel(RowModel):
    """An ExecuTorch program in its runtime, which comes with torch, on the CPU; clips run one by one."""

    def __init__(self, path: Path, threads: int = 1):
        imported("executorch.runtime", f"{path.name} needs")
        check_regular(path)
        self.path = path
        self.info = ModelInfo.from_dict(notes(path).get("model"), str(notes_of(path)))
        # The runtime ends the process where a program is damaged in certain places.
        if file_hash(path) != self.info.about.get("content"):
            raise ArtifactError(f"{path} is not the file that {notes_of(path).name} describes; export it again")
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        if hasattr(portable_lib, "_unsafe_reset_threadpool"):
            portable_lib._unsafe_reset_threadpool(threads)
        try:
            self.program = Runtime.get().load_program(path)  # must outlive its method
            self.method = self.program.load_method("forward")
            shape = self.method.metadata.input_tensor_meta(0).sizes()
        except RuntimeError as error:
            raise ArtifactError(
                f"{path} is not readable as ExecuTorch ({_first_line(error)}); export it again"
            ) from None
        if shape[-1] != self.info.fixed_samples or self.method.metadata.num_outputs() != len(self.info.outputs):
            raise ArtifactError(f"{path}: its inputs are not those that {notes_of(path).name} names; export it again")

    def run_row(self, row: np.ndarray, length: int) -> list[np.ndarray]:
        import torch

        outputs = self.method.execute([torch.from_numpy(row), torch.tensor([length], dtype=torch.int32)])
        # The next row is written over the same memory.
        return [part[0].numpy().copy() for part in outputs]


READERS: dict[str, type[ExportedModel]] = {".onnx": OnnxModel, ".tflite": TfliteModel, ".pte": ExecutorchModel}


def is_exported(path: str | os.PathLike) -> bool:
    """Whether `path` is named as an exported file is."""
    return Path(path).suffix.lower() in READERS


def open_model(path: str | os.PathLike, threads: int = 1) -> ExportedModel:
    """Open an exported file.

    Parameters
    ----------
    threads : int, default=1
        Of its runtime.

    Raises
    ------
    ArtifactError
        Missing, damaged, or not written by ``embcomp export``.
    MissingDependencyError
        Its runtime is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise ArtifactError(f"{path} is no exported model; {nearest(path.suffix, READERS)}")
    return READERS[path.suffix.lower()](path, threads)


def notes_of(path: str | os.PathLike) -> Path:
    """Where what an exported file is, and its parity report, lie."""
    path = Path(path)
    return path.with_name(path.name + NOTES)


def notes(path: Path) -> dict:
    """The content of `notes_of`, checked to be a table."""
    content = read_json(notes_of(path))
    if not isinstance(content, dict):
        raise ArtifactError(f"{notes_of(path)} is damaged; export the model again")
    return content


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
