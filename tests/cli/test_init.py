"""From a folder of class folders to labels in new files, without a line of CSV: init, validate, run, report, predict."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from helpers.command import call
from helpers.sounds import write_sound, write_sounds
from helpers.tones import write_tones

from embcomp.cli import group
from embcomp.config import load
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, EmbcompError, ManifestError

pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")


def command(*arguments, answers: str | None = None):
    return CliRunner().invoke(group, [str(one) for one in arguments], input=answers)


@pytest.fixture
def sounds(tmp_path):
    """Class folders of files called SPEAKER_TAKE.wav."""
    names = (
        f"{label}/{who}_{take}.wav" for label in ("dog", "cat") for who in ("ann", "bob", "cid") for take in range(4)
    )
    return write_sounds(tmp_path / "my sounds", *names)


def test_questions_are_asked_and_answers_taken(sounds):
    done = command("init", sounds, answers="1\ny\n")
    assert done.exit_code == 0, done.output
    assert "ann, bob, cid  (3 different)" in done.output and "24 clips" in done.output
    assert f"embcomp run '{sounds}/embcomp.toml' --out runs/my-sounds" in done.output
    assert set(Manifest.read(sounds / "manifest.csv").groups) == {"ann", "bob", "cid"}
    assert load(sounds / "embcomp.toml").split.by == "group"


def test_no_writes_nothing_and_silence_is_told(sounds):
    done = command("init", sounds, answers="0\nn\n")
    assert done.exit_code != 0 and not (sounds / "manifest.csv").exists() and not (sounds / "embcomp.toml").exists()
    done = command("init", sounds)
    assert done.exit_code == 2 and "there is no answer on standard input; add --yes" in done.output


def test_yes_asks_nothing_and_says_what_it_did_not_guess(sounds):
    done = command("init", sounds, "--yes")
    assert done.exit_code == 0 and "With --yes no group is used" in done.output
    assert Manifest.read(sounds / "manifest.csv").unit == "clip"
    done = command("init", sounds, "--yes")
    assert isinstance(done.exception, EmbcompError) and "embcomp.toml exists already and is kept" in str(done.exception)


def test_options_in_place_of_answers(sounds):
    where = ["--out", sounds / "m.csv", "--config", sounds / "c.toml"]
    done = command(
        "init", sounds, "--yes", "--group", "/([a-z]+)_", "--seconds", "0.5", "--sample-rate", "8000", *where
    )
    assert done.exit_code == 0, done.output
    config = load(sounds / "c.toml")
    assert (config.audio.seconds, config.audio.sample_rate, config.data.train) == (0.5, 8000, "m.csv")
    assert set(Manifest.read(sounds / "m.csv").groups) == {"ann", "bob", "cid"}


def test_settings_of_a_kind_and_a_wrong_one(sounds):
    where = ["--out", sounds / "m.csv", "--config", sounds / "c.toml"]
    done = command("init", sounds, "--yes", "--option", "label-level=-1", "--option", "splits=false", *where)
    assert done.exit_code == 0, done.output
    for text, words in (
        ("lable_level=1", "did you mean 'label_level'"),
        ("label_level=x", "'x' is not of type int"),
        ("splits", "NAME=VALUE"),
    ):
        done = command("init", sounds, "--yes", "--option", text, "--out", sounds / "n.csv")
        assert isinstance(done.exception, ConfigError) and words in str(done.exception)


def test_a_manifest_that_is_there_is_used(tmp_path):
    manifest = write_tones(tmp_path / "tones", groups=4)
    before = manifest.read_bytes()
    done = command("init", tmp_path / "tones", "--yes")
    assert done.exit_code == 0 and manifest.read_bytes() == before
    assert load(tmp_path / "tones" / "embcomp.toml").split.test == ("test",)


def test_long_recordings_are_cut_in_windows(tmp_path):
    for label in ("dog", "cat"):
        for number in range(3):
            write_sound(tmp_path / label / f"{number}.wav", seconds=31, rate=1000)
    done = command("init", tmp_path, answers="10\ny\n")
    assert done.exit_code == 0, done.output
    assert len(Manifest.read(tmp_path / "manifest.csv")) == 18
    assert load(tmp_path / "embcomp.toml").audio.seconds == 10.0


def test_selections_are_clips_or_label_windows(tmp_path):
    for name in ("r1", "r2", "r3"):
        write_sound(tmp_path / f"{name}.wav", seconds=4.0)
        (tmp_path / f"{name}.txt").write_text("0.5\t1.5\twren\n2.0\t4.0\trobin\n")
    done = command("init", tmp_path, "--out", tmp_path / "clips.csv", "--config", tmp_path / "c.toml", answers="0\ny\n")
    assert done.exit_code == 0 and len(Manifest.read(tmp_path / "clips.csv")) == 6, done.output
    done = command("init", tmp_path, answers="1\ny\n")
    assert done.exit_code == 0 and len(Manifest.read(tmp_path / "manifest.csv")) == 12, done.output
    assert set(Manifest.read(tmp_path / "manifest.csv").groups) == {"r1.wav", "r2.wav", "r3.wav"}


def test_a_further_set_is_found_made_and_written_down(sounds, tmp_path):
    write_sounds(tmp_path / "other", "dog/x.wav", "cat/y.wav")
    done = command("init", sounds, "--yes", "--cross", tmp_path / "other")
    assert done.exit_code == 0, done.output
    assert load(sounds / "embcomp.toml").data.cross == ("../other/manifest.csv",)
    assert len(Manifest.read(tmp_path / "other" / "manifest.csv")) == 2


def test_what_is_nothing_known_is_told(tmp_path):
    for source, words in ((tmp_path / "nowhere", "needs --kind hf"), (tmp_path, "no audio file in")):
        done = command("init", source, "--yes")
        assert isinstance(done.exception, ManifestError) and words in str(done.exception)
    (tmp_path / "x.bin").write_bytes(b"\0")
    assert "not a folder of sounds" in str(command("init", tmp_path / "x.bin", "--yes").exception)


def test_the_manifest_command_writes_shows_and_tells(sounds):
    done = command("manifest", "folder", sounds, "--group", "/([a-z]+)_", "--dry-run")
    assert done.exit_code == 0 and "nothing was written" in done.output and not (sounds / "manifest.csv").exists()
    done = command("manifest", "folder", sounds, "--json", "--out", sounds / "m.csv")
    about = json.loads(done.stdout)
    assert about["summary"]["classes"] == {"cat": 12, "dog": 12} and about["manifest"] == str(sounds / "m.csv")
    assert len(Manifest.read(sounds / "m.csv")) == 24
    done = command("manifest", "folder", sounds, "--hop", "1", "--out", sounds / "n.csv")
    assert isinstance(done.exception, ConfigError) and "--hop applies to windows" in str(done.exception)
    done = command("manifest", "foldr", sounds)
    assert done.exit_code == 2 and "did you mean 'folder'" in done.output


def test_every_kind_has_help_with_its_own_options():
    done = command("manifest", "--help")
    kinds = [
        line.split()[0]
        for line in done.output.partition("Commands:")[2].splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    assert len(kinds) >= 14
    for kind in kinds:
        done = command("manifest", kind, "--help")
        assert done.exit_code == 0 and "--window" in done.output and "--out" in done.output
    assert "--column MEANING=NAME" in command("manifest", "table", "--help").output


def test_a_table_from_windows_with_its_columns_named(tmp_path):
    write_sounds(tmp_path, "dog/a.wav", "cat/b.wav")
    (tmp_path / "t.csv").write_text("datei;art\ndog\\a.wav;Hund\ncat\\b.wav;Katze\n", encoding="cp1252")
    done = command("manifest", "table", tmp_path / "t.csv", "--column", "path=datei", "--column", "label=art")
    assert done.exit_code == 0, done.exception
    assert Manifest.read(tmp_path / "manifest.csv").labels == ["Hund", "Katze"]


def test_validate_exits_with_1_where_a_run_would_stop(sounds):
    command("init", sounds, "--yes", "--group", "/([a-z]+)_")
    done = command("validate", sounds / "manifest.csv")
    assert done.exit_code == 0 and "24 of 24 clips decoded" in done.output
    (sounds / "dog" / "ann_0.wav").write_bytes(b"")
    done = command("validate", sounds / "manifest.csv", "--config", sounds / "embcomp.toml", "--json")
    about = json.loads(done.output)
    assert done.exit_code == 1 and not about["usable"] and about["findings"][0]["name"] == "unreadable"


def test_the_whole_way_without_writing_a_csv(tmp_path):
    tones = write_tones(tmp_path / "tones", groups=6, clips=3).parent
    for path in sorted((tones / "audio").glob("*.wav")):
        label = path.name.split("_")[1]
        (tmp_path / "sounds" / label).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "sounds" / label / path.name)
    done = call("init", tmp_path / "sounds", "--yes", "--group", "_([0-9])_")
    assert done.returncode == 0, done.stderr
    small = [
        "seeds=[0]",
        "training.steps=10",
        "training.batch_size=8",
        "student.width=16",
        "workers=1",
        "evaluation.bootstrap=20",
    ]
    small += [
        "teacher.centroids=8",
        "teacher.whitened=16",
        "teacher.patches=1000",
        "compressor.dim=4",
        "audio.n_mels=24",
    ]
    sets = [word for one in small for word in ("--set", one)]
    run = tmp_path / "run"
    done = call("run", tmp_path / "sounds" / "embcomp.toml", "--out", run, *sets)
    assert done.returncode == 0, done.stderr
    done = call("report", run, "--out", tmp_path / "report.html", "--no-latency")
    assert done.returncode == 0 and (tmp_path / "report.html").exists(), done.stderr
    one = sorted((tmp_path / "sounds" / "low").glob("*.wav"))[0]
    done = call("predict", run, one, "--format", "audacity")
    assert done.returncode == 0 and done.stdout.split("\t")[2].strip() in ("high", "low"), done.stderr
    assert "validation score" in done.stderr
    exported = call("export", run, "--to", "c", "--out", tmp_path / "student.c")
    same = [line for line in done.stderr.splitlines() if "validation score" in line]
    assert same and same[0] in exported.stderr
    if shutil.which("cc") or shutil.which("gcc"):
        assert exported.returncode == 0 and (tmp_path / "student.c").exists(), exported.stderr


def test_a_teacher_and_unlabelled_clips_are_written_down(sounds, tmp_path):
    write_tones(tmp_path / "more", groups=2, clips=2, name="more")
    options = ["--teacher", "librosa", "--unlabelled", tmp_path / "more/manifest.csv", "--yes"]
    done = command("init", sounds, *options)
    assert done.exit_code == 0, done.output
    config = load(sounds / "embcomp.toml")
    assert config.data.unlabelled == ("../more/manifest.csv",)
    assert {variant.teacher.spec for variant in config.variants} == {"librosa"}
    assert config.variants[-1].compressor.dim == 24 // 4  # fewer clips hold fewer dimensions
    done = command("init", tmp_path / "more", "--teacher", "kmean", "--yes")
    assert isinstance(done.exception, EmbcompError) and "kmeans" in str(done.exception)
    assert not (tmp_path / "more/embcomp.toml").exists()
