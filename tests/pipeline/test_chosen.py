"""The student of a run that predict takes: by validation score, whatever the tests say."""

from __future__ import annotations

import json

import pytest

from embcomp.errors import ArtifactError, ConfigError
from embcomp.pipeline.chosen import best_student, is_run


@pytest.fixture
def run(tmp_path):
    index, scores = [], {}
    for variant, values in {"none": (0.9, 0.1), "compressed": (0.7, 0.6)}.items():
        for seed, value in enumerate(values):
            name = f"{variant}{seed}"
            (tmp_path / "stages" / "students" / name).mkdir(parents=True)
            scores[name] = {"validation_score": value}
            about = {"variant": variant, "seed": seed, "fold": "1", "student": f"stages/students/{name}"}
            index += [about, about]
    index.append({"variant": "probe: kmeans", "seed": 0, "fold": "1", "student": None})
    (tmp_path / "predictions.json").write_text(json.dumps(index))
    (tmp_path / "metrics.json").write_text(json.dumps({"students": scores}))
    return tmp_path


def test_the_variant_by_its_mean_and_then_the_student(run):
    found = best_student(run)
    assert (found.variant, found.seed, found.path.name) == ("compressed", 0, "compressed0")
    assert str(found) == "student 'compressed', seed 0, fold 1, validation score 0.700"
    assert best_student(run, "none").path.name == "none0"


def test_what_is_no_run_or_has_no_such_variant_is_told(run, tmp_path):
    with pytest.raises(ConfigError, match="no variant 'compresed'; did you mean 'compressed'"):
        best_student(run, "compresed")
    (run / "metrics.json").write_text("[]")
    with pytest.raises(ArtifactError, match="damaged"):
        best_student(run)
    (run / "metrics.json").unlink()
    assert not is_run(run)
    with pytest.raises(ArtifactError, match="not the folder of a finished run"):
        best_student(run)
