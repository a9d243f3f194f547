"""What a run has to do: every stage with the path where its result lies."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embcomp.config import RunConfig, TeacherConfig, VariantConfig, to_dict
from embcomp.pipeline import stages
from embcomp.pipeline.workspace import Dataset, Split, Workspace
from embcomp.storage.files import fingerprint
from embcomp.teachers import check_runs
from embcomp.transfer import build_transfer, target_kind


@dataclass(frozen=True)
class Test:
    """One test of a student or probe: one file of predictions.

    Attributes
    ----------
    dataset : int
        Number of the data set.
    setting : str
        ``in-domain``; ``cross-dataset``; ``cross-dataset, re-estimated``: with normalisation statistics of
        all clips of the data set, see `embcomp.students.adapt`; ``robustness``: on changed test clips.
    name : str
        Of what is tested, in the tables.
    shift : str
        How the clips are changed, see `embcomp.audio.shifts`; empty where they are not.
    variant : str
        What is tested, in the tables.
    probe : str
        Name in `embcomp.evaluation.probes.PROBES`; empty for a student.
    path : Path
        Where the predictions lie.
    """

    dataset: int
    setting: str
    name: str
    shift: str
    variant: str
    probe: str
    path: Path

    @property
    def job(self) -> dict[str, Any]:
        """For the stage's function."""
        names = ("dataset", "setting", "shift", "probe")
        return {name: getattr(self, name) for name in names} | {"path": str(self.path)}


@dataclass(frozen=True)
class Training:
    """One student, or the probes on one kind of vector, of one split.

    Attributes
    ----------
    variant : str
        Name of the student, or of the vectors.
    split : Split
    about : dict
        Columns of scores.csv.
    tests : list of Test
    student : Path or None
        None for a probe.
    job : dict
        For the stage's function.
    """

    variant: str
    split: Split
    about: dict[str, Any]
    tests: list[Test]
    student: Path | None
    job: dict[str, Any]

    @property
    def stands(self) -> bool:
        """Whether all it would write is there."""
        return (self.student is None or self.student.exists()) and all(test.path.exists() for test in self.tests)


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
        self.shifts, self._label_map = stages.shifts(self.config), stages.label_map(self.config)
        self._embedding_of: dict[tuple[TeacherConfig, str], tuple[Path, ...]] = {}
        for dataset in self.datasets:
            path = stages.features_path(self.space, dataset, self.config)
            self.features[path] = {"run": self._run, "dataset": dataset.key, "config": self._config}
        for shift in self.shifts:
            path = stages.features_path(self.space, self.datasets[0], self.config, shift)
            self.features[path] = {"run": self._run, "dataset": self._keys[0], "config": self._config, "shift": shift}
        for split in self.splits:
            probed: set[Path] = set()
            for variant in self.config.variants:
                self._add(variant, split, probed)
            if self.config.evaluation.probe:
                self._floor_and_students(split)

    def _add(self, variant: VariantConfig, split: Split, probed: set[Path]) -> None:
        kind = target_kind(variant.transfer)
        if variant.transfer.method in ("embedding", "embedding_kd"):
            # Options that contradict each other are told before anything is computed.
            build_transfer(variant.transfer, False)
        if kind == "teacher":
            check_runs(variant.teacher.spec)
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
        path = stages.compressor_path(self.space, self.datasets[0], embedding, split, variant.compressor, start_only)
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
        name = variant.teacher.spec.split("/")[-1]
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
        probes = {kind: f"{kind}: {name}" for kind in ("probe", "k-NN")}
        return self._training(name, split, columns, None, key, job, probes)

    def _floor_and_students(self, split: Split) -> None:
        """Probes on what each student has learned, and on what a table must beat: log-mels, and no vector at all."""
        home = self.datasets[0]
        base = {"split": split.key, "datasets": self._keys}
        variants = {variant.name: variant for variant in self.config.variants}
        for student in [one for one in self.students if one.split is split]:
            columns = stages.about(variants[student.variant], home, split) | {"method": "probe"}
            key = fingerprint([stages.VERSIONS["probe"], "student", student.student.name])
            name = f"student of {student.variant}"
            probes = {kind: f"{kind}: {name}" for kind in ("probe", "k-NN")}
            job = base | {"student": str(student.student)}
            self.probes.append(self._training(name, split, columns, None, key, job, probes))
        columns = stages.about(self.config.variants[0], home, split) | {"method": "probe"}
        columns |= {"teacher": "", "compressor": "", "dim": ""}
        labels = fingerprint([home.manifest.labels[row] for row in home.rows(split.fit)])
        settings = [home.audio_key, stages.feature_settings(self.config.audio), split.key, labels]
        key = fingerprint([stages.VERSIONS["probe"], "log-mel", settings])
        probes = {"probe": "probe: log-mel", "k-NN": "k-NN: log-mel", "majority": "majority class"}
        self.probes.append(self._training("log-mel", split, columns, None, key, dict(base), probes))

    def _training(
        self,
        name: str,
        split: Split,
        columns: dict,
        student: Path | None,
        key: str,
        job: dict,
        probes: dict[str, str] | None = None,
    ) -> Training:
        tests: list[Test] = []
        for number, dataset in enumerate(self.datasets):
            tested = fingerprint([dataset.key, self._label_map if number and self._label_map else ""])
            settings = [("cross-dataset" if number else "in-domain", "", "")] if number or split.test else []
            if number and self.config.evaluation.reestimate:
                settings.append(("cross-dataset, re-estimated", "", f"-reestimated-{stages.VERSIONS['reestimate']}"))
            if not number and split.test and "embeddings" not in job:
                # A teacher's vectors of changed clips would have to be computed anew.
                changed = {text: fingerprint(asdict(shift)) for text, shift in self.shifts.items()}
                settings += [("robustness", text, f"-{mark}") for text, mark in changed.items()]
            for setting, shift, suffix in settings:
                title = dataset.manifest.name + (f", {self.shifts[shift].words}" if shift else "")
                for kind, variant in (probes or {"": name}).items():
                    file = f"{key}{'-' * bool(kind)}{kind}-{tested}{suffix}.csv"
                    path = self.space.stage("predictions", file)
                    tests.append(Test(number, setting, title, shift, variant, kind, path))
        job["tests"] = [test.job for test in tests]
        return Training(name, split, columns, tests, student, {"run": self._run, "job": job, "config": self._config})
