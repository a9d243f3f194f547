"""Adding a choice touches its own file and one tuple: shown by adding one of each from outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import embcomp
import embcomp.metrics.table
import embcomp.students
import embcomp.teachers
import embcomp.transfer
from embcomp.audio.clips import Clips
from embcomp.config import parse, setting
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.metrics import monitored, scores
from embcomp.students import Student, StudentOutput, StudentSettings, build_student, frame_mask
from embcomp.teachers import Teacher, TeacherSettings, embed, open_teacher
from embcomp.transfer import Source, TargetTransfer, TransferSettings, build_transfer


class Loudness(Teacher):
    """A teacher of one file: root mean square of the clip."""

    name = "loudness"
    summary = "root mean square"
    sample_rate = 8000
    dim = 1

    @dataclass(frozen=True)
    class Settings(TeacherSettings):
        factor: float = setting(1.0, "multiplies it", at_least=0)

    def __init__(self, factor):
        self.factor = factor

    @classmethod
    def open(cls, settings, manifest=None):
        return cls(settings.factor)

    def fingerprint(self):
        return f"loudness {self.factor}"

    def embed(self, waveforms, lengths):
        power = [np.mean(wave[:length] ** 2) for wave, length in zip(waveforms, lengths)]
        return self.factor * np.sqrt(np.array(power, dtype=np.float32))[:, None]


class Closeness(TargetTransfer):
    """A transfer method of one file: squared distance of the means."""

    name = "closeness"
    summary = "squared distance of the batch means"
    learns_from = Source.EMBEDDING

    @dataclass(frozen=True)
    class Settings(TransferSettings):
        strength: float = setting(0.5, "of the distance", at_least=0, at_most=1)

    def loss(self, output, batch):
        distance = (output.embedding.mean() - self.target_of(batch).mean()).square()
        return {"prediction": self.prediction(output, batch), "distance": self.settings.strength * distance}


class Linear(Student):
    """A student of one file: one affine map of the mean spectrum."""

    name = "linear"
    summary = "the mean spectrum"

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        embedding: int = setting(8, "width of the embedding", at_least=1)

    def __init__(self, n_classes, n_mels=64, **options):
        super().__init__(n_classes, n_mels, **options)
        self.embedding_width = self.settings.embedding
        self.project = nn.Linear(n_mels, self.embedding_width)
        self.classify = nn.Linear(self.embedding_width, n_classes)

    def forward(self, features, lengths):
        frames = self.norm(features, frame_mask(lengths, features.shape[-1])).transpose(1, 2)
        embedding = self.project(frames.mean(1))
        return StudentOutput(self.classify(embedding), embedding, frames)


@pytest.fixture
def added(monkeypatch):
    """The tuples with one more class each: all that adding a choice takes beside its own file."""
    monkeypatch.setattr(embcomp.teachers, "TEACHERS", (*embcomp.teachers.TEACHERS, Loudness))
    monkeypatch.setattr(embcomp.transfer, "METHODS", (*embcomp.transfer.METHODS, Closeness))
    monkeypatch.setattr(embcomp.students, "STUDENTS", (*embcomp.students.STUDENTS, Linear))


def test_a_choice_in_its_tuple_is_read_checked_and_built(added, tones, tmp_path):
    content = {
        "teacher": {"spec": "loudness", "factor": 2.0},
        "transfer": {"method": "closeness", "strength": 0.25},
        "student": {"kind": "linear", "embedding": 4},
    }
    variant = parse(content).variants[0]
    clips = Clips(Manifest.read(tones), 16_000, 0.4)
    store = embed(clips, clips.hashes(), open_teacher(variant.teacher), tmp_path / "store")
    assert (store.dim, store.settings["sample_rate"]) == (1, 8000) and store.data.min() > 0
    transfer = build_transfer(variant.transfer, False)
    assert transfer.settings.strength == 0.25
    student = build_student(variant.student, 3, 24)
    assert student(torch.zeros(2, 24, 5), torch.tensor([5, 5])).logits.shape == (2, 3)
    for section, key, owner in (
        ("teacher", "factor", "loudness"), ("transfer", "strength", "closeness"), ("student", "width", "ds_cnn"),
    ):  # fmt: skip
        other = {"teacher": "kmeans", "transfer": "none", "student": "linear"}[section]
        choice = {"teacher": "spec", "transfer": "method", "student": "kind"}[section]
        with pytest.raises(ConfigError, match=f"'{other}' has no such key; it belongs to: {owner}"):
            parse({section: {choice: other, key: 8 if key == "width" else 0.5}})


def test_a_metric_in_its_table_is_reported_with_an_interval_and_may_stop_training(monkeypatch):
    def worst_recall(counts):
        hits, members, *_ = np.moveaxis(counts, -2, 0)
        return (hits / np.maximum(members, 1)).min(-1)

    table = embcomp.metrics.table
    monkeypatch.setitem(table.METRICS, "worst_recall", table.Metric(table._counted(worst_recall), None))
    truth, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    found = {one.name: one for one in scores(truth, predicted, np.arange(6), 3, bootstrap=50)}
    assert found["worst_recall"].value == 0.5 and 0 <= found["worst_recall"].low <= 0.5
    assert monitored("worst_recall", False) == "worst_recall"


def test_a_choice_out_of_its_tuple_is_unknown():
    with pytest.raises(ConfigError, match="unknown teacher 'loudness'"):
        parse({"teacher": {"spec": "loudness"}})


@pytest.mark.parametrize(
    ("registry", "folder"),
    [
        (embcomp.teachers.TEACHERS, "teachers"),
        (embcomp.transfer.METHODS, "transfer"),
        (embcomp.students.STUDENTS, "students"),
    ],
)
def test_each_choice_has_a_file_of_its_own(registry, folder):
    modules = [one.__module__ for one in registry]
    assert len(set(modules)) == len(modules)
    assert all(module.startswith(f"embcomp.{folder}.") for module in modules)


@pytest.mark.parametrize(
    ("section", "made"),
    [
        (
            "transfer",
            "from embcomp.transfer import Transfer\nclass Added(Transfer):\n    name, summary = 'added', 'labels'",
        ),
        ("student", "from embcomp.students import DSCNN\nclass Added(DSCNN):\n    name, summary = 'added', 'the same'"),
    ],
)
def test_packages_add_methods_and_students_by_an_entry_point(section, made, tmp_path, monkeypatch):
    from embcomp.config.choices import SECTIONS, added_choices

    (tmp_path / f"adds_{section}.py").write_text(made)
    about = tmp_path / f"adds_{section}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: adds-{section}\nVersion: 1.0\n")
    group = {"transfer": "embcomp.transfer", "student": "embcomp.students"}[section]
    (about / "entry_points.txt").write_text(f"[{group}]\nadded = adds_{section}:Added\n")
    monkeypatch.syspath_prepend(tmp_path)
    added_choices.cache_clear()
    try:
        variant = parse({section: {SECTIONS[section].key: "added"}}).variants[0]
        assert getattr(variant, section).choice.__module__ == f"adds_{section}"
        if section == "student":
            built = build_student(variant.student, 3, 24)
            assert built(torch.zeros(2, 24, 9), torch.tensor([9, 9])).logits.shape == (2, 3)
        else:
            assert build_transfer(variant.transfer, False).name == "added"
    finally:
        added_choices.cache_clear()
        monkeypatch.delitem(__import__("sys").modules, f"adds_{section}", raising=False)


def test_a_strategy_in_its_tuple_is_found_listed_and_used(tones, tmp_path, monkeypatch):
    from click.testing import CliRunner
    from helpers.pools import drop_labels, save_student

    import embcomp.review.strategies
    from embcomp.cli import group
    from embcomp.review.strategies import STRATEGIES, Strategy

    class Likeliest(Strategy):
        """A strategy of one file: clips of which the student is surest."""

        name, summary = "likeliest", "clips of which the student is surest"

        def scores(self, pool):
            return pool.probabilities[0].max(axis=1)

        def why(self, pool, row, score):
            return f"at {score:.2f}"

    monkeypatch.setattr(embcomp.review.strategies, "STRATEGIES", (*STRATEGIES, Likeliest))
    found = embcomp.suggest(save_student(tmp_path / "student"), drop_labels(tones, lambda row: row > 3), by="likeliest")
    assert len(found) == 4 and (np.diff(found.scores) <= 0).all() and found.why[0].startswith("at ")
    assert "clips of which the student is surest" in CliRunner().invoke(group, ["suggest", "--help"]).output
