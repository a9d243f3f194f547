"""Commands where the machine is not as one expects: closed folders, drives that stall, clocks, names and locales."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.killing import call, contents
from helpers.tones import write_tones

import embcomp

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc").is_dir(), reason="needs Linux processes")

SMALL = ["--set", "teacher.centroids=4", "--set", "teacher.whitened=8", "--set", "teacher.patches=300"]
TRAINING = ["--set", "training.steps=4", "--set", "training.batch_size=8", "--set", "training.evaluate_every=2",
            "--set", "student.width=8", "--set", "audio.n_mels=16", "--set", "audio.seconds=0.3"]  # fmt: skip
CONFIG = """
seeds = [0]
workers = 1
[data]
train = "home/manifest.csv"
[audio]
seconds = 0.3
n_mels = 16
[split]
folds = 2
[student]
width = 8
[training]
steps = 2
[transfer]
method = "none"
[evaluation]
bootstrap = 20
"""


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A folder with a manifest and one of everything that commands make of it."""
    folder = tmp_path_factory.mktemp("ready")
    write_tones(folder / "home", groups=4, clips=3, name="home")
    (folder / "run.toml").write_text(CONFIG)
    for name in ("embed", "compress", "distill", "export", "run"):
        code, _, _ = call(commands(folder, folder)[name], folder / "log")
        assert code == 0, (folder / "log").read_text()
    return folder


def commands(folder, out):
    """Commands that read in `folder` and write into `out`."""
    home = folder / "home/manifest.csv"
    return {
        "embed": ["embed", home, "--teacher", "kmeans", "--out", out / "store", "--seconds", "0.3", *SMALL],
        "compress": ["compress", folder / "store", "--method", "pca", "--dim", "2", "--out", out / "comp"],
        "distill": ["distill", home, "--targets", folder / "store", "--transfer", "embedding", "--out", out / "student", *TRAINING],
        "export": ["export", folder / "student", "--to", "c", "--out", out / "student.c"],
        "run": ["run", folder / "run.toml", "--out", out / "run"],
        "apply": ["apply", folder / "comp", folder / "store", "--out", out / "targets"],
        "evaluate": ["evaluate", folder / "student", home, "--allow-seen", "--out", out / "scores.csv"],
        "predict": ["predict", folder / "student", folder / "home/audio", "--out", out / "labels.csv"],
        "report": ["report", folder / "run", "--out", out / "report.html"],
        "manifest": ["manifest", "folder", folder / "home", "--out", out / "made.csv"],
        "init": ["init", folder / "home/audio", "--label", "(high|low)", "--yes", "--config", out / "made.toml", "--out", out / "made.csv"],
        "sweep": ["sweep", folder / "store", "--manifest", home, "--dims", "1,2", "--folds", "2", "--methods", "pca", "--out", out / "sweep"],
    }  # fmt: skip


@pytest.mark.parametrize("name", list(commands(Path(), Path())))
def test_a_closed_folder_is_an_error_of_one_line_and_left_as_it_is(ready, name, tmp_path):
    (tmp_path / "closed").mkdir()
    code, _, _ = call(commands(ready, tmp_path / "closed")[name], tmp_path / "log", closed=tmp_path / "closed")
    said = (tmp_path / "log").read_text()
    assert code == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "Permission denied; choose another place" in line and "Traceback" not in said, said
    assert list((tmp_path / "closed").iterdir()) == []


ODD = os.fsdecode(b"d\xfcrer \xff")  # no UTF-8


@pytest.mark.parametrize("name", list(commands(Path(), Path())))
def test_folders_whose_names_are_no_text(ready, name, tmp_path):
    out = tmp_path / ODD
    out.mkdir()
    code, _, _ = call(commands(ready, out)[name], tmp_path / "log")
    said = (tmp_path / "log").read_text()
    if name == "init":  # a manifest is UTF-8, and so are the paths in it
        assert code == 2 and "not UTF-8; rename it" in said, said
        return
    assert code == 0, said
    assert contents(out)


