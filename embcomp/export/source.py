"""What can be exported: students, k-means teachers and compressors, each as plain modules and a reference."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import embcomp
from embcomp.audio.features import front_end
from embcomp.audio.logmel import LogMel
from embcomp.compression import Compressor
from embcomp.config import AudioConfig
from embcomp.config.inputs import WORDS
from embcomp.errors import ArtifactError, ConfigError, choose
from embcomp.export.info import INPUTS, SAMPLES, THRESHOLD, ModelInfo
from embcomp.export.kmeans import KMeansBody
from embcomp.storage.artifact import read_config
from embcomp.students import count_parameters
from embcomp.students.arrays import as_tensors
from embcomp.students.classifier import Classifier
from embcomp.students.cost import count_macs
from embcomp.teachers.kmeans import N_MELS, KMeansTeacher

TEACHER_SECONDS = 10.0  # what `embcomp embed` cuts clips at by default


@dataclass(frozen=True)
class ExportOptions:
    """What an exported graph takes and gives.

    Attributes
    ----------
    input : {"waveform", "logmel"}
        With or without the front end inside.
    samples : {"float32", "int16"}
        Of a waveform.
    embedding : bool
        Give the student's embedding beside the probabilities.
    threshold : float
        Written into the file for a multi-label student, in (0, 1).
    """

    input: str = "waveform"
    samples: str = "float32"
    embedding: bool = False
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        choose("input", self.input, dict.fromkeys(INPUTS[:2]))
        choose("kind of samples", self.samples, dict.fromkeys(SAMPLES))
        if self.samples != "float32" and self.input != "waveform":
            raise ConfigError("16-bit samples need --input waveform; log-mels are float32")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"--threshold must lie between 0 and 1, not {self.threshold:g}")


class Source(ABC):
    """One artifact, ready to be written in any format.

    Attributes
    ----------
    info : ModelInfo
    front : LogMel, or None
        The front end; None of a compressor.
    logmel : LogMel, or None
        The same where it is to be inside the graph, else None.
    body : nn.Module
        From log-mels (n, n_mels, frames), embeddings (n, dim) or `ModelInfo.shape`, to a tuple of the outputs. All rows are full:
        clips of different length go in one by one, or in batches of one length.
    masked_body : nn.Module, or None
        The same of a second input, valid frames (n,), for formats whose rows have one fixed length.
    """

    info: ModelInfo
    front: LogMel | None = None
    logmel: LogMel | None = None
    body: nn.Module
    masked_body: nn.Module | None = None

    @abstractmethod
    def reference(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        """Outputs of the artifact itself, one array (n, width) for each, by the code that trains and scores.

        Parameters
        ----------
        rows : list of ndarray
            Waveforms (samples,) in [-1, 1], of any length; of a compressor, embeddings (dim,); of a student that takes
            neither, inputs of `ModelInfo.shape`.
        """

    def features(self, row: np.ndarray) -> np.ndarray:
        """What `body` takes for one waveform (samples,), with a batch axis: (1, n_mels, frames)."""
        with torch.inference_mode():
            return self.front(torch.from_numpy(row)[None]).numpy()

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """What probabilities (n, classes) decide: class numbers (n,), or bool (n, classes) of several labels."""
        return probabilities >= self.info.threshold if self.info.multi_label else probabilities.argmax(axis=1)

    def example(self, rows: int = 2, frames: int = 57) -> Tensor:
        """An input of `body`."""
        shape = (rows, *self.info.shape)
        if not self.info.shape:
            shape += (self.info.audio["n_mels"], frames) if self.info.sample_rate else (self.body.in_features,)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class _StudentBody(nn.Module):
    def __init__(self, network: nn.Module, multi_label: bool, embedding: bool):
        super().__init__()
        self.network, self.multi_label, self.embedding = network, multi_label, embedding

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        output = self.network(features, lengths)
        probabilities = output.logits.sigmoid() if self.multi_label else output.logits.softmax(1)
        return (probabilities, output.embedding) if self.embedding else (probabilities,)


class StudentSource(Source):
    """A student: probabilities, and its embedding if asked for.

    Attributes
    ----------
    classifier : Classifier
    """

    def __init__(self, classifier: Classifier, options: ExportOptions):
        classifier.needs_audio("export")
        self.classifier = classifier
        audio = classifier.audio
        network = classifier.network.cpu().eval()
        self.front = front_end(audio)
        self.logmel = self.front if options.input == "waveform" else None
        self.body = self.masked_body = _StudentBody(network, classifier.multi_label, options.embedding).eval()
        frames = self.front.frames(round(audio.seconds * audio.sample_rate))
        self.info = ModelInfo(
            "classifier",
            options.input,
            ("probabilities", "embedding")[: 1 + options.embedding],
            options.samples,
            classifier.classes,
            classifier.multi_label,
            options.threshold,
            audio.sample_rate,
            audio.seconds,
            len(classifier.classes),
            audio=asdict(audio),
            parameters=count_parameters(network),
            macs=count_macs(network, torch.zeros(1, audio.n_mels, frames), torch.tensor([frames])),
            about={name: value for name, value in classifier.about.items() if name != "key"},
            versions=versions(),
        )

    def reference(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        found = []
        with torch.inference_mode():
            for row in rows:
                features = self.front(torch.from_numpy(row)[None])
                output = self.classifier.network(features, torch.tensor([features.shape[-1]]))
                found.append((self.classifier.probabilities(output.logits), output.embedding))
        columns = [torch.cat(column).numpy() for column in zip(*found)]
        return columns[: len(self.info.outputs)]


class RowSource(Source):
    """A student that takes a table or images: probabilities, and its embedding if asked for.

    Attributes
    ----------
    classifier : Classifier
    """

    def __init__(self, classifier: Classifier, options: ExportOptions):
        if (options.input, options.samples) != ("waveform", "float32"):
            raise ConfigError(f"this student takes {WORDS[classifier.inputs.kind]}; leave --input and --samples out")
        self.classifier = classifier
        spec, network = classifier.inputs, classifier.network.cpu().eval()
        table = spec.kind == "table"
        self.body = _RowBody(_StudentBody(network, classifier.multi_label, options.embedding), table).eval()
        example = torch.zeros(1, *spec.shape)
        self.info = ModelInfo(
            "classifier",
            spec.kind,
            ("probabilities", "embedding")[: 1 + options.embedding],
            labels=classifier.classes,
            multi_label=classifier.multi_label,
            threshold=options.threshold,
            width=len(classifier.classes),
            shape=spec.shape[:1] if table else spec.shape,
            columns=spec.columns,
            parameters=count_parameters(network),
            macs=count_macs(network, example, torch.tensor([example.shape[-1]])),
            about={name: value for name, value in classifier.about.items() if name != "key"},
            versions=versions(),
        )

    def reference(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        values, lengths = as_tensors(np.stack(rows).reshape(len(rows), *self.classifier.inputs.shape))
        with torch.inference_mode():
            output = self.classifier.network(values, lengths)
            found = [self.classifier.probabilities(output.logits).numpy(), output.embedding.numpy()]
        return found[: len(self.info.outputs)]


class _RowBody(nn.Module):
    """Students take the columns of a table as bands of one frame."""

    def __init__(self, body: nn.Module, table: bool):
        super().__init__()
        self.body, self.table = body, table

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.body(x.unsqueeze(2) if self.table else x)


class TeacherSource(Source):
    """A k-means teacher: waveforms to embeddings."""

    def __init__(self, teacher: KMeansTeacher, options: ExportOptions):
        _refuse_embedding(options, "teacher")
        self.teacher = teacher
        front = self.front = LogMel(teacher.sample_rate, n_mels=N_MELS)
        self.logmel = front if options.input == "waveform" else None
        self.body = KMeansBody(teacher).eval()
        audio = AudioConfig(win_length=front.win_length, hop_length=front.hop_length, seconds=TEACHER_SECONDS)
        self.info = ModelInfo(
            "teacher",
            options.input,
            ("embedding",),
            options.samples,
            sample_rate=teacher.sample_rate,
            window=TEACHER_SECONDS,
            width=teacher.dim,
            audio=asdict(audio),
            parameters=sum(part.numel() for part in (teacher.mean, teacher.whiten, teacher.centroids)),
            about={"teacher": teacher.name, "fingerprint": teacher.fingerprint()},
            versions=versions(),
        )

    def reference(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate([self.teacher.embed(row[None], np.array([len(row)])) for row in rows])]


class CompressorSource(Source):
    """A compressor: embeddings to targets."""

    def __init__(self, compressor: Compressor, options: ExportOptions):
        _refuse_embedding(options, "compressor")
        if options != replace(ExportOptions(), threshold=options.threshold):
            raise ConfigError("a compressor takes embeddings; leave --input and --samples out")
        self.compressor, self.body = compressor, compressor.to_module().eval()
        self.info = ModelInfo(
            "compressor",
            "embedding",
            ("target",),
            width=compressor.n_components_,
            parameters=count_parameters(self.body),
            macs=count_macs(self.body, torch.zeros(1, compressor.n_features_in_)),
            about={"method": compressor.method, "objective": compressor.objective, "dim": compressor.n_features_in_},
            versions=versions(),
        )

    def reference(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return [self.compressor.transform(np.stack(rows))]


def _student(classifier: Classifier, options: ExportOptions) -> Source:
    return (StudentSource if classifier.inputs.kind == "audio" else RowSource)(classifier, options)


SOURCES = {
    "student": lambda path, options: _student(Classifier.load(path), options),
    "kmeans teacher": lambda path, options: TeacherSource(KMeansTeacher.load(path), options),
    "compressor": lambda path, options: CompressorSource(Compressor.load(path), options),
}


def open_source(path: str | os.PathLike, options: ExportOptions | None = None) -> Source:
    """Read an artifact folder that can be exported.

    Raises
    ------
    ArtifactError
        Missing, damaged, or of a kind that cannot be exported.
    ConfigError
        The options do not suit its kind.
    """
    path = Path(path)
    content = read_config(path, "student, teacher or compressor")
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind not in SOURCES:
        raise ArtifactError(
            f"{path} holds a {kind or 'folder of another program'}; exported can be: {', '.join(SOURCES)}"
        )
    return SOURCES[kind](path, options or ExportOptions())


def versions(*packages: str) -> dict[str, str]:
    """Of embcomp, torch and the packages named, those that are installed."""
    found = {"embcomp": embcomp.__version__}
    for name in ("torch", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _refuse_embedding(options: ExportOptions, kind: str) -> None:
    if options.embedding:
        raise ConfigError(f"--embedding is of a student; a {kind} has one output")
