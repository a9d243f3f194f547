"""Model cards: readable by others, true to the tables, and never in the place of somebody's own README.md."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from helpers.settings import student_settings

from embcomp.card.facts import Evidence, Score, teacher_licence
from embcomp.card.writing import card_of, write_card, write_card_unless_edited
from embcomp.cli.card import card
from embcomp.compression import Compressor
from embcomp.config import AudioConfig
from embcomp.data.inputs import InputSpec
from embcomp.errors import ArtifactError
from embcomp.storage.cards import is_card
from embcomp.storage.ownership import strangers
from embcomp.students.classifier import Classifier

HARD = ["a|b", "<b>", "c: d # e", 'quo"te', "[x](y)", "日本"]


def student(classes=HARD, about=()) -> Classifier:
    found = Classifier.new(classes, AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0)
    found.network.eval()
    found.about = {"method": "compressed", "teacher": "tflite:birdnet", "train_dataset": "birds: 3", **dict(about)}
    return found


@pytest.fixture
def saved(tmp_path) -> Path:
    student().save(tmp_path / "student")
    return tmp_path / "student"


SCORES = Evidence(
    (
        Score("birds: 3", "birds: 3", "in-domain", "accuracy", 0.81234, 0.7, 0.9, 120),
        Score("birds: 3", "oth|er", "cross-dataset", "accuracy", 0.5, None, None, 80),
    ),
    "6 students",
    ("no clip twice",),
    ("whether the teacher knows them",),
)


def test_the_head_is_yaml_that_the_hub_reads(saved):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    write_card(saved, SCORES, "cc-by-4.0")
    data = huggingface_hub.ModelCard.load(saved / "README.md").data
    assert data.license == "cc-by-4.0" and data.library_name == "embcomp"
    assert data.pipeline_tag == "audio-classification" and {"embcomp", "ds_cnn"} <= set(data.tags)
    found = {(one.dataset_name, one.metric_type): one.metric_value for one in data.eval_results}
    assert found == {("birds: 3 (in-domain)", "accuracy"): 0.8123, ("oth|er (cross-dataset)", "accuracy"): 0.5}


def test_it_says_what_is_known_and_what_is_not(saved):
    text = write_card(saved, SCORES).read_text(encoding="utf-8")
    assert "CC BY-NC-SA 4.0" in text  # of the teacher, from the catalogue
    assert "| trained on birds: 3 | birds: 3, in-domain, 120 clips | oth\\|er, cross-dataset, 80 clips |" in text
    assert "| accuracy | 0.812 (0.700 to 0.900) | 0.500 |" in text and "less is better" not in text
    assert "- passed: no clip twice" in text and "- could not be checked: whether the teacher knows them" in text
    for part in ("## Data", "## Teacher", "## Limits", "## Intended use", 'license: "unknown"'):
        assert part in text
    assert "a\\|b, \\<b\\>, c: d \\# e" in text  # labels are neither cells nor tags
    bare = card_of(saved)
    assert "Not tested yet" in bare and "None is recorded" in bare and "model-index" not in bare


def test_a_metric_of_which_less_is_better_says_so_and_one_that_is_missing_is_empty(saved):
    first, second = SCORES.scores
    scores = Evidence((first, second, Score("birds: 3", "oth|er", "cross-dataset", "log_loss", 0.7, 0.6, 0.8, 80)))
    text = write_card(saved, scores).read_text(encoding="utf-8")
    assert "| log\\_loss |  | 0.700 (0.600 to 0.800) |" in text and "Of log\\_loss less is better." in text


def test_clips_without_labels_are_not_counted_as_trained_on(tmp_path):
    found = student(about={"unlabelled": 2})
    found.seen = frozenset("abcde")
    found.save(tmp_path / "s")
    text = card_of(tmp_path / "s")
    assert "birds: 3, 3 clips with those" in text and "Without labels: 2 further clips." in text


@pytest.mark.parametrize(
    "teacher, licence",
    [
        ("birdnet", "CC BY-NC-SA 4.0"),
        ("tflite:birdnet", "CC BY-NC-SA 4.0"),
        ("onnx:mine.onnx", "unknown"),
        ("kmeans", "the training clips; no licence of its own"),
    ],
)
def test_the_licence_of_a_teacher(teacher, licence):
    assert teacher_licence(teacher) == licence


def test_without_a_teacher_none_is_named(tmp_path):
    student(about={"teacher": "", "method": "none"}).save(tmp_path / "s")
    text = card_of(tmp_path / "s")
    assert "None: trained on labels alone." in text and "knowledge-distillation" not in text


def test_own_words_are_never_lost(saved):
    path = saved / "README.md"
    path.write_text("mine\n")
    with pytest.raises(ArtifactError, match="was not written by embcomp"):
        write_card(saved)
    assert not write_card_unless_edited(saved) and path.read_text() == "mine\n"
    assert strangers(saved, {"config.json", "weights.safetensors"}) == ["README.md"]
    with pytest.raises(ArtifactError, match="holds README.md beside the student"):
        student().save(saved)
    path.unlink()
    write_card(saved)
    assert is_card(path) and write_card(saved, SCORES) == path
    student().save(saved)  # a card of embcomp's own hinders nothing
    write_card(saved)
    path.write_text(path.read_text().replace("## Limits", "## Limits\n\nI know better."))
    with pytest.raises(ArtifactError, match="or was edited since"):
        write_card(saved)
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(ArtifactError, match="was not written by embcomp"):
        write_card(saved)


def test_of_a_compressor(tmp_path, rng):
    Compressor(3, method="pca").fit(rng.normal(size=(50, 8))).save(tmp_path / "c")
    text = write_card(tmp_path / "c").read_text()
    assert "8 numbers to 3" in text and "Fitted on 50 embeddings" in text
    assert Compressor.load(tmp_path / "c").n_components_ == 3
    (tmp_path / "c/config.json").write_text(json.dumps({"kind": "teacher", "format": 1}))
    with pytest.raises(ArtifactError, match="a card is of a student or compressor"):
        write_card(tmp_path / "c")


def test_the_command_takes_scores_of_evaluate(saved, tmp_path, capsys):
    table = pd.DataFrame(
        [("as trained", "accuracy", 0.75, 0.6, 0.85, 40, "a", "b")],
        columns=["setting", "metric", "value", "low", "high", "n", "train_dataset", "test_dataset"],
    )
    table.to_csv(tmp_path / "scores.csv", index=False)
    card.main([str(saved), "--scores", str(tmp_path / "scores.csv"), "--license", "mit"], standalone_mode=False)
    assert capsys.readouterr().out.strip() == str(saved / "README.md")
    text = (saved / "README.md").read_text()
    assert "| accuracy | 0.750 (0.600 to 0.850) |" in text and 'license: "mit"' in text


@pytest.mark.parametrize(
    ("kind", "inputs", "words"),
    [
        (
            "mlp",
            InputSpec("table", (2, 1), ("age", "height")),
            ("tabular-classification", "age, height", "features.csv"),
        ),
        ("cnn", InputSpec("images", (1, 8, 8)), ("image-classification", "Images of 1 x 8 x 8", "images.npz")),
    ],
)
def test_of_a_student_without_audio_it_speaks_of_none(tmp_path, kind, inputs, words):
    found = Classifier.new(["a", "b"], AudioConfig(), student_settings(kind=kind, width=8), False, 0, inputs)
    found.save(tmp_path / "student")
    text = card_of(tmp_path / "student")
    assert all(word in text for word in words)
    assert not any(word in text for word in ("udio", "Hz", "recordings", "silence", "clips of"))
