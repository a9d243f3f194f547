"""A run whose students are trained by several processes each."""

from __future__ import annotations

from helpers.tones import write_tones

from embcomp.config import parse
from embcomp.engines.local import Engine
from embcomp.pipeline import run
from embcomp.pipeline.stages import student


def test_every_student_is_trained_by_as_many_processes_as_are_asked_for(tmp_path, monkeypatch):
    manifest = write_tones(tmp_path / "tones", groups=4, clips=2)
    asked = []

    def together(function, job, processes):
        asked.append((function.__name__, processes, job["threads"]))
        return function(**job)

    monkeypatch.setattr(student, "run_together", together)
    config = {
        "seeds": [0],
        "workers": 1,
        "data": {"train": str(manifest)},
        "audio": {"seconds": 0.4, "n_mels": 24},
        "split": {"folds": 2},
        "evaluation": {"bootstrap": 5, "probe": False},
        "transfer": {"method": "none"},
        "training": {"steps": 3, "batch_size": 8, "processes": 2},
    }
    first = run(parse(config), tmp_path / "run")
    assert asked == [("train_together", 2, 1)] * 2 and len(first.scores)
    config["training"]["processes"] = 1
    again = run(parse(config), tmp_path / "run")  # the same students
    assert again.made == 0 and len(asked) == 2


def test_jobs_that_start_processes_themselves_are_fewer_at_a_time():
    with Engine(3) as engine:
        assert [
            answer for _, answer in engine.map(_own_process, [{"number": number} for number in range(3)], processes=3)
        ] == [0, 1, 2]
        assert not engine._pool  # one at a time, in this process


def _own_process(number):
    return number