# A drive that does not answer is like a pipe that nobody writes to: opening it for reading would wait for ever.
STALLED = {
    "manifest": ["embed", "PIPE.csv", "--teacher", "kmeans", "--out", "OUT"],
    "settings": ["run", "PIPE.toml", "--out", "OUT"],
    "label map": ["evaluate", "READY/student", "READY/home/manifest.csv", "--allow-seen", "--label-map", "PIPE.csv", "--out", "OUT.csv"],
    "vectors .npy": ["embed", "READY/home/manifest.csv", "--teacher", "store:PIPE.npy", "--out", "OUT"],
    "vectors .npz": ["embed", "READY/home/manifest.csv", "--teacher", "store:PIPE.npz", "--out", "OUT"],
    "vectors .csv": ["embed", "READY/home/manifest.csv", "--teacher", "store:PIPE.csv", "--out", "OUT"],
    "vectors .parquet": ["embed", "READY/home/manifest.csv", "--teacher", "store:PIPE.parquet", "--out", "OUT"],
    "vectors .h5": ["embed", "READY/home/manifest.csv", "--teacher", "store:PIPE.h5", "--out", "OUT"],
    "onnx teacher": ["embed", "READY/home/manifest.csv", "--teacher", "onnx:PIPE.onnx", "--out", "OUT"],
    "tflite teacher": ["embed", "READY/home/manifest.csv", "--teacher", "tflite:PIPE.tflite", "--out", "OUT"],
    "python teacher": ["embed", "READY/home/manifest.csv", "--teacher", "python:PIPE.py", "--out", "OUT"],
    "audio": ["predict", "READY/student", "PIPE.wav"],
    "onnx student": ["predict", "PIPE.onnx", "READY/home/audio"],
    "tflite student": ["predict", "PIPE.tflite", "READY/home/audio"],
    "table": ["manifest", "table", "PIPE.xlsx", "--out", "OUT.csv"],
    "table .json": ["manifest", "table", "PIPE.json", "--out", "OUT.csv"],
    "table .parquet": ["manifest", "table", "PIPE.parquet", "--out", "OUT.csv"],
    "raven": ["manifest", "raven", "PIPE.txt", "--out", "OUT.csv"],
    "audacity": ["manifest", "audacity", "PIPE.txt", "--out", "OUT.csv"],
    "kaldi": ["manifest", "kaldi", "FOLDER", "--out", "OUT.csv"],
    "report": ["report", "PIPE.csv", "--out", "OUT.html"],
    "page": ["demo-page", "PIPE.onnx", "--out", "OUT"],
}  # fmt: skip


@pytest.mark.parametrize("what", STALLED)
def test_what_never_answers_is_refused(ready, what, tmp_path):
    (tmp_path / "kaldi").mkdir()
    os.mkfifo(tmp_path / "kaldi/wav.scp")
    for part in STALLED[what]:
        if part.startswith("PIPE") or ":PIPE" in part:
            os.mkfifo(tmp_path / part.split(":")[-1])
    places = {"PIPE": f"{tmp_path}/PIPE", "READY": str(ready), "OUT": f"{tmp_path}/OUT", "FOLDER": f"{tmp_path}/kaldi"}
    command = STALLED[what]
    for name, place in places.items():
        command = [part.replace(name, place, 1) for part in command]
    code, _, _ = call(
        command, tmp_path / "log", before=lambda: (signal.signal(signal.SIGALRM, signal.SIG_DFL), signal.alarm(60))
    )
    said = (tmp_path / "log").read_text()
    assert code == 2, said
    assert "Traceback" not in said and said.count("error: ") == 1, said


