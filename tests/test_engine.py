from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from embcomp.engine import Engine, available_cores, free_cores
from embcomp.errors import EmbcompError, StoreError

ROOT = Path(__file__).resolve().parents[1]


# Jobs run in other processes, which import this module by its name.
def square(number):
    return number * number


def process_id(number):
    time.sleep(0.2)
    return os.getpid()


def fails(number):
    if number == 1:
        raise StoreError("row 1 is bad")
    return number


def dies(number):
    os._exit(9)


def chatters(number):
    os.write(1, b"a library prints what it likes\n")
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_answered_once(workers):
    jobs = [{"number": number} for number in range(5)]
    assert sorted(Engine(workers).map(square, jobs)) == [(number, number**2) for number in range(5)]


def test_two_workers_are_two_other_processes():
    found = {result for _, result in Engine(2).map(process_id, [{"number": number} for number in range(4)])}
    assert len(found) == 2 and os.getpid() not in found


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_kind_and_words(workers):
    with pytest.raises(StoreError, match="row 1 is bad"):
        list(Engine(workers).map(fails, [{"number": number} for number in range(4)]))


def test_a_dead_worker_is_told():
    with pytest.raises(EmbcompError, match="worker process died"):
        list(Engine(2).map(dies, [{"number": number} for number in range(4)]))


def test_what_jobs_print_does_not_mix_with_answers():
    jobs = [{"number": number} for number in range(4)]
    assert sorted(Engine(2).map(chatters, jobs)) == [(number, number) for number in range(4)]


def test_no_jobs_is_no_work():
    assert list(Engine(2).map(square, [])) == []


def test_cores_are_counted():
    assert 1 <= free_cores() <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = f"""
    import sys, os
    sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
    from embcomp.engine import Engine
    import test_engine
    list(Engine(2).map(test_engine.writes_and_waits, [{{"folder": {str(tmp_path)!r}}}] * 2))
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


def writes_and_waits(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
