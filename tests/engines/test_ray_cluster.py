"""The Ray engine on real clusters of this machine: pip install -e '.[ray]'; pytest -m slow tests/engines/test_ray_cluster.py."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.jobs import always_killed, fails, hungry, killed_once, node_and_process, square, wrong
from helpers.killing import contents
from helpers.runs import TONES_RUN
from helpers.tones import write_tones

from embcomp.engines import open_engine
from embcomp.errors import EmbcompError, StoreError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc"),
    pytest.mark.timeout(600),
]
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(autouse=True, scope="module")
def _needs_ray():
    # The engine imports it, after it has set what Ray reads then.
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra ray")


@pytest.fixture(scope="module")
def there(_needs_ray):
    """An engine on a cluster of this machine, for all tests that leave it as it is."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("RAY_")}
    with open_engine("ray", 2) as engine:
        yield engine
    os.environ.update(before)


def jobs(count, **more):
    return [{"number": number, **more} for number in range(count)]


def test_jobs_errors_and_deaths_are_those_of_the_local_engine(there, tmp_path, capfd):
    assert sorted(there.map(square, jobs(9))) == [(number, number**2) for number in range(9)]
    with pytest.raises(StoreError, match="^row 1 is bad$"):
        list(there.map(fails, jobs(4)))
    with pytest.raises(EmbcompError, match="^a worker process died; memory may have run out"):
        list(there.map(always_killed, jobs(2)))
    with pytest.raises(EmbcompError, match="memory ran out in a worker process"):
        list(there.map(hungry, jobs(2)))
    with pytest.raises(EmbcompError, match="exit code 1"):
        list(there.map(wrong, jobs(2)))
    assert sorted(there.map(killed_once, jobs(4, folder=str(tmp_path)))) == [(number, number) for number in range(4)]
    out, err = capfd.readouterr()
    assert out == "" and "KeyError: 'a mistake'" in err and "raylet" not in err


def test_workers_are_kept(there):
    first = {process for _, (_, process) in there.map(node_and_process, jobs(4))}
    assert first <= {process for _, (_, process) in there.map(node_and_process, jobs(4))}


def test_the_cluster_listens_on_this_machine_alone_and_answers_nobody_without_its_token(there):
    import ray

    address = ray.get_runtime_context().gcs_address
    assert address.startswith("127.0.0.1:")
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port = f"{int(address.split(':')[1]):04X}"
    assert not any(place[1].endswith(f":{port}") and place[1].startswith("00000000") for place in listening)
    done = python("from embcomp.engines import open_engine\nopen_engine('ray', 1).__enter__()", RAY_ADDRESS=address)
    assert "asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in done.stderr, done.stderr


def test_an_address_where_something_else_answers_is_refused_in_time():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = python("from embcomp.engines import open_engine\nopen_engine('ray', 1).__enter__()", RAY_ADDRESS=address)
    assert f"RAY_ADDRESS is '{address}', which cannot be used: what answers there is no Ray cluster" in done.stderr


def test_a_second_machine_takes_part_and_its_death_loses_nothing(tmp_path):
    done = python(
        """
        import time
        from ray.cluster_utils import Cluster
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8})
        second = cluster.add_node(num_cpus=1, object_store_memory=10**8)
        cluster.wait_for_nodes()
        import os
        os.environ["RAY_ADDRESS"] = cluster.address
        from embcomp.engines import open_engine
        from helpers import jobs
        with open_engine("ray") as engine:
            assert engine.workers == 2, engine.workers
            found = dict(engine.map(jobs.node_and_process, [{"number": number} for number in range(8)]))
            assert len({node for node, _ in found.values()}) == 2, found
            seen = {}
            for number, place in engine.map(jobs.node_and_process, [{"number": number} for number in range(12)]):
                seen[number] = place
                if len(seen) == 3:
                    cluster.remove_node(second, allow_graceful=False)
            assert sorted(seen) == list(range(12)), seen
        cluster.shutdown()
        print("all done")
        """,
    )  # fmt: skip
    assert "all done" in done.stdout, done.stderr


CHANGING = (
    "config.toml",
    "environment.json",
    "report.html",
    "result.json",
    "metrics.json",
)  # some say how long it took


