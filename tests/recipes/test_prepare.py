"""From published folders to manifests."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from helpers.recipe_scripts import INSTANCE, ROOT, WITH_DATA, prepared, publish, script

from embcomp.data.manifest import Manifest


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


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
    assert "does not exist: 1 (audio/5-9032-A-0.wav)" in result.stderr


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


@pytest.mark.parametrize("name", WITH_DATA)
def test_ready_manifest_is_left_as_it_is(name, tones):
    before = tones.read_bytes()
    result = CliRunner().invoke(script(name).main, [str(tones.parent)])
    assert result.exit_code == 0, result.output
    assert "already exists" in result.stdout and "24 clips" in result.stdout
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
    assert "files that do not exist, 1 in all: audio/tones_high_0_0.wav" in result.stderr


@pytest.mark.parametrize("name", WITH_DATA)
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
