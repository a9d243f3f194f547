"""A finished run is answered from what it wrote down, and only while nothing that it depends on has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers.tones import write_tones

from embcomp.cli import group
from embcomp.config import load
from embcomp.pipeline import finished, run

CONFIG = """
seeds = [0]
workers = 1
[data]
train = "home/manifest.csv"
cross = ["abroad/manifest.csv"]
label_map = "map.csv"
skip_bad = true
[audio]
seconds = 0.1
n_mels = 16
[split]
by = "column"
test = ["test"]
[student]
width = 8
[training]
steps = 2
batch_size = 8
evaluate_every = 2
[evaluation]
probe = false
bootstrap = 10
[[variants]]
name = "none"
transfer.method = "none"
"""
CLIP = "home/audio/home_high_0_0.wav"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two sets with a note and an unusable clip, and their run in ``out``."""
    root = tmp_path_factory.mktemp("finished")
    for number, name in enumerate(("home", "abroad")):
        write_tones(root / name, groups=6, clips=1, name=name, seed=number, rate=4000, seconds=0.1)
    manifest = root / "home/manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([lines[0] + ",room", *(f"{line},x" for line in lines[1:])]) + "\n")
    (root / "home/audio/home_low_5_0.wav").write_bytes(b"RIFF and nothing more")
    (root / "map.csv").write_text("from,to\nhigh,low\n")
    (root / "config.toml").write_text(CONFIG)
    return root


def asked(root: Path, *more: str):
    return CliRunner().invoke(group, ["run", str(root / "config.toml"), "--out", str(root / "out"), *more])


def answer(root: Path, *overrides: str):
    return finished.answer(root / "out", finished.request(root / "config.toml", overrides))


@pytest.fixture
def done(root) -> Path:
    """The folder of the sets, whose run is finished."""
    if answer(root) is None:
        result = asked(root)
        assert result.exit_code == 0, result.stderr
    assert answer(root) is not None
    return root


def test_it_prints_what_the_run_printed(done):
    shutil.rmtree(done / "out")
    first, again = asked(done), asked(done)
    assert first.exit_code == again.exit_code == 0 and again.stdout == first.stdout
    said = [line for line in first.stderr.splitlines() if line.startswith(("note:", "  left out:", "scores.csv"))]
    assert any("columns not used: room" in line for line in said) and any("row 13" in line for line in said)
    kept = again.stderr.splitlines()
    assert [line for line in kept if line in said] == said
    assert [line for line in kept if line not in said] == [
        f"finished before; nothing to do: all {answer(done)['stages']} stages are already there"
    ]
    # The same from the stages, by a program that does not take the answer.
    (done / "out" / finished.FILE).unlink()
    computed = asked(done, "--json")
    answered = asked(done, "--json")
    assert computed.stdout == answered.stdout and json.loads(answered.stdout)["computed"] == 0
    assert "nothing to do" not in answered.stderr


def test_nothing_heavy_is_imported_for_it(done):
    code = (
        "import sys\nfrom embcomp.cli import main\nmain()\n"
        "print(sorted({'torch', 'numpy', 'sklearn', 'pandas', 'scipy', 'soundfile'} & set(sys.modules)))"
    )
    arguments = ["run", str(done / "config.toml"), "--out", str(done / "out")]
    found = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "nothing to do" in found.stderr and found.stdout.endswith("\n[]\n")


