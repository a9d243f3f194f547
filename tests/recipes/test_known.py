"""Published sets by their makers: which lie in a folder, pairs without shared recordings, and one whole run."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from helpers.published_sets import LAYOUTS
from helpers.recipe_scripts import RECIPES, ROOT, record_runs, script
from helpers.sounds import write_sounds

from embcomp.config import load
from embcomp.data.labels import find_label_map, map_labels, read_label_map
from embcomp.data.makers import emodb, irmas, ravdess, speech_commands
from embcomp.data.manifest import Manifest

CONFIGS = sorted((RECIPES / "known" / "configs").glob("*.toml"))
PAIRS = [path.stem for path in CONFIGS if load(path).data.cross]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def call(name: str, *arguments: object):
    return CliRunner().invoke(script("known", name).main, [str(part) for part in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Every set, in folders whose names say nothing."""
    folder = tmp_path_factory.mktemp("published")
    for number, (build, _) in enumerate(LAYOUTS.values()):
        build(folder / f"set{number}")
    commands = folder / f"set{list(LAYOUTS).index('speech-commands')}"
    words = [f"{word}/{speaker}_nohash_0.wav" for word in speech_commands.COMMANDS for speaker in ("0a", "0b", "0c")]
    write_sounds(commands, *words)
    write_sounds(commands / "_background_noise_", "tap.wav", "bike.wav", "wind.wav", seconds=1.5)
    tags = folder / f"set{list(LAYOUTS).index('mtat')}" / "annotations_final.csv"
    tags.write_text(tags.read_text().replace('"10"\t"0"', '"10"\t"1"'))  # the one clip to validate on has a tag
    return folder


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    """What prepare.py said, and the folder it wrote."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        before = sorted(data.rglob("*"))
        result = call("prepare", data, "--out", out)
        assert result.exit_code == 0, result.output
        assert sorted(data.rglob("*")) == before
    return result, out


def test_every_set_gets_its_manifests(prepared):
    result, out = prepared
    layouts = script("known").LAYOUTS
    assert {path.relative_to(out).as_posix() for path in out.rglob("manifest.csv")} == {one.manifest for one in layouts}
    assert "not there: " not in result.stderr and "a group is the speaker" in result.stderr
    # Only what a set itself lacks or holds is said, and classes are counted, not combinations of them.
    assert "name does not say modality" not in result.stderr and ": 0 (" not in result.stderr
    assert "EmbcompWarning" not in result.stderr and "note: manifest.csv: no groups given" in result.stderr
    assert "?" not in result.stdout and "|" not in result.stdout and "no groups, labels blues" in result.stdout
    for layout in layouts:
        manifest = Manifest.read(out / layout.manifest, allow_outside=True)
        assert all(manifest.audio_path(row).is_file() for row in range(len(manifest))), layout.dataset
        assert set(manifest.table["dataset"]) == {layout.dataset}


def rows(out: Path, name: str) -> list[dict[str, str]]:
    with open(out / name / "manifest.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_recordings_of_the_other_set_are_left_out_of_a_pair(prepared):
    result, out = prepared
    assert {row["group"] for row in rows(out, "esc50")} & {row["group"] for row in rows(out, "urbansound8k")} == {
        "100032"
    }
    assert [row["label"] for row in rows(out, "esc50_apart")] == ["vacuum_cleaner"]
    assert [row["label"] for row in rows(out, "urbansound8k_apart")] == ["children_playing"]
    assert "its recording is in urbansound8k, too: 2" in result.stderr


def test_settings_of_the_makers_are_used(prepared):
    _, out = prepared
    twelve = rows(out, "speech_commands_12")
    assert len({row["label"] for row in twelve}) == 11 and "_silence_" in {row["label"] for row in twelve}
    assert {row["end"] for row in twelve if row["label"] == "_silence_"} == {"1.0"}
    assert len({row["label"] for row in rows(out, "speech_commands")}) == len(speech_commands.COMMANDS)
    assert "angry" not in {row["label"] for row in rows(out, "ravdess")}  # sung


def test_what_is_there_is_kept_and_what_is_not_is_named(tmp_path):
    LAYOUTS["emodb"][0](tmp_path / "german")
    (tmp_path / "emodb").mkdir()
    (tmp_path / "emodb" / "manifest.csv").write_text("path,label\n../german/wav/03a01Fa.wav,x\n")
    result = call("prepare", tmp_path)
    assert result.exit_code == 0 and "exists and is kept" in result.stderr and "not there: audiomnist" in result.stderr
    assert (tmp_path / "emodb" / "manifest.csv").read_text().endswith(",x\n")
    (tmp_path / "empty").mkdir()
    result = call("prepare", tmp_path / "empty")
    assert result.exit_code == 2 and "no published set in" in result.stderr and "urbansound8k" in result.stderr


def test_a_ready_manifest_in_a_set_is_taken_as_it_is_unless_the_recipe_has_settings(tmp_path):
    for name in ("emodb", "ravdess"):
        LAYOUTS[name][0](tmp_path / name)
        audio = next((tmp_path / name).rglob("*.wav")).relative_to(tmp_path / name)
        (tmp_path / name / "manifest.csv").write_text(f"path,label\n{audio},ready\n")
    result = call("prepare", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "emodb/manifest.csv is taken as it is" in result.stderr and not (tmp_path / "out" / "emodb").exists()
    assert "ready" not in {row["label"] for row in rows(tmp_path / "out", "ravdess")}


def test_a_run_names_the_set_that_is_missing(tmp_path, monkeypatch):
    asked = record_runs(monkeypatch, tmp_path)
    LAYOUTS["esc50"][0](tmp_path / "data" / "ESC-50-master")
    result = call("run", tmp_path / "data", "--config", "esc50_urbansound8k", "--out", tmp_path / "run")
    assert result.exit_code == 2 and "no urbansound8k in" in result.stderr and not asked
    result = call("run", tmp_path / "data", "--config", "esc50", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    config = asked[0][0]
    assert config.data.allow_outside and Path(config.data.root, config.data.train).is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_name_splits_that_the_manifests_have(path, prepared):
    config = load(path)
    found = {row.get("split", "") for row in rows(prepared[1], Path(config.data.train).parent.name)}
    assert {*config.split.test, *config.split.validate} <= found
    assert config.split.by != "column" or "" not in found


# Configs

URBAN = [
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
]
OPENMIC = list(read_label_map(find_label_map("openmic-irmas")))
DIGITS = [str(digit) for digit in range(10)]
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *speech_commands.COMMANDS]
VOCABULARY = {
    "esc50": [*(set(read_label_map(find_label_map("esc50-urbansound8k"))) - set(URBAN)), "car_horn", "siren"],
    "urbansound8k": URBAN,
    "fsdd": DIGITS,
    "audiomnist": DIGITS,
    "speech_commands": WORDS,
    "openmic": OPENMIC,
    "irmas": list(irmas.INSTRUMENTS),
    "ravdess": list(ravdess.EMOTIONS),
    "emodb": list(emodb.EMOTIONS.values()),
}
SHARED = {
    "esc50": 4,
    "urbansound8k": 4,
    "fsdd": 10,
    "audiomnist": 10,
    "openmic": 10,
    "irmas": 9,
    "ravdess": 6,
    "emodb": 6,
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_sets_of_a_pair_share_classes(name):
    config = load(RECIPES / "known" / "configs" / f"{name}.toml").data
    train, cross = (Path(one).parent.name.removesuffix("_apart") for one in (config.train, config.cross[0]))
    mapping = read_label_map(find_label_map(config.label_map)) if config.label_map else {}
    assert config.label_map in ("", f"{cross}-{train}", "words-digits")
    mapped = map_labels(VOCABULARY[cross], VOCABULARY[train], mapping)
    assert len(VOCABULARY[train]) - len(mapped.not_tested) == SHARED[train]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_keep_to_the_protocols(path):
    config = load(path)
    name = Path(config.data.train).parent.name
    folds = {"esc50": 5, "urbansound8k": 10, "audiomnist": 5}
    if name in folds:  # every published fold is tested once
        assert config.split.by == "column" and not config.split.test and len(config.seeds) == folds[name]
    elif name in ("fsdd", "emodb", "ravdess"):
        assert config.split.by == "group"
    else:
        assert config.split.by == "column" and config.split.test == ("test",)
    published_validation = name.startswith("speech_commands") or name in ("mtat", "gtzan")
    assert config.split.validate == (("validation",) if published_validation else ())
    assert config.variants[0].transfer.method == "none" and len(config.variants) == 4
    assert config.data.allow_outside


def test_the_published_settings_of_east_are_in_its_configs():
    for name, student, weight, mixup in (
        ("openmic_east", "cp_resnet", 0.9, 0.3),
        ("mtat_east", "mobile_fcn", 0.6, 0.0),
    ):
        config = load(RECIPES / "known" / "configs" / f"{name}.toml")
        assert config.seeds == (1223,)
        for one in config.variants[1:]:
            assert one.student.kind == student and one.transfer.weight == weight and one.training.mixup == mixup
            assert (one.training.learning_rate, one.training.weight_decay, one.training.batch_size) == (1e-4, 1e-4, 16)
        kd = config.variants[2].transfer
        assert (kd.kd_weight, kd.temperature, kd.distance) == (0.3, 2.0, "distance_correlation")


# A run on tones


def tones(folder: Path, names: list[str]) -> None:
    for name in names:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        digit = int(Path(name).name[0])
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = 0.2 * np.sin(np.arange(2000) * (0.2 + 0.3 * digit)) + 0.02 * rng.normal(size=2000)
        soundfile.write(path, wave, 8000)


def test_one_command_prepares_a_pair_and_compares(tmp_path):
    speakers = ("ann", "bob", "cas")
    tones(
        tmp_path / "free",
        [f"recordings/{digit}_{one}_{take}.wav" for digit in "01" for one in speakers for take in "45"],
    )
    tones(
        tmp_path / "mnist",
        [f"data/{one}/{digit}_{one}_{take}.wav" for digit in "01" for one in ("01", "26") for take in "01"],
    )
    quick = (
        "seeds=[0]", "workers=1", "audio.seconds=0.25", "training.steps=2", "training.batch_size=4", "student.width=8",
        "student.embedding=8", "compressor.dim=2", "teacher.centroids=4", "teacher.whitened=8", "teacher.patches=500",
        "evaluation.probe=false", "evaluation.bootstrap=2", "evaluation.reestimate=false",
    )  # fmt: skip
    options = [part for one in quick for part in ("--set", one)]
    result = call("run", tmp_path, "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output + repr(result.exception)
    scores = pd.read_csv(tmp_path / "run/scores.csv")
    assert set(scores["test_dataset"]) == {"fsdd", "audiomnist"}
    assert {"no teacher", "raw embedding", "compressed, linear"} <= set(scores["variant"])
