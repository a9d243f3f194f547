"""Killed, interrupted or out of disk at any point and called again, a command ends with the bytes of an undisturbed call.

EMBCOMP_FAULT_POINTS=100 pytest -m slow tests/faults/test_kill.py disturbs every command at 100 points in each way.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.killing import KINDS, call, contents, points
from helpers.runs import TONES_RUN
from helpers.tones import write_tones

from embcomp import cli
from embcomp.errors import EmbcompError
from embcomp.storage.merging import merge_stores
from embcomp.storage.store import EmbeddingStore, write_store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc").is_dir(), reason="needs Linux processes")

TEACHER = ["--set", "teacher.centroids=4", "--set", "teacher.whitened=8", "--set", "teacher.patches=300"]
TRAINING = ["--set", "training.steps=24", "--set", "training.batch_size=8", "--set", "training.evaluate_every=6",
            "--set", "training.checkpoint_every=5", "--set", "student.width=8", "--set", "audio.n_mels=16",
            "--set", "audio.seconds=0.3"]  # fmt: skip
CONFIG = (
    TONES_RUN
    + """checkpoint_every = 5
[evaluation]
bootstrap = 50
[[variants]]
name = "none"
transfer.method = "none"
[[variants]]
name = "compressed"
"""
)
POINTS = int(os.environ.get("EMBCOMP_FAULT_POINTS", "20"))
ENDS = {"kill": -signal.SIGKILL, "interrupt": 130, "full": 2}
# The compiler of exported C is started with the usual signals.
FULL = ("No space left", "File too large", "File size limit")
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
        "apply": ["apply", folder / "comp", folder / "shards", "--out", "OUT/targets"],
        "distill": ["distill", home, "--targets", folder / "store", "--transfer", "embedding", "--out", "OUT/student", *TRAINING],
        "run": ["run", folder / "run1.toml", "--out", "OUT/run"],
        "workers": ["run", folder / "run2.toml", "--out", "OUT/run"],
        "export": ["export", folder / "student", "--to", "c", "--out", "OUT/student.c"],
        "onnx": ["export", folder / "student", "--to", "onnx", "--out", "OUT/student.onnx"],
    }  # fmt: skip
    for stage in ("embed", "compress", "distill"):
        code, _, _ = call(into(commands[stage], folder), folder / "log")
        assert code == 0, (folder / "log").read_text()
    in_shards(folder / "store", folder / "shards")
    return folder, commands


def in_shards(path, out):
    """A store's rows in two shards."""
    store, parts = EmbeddingStore.open(path), []
    for start, stop in ((0, 9), (9, len(store))):
        rows = np.array(store.data[start:stop])
        names, hashes = store.ids[start:stop], store.hashes[start:stop]
        part = out.with_name(f"from{start}")
        parts.append(write_store(part, names, hashes, store.dim, store.settings, lambda n, rows=rows: rows[n]).path)
    merge_stores(parts, out)


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


def disturb(ready, undisturbed, stage, kind, tmp_path, count, seed):
    """Disturb and repeat so many times; returns how many calls did not end by themselves."""
    expected, operations, seconds = undisturbed(stage)
    disturbed = 0
    for number, point in enumerate(points(seed, count, operations if stage != "workers" else 0, seconds, kind)):
        out = tmp_path / str(number)
        command = into(ready[1][stage], out)
        code, _, _ = call(command, tmp_path / "log", **point)
        said = (tmp_path / "log").read_text()
        assert code in (0, ENDS[kind]), (point, said)
        check_words(kind, code, said, point)
        disturbed += code != 0
        if code != 0:
            code, _, _ = call(command, tmp_path / "log")
            said = (tmp_path / "log").read_text()
            # A compressor that was whole when the call was disturbed is not fitted again.
            assert code == 0 or (stage == "compress" and "already exists" in said), (point, said)
        if "no model card: cannot write" in said:  # that alone does not fail a command
            assert code == 0 and call(["card", out / "student"], tmp_path / "log")[0] == 0
        found = contents(out, CHANGING)
        assert found.keys() == expected.keys(), point
        assert found == expected, (point, [name for name in found if found[name] != expected[name]])
        shutil.rmtree(out)
    return disturbed


def check_words(kind, code, said, point):
    """What is said about an interruption or a full disk: a line, and what to do."""
    assert "Traceback" not in said and "Exception ignored" not in said, (point, said)
    if kind == "interrupt" and code:
        assert "interrupted; finished work is kept: run the same command again to continue" in said, (point, said)
    if kind == "full" and code:
        (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert ("cannot " in line or "does not compile" in line) and any(word in line for word in FULL), (
            point,
            said,
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["embed", "compress", "apply", "distill", "export", "run"])
def test_a_disturbed_command_goes_on_to_the_same_bytes(ready, undisturbed, stage, kind, tmp_path):
    disturb(ready, undisturbed, stage, kind, tmp_path, 1 if stage == "run" else 2, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["embed", "compress", "apply", "distill", "export", "onnx", "run", "workers"])
def test_disturbed_a_hundred_times_nothing_is_lost(ready, undisturbed, stage, kind, tmp_path):
    if (stage, kind) == ("workers", "full"):
        pytest.skip("which of two workers meets the limit first is left to chance")
    count = max(1, POINTS // (10 if stage in ("onnx", "workers") else 1))
    disturbed = disturb(ready, undisturbed, stage, kind, tmp_path, count, seed=11)
    sys.stderr.write(f"{stage}, {kind}: {count} points, {disturbed} disturbed, {count} equal\n")
    assert disturbed >= count // 2


def test_a_kill_between_any_two_file_operations_of_a_store_loses_no_row(ready, undisturbed, tmp_path):
    _, operations, _ = undisturbed("embed")
    expected, _, _ = undisturbed("embed")
    for at in range(operations - 6, operations + 1):
        out = tmp_path / str(at)
        command = into(ready[1]["embed"], out)
        assert call(command, tmp_path / "log", at=at)[0] == -signal.SIGKILL
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
        found, _, _ = call(command, tmp_path / "log", after=part * seconds, number=number)
        if found != 0:  # on a busy machine it may have been the quicker
            break
    said = (tmp_path / "log").read_text()
    assert found == code and f"{word}; finished work is kept: run the same command again to continue" in said
    assert "Traceback" not in said
    assert call(command, tmp_path / "log")[0] == 0
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("error", [TypeError, EmbcompError, OSError])
def test_an_interruption_that_a_library_makes_another_error_of_is_one(error, tmp_path):
    def swallow(**options):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise error("could not determine the shape") from None

    code, _, _ = call(["doctor"], tmp_path / "log", before=lambda: setattr(cli, "group", swallow))
    said = (tmp_path / "log").read_text()
    assert code == 130 and "interrupted; finished work is kept" in said and "shape" not in said, said


def test_a_signal_ends_the_workers_too(ready, tmp_path):
    command = into(ready[1]["workers"], tmp_path / "out")
    found, _, _ = call(command, tmp_path / "log", after=3.0, number=signal.SIGTERM)
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
