from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from helpers.jobs import (
    always_killed,
    chatters,
    dies,
    fails,
    hangs,
    hungry,
    hungry_tensor,
    killed_once,
    process_id,
    square,
)

from embcomp.engines.local import Engine, available_cores, cpu_seconds, free_cores
from embcomp.errors import EmbcompError, StoreError

ROOT = Path(__file__).resolve().parents[2]


def results(workers, function, count):
    with Engine(workers) as engine:
        return [answer for answer in engine.map(function, [{"number": number} for number in range(count)])]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_answered_once(workers):
    assert sorted(results(workers, square, 5)) == [(number, number**2) for number in range(5)]


def test_two_workers_are_two_other_processes():
    with Engine(2) as engine:
        first = {result for _, result in engine.map(process_id, [{"number": number} for number in range(4)])}
        second = {result for _, result in engine.map(process_id, [{"number": number} for number in range(4)])}
    assert len(first) == 2 and os.getpid() not in first
    assert first == second  # workers are kept
    assert not any(alive(process) for process in first)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_kind_and_words(workers):
    with pytest.raises(StoreError, match="row 1 is bad"):
        results(workers, fails, 4)


def test_a_dead_worker_is_told():
    with pytest.raises(EmbcompError, match="worker process died"):
        results(2, dies, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
def test_a_job_whose_worker_is_killed_is_given_to_another(tmp_path):
    with Engine(2) as engine:
        given = [{"number": number, "folder": str(tmp_path)} for number in range(4)]
        assert sorted(engine.map(killed_once, given)) == [(number, number) for number in range(4)]
        assert sorted(engine.map(square, [{"number": 3}, {"number": 4}])) == [(0, 9), (1, 16)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
def test_a_job_that_kills_every_worker_is_told(monkeypatch):
    monkeypatch.setattr("embcomp.engines.local.RETRIES", 1)
    with pytest.raises(EmbcompError, match=r"a worker process died \(exit code -9\); memory may have run out"):
        results(2, always_killed, 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory")
@pytest.mark.parametrize("job", [hungry, hungry_tensor])
def test_a_worker_without_memory_is_told_in_a_line(job, capfd):
    with pytest.raises(EmbcompError, match=r"memory ran out in a worker process; .* fewer workers .* to go on"):
        results(2, job, 2)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_worker_that_hangs_is_given_up_and_what_others_did_is_kept():
    done = []
    with Engine(2, patience=0.4) as engine, pytest.raises(EmbcompError, match=r"done nothing for 0\.4 s.*run again"):
        done.extend(engine.map(hangs, [{"number": number} for number in range(3)]))
    assert engine._pool == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_time_that_a_process_computed_is_counted():
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert cpu_seconds(os.getpid()) > before
    assert cpu_seconds(2**30) is None


def test_what_jobs_print_does_not_mix_with_answers():
    assert sorted(results(2, chatters, 4)) == [(number, number) for number in range(4)]


def test_no_jobs_is_no_work():
    assert results(2, square, 0) == []


def test_cores_are_counted():
    assert 1 <= free_cores() <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("idle, expected", [(0.1, 1), (1.2, 1), (1.8, 2), (7.0, 4), (None, 4)])
def test_busy_cores_are_left_alone(monkeypatch, idle, expected):
    monkeypatch.setattr("embcomp.engines.local.available_cores", lambda: 4)
    monkeypatch.setattr("embcomp.engines.local._idle_cores", lambda: idle)
    assert free_cores() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = f"""
    import sys, os
    sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
    from embcomp.engines.local import Engine
    from helpers import jobs
    list(Engine(2).map(jobs.writes_and_waits, [{{"folder": {str(tmp_path)!r}}}] * 2))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    deadline = time.time() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.time() < deadline:
        time.sleep(0.1)
    workers = [int(file.name) for file in tmp_path.iterdir()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    while any(alive(worker) for worker in workers) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(alive(worker) for worker in workers)


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