@pytest.fixture(scope="module")
def sounds(tmp_path_factory, _needs_ray):
    folder = tmp_path_factory.mktemp("sounds")
    write_tones(folder / "home", groups=4, clips=6, name="home")
    write_tones(folder / "abroad", groups=2, clips=2, name="abroad", seed=9)
    (folder / "run.toml").write_text(TONES_RUN.format(workers=2))
    return folder


def test_a_run_has_the_bytes_of_the_local_engine_also_when_workers_are_killed(sounds, tmp_path):
    done = [
        command(["run", sounds / "run.toml", "--out", tmp_path / name, "--engine", name]) for name in ("local", "ray")
    ]
    assert [one.returncode for one in done] == [0, 0], done
    assert done[0].stdout == done[1].stdout and sounds.exists()
    local = contents(tmp_path / "local", CHANGING)
    assert contents(tmp_path / "ray", CHANGING) == local and len(local) > 20
    started = start(["run", sounds / "run.toml", "--out", tmp_path / "killed", "--engine", "ray"])
    killed = 0
    for line in started.stderr:
        if " done" in line and killed < 3:
            killed += kill_workers(started.pid)
    assert started.wait(300) == 0 and killed
    assert contents(tmp_path / "killed", CHANGING) == local


def test_a_store_embedded_by_two_workers_has_the_bytes_of_one_process_also_when_workers_are_killed(tmp_path):
    manifest = write_tones(tmp_path / "many", groups=20, clips=50, seconds=0.1)
    embed = ["embed", manifest, "--teacher", "kmeans", "--seconds", "0.1", "--set", "teacher.patches=300"]
    done = [command([*embed, "--out", tmp_path / "one" / "store"])]
    done.append(command([*embed, "--out", tmp_path / "two" / "store", "--engine", "ray", "--workers", "2"]))
    assert [one.returncode for one in done] == [0, 0], done
    one = contents(tmp_path / "one")
    assert contents(tmp_path / "two") == one and len(one) > 4
    started = start([*embed, "--out", tmp_path / "killed" / "store", "--engine", "ray", "--workers", "2"])
    rows, killed = tmp_path / "killed" / ".store.partial" / "done.npy", 0
    while started.poll() is None:
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            if killed < 2 and sum(rows.read_bytes()[128:]) > 500 * killed:
                killed += kill_workers(started.pid)
    assert started.wait() == 0 and killed, started.stderr.read()
    assert contents(tmp_path / "killed") == one


def test_ctrl_c_ends_all_and_the_same_command_goes_on(sounds, tmp_path):
    arguments = ["run", sounds / "run.toml", "--out", tmp_path / "run", "--engine", "ray"]
    started = start(arguments)
    lines = []
    for line in started.stderr:
        lines.append(line)
        if "embeddings: " in line:
            os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    assert started.wait(120) == 130 and "interrupted; finished work is kept" in "".join(lines), lines
    assert not below(started.pid)
    done = command(arguments)
    assert done.returncode == 0 and " reused" in done.stderr, done.stderr


def test_nothing_is_left_of_a_cluster_whose_driver_is_killed(sounds, tmp_path):
    started = start(["run", sounds / "run.toml", "--out", tmp_path / "run", "--engine", "ray"])
    for line in started.stderr:
        if "embeddings: " in line:
            there = below(started.pid)
            started.kill()
            break
    started.stderr.close()
    started.wait(60)
    deadline = time.time() + 250
    while any(alive(process) for process in there) and time.time() < deadline:
        time.sleep(0.2)
    assert len(there) > 3 and not any(alive(process) for process in there)


def python(code, **variables):
    import textwrap

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def command(arguments):
    return subprocess.run(
        [sys.executable, "-m", "embcomp", *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def start(arguments):
    """The command in a process group of its own, whose standard error can be read line by line."""
    return subprocess.Popen(
        [sys.executable, "-m", "embcomp", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def below(process):
    """Living processes that `process` has started, and those that they have."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {one for one in found - {process} if alive(one)}


def kill_workers(process):
    """Kill one worker of the cluster of `process`; how many were."""
    for one in below(process):
        try:
            name = Path(f"/proc/{one}/cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::Worker"):
            os.kill(one, signal.SIGKILL)
            return 1
    return 0


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
