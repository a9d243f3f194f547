"""Scores that are kept beside predictions: the same numbers, none computed twice, none of other predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import embcomp.pipeline.kept_scores as module
from embcomp.config import EvaluationConfig
from embcomp.errors import ArtifactError
from embcomp.evaluation.scores import Predictions, score_rows
from embcomp.pipeline.kept_scores import KeptScores

OPTIONS = EvaluationConfig(bootstrap=20)


def predictions(folder, name: str, seed: int, groups: int = 4) -> str:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), 24).astype(np.float32)
    ids, names = (
        np.array([f"{kind}{row % most}" for row in range(24)], object) for kind, most in (("c", 24), ("g", groups))
    )
    Predictions(ids, names, rng.integers(3, size=24), probabilities, ("a", "b", "c")).save(folder / name)
    return str(folder / name)


def test_rows_are_those_of_scoring_and_are_scored_once(tmp_path, monkeypatch):
    """Also where a single group has no interval, whose ends are NaN."""
    files = [predictions(tmp_path, "1.csv", 1), predictions(tmp_path, "2.csv", 2), predictions(tmp_path, "3.csv", 3, 1)]
    asked = [files[:1], files[:2], files[2:]]
    first = KeptScores(tmp_path / "scores.json", OPTIONS)
    found = [first.rows(some) for some in asked]
    first.save()
    for some, rows in zip(asked, found):
        expected = score_rows([Predictions.load(path) for path in some], OPTIONS, {})
        pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(expected), check_exact=True, check_dtype=False)
    monkeypatch.setattr(module, "score_rows", lambda *anything: pytest.fail("scored again"))
    again = KeptScores(tmp_path / "scores.json", OPTIONS)
    for some, rows in zip(asked, found):
        pd.testing.assert_frame_equal(pd.DataFrame(again.rows(some)), pd.DataFrame(rows), check_exact=True)


def test_other_predictions_and_other_options_are_scored_anew(tmp_path):
    path = predictions(tmp_path, "1.csv", 1)
    first = KeptScores(tmp_path / "scores.json", OPTIONS)
    before = first.rows([path])
    first.save()
    wider = KeptScores(tmp_path / "scores.json", EvaluationConfig(bootstrap=20, confidence=0.5)).rows([path])
    assert wider[0]["value"] == before[0]["value"] and wider[0]["low"] > before[0]["low"]
    predictions(tmp_path, "1.csv", 2)
    assert KeptScores(tmp_path / "scores.json", OPTIONS).rows([path])[0]["value"] != before[0]["value"]


@pytest.mark.parametrize("content", ["", "[]", '{"key": [{"metric": "accuracy"}]}', '{"key": 3}'])
def test_a_damaged_file_holds_nothing(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    kept = KeptScores(tmp_path / "scores.json", OPTIONS)
    assert kept.rows([predictions(tmp_path, "1.csv", 1)])
    kept.save()
    assert KeptScores(tmp_path / "scores.json", OPTIONS)._before


def test_missing_predictions_are_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.csv"):
        KeptScores(tmp_path / "scores.json", OPTIONS).rows([str(tmp_path / "none.csv")])


class ByPipe:
    """An engine whose jobs and results are JSON, and the last job ends first."""

    def __init__(self):
        self.jobs: list = []

    def map(self, function, jobs):
        self.jobs += jobs
        for number, job in reversed(list(enumerate(jobs))):
            yield number, json.loads(json.dumps(function(**json.loads(json.dumps(job)))))


def test_workers_score_what_is_not_known_and_the_same(tmp_path, monkeypatch):
    files = [predictions(tmp_path, f"{seed}.csv", seed, 1 if seed == 3 else 4) for seed in range(4)]
    together = [[files[:1], files[1:2], files[:2]], [files[3:]]]
    alone = KeptScores(tmp_path / "alone.json", OPTIONS)
    expected = [pd.DataFrame(alone.rows(one)) for some in together for one in some]
    engine = ByPipe()
    KeptScores(tmp_path / "scores.json", OPTIONS).score(together[:1], engine)
    KeptScores(tmp_path / "scores.json", OPTIONS).score(together, engine)
    assert [job["together"] for job in engine.jobs] == [together[0], together[1]]
    monkeypatch.setattr(module, "score_rows", lambda *anything: pytest.fail("scored again"))
    kept = KeptScores(tmp_path / "scores.json", OPTIONS)
    for one, rows in zip((one for some in together for one in some), expected):
        pd.testing.assert_frame_equal(pd.DataFrame(kept.rows(one)), rows, check_exact=True)
    kept.save()
    kept.score(together, engine)
    assert len(engine.jobs) == 2