def rewritten(path: Path, content: bytes) -> None:
    """Other bytes in a file, whose size and time of writing stay as they were."""
    about = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def louder(root: Path) -> None:
    wave, rate = soundfile.read(root / CLIP, dtype="int16")
    before = (root / CLIP).read_bytes()
    soundfile.write(root / "other.wav", wave // 2, rate)
    after = (root / "other.wav").read_bytes()
    assert len(after) == len(before) and after != before
    rewritten(root / CLIP, after)


def linked(root: Path) -> None:
    shutil.copy(root / CLIP, root / "same.wav")
    (root / CLIP).unlink()
    (root / CLIP).symlink_to(root / "same.wav")


def piped(root: Path) -> None:
    (root / CLIP).unlink()
    os.mkfifo(root / CLIP)


def moved(root: Path) -> None:
    shutil.move(root / "home/audio", root / "elsewhere")
    (root / "home/audio").symlink_to(root / "elsewhere")


def edited(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text and len(before) == len(after)
    rewritten(path, text.replace(before, after, 1).encode())


def added(path: Path, line: str) -> None:
    path.write_text(path.read_text() + line)


INPUTS = {
    "a clip is another": louder,
    "a clip is gone": lambda root: (root / CLIP).unlink(),
    "a clip that could not be used is whole": lambda root: shutil.copy(
        root / CLIP, root / "home/audio/home_low_5_0.wav"
    ),
    "a clip of a further set": lambda root: (root / "abroad/audio/abroad_low_1_0.wav").write_bytes(b""),
    "a clip lies elsewhere": linked,
    "a clip is a pipe": piped,
    "the clips lie elsewhere": moved,
    "a label": lambda root: edited(root / "home/manifest.csv", ",low,", ",lOw,"),
    "a group": lambda root: edited(root / "home/manifest.csv", "home0-low", "home0-lOw"),
    "a clip more": lambda root: added(root / "home/manifest.csv", "audio/home_low_0_0.wav,low,g,train,home,x\n"),
    "a label of a further set": lambda root: edited(root / "abroad/manifest.csv", ",low,", ",lOw,"),
    "a manifest is gone": lambda root: (root / "abroad/manifest.csv").unlink(),
    "the label map": lambda root: edited(root / "map.csv", "high", "hIgh"),
    "a setting": lambda root: edited(root / "config.toml", "bootstrap = 10", "bootstrap = 11"),
    "the settings are gone": lambda root: (root / "config.toml").unlink(),
}


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
@pytest.mark.parametrize("change", INPUTS)
def test_an_input_that_changed_is_noticed(done, tmp_path, change):
    kept = shutil.copytree(done, tmp_path / "kept", symlinks=True, ignore=shutil.ignore_patterns("out"))
    try:
        INPUTS[change](done)
        assert answer(done) is None
    finally:
        for one in set(os.listdir(done)) - {"out"}:
            (shutil.rmtree if (done / one).is_dir() else os.unlink)(done / one)
        shutil.copytree(kept, done, symlinks=True, dirs_exist_ok=True)
    assert answer(done) is not None  # by the content of clips, not by their times


def damaged(path: Path) -> None:
    content = path.read_bytes()
    rewritten(path, content[:-1] + bytes([content[-1] ^ 1]))


def one_of(kind: str):
    """The first file of a stage."""
    return lambda root: min(path for path in (root / "out/stages" / kind).rglob("*") if path.is_file())


LEFT = [*(one_of(kind) for kind in ("features", "students", "predictions", "checks", "splits", "datasets", "scores"))]
LEFT += [
    lambda root, name=name: root / "out" / name for name in ("report.md", "scores.csv", "metrics.json", "config.toml")
]


@pytest.mark.parametrize("change", [damaged, Path.unlink])
def test_a_stage_or_result_that_changed_is_noticed(done, change):
    for place in LEFT:
        out = done / "out"
        # The same record with signatures of now, so that each file is changed alone.
        record = json.loads((out / finished.FILE).read_text())
        record["files"] = finished._signatures(out)
        (out / finished.FILE).write_text(json.dumps(record))
        assert answer(done) is not None
        path = place(done)
        kept = path.read_bytes()
        change(path)
        assert answer(done) is None, path
        path.write_bytes(kept)
    (out / finished.FILE).unlink()


def test_another_request_or_program_is_no_answer(done, monkeypatch, tmp_path):
    assert answer(done, "evaluation.bootstrap=11") is None
    assert finished.answer(tmp_path, finished.request(done / "config.toml", [])) is None
    with monkeypatch.context() as other:
        other.chdir(tmp_path)  # a path of the settings may start here
        assert answer(done) is None
    versions = {**finished.versions(), "python": "4"}
    with monkeypatch.context() as other:
        other.setattr(finished, "versions", lambda: versions)
        assert answer(done) is None
    record = done / "out" / finished.FILE
    kept = record.read_bytes()
    for content in (b"", b"[1]", b"{}", kept[:-100], kept.replace(b'"clips"', b'"clip"')):
        record.write_bytes(content)
        assert answer(done) is None
    record.write_bytes(kept)
    assert answer(done) is not None


def test_what_is_there_untouched_is_not_written_again(done):
    out = done / "out"
    before = (out / "report.html").stat().st_mtime_ns
    (out / "repeat.json").write_text("{}")  # somebody else's
    again = run(load(done / "config.toml"), out)
    assert again.made == 0 and (out / "report.html").stat().st_mtime_ns == before
    assert answer(done) is not None  # what was said before is kept
    scores = (out / "scores.csv").read_bytes()
    (out / "scores.csv").write_bytes(b"")
    assert run(load(done / "config.toml"), out).made == 0
    assert (out / "scores.csv").read_bytes() == scores and (out / "report.html").stat().st_mtime_ns > before


def test_a_run_in_progress_or_interrupted_has_no_answer(done):
    found = []

    def stop(stage: str, ready: int, total: int) -> None:
        found.append(answer(done))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(load(done / "config.toml"), done / "out", stop)
    assert found == [None] and answer(done) is None


@pytest.mark.parametrize("name", ["home/manifest.csv", CLIP])
def test_an_input_that_changes_during_the_run_is_not_taken_for_the_one_it_read(done, name):
    kept = (done / name).read_bytes()

    def change(stage: str, ready: int, total: int) -> None:
        (done / name).write_bytes(kept + b"\n")

    shutil.rmtree(done / "out")
    config = load(done / "config.toml")
    try:
        if name == CLIP:
            with pytest.raises(ValueError, match="changed while it was in use"):
                run(config, done / "out", change)
        else:
            run(config, done / "out", change)
        finished.add_answer(
            done / "out", finished.request(done / "config.toml", []), finished.key_of(config), {"stages": 1}
        )
        assert answer(done) is None
    finally:
        (done / name).write_bytes(kept)
    assert answer(done) is None


def test_an_answer_belongs_to_the_settings_that_were_run(done):
    other = replace(load(done / "config.toml"), name="other")
    finished.add_answer(done / "out", "asked", finished.key_of(other), {"stages": 1})
    assert finished.answer(done / "out", "asked") is None


def test_what_reads_more_than_clips_is_left_to_a_run(done, tmp_path):
    for name in ("abroad", "home2"):
        write_tones(done / name, groups=6, clips=1, name=name, seed=5 + len(name), rate=4000, seconds=0.1)
        np.save(done / name / "vectors.npy", np.eye(12, 4, dtype=np.float32))
    content = CONFIG.replace('"none"\ntransfer.method = "none"', '"stored"\nteacher.spec = "store:vectors.npy"')
    content = content.replace("abroad/", "home2/").replace("home/", "abroad/") + "compressor.dim = 2\n"
    (done / "stored.toml").write_text(content)
    run(load(done / "stored.toml"), tmp_path / "out")
    assert not (tmp_path / "out" / finished.FILE).exists()