def test_a_locale_without_letters_changes_nothing(ready, tmp_path):
    """Class and file names of any language, in a process whose locale is C, as under cron or in a container."""
    home = write_tones(tmp_path / "hörbar", classes=("犬", "größe"), groups=4, clips=3, name="звук")
    student = tmp_path / "wächter"
    code, _, _ = call(["distill", home, "--transfer", "none", "--out", student, *TRAINING], tmp_path / "log")
    assert code == 0, (tmp_path / "log").read_text()
    steps = [
        ["predict", student, tmp_path / "hörbar/audio", "--format", "csv", "--out", "OUT/labels.csv"],
        ["manifest", "folder", tmp_path / "hörbar/audio", "--label", "(犬|größe)", "--out", "OUT/made.csv"],
    ]
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for step in steps:
        for out in ("c", "utf-8"):
            (tmp_path / out).mkdir(exist_ok=True)
            line = [str(part).replace("OUT", str(tmp_path / out)) for part in step]
            if out == "utf-8":
                assert call(line, tmp_path / "log")[0] == 0, (tmp_path / "log").read_text()
                continue
            line = [sys.executable, "-m", "embcomp", *line]
            done = subprocess.run(line, env={**os.environ, **plain}, capture_output=True, timeout=240)
            assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert contents(tmp_path / "c") == contents(tmp_path / "utf-8")


CHANGES = {
    "a clip": lambda home: shutil.copy(home.parent / "audio/home_high_0_0.wav", home.parent / "audio/home_low_1_1.wav"),
    "a clip that is gone": lambda home: (home.parent / "audio/home_low_1_1.wav").unlink(),
    "a label": lambda home: home.write_text(home.read_text().replace(",low,", ",high,", 1)),
    "a row that is gone": lambda home: home.write_text("".join(home.read_text().splitlines(keepends=True)[:-1])),
    "the manifest is gone": lambda home: home.unlink(),
}


@pytest.mark.parametrize("when", ["check home", "students"])
@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_while_a_run_reads_it_is_refused_or_not_used(ready, what, when, tmp_path):
    """Either the run ends with a line, or its results are those of what it read at first; then a repeat is whole."""
    home = write_tones(tmp_path / "home", groups=4, clips=3, name="home")
    (tmp_path / "run.toml").write_text(CONFIG)
    first = contents(ready / "run", ("environment.json",))
    changed = []

    def change(stage, done, total):
        if stage == when and not changed:
            changed.append(CHANGES[what](home))

    try:
        embcomp.run(embcomp.load_config(tmp_path / "run.toml"), tmp_path / "out", change)
    except embcomp.errors.EmbcompError as error:
        assert "\n" not in str(error) or "cannot be used" in str(error)
    else:
        scores = (tmp_path / "out/scores.csv").read_bytes()
        assert scores == first["scores.csv"]
    assert changed
    shutil.rmtree(tmp_path / "home")
    write_tones(tmp_path / "home", groups=4, clips=3, name="home")
    embcomp.run(embcomp.load_config(tmp_path / "run.toml"), tmp_path / "out")
    for name in ("scores.csv", "comparisons.csv", "per_class.csv"):
        assert contents(tmp_path / "out").get(name) == first.get(name)


def test_no_result_and_no_wait_depends_on_the_time_of_day():
    """A clock that jumps, as after a sleep or a change of its time, must not end or prolong anything."""
    found = []
    for path in Path(embcomp.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCKS:
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node.func)}")
    assert found == []


CLOCKS = (
    "time.time",
    "time.time_ns",
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "date.today",
    "time.ctime",
)


def test_a_clock_that_jumps_back_changes_nothing(ready, tmp_path):
    def jumping():
        real, calls = time.time, [0]

        def back():
            calls[0] += 1
            return real() - 86_400 * calls[0]

        time.time = back

    for name in ("embed", "distill"):
        code, _, _ = call(commands(ready, tmp_path)[name], tmp_path / "log", before=jumping)
        assert code == 0, (tmp_path / "log").read_text()
    made = contents(tmp_path, ("log", "result.json"))
    assert made and all((ready / name).read_bytes() == content for name, content in made.items())
