"""Manifests of folders: labels by folder or pattern, groups, splits, what is left out, what is written."""

from __future__ import annotations

import os
import unicodedata

import pytest
from helpers.sounds import write_sound, write_sounds

from embcomp.data.makers import MAKERS, detect, make
from embcomp.data.makers.patterns import by_pattern, name_parts
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, EmbcompError, ManifestError


def labels(made) -> dict[str, str]:
    return {row["path"]: row["label"] for row in made.rows()}


def test_class_folders_become_labels_and_the_manifest_reads_back(tmp_path):
    write_sounds(tmp_path, "dog/1.wav", "dog/2.WAV", "cat/1.flac", "cat/.hidden.wav", "cat/notes.txt.wav")
    (tmp_path / "dog" / "readme.txt").write_text("no sound")
    made = make("folder", tmp_path)
    assert labels(made) == {
        "cat/1.flac": "cat",
        "cat/notes.txt.wav": "cat",
        "dog/1.wav": "dog",
        "dog/2.WAV": "dog",
    }
    made.write()
    manifest = Manifest.read(tmp_path / "manifest.csv")
    assert manifest.ids == list(labels(made)) and not made.leads_out
    assert made.summary.classes == {"cat": 2, "dog": 2} and made.summary.groups == 0


def test_the_manifest_is_never_written_over(tmp_path):
    write_sounds(tmp_path, "dog/1.wav", "cat/1.wav")
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(EmbcompError, match="exists already and is kept; choose another name with --out"):
        make("folder", tmp_path).write()
    assert (tmp_path / "manifest.csv").read_text() == "mine"


def test_folders_shared_by_all_files_are_no_label(tmp_path):
    write_sounds(tmp_path, "data/audio/dog/1.wav", "data/audio/cat/1.wav")
    assert set(labels(make("folder", tmp_path)).values()) == {"dog", "cat"}


def test_one_class_folder_alone_is_its_label(tmp_path):
    write_sounds(tmp_path, "dog/1.wav", "dog/2.wav")
    assert set(labels(make("folder", tmp_path)).values()) == {"dog"}


def test_first_folders_named_for_splits_are_splits(tmp_path):
    write_sounds(tmp_path, "train/dog/1.wav", "train/cat/2.wav", "test/dog/3.wav")
    made = make("folder", tmp_path)
    assert {clip.split for clip in made.clips} == {"train", "test"} and set(labels(made).values()) == {"dog", "cat"}
    kept = make("folder", tmp_path, splits=False)
    assert {clip.label for clip in kept.clips} == {"train", "test"}


def test_levels_choose_label_and_group_folders(tmp_path):
    write_sounds(tmp_path, "ann/dog/1.wav", "bob/cat/2.wav", "bob/dog/3.wav")
    made = make("folder", tmp_path, label_level=-1, group_level=1)
    assert [(clip.label, clip.group) for clip in made.clips] == [("dog", "ann"), ("cat", "bob"), ("dog", "bob")]
    assert any("up to 2 deep" in note for note in make("folder", tmp_path).notes)


def test_files_beside_the_class_folders_are_left_out_and_told(tmp_path):
    write_sounds(tmp_path, "dog/1.wav", "cat/1.wav", "calibration.wav")
    made = make("folder", tmp_path)
    assert len(made.clips) == 2
    assert any("1 file in no class folder, left out, calibration.wav first" in note for note in made.notes)


def test_files_without_class_folders_need_a_pattern(tmp_path):
    write_sounds(tmp_path, "dog_ann_1.wav", "cat_bob_1.wav")
    with pytest.raises(ManifestError, match=r"no folder says the label.*--label"):
        make("folder", tmp_path)
    made = make("folder", tmp_path, label="^([a-z]+)_", group="_([a-z]+)_")
    assert [(clip.label, clip.group) for clip in made.clips] == [("cat", "bob"), ("dog", "ann")]


def test_a_pattern_that_misses_a_file_is_refused_by_name(tmp_path):
    write_sounds(tmp_path, "dog/ann_1.wav", "cat/x.wav")
    with pytest.raises(ManifestError, match=r"--group '_\(\\d\)' finds nothing in 1 of 2 paths, 'cat/x.wav' first"):
        make("folder", tmp_path, group=r"_(\d)")
    with pytest.raises(ManifestError, match="is not a regular expression"):
        make("folder", tmp_path, group="(")


