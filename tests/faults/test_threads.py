"""How many cores there are to use: affinity, control groups of either version, and what others keep busy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from embcomp.engines import local as engine
from embcomp.engines.local import THREAD_VARIABLES, Engine, available_cores, cgroup_cores, set_threads


@pytest.fixture
def groups(tmp_path):
    """Lays out control groups; returns the arguments of `cgroup_cores`."""

    def lay(own, files):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return tmp_path / "cgroup", tmp_path / "own"

    return lay


CASES = [
    ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
    ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
    ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
    ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    ("0::/\n", {}, None),
    ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000", "cpu.max": "max 100000"}, 3.0),
    ("0::/a/b\n", {"a/b/cpu.max": "100000 100000", "a/cpu.max": "300000 100000"}, 1.0),
    ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3.0),
    # Seen from a container, the path is the host's and only the own group is mounted.
    ("0::/system.slice/docker-1.scope\n", {"cpu.max": "200000 100000"}, 2.0),
    ("0::/../../outside\n", {"cpu.max": "200000 100000"}, 2.0),
    ("0::/\n", {"cpu.max": "rubbish"}, None),
    ("0::/\n", {"cpu.max": ""}, None),
    ("0::/\n", {"cpu.max": "100000 0"}, None),
    # What says nothing is read as the group that is mounted.
    ("rubbish\n\n", {"cpu.max": "100000 100000"}, 1.0),
    ("4:cpu,cpuacct:/\n2:memory:/\n", {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.5),
    ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ("4:cpu:/docker/1\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, 2.0),
    (
        "4:cpu:/a\n0::/\n",
        {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000", "cpu.max": "max 100000"},
        3.0,
    ),
    ("3:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, None),
]


@pytest.mark.parametrize(("own", "files", "cores"), CASES)
def test_the_quota_is_read_from_either_version(groups, own, files, cores):
    assert cgroup_cores(*groups(own, files)) == cores


def test_where_nothing_says_which_group_the_mounted_one_counts(groups, tmp_path):
    mount, _ = groups("", {"cpu.max": "200000 100000"})
    assert cgroup_cores(mount, tmp_path / "none") == 2.0
    assert cgroup_cores(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"), [(8, None, 8), (8, 2.0, 2), (8, 2.9, 2), (8, 0.5, 1), (2, 6.0, 2), (1, None, 1)]
)
def test_cores_are_the_affinity_cut_to_the_quota(monkeypatch, affinity, quota, cores):
    monkeypatch.setattr(engine.os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    monkeypatch.setattr(engine, "cgroup_cores", lambda: quota)
    assert available_cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_held_to_one_core_starts_one_worker():
    code = "from embcomp.engines.local import Engine, available_cores; print(available_cores(), Engine().workers)"
    held = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {code}"
    done = subprocess.run([sys.executable, "-c", held], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["1", "1"]


def test_one_option_limits_torch_blas_and_what_is_started(monkeypatch):
    import torch
    from threadpoolctl import threadpool_info

    before = torch.get_num_threads()
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "7")
    try:
        set_threads(1)
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} <= {1}
        assert {os.environ[name] for name in THREAD_VARIABLES} == {"1"}
    finally:
        set_threads(before)


@pytest.mark.parametrize(("threads", "free", "workers"), [(1, 4, 4), (2, 4, 2), (3, 4, 1), (8, 4, 1)])
def test_workers_times_threads_are_no_more_than_the_free_cores(monkeypatch, threads, free, workers):
    monkeypatch.setattr(engine, "free_cores", lambda: free)
    assert Engine(0, threads).workers == workers
