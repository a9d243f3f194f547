"""Recipes: listed, complete, their configs parse, and published folders become the right manifests."""

from __future__ import annotations

import csv
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from embcomp.config import load
from embcomp.manifest import Manifest

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "recipes"
NAMES = sorted(path.name for path in RECIPES.iterdir() if (path / "configs").is_dir())
CONFIGS = sorted(path.relative_to(RECIPES).as_posix() for path in RECIPES.glob("*/configs/*.toml"))
INSTANCE = "0D1AD73E-4C5E-45F3-85C4-9A3CB71E8856"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def script(recipe: str, name: str = "prepare"):
    return importlib.import_module(f"recipes.{recipe}.{name}")


def publish(folder: Path, *names: str) -> Path:
    """A folder with a short tone under each name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".m4a", ".3gp"):
            path.write_bytes(b"not decoded here")
            continue
        soundfile.write(path, 0.1 * np.sin(np.arange(400) * (0.1 + 0.01 * number)), 8000)
    return folder


def prepared(recipe: str, folder: Path, *options: str):
    """What prepare.py did, and the rows it wrote: path below `folder` to (label, group, split, dataset)."""
    out = folder.parent / "elsewhere" / "manifest.csv"
    result = CliRunner().invoke(script(recipe).main, [str(folder), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    manifest = Manifest.read(out)
    rows = {}
    for row, record in enumerate(manifest.table.itertuples()):
        path = manifest.audio_path(row).resolve().relative_to(folder.resolve()).as_posix()
        rows[path] = (record.label, record.group, record.split, record.dataset)
    return result, rows


def listed() -> list[dict[str, str]]:
    with open(RECIPES / "recipes.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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
    layouts = {layout.manifest for layout in script(row["recipe"]).LAYOUTS}
    assert set(row["needs"].split()) <= layouts


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_complete(name):
    for file in ("README.md", "prepare.py", "run.py"):
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", ["prepare.py", "run.py"])
def test_script_runs_from_a_clone(name, file, tmp_path):
    done = subprocess.run(
        [sys.executable, str(RECIPES / name / file), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "Usage:" in done.stdout, done.stderr


# Published layouts


def test_fsdd(tmp_path):
    folder = publish(
        tmp_path / "free-spoken-digit-dataset",
        "recordings/7_jackson_4.wav",
        "recordings/7_jackson_5.wav",
        "recordings/0_theo_49.wav",
        "recordings/noise.wav",
    )
    (folder / "README.md").write_text("no audio")
    result, rows = prepared("fsdd", folder)
    assert rows == {
        "recordings/0_theo_49.wav": ("0", "theo", "train", "fsdd"),
        "recordings/7_jackson_4.wav": ("7", "jackson", "test", "fsdd"),
        "recordings/7_jackson_5.wav": ("7", "jackson", "train", "fsdd"),
    }
    assert "1 (recordings/noise.wav)" in result.stderr and "README" not in result.stderr
    assert "3 clips, 2 groups" in result.stdout


def test_manifest_goes_into_the_folder_by_default(tmp_path):
    folder = publish(tmp_path / "fsdd", "recordings/1_lucas_0.wav", "recordings/2_lucas_0.wav")
    result = CliRunner().invoke(script("fsdd").main, [str(folder)])
    assert result.exit_code == 0, result.output
    assert Manifest.read(folder / "manifest.csv").ids == ["recordings/1_lucas_0.wav", "recordings/2_lucas_0.wav"]


def test_esc10_from_the_table_of_esc50(tmp_path):
    names = ["audio/1-100032-A-0.wav", "audio/2-102852-A-11.wav", "audio/1-100038-A-14.wav"]
    folder = publish(tmp_path / "ESC-50-master", *names)
    (folder / "meta").mkdir()
    (folder / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        "1-100038-A-14.wav,1,14,chirping_birds,False,100038,A\n"
        "2-102852-A-11.wav,2,11,sea_waves,True,102852,A\n"
        "5-9032-A-0.wav,5,0,dog,True,9032,A\n"
    )
    result, rows = prepared("esc10", folder)
    assert rows == {
        "audio/1-100032-A-0.wav": ("dog", "100032", "1", "esc10"),
        "audio/2-102852-A-11.wav": ("sea_waves", "102852", "2", "esc10"),
    }
    assert "not one of the ten classes: 1" in result.stderr
    assert "not there: 1 (audio/5-9032-A-0.wav)" in result.stderr


def test_table_of_another_shape_is_refused(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("file,fold\na.wav,1\n")
    result = CliRunner().invoke(script("esc10").main, [str(tmp_path)])
    assert result.exit_code == 2 and "no column 'filename'" in result.stderr


def test_esc10_from_class_folders(tmp_path):
    classes = {
        "001 - Dog bark": "dog",
        "002 - Rain": "rain",
        "003 - Sea waves": "sea_waves",
        "004 - Baby cry": "crying_baby",
        "005 - Clock tick": "clock_tick",
        "006 - Person sneeze": "sneezing",
        "007 - Helicopter": "helicopter",
        "008 - Chainsaw": "chainsaw",
        "009 - Rooster": "rooster",
        "010 - Fire crackling": "crackling_fire",
    }
    names = [f"{folder}/{number % 5 + 1}-{100 + number}-A.ogg" for number, folder in enumerate(classes)]
    others = ["001 - Dog bark/howl.ogg", "103 - Pig/1-208757-A.ogg", "extra/1-1-A.ogg"]
    folder = publish(tmp_path / "ESC-10", *names, *others)
    result, rows = prepared("esc10", folder)
    assert {path.split("/")[0]: row[0] for path, row in rows.items()} == classes
    assert rows["003 - Sea waves/3-102-A.ogg"] == ("sea_waves", "102", "3", "esc10")
    for left_out in others:
        assert left_out in result.stderr


def test_donateacry(tmp_path):
    cleaned = "donateacry_corpus_cleaned_and_updated_data"
    folder = publish(
        tmp_path / "donateacry-corpus",
        f"{cleaned}/hungry/{INSTANCE}-1430742197-1.0-m-04-hu.wav",
        f"{cleaned}/tired/{INSTANCE.lower()}-1430742198000-1.7-m-04-ti.wav",
        f"{cleaned}/tired/laugh.wav",
        f"donateacry-android-upload-bucket/{INSTANCE}-1430742199000-1.7-m-04-dk.3gp",
    )
    result, rows = prepared("esc10", folder)
    assert sorted(rows.values()) == [("crying_baby", "0d1ad73e", "test", "donateacry")] * 2
    assert "laugh.wav" in result.stderr and ".3gp" in result.stderr


def test_acoustic_kit(tmp_path):
    folder = publish(
        tmp_path / "snare" / "the-open-source-drumkit",  # the folder above must not count
        "crash/crash-bell10.wav",
        "crash/crash3.wav",
        "gong/metal-stick1.wav",
        "hihat/half-open-hihat/hohh12.wav",
        "kick/kick11.wav",
        "ride/ride-mid-in2.wav",
        "ride/ridedge2.wav",
        "rimshot/rimshot-alt1.wav",
        "sidestick/sidestick4.wav",
        "snare/snare-bottom-buttend-0-10-3.wav",
        "snare/snare-bottom-buttend7.wav",
        "toms/large_tom_90-100_1.wav",
        "toms/large-tom12.wav",
        "toms/clap.wav",
    )
    result, rows = prepared("drums", folder)
    assert {path: row[:2] for path, row in rows.items()} == {
        "crash/crash-bell10.wav": ("cymbal", "crash_bell"),
        "crash/crash3.wav": ("cymbal", "crash"),
        "hihat/half-open-hihat/hohh12.wav": ("hihat", "hohh"),
        "kick/kick11.wav": ("kick", "kick"),
        "ride/ride-mid-in2.wav": ("cymbal", "ride_mid_in"),
        "ride/ridedge2.wav": ("cymbal", "ridedge"),
        "rimshot/rimshot-alt1.wav": ("rim", "rimshot_alt"),
        "sidestick/sidestick4.wav": ("rim", "sidestick"),
        "snare/snare-bottom-buttend-0-10-3.wav": ("snare", "snare_bottom_buttend"),
        "snare/snare-bottom-buttend7.wav": ("snare", "snare_bottom_buttend"),
        "toms/large_tom_90-100_1.wav": ("tom", "large_tom"),
        "toms/large-tom12.wav": ("tom", "large_tom"),
    }
    assert {row[3] for row in rows.values()} == {"drums_acoustic"}
    assert "gong/metal-stick1.wav" in result.stderr and "toms/clap.wav" in result.stderr


@pytest.mark.parametrize("described", [True, False])
def test_drum_machines(tmp_path, described):
    folder = publish(
        tmp_path / "drum-machines",
        "808-mini/hhclosed-1.ogg",
        "808-mini/hhclosed-1.m4a",
        "LM-2/tom-hh.ogg",
        "LM-2/stick-h.ogg",
        "LM-2/conga-hh.ogg",
        "LM-2/zap.ogg",
        "MFB-512/512bdrum.ogg",
        "Micro-Rhythmer-12/univox-oh.ogg",
        "Roland-CR-8000/cymball.ogg",
        "TR-808/kick/bd0050.ogg",
        "TR-808/mid-tom/mt10.ogg",
        "Yamaha-MR10/shortsn.ogg",
    )
    if described:
        for machine in folder.iterdir():
            (machine / "dm.json").write_text("{}")
    result, rows = prepared("drums", folder)
    assert {path: row[:2] for path, row in rows.items()} == {
        "808-mini/hhclosed-1.ogg": ("hihat", "808_mini"),
        "LM-2/stick-h.ogg": ("rim", "lm_2"),
        "LM-2/tom-hh.ogg": ("tom", "lm_2"),
        "MFB-512/512bdrum.ogg": ("kick", "mfb_512"),
        "Micro-Rhythmer-12/univox-oh.ogg": ("hihat", "micro_rhythmer_12"),
        "Roland-CR-8000/cymball.ogg": ("cymbal", "roland_cr_8000"),
        "TR-808/kick/bd0050.ogg": ("kick", "tr_808"),
        "TR-808/mid-tom/mt10.ogg": ("tom", "tr_808"),
        "Yamaha-MR10/shortsn.ogg": ("snare", "yamaha_mr10"),
    }
    assert "another encoding: 1 (808-mini/hhclosed-1.m4a)" in result.stderr
    assert "an instrument without a label: 1 (LM-2/conga-hh.ogg)" in result.stderr
    assert "several: 1 (LM-2/zap.ogg)" in result.stderr


def test_kit_and_machines_are_told_apart_by_option_too(tmp_path):
    folder = publish(tmp_path / "mine", "kick/kick1.wav", "snare/snare1.wav")
    assert {row[3] for row in prepared("drums", folder)[1].values()} == {"drums_acoustic"}
    _, rows = prepared("drums", folder, "--dataset", "drums_machine")
    assert rows["kick/kick1.wav"] == ("kick", "kick", "", "drums_machine")


# Ready manifests, and folders that hold nothing


@pytest.mark.parametrize("name", NAMES)
def test_ready_manifest_is_left_as_it_is(name, tones):
    before = tones.read_bytes()
    result = CliRunner().invoke(script(name).main, [str(tones.parent)])
    assert result.exit_code == 0, result.output
    assert "stands already" in result.stdout and "24 clips" in result.stdout
    assert tones.read_bytes() == before


def test_ready_manifest_elsewhere_names_the_same_audio(tones):
    _, rows = prepared("fsdd", tones.parent)
    original = Manifest.read(tones)
    assert list(rows) == original.ids
    assert [row[0] for row in rows.values()] == original.labels


def test_ready_manifest_keeps_its_intervals(tones):
    tones.write_text("path,label,start,end\naudio/tones_low_0_0.wav,low,,0.1\naudio/tones_low_0_0.wav,high,0.1,\n")
    prepared("fsdd", tones.parent)
    table = Manifest.read(tones.parent.parent / "elsewhere" / "manifest.csv").table
    assert table["end"].iat[0] == 0.1 and table["start"].iat[1] == 0.1 and table["end"].isna().iat[1]


def test_ready_manifest_with_missing_files_is_refused(tones):
    (tones.parent / "audio" / "tones_high_0_0.wav").unlink()
    result = CliRunner().invoke(script("fsdd").main, [str(tones.parent)])
    assert result.exit_code == 2
    assert "1 files that are not there: audio/tones_high_0_0.wav" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_empty_folder_is_refused_and_nothing_written(name, tmp_path):
    (tmp_path / "data").mkdir()
    result = CliRunner().invoke(script(name).main, [str(tmp_path / "data"), "--out", str(tmp_path / "out" / "m.csv")])
    assert result.exit_code == 2
    assert "no clip found" in result.stderr and "expected manifest.csv" in result.stderr
    assert not (tmp_path / "out").exists()


def test_folder_of_something_else_names_what_it_left_out(tmp_path):
    names = [f"song{number}.wav" for number in range(5)]
    result = CliRunner().invoke(script("fsdd").main, [str(publish(tmp_path / "songs", *names))])
    assert result.exit_code == 2
    assert "5 (song0.wav, song1.wav, song2.wav, ...)" in result.stderr


# run.py


@pytest.fixture
def asked(monkeypatch):
    """What run.py asks `embcomp run` for, instead of a run."""
    from embcomp.cli import runs

    calls = []
    monkeypatch.setattr(runs.run, "callback", lambda **asked: calls.append(asked))
    return calls


def any_config(name: str) -> str:
    return sorted((RECIPES / name / "configs").glob("*.toml"))[0].stem


def test_run_with_ready_manifests_is_embcomp_run(tones, tmp_path, asked):
    out = tmp_path / "run"
    config = any_config("fsdd")
    options = ["--config", config, "--out", str(out), "--set", "training.steps=5"]
    result = CliRunner().invoke(script("fsdd", "run").main, [str(tones.parent), *options])
    assert result.exit_code == 0, result.output
    path = RECIPES / "fsdd" / "configs" / f"{config}.toml"
    assert asked == [{"config": path, "overrides": ("training.steps=5", f'data.root="{tones.parent}"'), "out": out}]


def test_run_makes_missing_manifests_in_the_run_folder(tmp_path, asked):
    data = publish(tmp_path / "data", "recordings/1_lucas_0.wav", "recordings/2_lucas_0.wav")
    before = sorted(data.rglob("*"))
    out = tmp_path / "run"
    options = ["--config", any_config("fsdd"), "--out", str(out)]
    result = CliRunner().invoke(script("fsdd", "run").main, [str(data), *options])
    assert result.exit_code == 0, result.output
    assert sorted(data.rglob("*")) == before
    config = load(asked[0]["config"], asked[0]["overrides"])
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
    data = load(asked[0]["config"], asked[0]["overrides"]).data
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
    assert "stands already" in result.stdout


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
