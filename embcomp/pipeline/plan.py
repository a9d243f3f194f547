"""What a run has to do: every stage with the path where its result lies."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embcomp.config import RunConfig, TeacherConfig, VariantConfig, to_dict
from embcomp.files import fingerprint
from embcomp.pipeline import stages
from embcomp.pipeline.workspace import Dataset, Split, Workspace
from embcomp.transfer import target_kind


@dataclass(frozen=True)
class Training:
    """One student, or one probe, of one split.

    Attributes
    ----------
    variant : str
        Name in the tables.
    split : Split
    about : dict
        Columns of scores.csv.
    predictions : list of Path or None
        For each data set; None where the split tests nothing at home.
    student : Path or None
        None for a probe.
    job : dict
        For the stage's function.
    """

    variant: str
    split: Split
    about: dict[str, Any]
    predictions: list[Path | None]
    student: Path | None
    job: dict[str, Any]

    @property
    def stands(self) -> bool:
        """Whether all it would write is there."""
        return (self.student is None or self.student.exists()) and all(
            path is None or path.exists() for path in self.predictions
        )


@dataclass
class Plan:
    """Stages in the order they run; a stage is keyed by its result, so that variants share it."""

    space: Workspace
    config: RunConfig
    datasets: list[Dataset]
    splits: list[Split]
    features: dict[Path, dict] = field(default_factory=dict)
    embeddings: dict[tuple[Path, ...], dict] = field(default_factory=dict)
    compressors: dict[Path, dict] = field(default_factory=dict)
    students: list[Training] = field(default_factory=list)
    probes: list[Training] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._run = str(self.space.folder)
        self._config = to_dict(self.config)
        self._keys = [dataset.key for dataset in self.datasets]
        self._embedding_of: dict[tuple[TeacherConfig, str], tuple[Path, ...]] = {}
        for dataset in self.datasets:
            path = stages.features_path(self.space, dataset, self.config)
            self.features[path] = {"run": self._run, "dataset": dataset.key, "config": self._config}
        for split in self.splits:
            probed: set[Path] = set()
            for variant in self.config.variants:
                self._add(variant, split, probed)

    def _add(self, variant: VariantConfig, split: Split, probed: set[Path]) -> None:
        kind = target_kind(variant.transfer)
        embeddings = self._embeddings(variant, split) if kind != "none" else None
        compressor = (
            self._compressor(variant, split, embeddings[0]) if variant.transfer.method == "compressed" else None
        )
        self.students.append(self._student(variant, split, embeddings, compressor))
        if not self.config.evaluation.probe or embeddings is None:
            return
        for target in (None, compressor if kind == "compressed" else None):
            name = target or embeddings[0]
            if name not in probed:
                probed.add(name)
                self.probes.append(self._probe(variant, split, embeddings, target))
            if kind != "compressed":
                break

    def _embeddings(self, variant: VariantConfig, split: Split) -> tuple[Path, ...]:
        known = (variant.teacher, split.fold)
        if known not in self._embedding_of:
            learned_on = stages.learning_clips(split)
            self._embedding_of[known] = tuple(
                stages.embedding_path(self.space, dataset, self.datasets[0], learned_on, variant.teacher, self.config)
                for dataset in self.datasets
            )
            job = {
                "run": self._run,
                "datasets": self._keys,
                "split": split.key,
                "variant": variant.name,
                "config": self._config,
            }
            self.embeddings.setdefault(self._embedding_of[known], job)
        return self._embedding_of[known]

    def _compressor(self, variant: VariantConfig, split: Split, embedding: Path) -> Path:
        start_only = variant.transfer.schedule == "joint"
        path = stages.compressor_path(self.space, embedding, split, variant.compressor, start_only)
        self.compressors[path] = {
            "run": self._run,
            "embedding": str(embedding),
            "dataset": self._keys[0],
            "split": split.key,
            "compressor": asdict(variant.compressor),
            "start_only": start_only,
        }
        return path

    def _student(
        self, variant: VariantConfig, split: Split, embeddings: tuple[Path, ...] | None, compressor: Path | None
    ) -> Training:
        home = self.datasets[0]
        # Only what the method uses: a change of the compressor must not retrain the student without a teacher.
        transfer = asdict(variant.transfer) if embeddings is not None else {"method": variant.transfer.method}
        key = fingerprint(
            [
                stages.VERSIONS["student"],
                home.audio_key,
                stages.feature_settings(self.config.audio),
                split.key,
                fingerprint([home.manifest.labels[row] for row in home.rows(split.fit + split.validation)]),
                embeddings[0].name if embeddings else None,
                compressor.name if compressor else None,
                transfer,
                asdict(variant.student),
                asdict(variant.training),
                self.config.device,
            ]
        )
        path = self.space.stage("students", key)
        job = {
            "variant": variant.name,
            "split": split.key,
            "datasets": self._keys,
            "embedding": str(embeddings[0]) if embeddings else None,
            "compressor": str(compressor) if compressor else None,
            "student": str(path),
        }
        return self._training(variant.name, split, stages.about(variant, home, split), path, key, job)

    def _probe(
        self, variant: VariantConfig, split: Split, embeddings: tuple[Path, ...], compressor: Path | None
    ) -> Training:
        columns = stages.about(variant, self.datasets[0], split) | {"method": "probe"}
        name = f"probe: {variant.teacher.spec.split('/')[-1]}"
        if compressor is None:
            columns |= {"compressor": "", "dim": ""}
        else:
            name += f" > {columns['compressor']} {columns['dim']}"
        key = fingerprint(
            [
                stages.VERSIONS["probe"],
                split.key,
                [path.name for path in embeddings],
                compressor.name if compressor else None,
            ]
        )
        job = {
            "split": split.key,
            "datasets": self._keys,
            "embeddings": [str(path) for path in embeddings],
            "compressor": str(compressor) if compressor else None,
        }
        return self._training(name, split, columns, None, key, job)

    def _training(self, name: str, split: Split, columns: dict, student: Path | None, key: str, job: dict) -> Training:
        paths: list[Path | None] = []
        for number, dataset in enumerate(self.datasets):
            tested = fingerprint([dataset.key, self.config.data.label_map if number else ""])
            paths.append(self.space.stage("predictions", f"{key}-{tested}.csv") if number or split.test else None)
        job["predictions"] = [str(path) if path else None for path in paths]
        return Training(name, split, columns, paths, student, {"run": self._run, "job": job, "config": self._config})
