"""Killed at any point and called again, every stage ends with the bytes of an undisturbed call, and leaves no litter."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from helpers.killing import call, contents, points
from helpers.tones import write_tones

# Imported here, so that the forked children need not: they are killed in their work, not in their imports.

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc").is_dir(), reason="needs Linux processes")

TEACHER = ["--set", "teacher.centroids=4", "--set", "teacher.whitened=8", "--set", "teacher.patches=300"]
TRAINING = ["--set", "training.steps=24", "--set", "training.batch_size=8", "--set", "training.evaluate_every=6",
            "--set", "training.checkpoint_every=5", "--set", "student.width=8", "--set", "audio.n_mels=16",
            "--set", "audio.seconds=0.3"]  # fmt: skip
CONFIG = """
seeds = [0, 1]
workers = {workers}
[data]
train = "home/manifest.csv"
cross = ["abroad/manifest.csv"]
[audio]
seconds = 0.3
n_mels = 16
[split]
folds = 2
validation = 0.5
[teacher]
centroids = 4
whitened = 8
patches = 300
[compressor]
dim = 1
[student]
width = 8
[training]
steps = 12
batch_size = 8
evaluate_every = 6
checkpoint_every = 5
[evaluation]
bootstrap = 50
[[variants]]
name = "none"
transfer.method = "none"
[[variants]]
name = "compressed"
"""
# Times, and the place of the folder.
CHANGING = ("environment.json", "result.json", "metrics.json", "report.md", "report.html", "config.toml")


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """What each stage reads, and its command with OUT in place of the folder to write."""
    folder = tmp_path_factory.mktemp("ready")
    home = write_tones(folder / "home", groups=4, clips=6, name="home")
    write_tones(folder / "abroad", groups=2, clips=2, name="abroad", seed=9)
    for workers in (1, 2):
        (folder / f"run{workers}.toml").write_text(CONFIG.format(workers=workers))
    commands = {
        "embed": ["embed", home, "--teacher", "kmeans", "--out", "OUT/store", "--seconds", "0.3", *TEACHER],
        "compress": ["compress", folder / "store", "--manifest", home, "--method", "mlp", "--dim", "1", "--out", "OUT/comp"],
        "distill": ["distill", home, "--targets", folder / "store", "--transfer", "embedding", "--out", "OUT/student", *TRAINING],
        "run": ["run", folder / "run1.toml", "--out", "OUT/run"],
        "workers": ["run", folder / "run2.toml", "--out", "OUT/run"],
    }  # fmt: skip
    code, _, _ = call(into(commands["embed"], folder), folder / "log")
    assert code == 0, (folder / "log").read_text()
    return folder, commands


def into(command, folder):
    return [str(part).replace("OUT", str(folder)) for part in command]


@pytest.fixture(scope="module")
def undisturbed(ready, tmp_path_factory):
    """Bytes, file operations and seconds of a stage that nobody disturbs; made once a stage."""
    known = {}

    def find(stage):
        if stage not in known:
            folder = tmp_path_factory.mktemp(f"whole_{stage}")
            code, operations, seconds = call(into(ready[1][stage], folder / "out"), folder / "log")
            assert code == 0, (folder / "log").read_text()
            known[stage] = (contents(folder / "out", CHANGING), operations, seconds)
        return known[stage]

    return find


def disturb(ready, undisturbed, stage, tmp_path, count, seed):
    """Kill and repeat so many times; returns how many calls were killed, and how many results were equal."""
    expected, operations, seconds = undisturbed(stage)
    killed = equal = 0
    for number, point in enumerate(points(seed, count, operations if stage != "workers" else 0, seconds)):
        out = tmp_path / str(number)
        command = into(ready[1][stage], out)
        code, _, _ = call(command, tmp_path / "log", **point)
        assert code in (0, -signal.SIGKILL), (point, (tmp_path / "log").read_text())
        killed += code != 0
        if code != 0:
            code, _, _ = call(command, tmp_path / "log")
            said = (tmp_path / "log").read_text()
            # A compressor that was whole when the kill came is not fitted again.
            assert code == 0 or (stage == "compress" and "already exists" in said), (point, said)
        found = contents(out, CHANGING)
        assert found.keys() == expected.keys(), point
        assert found == expected, (point, [name for name in found if found[name] != expected[name]])
        equal += 1
        shutil.rmtree(out)
    return killed, equal


@pytest.mark.parametrize("stage", ["embed", "compress", "distill", "run"])
def test_a_killed_stage_goes_on_to_the_same_bytes(ready, undisturbed, stage, tmp_path):
    killed, equal = disturb(ready, undisturbed, stage, tmp_path, 2, seed=7)
    assert equal == 2 and killed >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "count"), [("embed", 25), ("compress", 25), ("distill", 25), ("run", 20), ("workers", 5)]
)
def test_killed_a_hundred_times_nothing_is_lost(ready, undisturbed, stage, count, tmp_path):
    killed, equal = disturb(ready, undisturbed, stage, tmp_path, count, seed=11)
    sys.stderr.write(f"{stage}: {count} points, {killed} killed, {equal} equal\n")
    assert equal == count and killed >= count // 2


def test_a_kill_between_any_two_file_operations_of_a_store_loses_no_row(ready, undisturbed, tmp_path):
    _, operations, _ = undisturbed("embed")
    expected, _, _ = undisturbed("embed")
    for at in range(operations - 6, operations + 1):
        out = tmp_path / str(at)
        command = into(ready[1]["embed"], out)
        assert call(command, tmp_path / "log", kill_at=at)[0] == -signal.SIGKILL
        assert call(command, tmp_path / "log")[0] == 0
        assert contents(out) == expected, at


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_stage_with_words_and_the_same_command_goes_on(
    ready, undisturbed, number, code, word, tmp_path
):
    expected, _, seconds = undisturbed("distill")
    command = into(ready[1]["distill"], tmp_path / "out")
    for part in (0.5, 0.3, 0.1):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        found, _, _ = call(command, tmp_path / "log", kill_after=part * seconds, number=number)
        if found != 0:  # on a busy machine it may have been the quicker
            break
    said = (tmp_path / "log").read_text()
    assert found == code and f"{word}; finished work is kept: run the same command again to continue" in said
    assert "Traceback" not in said
    assert call(command, tmp_path / "log")[0] == 0
    assert contents(tmp_path / "out") == expected


def test_a_signal_ends_the_workers_too(ready, tmp_path):
    command = into(ready[1]["workers"], tmp_path / "out")
    found, _, _ = call(command, tmp_path / "log", kill_after=3.0, number=signal.SIGTERM)
    assert found in (0, 143)
    deadline = time.time() + 20
    while (left := working(tmp_path)) and time.time() < deadline:
        time.sleep(0.2)
    assert not left


def working(folder):
    """Processes of the engine that were started by a command that writes into `folder`."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
                parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                continue
            if b"embcomp.engines.local" in command and parent in (str(os.getpid()), "1"):
                found.append(process.name)
    return found
