"""The recipes: what is listed, what runs, and what `run.py` asks for."""

from __future__ import annotations

import csv
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers.recipe_scripts import CONFIGS, NAMES, RECIPES, ROOT, WITH_DATA, publish, record_runs, script

from embcomp.config import load
from embcomp.data.manifest import Manifest


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def listed() -> list[dict[str, str]]:
    with open(RECIPES / "recipes.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def places(recipe: str) -> set[str]:
    """Manifests that can be made for a recipe: its own, or those of all recipes and the demo sets."""
    if recipe == "digits":
        return set(script(recipe).MANIFESTS)
    if recipe in (*WITH_DATA, "known"):
        return {layout.manifest for layout in script(recipe).LAYOUTS}
    layouts = importlib.import_module("recipes.sets").LAYOUTS
    synthesised = {"demo/manifest.csv", "demo_shifted/manifest.csv", "synthetic_digits/manifest.csv"}
    return synthesised | {layout.manifest for layout in layouts}


# What is in the repository


def test_every_config_is_listed_once_and_every_listed_file_exists():
    rows = listed()
    assert list(rows[0]) == ["recipe", "config", "needs", "teacher", "about"]
    assert sorted(f"{row['recipe']}/configs/{row['config']}" for row in rows) == CONFIGS
    assert all(row["about"] for row in rows)


@pytest.mark.parametrize("row", listed(), ids=lambda row: f"{row['recipe']}/{row['config']}")
def test_config_parses_and_is_listed_as_it_is(row):
    config = load(RECIPES / row["recipe"] / "configs" / row["config"])
    assert row["needs"].split() == [config.data.train, *config.data.cross]
    teachers = {variant.teacher.spec for variant in config.variants if variant.transfer.method != "none"}
    if config.evaluation.probe:
        teachers |= {variant.teacher.spec for variant in config.variants}
    assert row["teacher"].split() == sorted(teachers)
    # Everything a config names can be prepared by its recipe.
    assert set(row["needs"].split()) <= places(row["recipe"])


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_complete(name):
    for file in ("README.md", "run.py"):
        assert (RECIPES / name / file).is_file(), f"{name} has no {file}"
    text = (RECIPES / name / "README.md").read_text(encoding="utf-8")
    for heading in ("## Licence", "## Citation", "## Get the data", "## Run", "## Known limits"):
        assert heading in text, f"{name}/README.md has no {heading!r}"
    assert f"python recipes/{name}/run.py" in text
    assert f"embcomp run recipes/{name}/configs/quick.toml" in text
    assert "results.csv" in text


def test_walk_through_names_what_exists():
    text = (RECIPES / "README.md").read_text(encoding="utf-8")
    assert "recipes.csv" in text
    for name in NAMES:
        assert f"({name}/README.md)" in text


def test_configuration_of_the_walk_through_parses(tmp_path):
    text = (RECIPES / "README.md").read_text(encoding="utf-8")
    block = text.split("```toml\n")[1].split("```")[0]
    (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
    config = load(tmp_path / "mine.toml")
    assert len(config.variants) == 3 and len(config.seeds) >= 3


@pytest.mark.parametrize(
    "file",
    [f"{name}/prepare.py" for name in WITH_DATA]
    + ["digits/prepare.py", "known/prepare.py"]
    + [f"{name}/run.py" for name in NAMES],
)
def test_script_runs_from_a_clone(file, tmp_path):
    done = subprocess.run(
        [sys.executable, str(RECIPES / file), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "Usage:" in done.stdout, done.stderr


# run.py


@pytest.fixture
def asked(monkeypatch, tmp_path_factory) -> list[tuple]:
    """Config and folder of the runs that run.py asks for, instead of a run."""
    return record_runs(monkeypatch, tmp_path_factory.mktemp("report"))


def any_config(name: str) -> str:
    return sorted((RECIPES / name / "configs").glob("*.toml"))[0].stem


def test_run_with_ready_manifests_is_embcomp_run(tones, tmp_path, asked):
    out = tmp_path / "run"
    config = any_config("fsdd")
    options = ["--config", config, "--out", str(out), "--set", "training.steps=5"]
    result = CliRunner().invoke(script("fsdd", "run").main, [str(tones.parent), *options])
    assert result.exit_code == 0, result.output
    path = RECIPES / "fsdd" / "configs" / f"{config}.toml"
    assert asked == [(load(path, ("training.steps=5", f'data.root="{tones.parent}"')), out)]
    assert result.stdout == "# report\n"


def test_run_makes_missing_manifests_in_the_run_folder(tmp_path, asked):
    data = publish(tmp_path / "data", "recordings/1_lucas_0.wav", "recordings/2_lucas_0.wav")
    before = sorted(data.rglob("*"))
    out = tmp_path / "run"
    options = ["--config", any_config("fsdd"), "--out", str(out)]
    result = CliRunner().invoke(script("fsdd", "run").main, [str(data), *options])
    assert result.exit_code == 0, result.output
    assert sorted(data.rglob("*")) == before
    config = asked[0][0]
    manifest = Manifest.read(Path(config.data.root, config.data.train))
    assert [manifest.audio_path(row).is_file() for row in range(len(manifest))] == [True, True]
    assert manifest.labels == ["1", "2"]


@pytest.mark.parametrize("config", [path for path in CONFIGS if path.startswith("drums/")])
def test_run_finds_data_sets_by_the_names_they_are_published_under(tmp_path, asked, config):
    publish(tmp_path / "the-open-source-drumkit", "kick/kick1.wav", "snare/snare1.wav")
    publish(tmp_path / "drum-machines", "LM-2/kick.ogg", "LM-2/snare-h.ogg")
    options = ["--config", Path(config).stem, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(script("drums", "run").main, [str(tmp_path), *options])
    assert result.exit_code == 0, result.output
    data = asked[0][0].data
    for name in (data.train, *data.cross):
        assert sorted(Manifest.read(Path(data.root, name)).labels) == ["kick", "snare"]


def test_run_refuses_what_is_not_there(tmp_path, asked):
    run = script("drums", "run").main
    options = ["--out", str(tmp_path / "run")]
    result = CliRunner().invoke(run, [str(tmp_path), "--config", any_config("drums"), *options])
    assert result.exit_code == 2 and "looked for the folders" in result.stderr
    result = CliRunner().invoke(run, [str(tmp_path), "--config", "quik", *options])
    assert result.exit_code == 2 and "no config 'quik'" in result.stderr
    assert not asked and not (tmp_path / "run").exists()


# Real data, where it is at hand


@pytest.mark.parametrize(
    "recipe, folder",
    [
        ("fsdd", "fsdd"),
        ("esc10", "esc10"),
        ("esc10", "donateacry"),
        ("drums", "drums_acoustic"),
        ("drums", "drums_machine"),
    ],
)
def test_shared_manifests_are_accepted(shared, recipe, folder):
    result = CliRunner().invoke(script(recipe).main, [str(shared / "data" / folder)])
    assert result.exit_code == 0, result.output
    assert "already exists" in result.stdout


def test_fsdd_names_give_the_shared_manifest(shared, tmp_path):
    """The shared files keep the published names, only losslessly recoded: the rule must agree with its manifest."""
    ready = Manifest.read(shared / "data" / "fsdd" / "manifest.csv")
    made = {}
    for name in ready.ids:
        clip = script("fsdd").clip(Path(name))
        made[name] = (clip.label, clip.group, clip.split)
    table = ready.table
    assert made == dict(zip(table["path"], zip(table["label"], table["group"], table["split"])))


def test_drum_machine_names_give_the_shared_labels(shared):
    for record in Manifest.read(shared / "data" / "drums_machine" / "manifest.csv").table.itertuples():
        name = Path(record.path).stem.removeprefix(f"{record.group}_")
        assert script("drums").sound(name) == record.label, record.path


# Pools of unlabelled clips, and synthesised digits


def pool_of(folder: Path, out: Path, *options: str):
    return CliRunner().invoke(importlib.import_module("recipes.pool").main, [str(folder), str(out), *options])


def test_a_pool_has_the_sounding_parts_of_recordings_and_no_labels(tmp_path, rng):
    tone, silence = np.sin(np.arange(8000) / 5) / 2, np.zeros(8000)
    (tmp_path / "in/one/voice").mkdir(parents=True)
    parts = [silence, tone, silence, tone, silence, tone]
    soundfile.write(tmp_path / "in/one/voice/a.wav", np.concatenate(parts), 16_000)
    soundfile.write(tmp_path / "in/other.flac", np.concatenate([silence, tone]), 16_000)
    (tmp_path / "in/broken.wav").write_bytes(b"RIFF")
    (tmp_path / "in/notes.txt").write_text("no audio")
    result = pool_of(tmp_path / "in", tmp_path / "pool", "--seconds", "0.6")
    assert result.exit_code == 0 and "broken.wav" in result.stderr, result.output
    manifest = Manifest.read(tmp_path / "pool/manifest.csv")
    assert sorted(manifest.table["group"]) == ["one_voice", "one_voice", "pool"]  # two of a recording
    assert set(manifest.labels) == {""}
    for row in range(len(manifest)):
        clip, rate = soundfile.read(manifest.audio_path(row))
        assert rate == 16_000 and len(clip) <= 0.6 * rate and np.abs(clip[:600]).max() > 0.1
    assert "not empty" in pool_of(tmp_path / "in", tmp_path / "pool").output
    assert "no audio below" in pool_of(tmp_path / "in/one", tmp_path / "x", "--leave-out", "*").output
    few = pool_of(tmp_path / "in", tmp_path / "few", "--most", "1", "--leave-out", "broken.wav")
    assert "2 clips of 2 folders" in few.stdout and not few.stderr


def test_sounds_shorter_than_asked_for_are_left_out_of_a_pool(tmp_path):
    (tmp_path / "in").mkdir()
    hit, silence = np.sin(np.arange(1600) / 5) / 2, np.zeros(8000)
    soundfile.write(tmp_path / "in/hat.wav", np.concatenate([silence, hit, silence]), 16_000)
    none = pool_of(tmp_path / "in", tmp_path / "long")
    assert none.exit_code == 1 and "no sound of at least 0.2 s" in none.output and not (tmp_path / "long").exists()
    assert "1 clip of 1 folder" in pool_of(tmp_path / "in", tmp_path / "short", "--shortest", "0.05").stdout
    refused = pool_of(tmp_path / "in", tmp_path / "no", "--seconds", "0.1")
    assert refused.exit_code == 2 and "longer than --seconds 0.1" in refused.output


def test_without_the_programs_the_other_collection_is_left_out_and_said_so(tmp_path, asked, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("fsdd", "speech_pool"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").write_text("path,label,group\na.wav,1,a\n")
    run = script("speech", "run").main
    result = CliRunner().invoke(run, [str(tmp_path), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0 and "flite and espeak-ng not installed" in result.stderr, result.output
    assert asked[0][0].data.cross == () and asked[0][0].data.unlabelled == ("speech_pool/manifest.csv",)
    done = CliRunner().invoke(script("speech", "synthesise").main, [str(tmp_path / "out")])
    assert done.exit_code == 1 and "apt install flite espeak-ng" in done.output


@pytest.mark.skipif(not shutil.which("flite") or not shutil.which("espeak-ng"), reason="needs flite and espeak-ng")
def test_voices_speak_digits_that_differ(tmp_path, monkeypatch):
    module = script("speech", "synthesise")
    monkeypatch.setattr(module, "VOICES", (module.Voice("flite", "slt"), module.Voice("espeak-ng", "en-us+f2")))
    assert module.synthesise(tmp_path) == 2 * 10 * 3
    manifest = Manifest.read(tmp_path / "manifest.csv")
    contents = {manifest.audio_path(row).read_bytes() for row in range(len(manifest))}
    assert len(contents) == 60 and sorted(set(manifest.labels)) == [str(digit) for digit in range(10)]