def test_unreadable_files_are_left_out_with_the_reason(tmp_path):
    write_sounds(tmp_path, "dog/1.wav", "cat/1.wav")
    (tmp_path / "dog" / "empty.wav").touch()
    (tmp_path / "dog" / "text.wav").write_text("no sound at all\n" * 20)
    (tmp_path / "dog" / "pointer.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "dog" / "page.mp3").write_text("<!DOCTYPE html><html>404</html>")
    (tmp_path / "dog" / "phone.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(200))
    os.mkfifo(tmp_path / "dog" / "pipe.wav")
    made = make("folder", tmp_path)
    reasons = dict(made.left_out)
    assert len(made.clips) == 2 and len(reasons) == 6
    assert "0 bytes" in reasons["dog/empty.wav"] and "not readable" in reasons["dog/text.wav"]
    assert "git lfs pull" in reasons["dog/pointer.wav"] and "web page" in reasons["dog/page.mp3"]
    assert "ffmpeg -i phone.m4a phone.wav" in reasons["dog/phone.m4a"] and "regular" in reasons["dog/pipe.wav"]


def test_names_that_a_manifest_cannot_hold_are_left_out(tmp_path):
    write_sounds(tmp_path, "dog/1.wav", "cat/1.wav", " bird/1.wav")
    (tmp_path / "dog" / os.fsdecode(b"\xff.wav")).write_bytes((tmp_path / "dog" / "1.wav").read_bytes())
    made = make("folder", tmp_path)
    assert len(made.clips) == 2 and sorted(reason.split(";")[0] for _, reason in made.left_out) == [
        "its name is not UTF-8",
        "its path begins or ends with a blank",
    ]
    made.write()
    assert len(Manifest.read(made.out)) == 2


def test_only_unreadable_files_is_an_error_that_names_them(tmp_path):
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.wav").write_text("x")
    with pytest.raises(ManifestError, match=r"no clip of .* can be used:\n  dog/a.wav: not readable"):
        make("folder", tmp_path)


def test_files_of_the_same_bytes_are_found_whatever_their_size(tmp_path):
    write_sound(tmp_path / "dog/1.wav", seed=1)
    write_sound(tmp_path / "dog/2.wav", seed=1)
    write_sound(tmp_path / "cat/3.wav", seed=2)
    write_sound(tmp_path / "cat/4.wav", seed=1, seconds=0.5)
    assert make("folder", tmp_path).summary.duplicates == (("dog/1.wav", "dog/2.wav"),)


def test_label_names_are_composed_and_those_that_mean_something_else_refused(tmp_path):
    write_sounds(tmp_path, unicodedata.normalize("NFD", "Grünfink") + "/1.wav", "dog/1.wav")
    assert unicodedata.normalize("NFC", "Grünfink") in make("folder", tmp_path).summary.classes
    write_sounds(tmp_path, "a|b/1.wav")
    with pytest.raises(ManifestError, match=r"label 'a\|b' .* holds a \|"):
        make("folder", tmp_path)


def test_audio_outside_the_manifests_folder_is_told(tmp_path):
    write_sounds(tmp_path / "sounds", "dog/1.wav", "cat/1.wav")
    made = make("folder", tmp_path / "sounds", out=tmp_path / "elsewhere" / "m.csv")
    assert made.leads_out and made.rows()[0]["path"] == "../sounds/cat/1.wav"
    made.write()
    assert Manifest.read(tmp_path / "elsewhere" / "m.csv").audio_path(0).is_file()


def test_links_are_followed_once(tmp_path):
    write_sounds(tmp_path / "real", "dog/1.wav", "cat/1.wav")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "all").symlink_to(tmp_path / "real")
    assert len(make("folder", tmp_path / "set").clips) == 2 and make("folder", tmp_path / "set").leads_out


def test_a_clip_longer_than_the_window_is_cut_each_with_its_label(tmp_path):
    write_sound(tmp_path / "dog/long.wav", seconds=1.0)
    write_sound(tmp_path / "cat/short.wav", seconds=0.3)
    made = make("folder", tmp_path, window=0.4)
    assert [(clip.path.name, clip.start, clip.end) for clip in made.clips] == [
        ("short.wav", None, None),
        ("long.wav", 0.0, 0.4),
        ("long.wav", 0.4, 0.8),
        ("long.wav", 0.8, 1.0),
    ]
    assert {clip.label for clip in made.clips[1:]} == {"dog"}
    made.write()
    assert len(Manifest.read(made.out)) == 4


def test_unknown_kinds_and_settings_name_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'folder'"):
        make("foldr", tmp_path)
    with pytest.raises(ConfigError, match="no setting 'label_lvl'; did you mean 'label_level'"):
        make("folder", tmp_path, label_lvl=2)
    with pytest.raises(ManifestError, match="reads a folder; .* does not exist"):
        make("folder", tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="no audio file in"):
        make("folder", tmp_path)


def test_every_maker_has_a_name_a_line_and_refuses_an_empty_folder(tmp_path):
    assert len({maker.name for maker in MAKERS}) == len(MAKERS)
    for maker in MAKERS:
        assert maker.summary and maker.source in ("DIR", "FILE", "FILES", "DATASET")
        with pytest.raises((ManifestError, EmbcompError)):
            make(maker.name, tmp_path)
    assert detect(tmp_path).name == "folder" and detect(tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == []


def test_parts_of_names_find_themselves_by_their_patterns():
    names = ["x/1-100-A_dog.wav", "y/2-300-A_crackling_fire.wav", "2-100-B_cat.wav"]
    parts = name_parts(names)
    assert [part.number for part in parts] == [1, 2, 3, 4]
    for part in parts:
        found = by_pattern(names, part.pattern, "--group")
        assert list(dict.fromkeys(found)) == list(part.values)
    assert name_parts(["a.wav", "b_c.wav"]) == []
