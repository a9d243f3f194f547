"""Clips with several labels, some unknown: through predictions, scores, one student and a whole run."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.settings import student_settings

from embcomp.config import EvaluationConfig, VariantConfig, parse
from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError
from embcomp.evaluation.scores import Predictions, evaluate, score_rows
from embcomp.metrics import applicable, score
from embcomp.pipeline import run
from embcomp.pipeline.workspace import Workspace
from embcomp.students.classifier import Classifier
from embcomp.training.distill import distill

PITCHES = {"high": 2400.0, "low": 300.0, "middle": 900.0}


def write_chords(folder, groups=8, clips=4, unknown=0.2, seed=0, name="home"):
    """Chords of up to three tones labelled with their notes; some notes of some clips are left unknown."""
    rng = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    lines = ["path,label,group"]
    for number in range(groups * clips):
        there = rng.random(3) < 0.5
        wave = rng.normal(0, 0.02, 6400)
        for pitch, sounds in zip(PITCHES.values(), there):
            wave += sounds * 0.2 * np.sin(2 * np.pi * pitch * np.arange(6400) / 16_000 + rng.uniform(0, 6))
        hidden = rng.random(3) < unknown
        cells = ["?" + note if hide else note for note, sounds, hide in zip(PITCHES, there, hidden) if sounds or hide]
        path = f"audio/{name}{number}.wav"
        soundfile.write(folder / path, wave, 16_000)
        lines.append(f"{path},{'|'.join(cells) or '|'},{name}{number % groups}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


def predictions(cells, probabilities, classes=("a", "b", "c")):
    ids = np.array([f"clip{number}" for number in range(len(cells))], dtype=object)
    groups = np.array([f"g{number % 4}" for number in range(len(cells))], dtype=object)
    return Predictions(
        ids, groups, encode(cells, classes, True).matrix, probabilities.astype(np.float32), classes, True
    )


CELLS = ["a|b", "?a|c", "", "b", "|", "?a|?b|?c", "?b|?c", "c|?b"]


def test_labels_are_written_as_they_were_read():
    labels = encode(CELLS)
    assert encode(labels.cells, labels.classes, True).matrix.tobytes() == labels.matrix.tobytes()
    # Where all is unknown there is no label, however that is written.
    assert labels.cells == ["a|b", "?a|c", "", "b", "|", "", "?b|?c", "?b|c"]


def test_predictions_come_back_with_what_is_unknown(tmp_path, rng):
    kept = predictions(CELLS, rng.random((8, 3)))
    kept.save(tmp_path / "p.csv")
    assert pd.read_csv(tmp_path / "p.csv", keep_default_na=False)["labels"][1] == "?a|c"
    back = Predictions.load(tmp_path / "p.csv")
    assert back.multi_label and back.classes == kept.classes
    np.testing.assert_array_equal(back.truth, kept.truth)
    np.testing.assert_allclose(back.probabilities, kept.probabilities, rtol=1e-5)


def test_single_cells_of_a_set_with_several_stay_of_several(tmp_path, rng):
    kept = predictions(["a", "b", "c"], rng.random((3, 3)))
    kept.save(tmp_path / "p.csv")
    back = Predictions.load(tmp_path / "p.csv")
    assert back.multi_label
    np.testing.assert_array_equal(back.truth, np.eye(3))
    with pytest.raises(ManifestError, match="several labels each"):
        back.index  # noqa: B018


def test_rows_of_several_labels_have_their_metrics(rng):
    cells = ["|".join(note for note in "abc" if rng.random() < 0.5) or "|" for _ in range(60)]
    kept = predictions(cells, rng.random((60, 3)))
    rows = {row["metric"]: row for row in score_rows([kept], EvaluationConfig(bootstrap=50, threshold=0.3), {})}
    assert list(rows) == applicable(3, True)
    for name, row in rows.items():
        assert row["value"] == score(name, kept.truth, kept.probabilities, 3, multi_label=True, threshold=0.3)
        assert row["n"] == 60 and (name == "ece" or row["low"] < row["value"] < row["high"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("chords")
    write_chords(root / "home")
    write_chords(root / "abroad", groups=4, seed=1, name="abroad")
    content = {
        "name": "chords",
        "seeds": [0],
        "workers": 1,
        "data": {"root": str(root), "train": "home/manifest.csv", "cross": ["abroad/manifest.csv"]},
        "audio": {"seconds": 0.4, "n_mels": 32},
        "split": {"folds": 2, "validation": 0.4},
        "teacher": {"centroids": 8, "whitened": 16, "patches": 1000},
        "compressor": {"dim": 3},
        "student": {"width": 16, "embedding": 16},
        "training": {"steps": 60, "batch_size": 8, "evaluate_every": 20, "freq_mask": 2},
        "evaluation": {"bootstrap": 50},
        "variants": [
            {"name": "no teacher", "transfer": {"method": "none"}},
            {"name": "compressed"},
            {"name": "logits", "transfer": {"method": "logit_kd"}},
        ],
    }
    return root, content, run(parse(content), tmp_path_factory.mktemp("run") / "out")


def test_a_run_scores_every_metric_of_several_labels(finished):
    _, _, result = finished
    students = result.scores[(result.scores["method"] != "probe") & (result.scores["setting"] != "validation")]
    assert set(students["metric"]) == set(applicable(3, True))
    assert set(students["variant"]) == {"no teacher", "compressed", "logits"}
    assert students["value"].notna().all()
    at_home = students[students["setting"] == "in-domain"]
    # Every clip of which anything is known; a run of 60 steps has learned to hear a note.
    known = encode(Manifest.read(finished[0] / "home/manifest.csv").labels).labelled.sum()
    assert (at_home["n"] == known).all()
    assert (at_home[at_home["metric"] == "roc_auc"]["value"] > 0.6).all()
    probes = result.scores[result.scores["method"] == "probe"]
    assert "probe: kmeans" in set(probes["variant"]) and set(probes["metric"]) == set(applicable(3, True))
    assert result.summary["mean"].between(0, 1).all()


def test_a_run_stops_on_map_and_reports_by_it(finished):
    _, _, result = finished
    validation = result.scores[result.scores["setting"] == "validation"]
    assert set(validation["metric"]) == {"mAP"} and validation["value"].between(0, 1).all()
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics["metric"] == "mAP"
    table = pd.read_csv(result.folder / "comparisons.csv")
    assert set(table["metric"]) == {"mAP"} and set(table["baseline"]) == {"no teacher"}
    assert set(table["setting"]) == {"in-domain", "cross-dataset", "adapted"}
    assert set(metrics["claim"]) == {"home, unseen groups", "home to abroad", "home to abroad, adapted"}
    assert all("mAP over" in text for text in metrics["claim"].values())
    classes = pd.read_csv(result.folder / "per_class.csv")
    assert set(classes["class"]) == set(PITCHES) and (classes["known"] >= classes["support"]).all()


def test_students_of_a_run_learn_only_from_known_labels(finished):
    root, content, result = finished
    space = Workspace(result.folder)
    for path in (result.folder / "stages/splits").iterdir():
        split = space.load_split(path.stem)
        assert split.multi_label and split.key == path.stem
    student = Classifier.load(next((result.folder / "stages/students").iterdir()))
    assert student.multi_label and student.classes == tuple(PITCHES)
    again = run(parse(content), result.folder)
    assert again.made == 0


def test_one_student_learns_and_is_scored(finished, tmp_path):
    root, _, _ = finished
    variant = parse({"transfer": {"method": "none"}, "student": {"width": 16, "embedding": 16},
                     "training": {"steps": 4, "batch_size": 8, "evaluate_every": 2, "freq_mask": 2}}).variants[0]  # fmt: skip
    assert isinstance(variant, VariantConfig)
    student = distill(Manifest.read(root / "home/manifest.csv"), tmp_path / "student", variant=variant)
    found = evaluate(student, Manifest.read(root / "abroad/manifest.csv"), cache=tmp_path / "cache")
    assert set(found.table["metric"]) == set(applicable(3, True))
    assert found.predictions.multi_label and np.isnan(found.predictions.truth).any()


def test_a_student_of_one_label_is_not_scored_on_several(tmp_path):
    path = write_chords(tmp_path / "chords")
    from embcomp.config import AudioConfig

    student = Classifier.new(list(PITCHES), AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0)
    with pytest.raises(ManifestError, match="is not one label, and these classes take one label per clip"):
        evaluate(student, Manifest.read(path), cache=tmp_path / "cache")
