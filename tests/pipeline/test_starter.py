"""Settings chosen for a first run: read back, they run; each choice follows from the clips."""

from __future__ import annotations

import warnings

import pytest
from helpers.sounds import write_sound

from embcomp.config import load
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError
from embcomp.pipeline.starter import propose
from embcomp.pipeline.workspace import Dataset, make_splits


def write(folder, rows, header="path,label,group", **sound):
    folder.mkdir(exist_ok=True)
    for row in rows:
        write_sound(folder / row.split(",")[0], **sound)
    (folder / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Manifest.read(folder / "manifest.csv")


def clips(classes=("a", "b"), groups=6, splits=None):
    rows = [f"{label}{number}.wav,{label},g{number % groups}" for label in classes for number in range(12)]
    return rows if splits is None else [f"{row},{splits[number % len(splits)]}" for number, row in enumerate(rows)]


def proposed(manifest, tmp_path, **about):
    start = propose(manifest, tmp_path / "manifest.csv", tmp_path, **about)
    (tmp_path / "config.toml").write_text(start.toml())
    config = load(tmp_path / "config.toml")
    # The file says what the object does.
    assert (config.audio.seconds, config.audio.sample_rate, config.seeds) == (
        start.seconds,
        start.sample_rate,
        start.seeds,
    )
    assert config.split.by == start.split.by and config.data.allow_outside == start.allow_outside
    return start, config


def test_groups_make_folds_of_whole_groups(tmp_path):
    start, config = proposed(write(tmp_path, clips()), tmp_path)
    assert (config.split.by, config.split.folds, config.split.rotate) == ("group", 3, True)
    assert start.about == "24 clips, 2 classes, 6 groups" and start.notes == []
    assert [variant.name for variant in config.variants] == ["no teacher", "raw embedding", "compressed"]


def test_two_groups_make_two_folds_and_one_makes_none(tmp_path):
    start, config = proposed(write(tmp_path, clips(groups=3)), tmp_path)
    assert config.split.folds == 3
    start, config = proposed(write(tmp_path / "few", clips(groups=2)), tmp_path)
    assert config.split.by in ("group", "none") and any("with 3 folds" in note for note in start.notes)


def test_without_groups_the_settings_say_so(tmp_path):
    manifest = write(tmp_path, [row.rpartition(",")[0] for row in clips()], "path,label")
    start, config = proposed(manifest, tmp_path)
    assert config.split.by == "group" and "no groups are known" in start.toml() and "no groups given" in start.about


@pytest.mark.parametrize(
    ("splits", "by", "test", "validate"),
    [
        (("train", "test"), "column", ("test",), ()),
        (("train", "valid", "test"), "column", ("test",), ("valid",)),
        (("valid", "test"), "column", ("test",), ()),
        (("1", "2", "3"), "column", (), ()),
        (("fold1", "fold2"), "column", (), ()),
        (("x", "y"), "group", (), ()),
    ],
)
def test_published_splits_are_taken(tmp_path, splits, by, test, validate):
    rows = [f"{row},{splits[int(row.rpartition(',g')[2]) % len(splits)]}" for row in clips(groups=6)]
    start, config = proposed(write(tmp_path, rows, "path,label,group,split"), tmp_path)
    assert (config.split.by, config.split.test, config.split.validate) == (by, test, validate)
    source = Manifest.read(tmp_path / "manifest.csv")
    for split in make_splits(Dataset(source, tuple(source.ids)), config) if validate else ():
        of_split = dict(zip(source.ids, source.splits))
        assert {of_split[row] for row in split.validation} == set(validate) and {*split.fit}.isdisjoint(
            split.validation
        )


def test_published_splits_that_share_groups_are_not_taken_and_it_says_why(tmp_path):
    start, config = proposed(
        write(tmp_path, clips(groups=5, splits=("train", "test")), "path,label,group,split"), tmp_path
    )
    assert config.split.by == "group" and "shares 5 groups" in start.notes[0]


def test_low_sample_rates_are_kept_and_the_front_end_follows(tmp_path):
    start, config = proposed(write(tmp_path, clips(), rate=8000, seconds=0.31), tmp_path)
    assert (config.audio.sample_rate, config.audio.n_fft, config.audio.hop_length) == (8000, 256, 160)
    assert config.audio.seconds == 0.4
    start, config = proposed(write(tmp_path / "high", clips(), rate=44_100), tmp_path)
    assert config.audio.sample_rate == 16_000 and config.audio.n_fft == 512


def test_mixed_sample_rates_are_told(tmp_path):
    manifest = write(tmp_path, clips(), rate=16_000)
    write_sound(tmp_path / "a0.wav", rate=8000)
    assert any("1 clip has a lower sample rate than 16000" in note for note in proposed(manifest, tmp_path)[0].notes)


def test_long_clips_are_cut_at_ten_seconds_and_told(tmp_path):
    manifest = write(tmp_path, clips())
    write_sound(tmp_path / "a0.wav", seconds=12.0)
    start, config = proposed(manifest, tmp_path)
    assert config.audio.seconds == 10.0 and any("1 of 24 clips longer than 10 s" in note for note in start.notes)
    assert proposed(manifest, tmp_path, seconds=2.0, sample_rate=22_050)[1].audio.sample_rate == 22_050


def test_audio_outside_and_further_sets_are_written_down(tmp_path):
    manifest = write(tmp_path / "home", clips())
    (tmp_path / "lists").mkdir()
    lines = ["path,label,group", *(f"../home/{row}" for row in clips())]
    (tmp_path / "lists" / "m.csv").write_text("\n".join(lines) + "\n")
    other = Manifest.read(tmp_path / "lists" / "m.csv", True)
    start = propose(other, tmp_path / "lists" / "m.csv", tmp_path, cross=[tmp_path / "home" / "manifest.csv"])
    assert start.allow_outside and start.train == "lists/m.csv" and start.cross == ("home/manifest.csv",)
    assert start.config().data.cross == ("home/manifest.csv",)
    assert not propose(manifest, tmp_path / "home" / "manifest.csv", tmp_path).allow_outside


def test_names_that_would_break_toml_are_written_safely(tmp_path):
    rows = [f'{row},"a ""set""\\ of \'x\'"' for row in clips()]
    start, config = proposed(write(tmp_path, rows, "path,label,group,dataset"), tmp_path)
    assert config.name == "a-set-of-x"


def test_one_class_or_no_audio_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"two classes or more; .* has \['a'\]"):
        propose(write(tmp_path, clips(classes=("a",))), tmp_path / "manifest.csv", tmp_path)
    manifest = write(tmp_path, clips())
    for path in tmp_path.glob("*.wav"):
        path.unlink()
    with pytest.raises(ManifestError, match="no clip of .* can be read: no such file"):
        propose(manifest, tmp_path / "manifest.csv", tmp_path)
